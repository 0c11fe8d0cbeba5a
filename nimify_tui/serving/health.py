"""The diagnostic page: what an operator asks first. And the book of the last errors that it shows."""

from __future__ import annotations

import os
import resource
import time
from collections import deque
from pathlib import Path
from typing import Any

from nimify_tui import __version__
from nimify_tui.base.clock import rfc3339
from nimify_tui.base.errors import Category
from nimify_tui.base.text import clean_line
from nimify_tui.serving.entries import Entry
from nimify_tui.serving.listeners import max_connections
from nimify_tui.serving.metrics import Metrics, ModelMetrics
from nimify_tui.serving.options import Options
from nimify_tui.serving.shelf import Shelf

#: So many errors of each category are kept: a flood of one kind does not push out the others.
KEPT = 5


class ErrorBook:
    """Errors by category: how many, and the last few with their time."""

    def __init__(self) -> None:
        self.counts: dict[Category, int] = {}
        self._last: dict[Category, deque[tuple[float, int, str, str]]] = {}

    def note(self, category: Category, status: int, text: str, model: str = "") -> None:
        """One more. ``status`` 0: no request's answer."""
        self.counts[category] = self.counts.get(category, 0) + 1
        kept = self._last.get(category)
        if kept is None:
            kept = self._last[category] = deque(maxlen=KEPT)
        kept.append((time.time(), status, model, text))

    def last(self) -> list[dict[str, Any]]:
        """The newest last."""
        rows = [
            (at, status, model, text, each)
            for each, kept in self._last.items()
            for at, status, model, text in kept
        ]
        return [
            {"at": rfc3339(at), "category": category.value, "status": status or None, "model": model,
             "error": clean_line(text, 500)}
            for at, status, model, text, category in sorted(rows, key=lambda row: row[0])
        ]  # fmt: skip


def diagnosis(
    options: Options, shelf: Shelf, metrics: Metrics, errors: ErrorBook, not_ready: str, started_at: float
) -> dict[str, Any]:
    """Models, load, limits, memory and last errors of this process."""
    rows = [_model(entry, metrics) for entries in shelf.by_name().values() for entry in reversed(entries)]
    counted = list(metrics.models.values())
    progress = shelf.progress
    return {
        "ready": not not_ready, "reason": not_ready, "draining": not_ready.startswith("draining"),
        "progress": progress.record() if progress else None,
        "pid": os.getpid(), "runtime_version": __version__, "uptime_s": round(time.time() - started_at, 1),
        "service": options.service, "region": options.region, "revision": options.revision,
        "model": rows[0] if rows else None, "models": rows, "not_loaded": dict(shelf.others),
        "requests": {
            "in_flight": sum(each.in_flight for each in counted), "waiting": sum(each.waiting() for each in counted),
            "held_bytes": shelf.room.held_bytes, "rejected": dict(metrics.rejected), "by_code": _codes(counted),
        },
        "limits": {
            "max_body_bytes": options.max_body_bytes, "header_timeout_s": options.header_timeout_s,
            "body_timeout_s": options.body_timeout_s, "request_timeout_s": options.request_timeout_s,
            "max_connections": max_connections(), "max_held_bytes": options.max_held_bytes,
            "max_concurrency": options.max_concurrency,
            "max_queue": options.max_queue, "rate_limit_rps": options.rate_limit_rps, "threads": options.threads,
            "cache_bytes": options.cache_bytes,
            "latency_objective_ms": options.latency_objective_ms, "max_batch": options.max_batch,
            "sessions": options.sessions, "model_control": options.model_control,
        },
        "artifact_cache": _artifacts(shelf),
        "memory": {
            "rss_bytes": _rss_bytes(), "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        },
        "errors": {category.value: count for category, count in sorted(errors.counts.items())},
        "last_errors": errors.last(),
    }  # fmt: skip


def _model(entry: Entry, metrics: Metrics) -> dict[str, Any]:
    numbers = metrics.models.get((entry.name, entry.version), ModelMetrics(entry.name, entry.version))
    row: dict[str, Any] = {
        "name": entry.name, "version": entry.version, "file": clean_line(entry.path.name, 100),
        "state": entry.state, "reason": entry.reason, "since": rfc3339(entry.since), "step": entry.step,
        "sha256": numbers.model_sha256, "providers": [], "provider": None, "load_s": None, "run_s": None,
        "runs_on": None, "in_flight": numbers.in_flight, "waiting": numbers.waiting(),
        "requests": {str(code): count for code, count in numbers.codes.items()},
        "cache": _cache(numbers), "batch": None,
    }  # fmt: skip
    if entry.served is None:
        return row
    model, scheduler = entry.served.inference.model, entry.served.inference.scheduler
    row |= {
        "providers": list(model.providers), "provider": entry.served.opener.choice.record(),
        "graph": entry.served.opener.source, "load_s": round(model.load_s, 4),
        "run_s": round(model.run_s, 6) if model.warmed else None,
        "runs_on": "event loop" if model.inline(1) else "worker thread",
        "batch": {"words": scheduler.batch_words, "rows": scheduler.batch_rows, "workers": scheduler.session_words},
        "limit": scheduler.limit, "estimate_s": round(scheduler.estimate_s, 6),
    }  # fmt: skip
    return row


def _cache(numbers: ModelMetrics) -> dict[str, int] | None:
    cache = numbers.cache
    return None if cache is None else {"bytes": cache.held_bytes, "hits": cache.hits, "misses": cache.misses}


def _artifacts(shelf: Shelf) -> dict[str, int] | None:
    kept = shelf.artifacts
    return None if kept is None else {"bytes": kept.held_bytes, "hits": kept.hits, "misses": kept.misses}


def _codes(counted: list[ModelMetrics]) -> dict[str, int]:
    made: dict[str, int] = {}
    for numbers in counted:
        for code, count in numbers.codes.items():
            made[str(code)] = made.get(str(code), 0) + count
    return made


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
