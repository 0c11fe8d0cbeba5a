"""Transport to Kubernetes regions: kubeconfig, credentials, one connection for each region, permitted writes."""
