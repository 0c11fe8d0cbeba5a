"""An Alertmanager (API v2): what it has, and silences. How it is reached is as for a Prometheus."""
