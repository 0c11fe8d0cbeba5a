"""The audit trail: an append-only, hash-chained log of what was asked, allowed, done and refused.

Lines are canonical JSON with sorted keys, ``{seq, ts, prev, type, ..., hash}``; ``hash`` is
HMAC-SHA256 over the line without ``hash``, keyed from a file that only the user may read, and
``prev`` is the hash of the line before. Segments ``audit-NNNNNN.jsonl`` begin with ``segment.open``
(``prev_head``, ``prev_seq``) and end with ``segment.close`` (``n``).

What :func:`nimify_tui.base.audit_check.verify` detects: an edited, deleted, moved or inserted line,
a deleted segment, and, because the newest ``seq`` and hash are also kept in an anchor file outside
the folder, a tail that was cut off since this host last wrote (trust on first use).
A half-written last line (crash, power loss) is told apart from tampering.

What it does not detect: whoever can read the key *and* write both the folder and the anchor file
can write a whole new trail that verifies. That is everybody who runs as the same user, and root.
A trail without its anchor may have lost its tail unnoticed. It is evidence, not prevention; to
hold it against the user of this host, carry the head (``seq``, ``hash``) to another host.

Several processes may write at once: each append takes an exclusive ``flock`` and reads the head
again under it. Credentials are masked (:mod:`nimify_tui.base.redact`) before anything is written.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import SecurityError, ValidationError
from nimify_tui.base.files import private_dir, state_home, write_atomic
from nimify_tui.base.redact import MASK, redact

GENESIS = "0" * 64
#: A record never needs more; longer ones are refused before they are written.
MAX_LINE_BYTES = 1024 * 1024
#: A segment that has reached this size is closed and a new one opened.
SEGMENT_BYTES = 4 * 1024 * 1024

_SEGMENT = re.compile(r"audit-(\d{6})\.jsonl\Z")
_OWN_FIELDS = frozenset({"seq", "ts", "prev", "type", "hash"})


class AuditDamaged(SecurityError):
    """The trail cannot be continued: its head is unreadable or not sealed with our key."""


@dataclass(frozen=True)
class AuditPlaces:
    """Where a trail lives. ``anchor`` and ``key`` lie outside ``folder``."""

    folder: Path
    key: Path
    anchor: Path

    @classmethod
    def default(cls) -> AuditPlaces:
        """``$XDG_STATE_HOME/nimify-tui/audit`` with its key and its anchor beside it."""
        home = state_home()
        return cls(home / "audit", home / "audit.key", home / "audit.anchor.json")


@dataclass(frozen=True)
class Head:
    """The newest record: its number (0: none yet) and its hash."""

    seq: int
    hash: str


@dataclass(frozen=True)
class _Tail:
    head: Head
    segment: int  # 0: there is none yet
    size: int  # bytes of the newest segment up to its last whole line
    torn: bytes
    closed: bool
    lines: int


def canonical(record: Mapping[str, Any]) -> bytes:
    """The one byte form of a record: sorted keys, no spaces, ASCII (so a log never drives a terminal)."""
    return json.dumps(
        record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def seal(key: bytes, record: Mapping[str, Any]) -> str:
    """HMAC-SHA256 over the canonical record without its ``hash``."""
    body = canonical({name: value for name, value in record.items() if name != "hash"})
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def redacted(value: Any) -> Any:
    """``value`` with every credential masked, in strings at any depth and under names that say secret."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        clean: dict[str, Any] = {}
        for name, item in value.items():
            names_secret = isinstance(item, str) and item and MASK in redact(f"{name}=x")
            clean[redact(str(name))] = MASK if names_secret else redacted(item)
        return clean
    if isinstance(value, (list, tuple)):
        return [redacted(item) for item in value]
    return value


def segments(folder: Path) -> list[tuple[int, Path]]:
    """The segments of a trail in order, as (number, path)."""
    try:
        found = [
            (int(match[1]), folder / match[0])
            for name in os.listdir(folder)
            if (match := _SEGMENT.match(name))
        ]
    except FileNotFoundError:
        return []
    return sorted(found)


