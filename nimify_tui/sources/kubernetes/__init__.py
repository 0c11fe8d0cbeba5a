"""A Kubernetes cluster as a region: what its API server lists and watches, as updates."""
