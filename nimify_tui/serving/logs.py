"""One JSON object a line on standard output; what clients sent is cleaned, secrets masked, repeats folded."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson

from nimify_tui.base.clock import rfc3339
from nimify_tui.base.redact import redact
from nimify_tui.base.text import clean_line

#: One line at once for each kind, then one with the count of what followed within this time.
FOLD_S = 1.0
#: So many kinds are told apart within that time; further ones share a line.
MAX_KINDS = 64


class JsonLog:
    """Writes lines with fixed fields (service, region, revision)."""

    def __init__(self, write: Callable[[bytes], None] | None = None, **fixed: str) -> None:
        self._fixed = {key: value for key, value in fixed.items() if value}
        self._write = write or _to_stdout
        self._folds: dict[tuple[str, ...], tuple[int, str, str, dict[str, Any]]] = {}
        self._flush: asyncio.TimerHandle | None = None

    def write(self, event: str, message: str, level: str = "info", **fields: Any) -> None:
        """One line, at once."""
        record: dict[str, Any] = {
            "ts": rfc3339(time.time()), "level": level, "event": event, "msg": _safe(message, 1000),
            **self._fixed,
        }  # fmt: skip
        for key, value in fields.items():
            record[key] = _safe(value, 300) if isinstance(value, str) else value
        self._write(orjson.dumps(record) + b"\n")

    def fold(self, event: str, kind: tuple[str, ...], message: str, level: str, **fields: Any) -> None:
        """A line that may come thousands of times a second. Only on the event loop.

        Written at once, then at most once in FOLD_S seconds for each ``kind``, with ``count``: how often since.
        """
        key = (event, *kind)
        if key not in self._folds and len(self._folds) >= MAX_KINDS:
            key = (event, "others")
        held = self._folds.get(key)
        if held is not None:
            self._folds[key] = (held[0] + 1, message, level, fields)
            return
        self._folds[key] = (0, message, level, fields)
        self.write(event, message, level, **fields, count=1)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(FOLD_S, self.flush)

    def flush(self) -> None:
        """Write what was folded; kinds that went quiet are forgotten."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        busy = {key: held for key, held in self._folds.items() if held[0]}
        for (event, *_), (count, message, level, fields) in busy.items():
            self.write(event, message, level, **fields, count=count)
        self._folds = {key: (0, message, level, fields) for key, (_, message, level, fields) in busy.items()}
        if self._folds:
            self._flush = asyncio.get_running_loop().call_later(FOLD_S, self.flush)


class LibraryLog(logging.Handler):
    """What libraries log as an error, as lines of ours; less than that is dropped, we report it ourselves."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        error = record.exc_info[1] if record.exc_info else None
        detail = f": {type(error).__name__}: {error}" if error is not None else ""
        self._log.write("error", record.getMessage() + detail, "error", logger=record.name)


def _safe(text: str, limit: int) -> str:
    # Cut first, and generously: looking for secrets in 10 MB of text would take seconds.
    return clean_line(redact(text[: 4 * limit]), limit)


def _to_stdout(line: bytes) -> None:
    # One write for each line: lines of several replicas in one file never mix. A reader that went away
    # must not end the service.
    try:
        os.write(sys.stdout.fileno(), line)
    except (BrokenPipeError, BlockingIOError, ValueError):
        return