def read_key(path: Path) -> bytes | None:
    """The key of a trail, None when there is no file.

    Raises SecurityError when others may read it, or it is no key.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SecurityError(f"the audit key {path} cannot be read ({error.strerror})") from error
    try:
        status = os.fstat(handle)
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise SecurityError(f"the audit key {path} can be read by others", f"chmod 600 {path}")
        text = os.read(handle, 4096).strip()
    except OSError as error:
        raise SecurityError(f"the audit key {path} cannot be read ({error.strerror})") from error
    finally:
        os.close(handle)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except (UnicodeDecodeError, ValueError) as error:
        raise SecurityError(f"the audit key {path} is not a key") from error
    if len(key) < 32:
        raise SecurityError(f"the audit key {path} is shorter than 32 bytes")
    return key


def read_anchor(path: Path) -> Head | None:
    """The head that was seen last, None when none was kept.

    Raises AuditDamaged when the file is there and says nothing sensible.
    """
    try:
        data = json.loads(path.read_bytes())
        return Head(int(data["seq"]), str(data["hash"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AuditDamaged(
            f"the audit anchor {path} is unreadable", "see `nimify-tui audit verify`"
        ) from error


@contextlib.contextmanager
def locked(folder: Path, operation: int) -> Iterator[None]:
    """Hold the trail's lock (``fcntl.LOCK_EX`` or ``LOCK_SH``)."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, operation)
        yield
    finally:
        os.close(handle)


