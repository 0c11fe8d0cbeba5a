"""The status line and the region strip."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from nimify_tui.base.text import ELLIPSIS, clean_line
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ServiceState
from nimify_tui.fleet.frames import Frame, RegionRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.glyphs import STATE_STYLES, Glyphs

Span = tuple[str, str]
Spans = tuple[Span, ...]

#: What a region's own state looks like when it is not LIVE: (symbol of a service state, style).
#: A remedy that would be cut to less than this says nothing.
_LEAST_WORDS = 12
#: A server's address, with which the words of a lost connection begin.
_ADDRESS = re.compile(r"https?://[^\s,;()]+\s")
_REGION_LOOK: dict[RegionState, tuple[str, str]] = {
    RegionState.CONNECTING: ("starting", "start"),
    RegionState.THROTTLED: ("degraded", "warn"),
    RegionState.STALE: ("unknown", "stale"),
    RegionState.DOWN: ("down", "bad"),
    RegionState.AUTH: ("down", "bad"),
    RegionState.PAUSED: ("stopped", "dim"),
}


class HeadFacts(NamedTuple):
    """What the status line says besides the frame."""

    now: float
    actor: str
    mode: str
    note: str = ""


def mode_word(read_only: bool, writable: int, regions: int) -> str:
    """READ-ONLY, READ-WRITE, or how many regions are open for changes."""
    if read_only or (regions and not writable):
        return "READ-ONLY"
    return "READ-WRITE" if writable >= regions else f"READ-WRITE {writable}/{regions}"


def status_spans(frame: Frame, facts: HeadFacts, width: int) -> tuple[Spans, Spans]:
    """(left, right) of the top line: is anything wrong, and may I act?"""
    summary = frame.summary
    narrow = width < 100
    regions = f"{summary.regions_live}/{summary.regions_total}"
    regions_style = "warn" if summary.regions_live < summary.regions_total else ""
    # (importance, spans): the least important go first when the line is short.
    items: list[tuple[int, Spans]] = [
        (0, ((" nimify demo" if all_demo(frame) else " nimify", "title"),)),
        (0, ((f"{regions} regions" if narrow else f"regions {regions}", regions_style),)),
        (
            5,
            (
                (
                    f"services {summary.services - summary.unhealthy}/{summary.services}",
                    "warn" if summary.unhealthy else "",
                ),
            ),
        ),
        (2, ((f"{fmt.measure(summary.rps)}{'/s' if narrow else ' rps'}", fmt.style_of(summary.rps)),)),
        (1, ((f"p95 {fmt.measure(summary.p95)}", fmt.style_of(summary.p95)),)),
        (3, ((f"err {_error(frame)}", fmt.style_of(summary.error_ratio)),)),
        (1 if summary.alerts or summary.alerting else 4, (_alerts(frame, narrow),)),
    ]
    if summary.burning:
        items.append((2, ((f"burn {summary.burning}", "bad"),)))
    if facts.note:
        items.append((0, ((facts.note, "warn"),)))
    mode_style = "" if facts.mode.startswith("READ-WRITE") else "bold"
    right_all: list[tuple[int, Spans]] = [
        (1, ((fmt.clock_minutes(facts.now), ""),)),
        (6, ((clean_line(facts.actor, 40), "dim"),)),
        (0, ((facts.mode, mode_style),)),
    ]
    kept = _fit(
        [*((rank, spans, 0) for rank, spans in items), *((rank, spans, 1) for rank, spans in right_all)], width
    )
    gap = "  "
    left = _join([spans for _, spans, side in kept if side == 0], gap)
    right = _join([spans for _, spans, side in kept if side == 1], " ")
    return left, (*right, (" ", ""))


def all_demo(frame: Frame) -> bool:
    """Whether everything on the screen belongs to a demo: then it is said once, at the top."""
    return bool(frame.regions) and all(row.region.demo for row in frame.regions)


def _alerts(frame: Frame, narrow: bool) -> Span:
    """How many fire, by severity: "0" is none where something was judged, "–" that nothing can be judged.

    Behind it whether alerting itself does not work.
    """
    summary = frame.summary
    deaf = " alerting DOWN" if summary.alerting else ""
    if summary.alerts is None:
        return f"alerts {fmt.UNKNOWN}{deaf}", "warn" if deaf else "dim"
    critical, warning = summary.alerts_critical, summary.alerts - summary.alerts_critical
    words = ("C", "W") if narrow else (" CRIT", " WARN")
    parts = [f"{count}{word}" for count, word in zip((critical, warning), words, strict=True) if count]
    return f"alerts {' '.join(parts) or '0'}{deaf}", "bad" if critical else "warn" if warning or deaf else ""


def _error(frame: Frame) -> str:
    measure = frame.summary.error_ratio
    return fmt.measure(measure, digits=2 if measure.value is not None and measure.value < 0.01 else 1)


def _fit(items: list[tuple[int, Spans, int]], width: int) -> list[tuple[int, Spans, int]]:
    def needed() -> int:
        # Two blanks between parts at the left, one at the right, one at the end.
        return sum(sum(len(text) for text, _ in spans) + (1 if side else 2) for _, spans, side in items)

    items = list(items)
    while needed() > width and any(rank for rank, _, _ in items):
        worst = max(rank for rank, _, _ in items)
        items.pop(max(index for index, item in enumerate(items) if item[0] == worst))
    return items


def _join(parts: Sequence[Spans], gap: str) -> Spans:
    joined: list[Span] = []
    for part in parts:
        if joined:
            joined.append((gap, ""))
        joined.extend(part)
    return tuple(joined)


class Strip(NamedTuple):
    """The region strip: ``items`` wrap side by side; each of ``lines`` has its own line below."""

    items: tuple[Spans, ...]
    lines: tuple[Spans, ...]


def strip(frame: Frame, now: float, width: int, height: int, glyphs: Glyphs) -> Strip:
    """Where is something wrong? Regions that are not live get a line of their own, with the cause."""
    live = [row for row in frame.regions if row.health.state is RegionState.LIVE]
    other = [row for row in frame.regions if row.health.state is not RegionState.LIVE]
    room = 1 if height < 20 else 2 if height < 36 else 4
    own_line = other if len(other) <= room else []
    demo_alone = all_demo(frame)
    items: list[Spans] = _live_items(live, width, height, glyphs, demo_alone)
    for row in other:
        if row not in own_line:
            symbol, style = _REGION_LOOK[row.health.state]
            text = f"{_name(row, True)} {glyphs.state(symbol)} {row.health.state}"
            items.append(((text, style),))
    return Strip(tuple(items), tuple(_trouble(row, now, width, glyphs) for row in own_line))


def _name(row: RegionRow, short: bool) -> str:
    return clean_line(row.region.short if short else row.region.name, 40)


def _live_items(rows: Sequence[RegionRow], width: int, height: int, glyphs: Glyphs, demo_alone: bool) -> list[Spans]:
    full = [_live_item(row, False, True, glyphs, demo_alone) for row in rows]
    lines = 2 if height >= 36 else 1
    if _lines(full, width) <= lines:
        return full
    short = [_live_item(row, True, True, glyphs, demo_alone) for row in rows]
    return short if _lines(short, width) <= 1 else [_live_item(row, True, False, glyphs, demo_alone) for row in rows]


def _lines(items: Sequence[Spans], width: int, gap: int = 3) -> int:
    lines, used = 1, 0
    for item in items:
        length = sum(len(text) for text, _ in item)
        if used and used + gap + length > width:
            lines, used = lines + 1, 0
        used += (gap if used else 1) + length
    return lines


def _live_item(row: RegionRow, short: bool, numbers: bool, glyphs: Glyphs, demo_alone: bool) -> Spans:
    worst = row.worst if row.worst not in (None, ServiceState.STOPPED) else ServiceState.OK
    state = (worst or ServiceState.OK).lower()
    style = "" if state == "ok" else STATE_STYLES.get(state, "")
    spans: list[Span] = [(f"{_name(row, short)} ", ""), (glyphs.state(state), style)]
    if numbers and row.rps.value is not None:
        spans.append((f" {fmt.measure(row.rps)}/s", fmt.style_of(row.rps)))
        if row.p95.value is not None:
            spans.append((f" {fmt.measure(row.p95)}", fmt.style_of(row.p95)))
    elif numbers and not row.services:
        spans.append((" no services", "dim"))
    if row.region.demo and not demo_alone:
        spans.append((" demo", "dim"))
    return tuple(spans)


def _trouble(row: RegionRow, now: float, width: int, glyphs: Glyphs) -> Spans:
    symbol, style = _REGION_LOOK[row.health.state]
    name = _name(row, short=width < 100)
    age = (
        "" if row.health.last_contact_at is None else f" {fmt.span_words(max(0.0, now - row.health.last_contact_at))}"
    )
    head = f"{name} {glyphs.state(symbol)} {row.health.state}{age}"
    cause, remedy = clean_line(row.health.cause, 160), clean_line(row.health.remedy, 160)
    room = width - 2 - len(head) - 2
    # When it is tried again stays whole; cause and remedy share what is left, and half of it is the cause's.
    spare = room - len(_trouble_words(row, now, cause, remedy))
    if spare < 0 and row.last_known:
        row = msgspec.structs.replace(row, last_known=False)  # each of its rows says so itself
        spare = room - len(_trouble_words(row, now, cause, remedy))
    if spare < 0:  # what is the matter says more than where the server is, which the other screens tell
        cause = _ADDRESS.sub("", cause)
        spare = room - len(_trouble_words(row, now, cause, remedy))
    if spare < 0 and remedy:
        both = len(cause) + len(remedy) + spare
        remedy = shorten_end(remedy, max(both // 2, both - len(cause))) if both // 2 >= _LEAST_WORDS else ""
    spare = room - len(_trouble_words(row, now, cause, remedy))
    if spare < 0 and cause:
        cause = shorten_end(cause, max(8, len(cause) + spare))
    words = _trouble_words(row, now, cause, remedy)
    return ((head, style), (f", {words}" if words else "", ""))


def shorten_end(text: str, width: int) -> str:
    """``text`` cut at its end to ``width`` characters."""
    if len(text) <= width:
        return text
    cut = text[: width - 1] + ELLIPSIS
    return cut[: width - 2] + ELLIPSIS + ")" if cut.count("(") > cut.count(")") else cut


def _trouble_words(row: RegionRow, now: float, cause: str, remedy: str) -> str:
    health = row.health
    parts = []
    match health.state:
        case RegionState.CONNECTING:
            address = clean_line(row.region.address, 120)
            if not address or address not in cause:  # else the cause says where, and no line says it twice
                parts.append(f"connecting to {address}")
            parts.append(cause)
        case RegionState.DOWN:
            said = cause.startswith("no contact")
            parts.append(cause if said else f"no contact from this host{f' ({cause})' if cause else ''}")
            if row.traffic_seen:
                parts.append("its metrics still show traffic")
        case _:
            parts.append(cause or ("" if health.cause else "no reason given"))
    if row.last_known:
        parts.append("rows are from the last session")
    if health.next_try_at is not None:
        parts.append(f"next try in {fmt.span_words(max(0.0, health.next_try_at - now))}")
    if remedy:
        parts.append(remedy)
    return ", ".join(filter(None, parts))


def unfinished_line(count: int) -> Spans:
    """What an earlier session left behind."""
    were = "action of an earlier session was" if count == 1 else "actions of earlier sessions were"
    return ((f"{count} {were} cut short", "warn"), (": U shows what is so now, and what to do", ""))


def hint_line(hint: str, width: int) -> Spans:
    """One line for newcomers; on a narrow screen its last parts go, whole."""
    text = clean_line(hint, 300)
    while len(text) > width - 2 and (cut := max(text.rfind(", "), text.rfind("; "))) > 0:
        text = text[:cut]
    return ((text, "start"),)
