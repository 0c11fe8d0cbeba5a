"""The embedded regions: supervisors' events and replicas' logs."""
