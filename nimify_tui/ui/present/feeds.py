"""The security feed and the time line of changes, as rows of a Feed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.security import SecurityEvent, Severity
from nimify_tui.fleet.frames import Frame
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present.panels import change_text, region_label
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.table import Row

_SEVERITY_STYLES = {Severity.HIGH: "bad", Severity.MED: "warn", Severity.LOW: "", Severity.INFO: "dim"}
_KIND_STYLES = {
    ChangeKind.CRASH: "bad",
    ChangeKind.HANG: "bad",
    ChangeKind.ATTACK: "bad",
    ChangeKind.REGION: "warn",
    ChangeKind.SLOWDOWN: "warn",
    ChangeKind.RECOVERY: "ok",
}

SECURITY_COLUMNS: tuple[Column, ...] = (
    Column("time", " TIME", 9),
    Column("severity", "SEV", 4),
    Column("where", "WHERE", 5, 14, flex=2, priority=3),
    Column("what", "WHAT", 10, 13, flex=1),
    Column("client", "CLIENT", 12, 15, flex=1, priority=2),
    Column("service", "SERVICE", 10, 14, flex=1, priority=1, shorten="middle"),
    Column("text", "TEXT", 14, flex=12),
)
CHANGE_COLUMNS: tuple[Column, ...] = (
    Column("time", " TIME", 9),
    Column("kind", "KIND", 8),
    Column("where", "WHERE", 5, 14, flex=2, priority=2),
    Column("service", "SERVICE", 10, 14, flex=1, priority=1, shorten="middle"),
    Column("text", "TEXT", 40, flex=12),
    Column("source", "SOURCE", 10, priority=3),
)


def security_rows(events: Iterable[SecurityEvent], now: float, short: bool) -> list[tuple[str, Row]]:
    """Newest first, as they come."""
    return [(event.id, security_row(event, now, short)) for event in events]


def security_row(event: SecurityEvent, now: float, short: bool) -> Row:
    """``18:41:52 HIGH eu-west-1 refused 203.0.113.9 → llama-chat sql injection, refused ×14``."""
    style = _SEVERITY_STYLES[event.severity]
    action = clean_line(event.action, 40)
    text = clean_line(event.text, 400)
    if action and action not in text:
        text = f"{text}, {action}"
    if event.count > 1:
        text = f"{text} ×{fmt.count(event.count)}"
    return Row(
        (
            Cell(f" {fmt.date_clock(event.at, now)}", "dim"),
            Cell(str(event.severity), style),
            Cell(region_label(event.region, short)),
            Cell(clean_line(event.category, 24)),
            Cell(clean_line(event.client, 60)),
            Cell(clean_line(event.key.name, 80) if event.key is not None else ""),
            Cell(text),
        )
    )


def security_facts(frame: Frame, now: float) -> str:
    """``12 in 5 min · 0 dropped``: repeats count."""
    recent = sum(each.count for each in frame.security if now - each.at <= 300.0)
    return f"{fmt.count(recent)} in 5 min · {fmt.count(frame.security_dropped)} older dropped"


def change_rows(changes: Sequence[Change], now: float, short: bool) -> list[tuple[str, Row]]:
    """Newest first, as they come."""
    return [(each.id, change_row(each, now, short)) for each in changes]


def change_row(change: Change, now: float, short: bool) -> Row:
    """One line of the time line, its evidence behind the text."""
    evidence = clean_line(change.evidence, 300)
    text = change_text(change)
    return Row(
        (
            Cell(f" {fmt.date_clock(change.at, now)}", "dim"),
            Cell(str(change.kind), _KIND_STYLES.get(change.kind, "")),
            Cell(region_label(change.region, short)),
            Cell(clean_line(change.key.name, 80) if change.key is not None else ""),
            Cell(f"{text}  {evidence}" if evidence else text),
            Cell(clean_line(change.source, 24), "dim"),
        )
    )
