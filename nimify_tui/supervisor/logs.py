"""Log files of replicas: bounded, kept for a few runs, read for last words and security lines.

A replica writes its file itself (O_APPEND), so its log goes on when the supervisor ends. When a
file has reached its limit its content is copied to ``.1`` and the file cut to nothing. What is
written between the end of the copy and the cut (some microseconds) is lost, and of a file that grew
to four times the limit between two looks only the newest part is kept. While no supervisor runs
nothing is cut.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from nimify_tui.base.redact import redact
from nimify_tui.base.text import clean_line

KEEP_RUNS = 3
#: Logs of replicas that are no more: how many files are kept in a service's folder.
KEEP_GONE_FILES = 12
_TAIL_BYTES = 16 * 1024
#: Security lines are looked for in at most this much of one file at one look.
_SCAN_BYTES = 512 * 1024
#: Our own copies of models are named so; the first digits tell them apart.
_SHA256 = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")
_NAME = re.compile(r"(?P<replica>[a-z0-9-]+)\.(?P<run>\d+)\.log(?P<part>\.1)?\Z")


def log_path(folder: Path, replica: str, run: int) -> Path:
    """Where a run's log is written."""
    return folder / f"{replica}.{run}.log"


def parts_of(folder: Path, replica: str, run: int | None) -> tuple[str, ...]:
    """The files of a run, oldest first. ``run`` None is the newest run, -1 the one before it."""
    runs = sorted({number for name, number in _files(folder) if name == replica})
    if run is None:
        chosen = runs[-1] if runs else None
    elif run < 0:
        chosen = runs[run - 1] if len(runs) > -run else None
    else:
        chosen = run if run in runs else None
    if chosen is None:
        return ()
    path = log_path(folder, replica, chosen)
    return tuple(str(part) for part in (path.with_name(path.name + ".1"), path) if part.exists())


def cut_when_long(path: Path, limit_bytes: int) -> bool:
    """Move a log that has reached ``limit_bytes`` to ``.1`` and begin it anew; True when that was done."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    if size < limit_bytes:
        return False
    old = path.with_name(path.name + ".1")
    fresh = path.with_name(f".{path.name}.moving")
    with open(path, "rb+", buffering=0) as source, open(fresh, "wb", buffering=0) as copy:
        os.fchmod(copy.fileno(), 0o600)
        offset = 0 if size <= 4 * limit_bytes else size - limit_bytes
        while sent := os.sendfile(copy.fileno(), source.fileno(), offset, 1024 * 1024):
            offset += sent
        os.replace(fresh, old)  # first the old part appears, then the file shrinks: readers rely on it
        while sent := os.sendfile(copy.fileno(), source.fileno(), offset, 1024 * 1024):
            offset += sent
        os.ftruncate(source.fileno(), 0)
    return True


def prune(folder: Path, replica: str, newest_run: int) -> None:
    """Remove the logs of a replica's runs before the last :data:`KEEP_RUNS`."""
    for name, run in _files(folder):
        if name == replica and run <= newest_run - KEEP_RUNS:
            _remove(folder, name, run)


def prune_gone(folder: Path, living: set[str]) -> None:
    """Of replicas that are no more keep the newest files only."""
    gone = [(name, run) for name, run in _files(folder) if name not in living]

    def age(item: tuple[str, int]) -> float:
        with contextlib.suppress(FileNotFoundError):
            return log_path(folder, *item).stat().st_mtime
        return 0.0

    for name, run in sorted(gone, key=age, reverse=True)[KEEP_GONE_FILES:]:
        _remove(folder, name, run)


def last_words(path: Path) -> str:
    """The last line with anything in it, inert and without secrets; of a JSON line its message."""
    for part in (path, path.with_name(path.name + ".1")):
        try:
            with open(path if part is path else part, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                tail = file.read(_TAIL_BYTES)
        except FileNotFoundError:
            continue
        for line in reversed(tail.splitlines()):
            if text := _message(line):
                return text
    return ""


def _message(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        with contextlib.suppress(ValueError):
            record = json.loads(text)
            if str(record.get("path", "")).startswith("/v2/health/"):
                return ""  # an answer to our own probe is nobody's last word
            for name in ("msg", "message", "event", "error"):
                if isinstance(record.get(name), str) and record[name].strip():
                    detail = record.get("error") if name != "error" else None
                    text = record[name] if not isinstance(detail, str) else f"{record[name]}: {detail}"
                    break
    return clean_line(redact(_SHA256.sub(r"\1", text)), 300).strip()


class SecurityLines:
    """Reads what a log gained since the last look and finds the lines that report a security event."""

    def __init__(self, path: Path, *, from_end: bool) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        if from_end:
            with contextlib.suppress(FileNotFoundError):
                self._offset = path.stat().st_size

    def look(self) -> list[dict[str, Any]]:
        """The records of new lines whose ``event`` is ``security``."""
        try:
            with open(self._path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._offset:  # it was cut
                    self._offset, self._rest = 0, b""
                if size == self._offset:
                    return []
                start = max(self._offset, size - _SCAN_BYTES)
                if start > self._offset:
                    self._rest = b""
                file.seek(start)
                data = self._rest + file.read(size - start)
                self._offset = size
        except FileNotFoundError:
            return []
        whole, _, rest = data.rpartition(b"\n")
        self._rest = rest[-_TAIL_BYTES:]
        return [record for line in whole.splitlines() if (record := _security(line)) is not None]


def _security(line: bytes) -> dict[str, Any] | None:
    if b'"security"' not in line:
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.get("event") == "security" else None


def _files(folder: Path) -> list[tuple[str, int]]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted({(match["replica"], int(match["run"])) for name in names if (match := _NAME.match(name))})


def _remove(folder: Path, replica: str, run: int) -> None:
    path = log_path(folder, replica, run)
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".1").unlink(missing_ok=True)
