"""What happened in this region: told to everybody who watches, and the newest kept on disk."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from nimify_tui.base.files import write_atomic
from nimify_tui.base.text import clean_line
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.embedded import ChangeEvent, Event, SecurityFound
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.security import SecurityEvent, Severity

KEEP = 500
KEEP_SECURITY = 200
#: The same security event from the same service within this time is one event with a count.
FOLD_S = 30.0
#: A folded event is told again at most this often.
_RETELL_S = 1.0


class Chronicle:
    """The region's changes and security events. ``emit`` tells the watchers."""

    def __init__(self, path: Path, region: str, emit: Callable[[Event], None]) -> None:
        self._path = path
        self._region = region
        self._emit = emit
        self._prefix = f"{region}-{int(time.time() * 1000):x}"
        self._numbers = itertools.count(1)
        self._changes: deque[Change] = deque(maxlen=KEEP)
        self._lines = 0
        self._security: dict[tuple[str, ...], SecurityEvent] = {}
        self._told: dict[tuple[str, ...], float] = {}

    def load(self) -> None:
        """Read what an earlier supervisor kept; a line that is no change (a torn last one) is passed over."""
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
            for line in file:
                self._lines += 1
                with contextlib.suppress(msgspec.DecodeError):
                    self._changes.append(msgspec.json.decode(line, type=Change))

    @property
    def newest(self) -> tuple[Change, ...]:
        """What is kept, oldest first."""
        return tuple(self._changes)

    @property
    def security(self) -> tuple[SecurityEvent, ...]:
        """The newest security events, oldest first."""
        return tuple(self._security.values())

    def change(
        self,
        kind: ChangeKind,
        key: ServiceKey | None,
        text: str,
        *,
        evidence: str = "",
        by: str = "",
        revision: int | None = None,
        replica: str = "",
        at: float | None = None,
    ) -> None:
        """Something happened at ``at`` (now when None)."""
        change = Change(
            id=f"{self._prefix}-{next(self._numbers)}",
            at=time.time() if at is None else at,
            kind=kind,
            region=self._region,
            key=key,
            text=text,
            evidence=evidence,
            by=by,
            source="supervisor",
            revision=revision,
            replica=replica,
        )
        self._changes.append(change)
        self._write(change)
        self._emit(ChangeEvent(at=change.at, change=change))

    def crashed(self, key: ServiceKey, replica: str, text: str, count: int) -> None:
        """A crash is also a line of the security feed."""
        severity = Severity.HIGH if count >= 3 else Severity.MED
        self._found(
            ("crashed", key.name, replica), time.time(), severity, key, "crashed", text, action="restarted", client=""
        )

    def reported(self, key: ServiceKey, record: dict[str, Any]) -> None:
        """A security line of a replica's log: ``category``, ``action``, ``client``, ``msg`` and ``severity``."""

        def word(name: str, limit: int, otherwise: str = "") -> str:
            value = record.get(name)
            return clean_line(str(value), limit) if isinstance(value, str | int | float) else otherwise

        category = word("category", 24, "refused")
        text = word("reason", 200) or word("msg", 200) or word("message", 200) or category
        action, client = word("action", 24), word("client", 64)
        severity = Severity.MED if category in {"malformed", "attack", "refused"} else Severity.LOW
        with contextlib.suppress(ValueError):
            severity = Severity(word("severity", 8).upper())
        at = time.time()
        with contextlib.suppress(ValueError):
            at = min(at, datetime.datetime.fromisoformat(word("ts", 40)).timestamp())
        number = record.get("count")
        count = number if isinstance(number, int) and 0 < number < 10**9 else 1
        fold = (category, key.name, action, client, text)
        self._found(fold, at, severity, key, category, text, action, client, count)

    def _found(
        self,
        fold: tuple[str, ...],
        at: float,
        severity: Severity,
        key: ServiceKey,
        category: str,
        text: str,
        action: str,
        client: str,
        count: int = 1,
    ) -> None:
        known = self._security.get(fold)
        if known is not None and at - known.at < FOLD_S:
            event = msgspec.structs.replace(known, at=max(at, known.at), count=known.count + count, text=text)
            del self._security[fold]  # the newest stands last
        else:
            event = SecurityEvent(
                id=f"{self._prefix}-s{next(self._numbers)}",
                at=at,
                severity=severity,
                region=self._region,
                key=key,
                category=category,
                text=text,
                action=action,
                client=client,
                count=count,
                source="supervisor",
            )
            self._told.pop(fold, None)
        self._security[fold] = event
        while len(self._security) > KEEP_SECURITY:
            oldest = next(iter(self._security))
            del self._security[oldest]
            self._told.pop(oldest, None)
        self._tell(fold)

    def _tell(self, fold: tuple[str, ...]) -> None:
        event = self._security[fold]
        if event.at - self._told.get(fold, 0.0) >= _RETELL_S:
            self._told[fold] = event.at
            self._emit(SecurityFound(at=event.at, event=event))

    def retell(self) -> None:
        """Tell the folded events whose count went on since they were told; called about once a second."""
        for fold, event in list(self._security.items()):
            if event.at > self._told.get(fold, 0.0):
                self._told[fold] = event.at
                self._emit(SecurityFound(at=event.at, event=event))

    def _write(self, change: Change) -> None:
        """Append; when the file holds twice what is kept it is written anew. A full disk costs the memory only."""
        with contextlib.suppress(OSError):
            if self._lines >= 2 * KEEP:
                write_atomic(self._path, b"".join(msgspec.json.encode(each) + b"\n" for each in self._changes))
                self._lines = len(self._changes)
                return
            with open(self._path, "ab") as file:
                file.write(msgspec.json.encode(change) + b"\n")
            self._lines += 1
