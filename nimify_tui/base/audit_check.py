"""Reading an audit trail with suspicion: what was changed, where, and what only broke off."""

from __future__ import annotations

import fcntl
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nimify_tui.base.audit import (
    GENESIS,
    AuditDamaged,
    AuditPlaces,
    Head,
    canonical,
    locked,
    read_anchor,
    read_key,
    seal,
    segments,
)
from nimify_tui.base.errors import SecurityError

#: More problems than this are counted, not kept.
MAX_PROBLEMS = 100


@dataclass(frozen=True)
class AuditProblem:
    """One thing that is wrong: ``file`` and ``line`` (1-based; 0: the whole file) and what, in words."""

    file: str
    line: int
    text: str


@dataclass(frozen=True)
class AuditReport:
    """The verdict on a trail. ``notices`` are worth knowing and no sign of tampering (a torn line)."""

    records: int
    segments: int
    head: Head
    problems: tuple[AuditProblem, ...]
    notices: tuple[AuditProblem, ...]
    problem_count: int

    @property
    def intact(self) -> bool:
        """True when nothing is wrong."""
        return self.problem_count == 0


@dataclass
class _Walk:
    key: bytes
    anchor: Head | None
    head: Head = field(default_factory=lambda: Head(0, GENESIS))
    records: int = 0
    problems: list[AuditProblem] = field(default_factory=list)
    notices: list[AuditProblem] = field(default_factory=list)
    count: int = 0
    anchor_met: bool = False

    def wrong(self, file: str, line: int, text: str) -> None:
        self.count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(AuditProblem(file, line, text))


def verify(places: AuditPlaces) -> AuditReport:
    """Read the whole trail under a shared lock and say what is wrong with it.

    Raises SecurityError when the key is missing or readable by others: then nothing can be said.
    """
    found = segments(places.folder)
    try:
        anchor, anchor_trouble = read_anchor(places.anchor), ""
    except AuditDamaged as error:
        anchor, anchor_trouble = None, error.message
    if not found and anchor is None and not anchor_trouble:
        return AuditReport(0, 0, Head(0, GENESIS), (), (), 0)
    key = read_key(places.key)
    if key is None:
        raise SecurityError(
            f"the audit key {places.key} is missing: the trail cannot be verified", "restore the key"
        )
    if not found:
        text = f"the whole trail is missing: record {anchor.seq if anchor else '?'} had been written"
        problem = AuditProblem(str(places.folder), 0, text)
        return AuditReport(0, 0, Head(0, GENESIS), (problem,), (), 1)
    with locked(places.folder, fcntl.LOCK_SH):
        found = segments(places.folder)
        # Under the lock the anchor cannot run ahead of what we are about to read.
        anchor = None if anchor_trouble else read_anchor(places.anchor)
        walk = _Walk(key, anchor)
        if anchor_trouble:
            walk.wrong(places.anchor.name, 0, anchor_trouble)
        for index, (number, path) in enumerate(found):
            if number != index + 1 and (index == 0 or number != found[index - 1][0] + 1):
                before = found[index - 1][0] if index else 0
                walk.wrong(path.name, 0, f"segment {before + 1} is missing before this one")
            _segment(walk, path, newest=index == len(found) - 1)
    _tail(walk, places, found[-1][1].name)
    return AuditReport(
        walk.records, len(found), walk.head, tuple(walk.problems), tuple(walk.notices), walk.count
    )


def _segment(walk: _Walk, path: Path, *, newest: bool) -> None:
    closed = False
    number = 0
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                if newest:
                    text = f"torn last line of {len(raw)} bytes (a crash while writing); the next record will repair it"
                    walk.notices.append(AuditProblem(path.name, number, text))
                else:
                    walk.wrong(path.name, number, "the line is cut off")
                break
            record = _line(walk, path.name, number, raw[:-1])
            if record is None:
                continue
            kind = record.get("type")
            if number == 1 and kind != "segment.open":
                walk.wrong(path.name, 1, "the segment does not begin with segment.open")
            if closed:
                walk.wrong(path.name, number, "a record stands after the segment was closed")
            closed = closed or kind == "segment.close"
            if kind == "segment.close" and record.get("n") != number:
                walk.wrong(
                    path.name, number, f"the segment closed with {record.get('n')} lines and has {number}"
                )
    if number and not newest and not closed:
        walk.wrong(path.name, number, "the end of the segment is missing (no segment.close)")


def _line(walk: _Walk, name: str, number: int, raw: bytes) -> dict[str, Any] | None:
    """Check one line against its seal and its predecessor; go on from what the line itself says."""
    try:
        record: dict[str, Any] = json.loads(raw)
        own_seal, seq, previous = str(record["hash"]), int(record["seq"]), str(record["prev"])
        exact = canonical(record) == raw
    except (ValueError, KeyError, TypeError):
        walk.wrong(name, number, "not an audit record")
        walk.head = Head(walk.head.seq + 1, "")
        return None
    walk.records += 1
    last, walk.head = walk.head, Head(seq, own_seal)
    if not exact or not hmac.compare_digest(own_seal, seal(walk.key, record)):
        walk.wrong(
            name, number, f"record {seq} was changed after it was written, or is not sealed with this key"
        )
    elif seq != last.seq + 1:
        if seq > last.seq + 1:
            text = f"records {last.seq + 1} to {seq - 1} are missing before this line"
        else:
            text = f"record {seq} stands after record {last.seq}: moved, repeated or inserted"
        walk.wrong(name, number, text)
    elif last.hash and previous != last.hash:
        walk.wrong(name, number, f"record {seq} does not follow the record before it (chain broken)")
    if walk.anchor is not None and walk.anchor.seq == seq:
        walk.anchor_met = True
        if walk.anchor.hash != own_seal:
            walk.wrong(
                name, number, f"record {seq} is not the one this host has seen: the trail was written anew"
            )
    _notice(walk, name, number, record)
    return record


def _notice(walk: _Walk, name: str, number: int, record: dict[str, Any]) -> None:
    if record.get("type") == "recovered":
        text = f"{record.get('truncated_bytes')} bytes of a torn line were cut off here after a crash"
        walk.notices.append(AuditProblem(name, number, text))
    if record.get("type") == "anchor.mismatch":
        seen, ended = record.get("anchor_seq"), record.get("found_seq")
        walk.wrong(
            name,
            number,
            f"the trail ended at record {ended} here although {seen} had been seen: its tail was cut",
        )


def _tail(walk: _Walk, places: AuditPlaces, newest: str) -> None:
    anchor = walk.anchor
    if anchor is None:
        text = "no anchor: a tail that was cut off before now would not be noticed"
        walk.notices.append(AuditProblem(places.anchor.name, 0, text))
    elif not walk.anchor_met:
        if anchor.seq > walk.head.seq:
            text = f"the tail is missing: the trail ends at record {walk.head.seq}, but {anchor.seq} had been written"
            walk.wrong(newest, 0, text)
        elif not walk.count:
            walk.wrong(newest, 0, f"record {anchor.seq}, which this host has seen, is missing")