class AuditLog:
    """Writer of one trail; safe from several threads and several processes."""

    def __init__(self, places: AuditPlaces, clock: Clock, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.places = places
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._mutex = threading.Lock()
        self._known: tuple[str, int, _Tail] | None = None

    def append(self, kind: str, fields: Mapping[str, Any]) -> Head:
        """Write one record of type ``kind``; it is on the disk when this returns.

        Raises AuditDamaged when the head of the trail is not ours, ValidationError for a record that is
        too big or uses a reserved name, OSError when the disk does not take it.
        """
        if clash := _OWN_FIELDS & fields.keys():
            raise ValidationError(f"audit field {min(clash)!r} is reserved")
        clean = redacted(fields)
        folder = private_dir(self.places.folder)
        with self._mutex, locked(folder, fcntl.LOCK_EX):
            key = self._key(folder)
            tail = self._continue_from(key, self._tail(key))
            if tail.segment and tail.size >= self._segment_bytes and not tail.closed:
                tail = self._write(key, tail, "segment.close", {"n": tail.lines + 1})
            tail = self._write(key, self._open_when_needed(key, tail), kind, clean)
            self._sync(tail)
            return tail.head

    def head(self) -> Head:
        """The newest record. Raises AuditDamaged like :meth:`append`."""
        if not segments(self.places.folder):
            return Head(0, GENESIS)
        with self._mutex, locked(self.places.folder, fcntl.LOCK_SH):
            return self._tail(self._key(self.places.folder)).head

    def records(self) -> Iterator[dict[str, Any]]:
        """All readable records, oldest first. Does not verify; a line that is no JSON object is passed over."""
        for _, path in segments(self.places.folder):
            with open(path, "rb") as file:
                for line in file:
                    with contextlib.suppress(ValueError):
                        record = json.loads(line)
                        if isinstance(record, dict):
                            yield record

    def recent(self, kind: str, since: float) -> list[dict[str, Any]]:
        """Records of type ``kind`` with ``ts >= since`` (unix seconds) in the newest two segments."""
        needle = f'"type":{json.dumps(kind)}'.encode()
        found = []
        for _, path in segments(self.places.folder)[-2:]:
            with open(path, "rb") as file:
                for line in file:
                    if needle in line:
                        with contextlib.suppress(ValueError):
                            record = json.loads(line)
                            if float(record.get("ts", 0.0)) >= since and record.get("type") == kind:
                                found.append(record)
        return found

    def _key(self, folder: Path) -> bytes:
        key = read_key(self.places.key)
        if key is not None:
            return key
        if segments(folder):
            remedy = f"restore the key, or move {folder} away to begin a new trail"
            raise AuditDamaged(f"the audit key {self.places.key} is missing", remedy)
        private_dir(self.places.key.parent)
        key = secrets.token_bytes(32)
        write_atomic(self.places.key, key.hex().encode() + b"\n", sync=True)
        return key

    def _tail(self, key: bytes) -> _Tail:
        """Where the trail ends now; cheap when nobody else wrote since."""
        found = segments(self.places.folder)
        if self._known is not None and found:
            name, size, tail = self._known
            if found[-1][1].name == name and found[-1][1].stat().st_size == size:
                return tail
        stub = b""  # a segment that was opened and got no whole line: its predecessor holds the head
        while found:
            number, path = found.pop()
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            lines = data[:whole].splitlines()
            if lines:
                record = _checked(key, path, lines)
                head = Head(int(record["seq"]), str(record["hash"]))
                return _Tail(
                    head, number, whole, data[whole:] + stub, record["type"] == "segment.close", len(lines)
                )
            stub = data + stub
        return _Tail(Head(0, GENESIS), 0, 0, stub, False, 0)

    def _continue_from(self, key: bytes, tail: _Tail) -> _Tail:
        """Repair a torn last line and write down what the anchor misses, so that neither is silent."""
        anchor, found = read_anchor(self.places.anchor), tail.head
        if tail.torn:
            if tail.segment:
                os.truncate(self._path(tail.segment), tail.size)
            facts = {"truncated_bytes": len(tail.torn), "sha256": hashlib.sha256(tail.torn).hexdigest()}
            tail = self._write(key, self._open_when_needed(key, tail), "recovered", facts)
        if anchor is not None and anchor.seq >= found.seq and anchor != found:
            seen = {"anchor_seq": anchor.seq, "anchor_hash": anchor.hash}
            now = {"found_seq": found.seq, "found_hash": found.hash}
            tail = self._write(key, self._open_when_needed(key, tail), "anchor.mismatch", seen | now)
        return tail

    def _open_when_needed(self, key: bytes, tail: _Tail) -> _Tail:
        return self._open_segment(key, tail) if tail.closed or tail.segment == 0 else tail

    def _path(self, segment: int) -> Path:
        return self.places.folder / f"audit-{segment:06d}.jsonl"

    def _open_segment(self, key: bytes, tail: _Tail) -> _Tail:
        fresh = _Tail(tail.head, tail.segment + 1, 0, b"", False, 0)
        os.close(
            os.open(self._path(fresh.segment), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        )
        return self._write(
            key, fresh, "segment.open", {"prev_head": tail.head.hash, "prev_seq": tail.head.seq}
        )

    def _write(self, key: bytes, tail: _Tail, kind: str, fields: Mapping[str, Any]) -> _Tail:
        record = {
            **fields,
            "seq": tail.head.seq + 1,
            "ts": self._clock.now(),
            "prev": tail.head.hash,
            "type": kind,
        }
        record["hash"] = seal(key, record)
        line = canonical(record) + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise ValidationError(f"audit record of {len(line)} bytes is too big (at most {MAX_LINE_BYTES})")
        path = self._path(tail.segment)
        self._known = None  # until the line is whole
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                if file.write(line) != len(line):
                    raise OSError(f"short write to {path}")
                os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, tail.size)
            raise
        head = Head(int(record["seq"]), str(record["hash"]))
        return _Tail(head, tail.segment, tail.size + len(line), b"", kind == "segment.close", tail.lines + 1)

    def _sync(self, tail: _Tail) -> None:
        folder = os.open(self.places.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        write_anchor(self.places.anchor, tail.head)
        self._known = (self._path(tail.segment).name, tail.size, tail)


def write_anchor(path: Path, head: Head) -> None:
    """Keep ``head`` outside the folder; called after its record is on the disk, never before."""
    private_dir(path.parent)
    write_atomic(path, canonical({"seq": head.seq, "hash": head.hash}) + b"\n", sync=True)


def _checked(key: bytes, path: Path, lines: list[bytes]) -> dict[str, Any]:
    """The last record of a segment, when it is sealed with our key."""
    remedy = "see `nimify-tui audit verify`; move the folder away to begin a new trail"
    try:
        record = json.loads(lines[-1])
        if not isinstance(record, dict):
            raise TypeError("no object")
        good = hmac.compare_digest(str(record["hash"]), seal(key, record))
        int(record["seq"])
    except (ValueError, KeyError, TypeError) as error:
        raise AuditDamaged(f"{path.name} line {len(lines)} is not an audit record", remedy) from error
    if not good:
        raise AuditDamaged(f"{path.name} line {len(lines)} does not carry our seal", remedy)
    return record
