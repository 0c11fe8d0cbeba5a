"""The inference runtime: one model, Open Inference Protocol v2, metrics, limits, graceful drain."""
