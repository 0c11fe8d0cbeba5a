"""Caches beside the services: a shared one (Redis), by itself or by its exporter, and the edge, by probes."""
