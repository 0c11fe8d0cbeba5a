"""A Prometheus-compatible server (Prometheus, Thanos, Mimir): where it is, how it is asked, and what it answers."""
