"""Changes in Kubernetes regions: planned from the server's own answers, sent once, watched until true."""
