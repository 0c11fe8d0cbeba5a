"""`nimify-tui audit`: is the trail whole, and what does it say."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import msgspec

from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.audit_check import verify as verify_trail
from nimify_tui.base.clock import SystemClock, rfc3339
from nimify_tui.headless.output import emit, say


def verify(options: argparse.Namespace) -> int:
    """0: the trail is whole as far as it can be told from here; 1: something is wrong with it."""
    places = AuditPlaces.default()
    if not any(place.exists() for place in (places.folder, places.key, places.anchor)):
        say("there is no audit trail yet: nothing was changed from this host")
        return 0
    report = verify_trail(places)
    rows = [["problem", item.file, str(item.line), item.text] for item in report.problems]
    rows += [["notice", item.file, str(item.line), item.text] for item in report.notices]
    data = {
        "intact": report.intact,
        "records": report.records,
        "segments": report.segments,
        "head": {"seq": report.head.seq, "hash": report.head.hash},
        "problem_count": report.problem_count,
        "problems": [{"file": item.file, "line": item.line, "text": item.text} for item in report.problems],
        "notices": [{"file": item.file, "line": item.line, "text": item.text} for item in report.notices],
    }
    emit(
        options.output, data, ("KIND", "FILE", "LINE", "TEXT"), rows, [item.file for item in report.problems]
    )
    verdict = "whole" if report.intact else f"DAMAGED: {report.problem_count} problems"
    say(f"{report.records} records in {report.segments} segments: {verdict}")
    return 0 if report.intact else 1


def show(options: argparse.Namespace) -> int:
    """The actions on record, oldest first."""
    records = [record for record in _records() if str(record.get("type", "")).startswith("action.")]
    undone = {
        str(record.get("plan_id")): record for record in records if record.get("type") == "action.undone"
    }
    rows = [
        [
            rfc3339(float(record["ts"])),
            str(record["type"]).removeprefix("action."),
            str(record.get("actor", "")),
            str(record.get("summary", "")),
            _result(record, undone),
        ]
        for record in records
    ]
    names = [str(record.get("plan_id", "")) for record in records]
    emit(options.output, records, ("WHEN", "WHAT", "WHO", "SUMMARY", "RESULT"), rows, names)
    return 0


def _result(record: dict[str, Any], undone: dict[str, dict[str, Any]]) -> str:
    """How it ended; of an action that was taken back since, also by whom and when."""
    result = str(record.get("state", "") or record.get("why", "") or record.get("how", ""))
    later = undone.get(str(record.get("plan_id"))) if record.get("type") == "action.end" else None
    if later is None:
        return result
    return f"UNDONE by {later.get('actor', '')} at {rfc3339(float(later['ts']))} (was {result})"


def export(_options: argparse.Namespace) -> int:
    """Every record as one JSON object a line, as it stands in the trail."""
    for record in _records():
        sys.stdout.write(msgspec.json.encode(record, order="sorted").decode() + "\n")
    return 0


def _records() -> list[dict[str, Any]]:
    places = AuditPlaces.default()
    return list(AuditLog(places, SystemClock()).records()) if places.folder.is_dir() else []
