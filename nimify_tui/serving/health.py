"""The diagnostic page: what an operator asks first."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

from nimify_tui import __version__
from nimify_tui.base.clock import rfc3339
from nimify_tui.serving.infer import Inference
from nimify_tui.serving.metrics import Metrics
from nimify_tui.serving.options import Options


def diagnosis(
    options: Options, inference: Inference | None, metrics: Metrics, not_ready: str, started_at: float
) -> dict[str, Any]:
    """Model, load, limits, memory and last errors of this process."""
    model = inference.model if inference else None
    return {
        "ready": not not_ready, "reason": not_ready, "draining": not_ready.startswith("draining"),
        "pid": os.getpid(), "runtime_version": __version__, "uptime_s": round(time.time() - started_at, 1),
        "service": options.service, "region": options.region, "revision": options.revision,
        "model": {
            "name": options.name, "version": options.version, "file": options.model.name,
            "sha256": metrics.model_sha256,
            "providers": list(model.providers) if model else [],
            "load_s": round(model.load_s, 4) if model else None,
            "run_s": round(model.run_s, 6) if model and model.warmed else None,
            "runs_on": ("event loop" if model.inline(1) else "worker thread") if model else None,
        },
        "requests": {
            "in_flight": metrics.in_flight, "waiting": metrics.waiting(), "rejected": dict(metrics.rejected),
            "by_code": {str(code): count for code, count in metrics.codes.items()},
        },
        "limits": {
            "max_body_bytes": options.max_body_bytes, "header_timeout_s": options.header_timeout_s,
            "body_timeout_s": options.body_timeout_s, "request_timeout_s": options.request_timeout_s,
            "max_concurrency": options.max_concurrency, "max_queue": options.max_queue,
            "rate_limit_rps": options.rate_limit_rps, "threads": options.threads, "cache_bytes": options.cache_bytes,
        },
        "memory": {
            "rss_bytes": _rss_bytes(), "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        },
        "last_errors": [
            {"at": rfc3339(at), "error": words} for at, words in (inference.last_errors if inference else ())
        ],
    }  # fmt: skip


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
