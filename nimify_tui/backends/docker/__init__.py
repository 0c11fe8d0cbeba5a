"""Docker hosts: the engine's API over its socket, TLS or SSH."""
