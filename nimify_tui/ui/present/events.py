"""What happened to one service, changes and security events on one time line: the detail's third tab."""

from __future__ import annotations

from dataclasses import replace

from nimify_tui.base.text import clean_line
from nimify_tui.fleet.frames import ServiceDetail
from nimify_tui.ui.present import feeds
from nimify_tui.ui.present.panels import change_text
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.table import Row

EVENT_COLUMNS = tuple(replace(each, shown=False) if each.key == "service" else each for each in feeds.CHANGE_COLUMNS)


def event_rows(detail: ServiceDetail, now: float, short: bool) -> list[tuple[str, Row]]:
    """Changes and security events on one time line, newest first."""
    merged: list[tuple[float, str, Row]] = [
        (each.at, f"c{each.id}", feeds.change_row(each, now, short)) for each in detail.changes
    ]
    for event in detail.security:
        row = feeds.security_row(event, now, short)
        time, severity, where, what, client, service, text = row.cells
        said = text if isinstance(text, str) else text.text
        who = client if isinstance(client, str) else client.text
        label = what if isinstance(what, str) else what.text
        cells = (
            time,
            severity,
            where,
            service,
            Cell(" ".join(filter(None, [label, who, said]))),
            Cell(event.source, "dim"),
        )
        merged.append((event.at, f"s{event.id}", Row(cells)))
    merged.sort(key=lambda each: -each[0])
    return [(key, row) for _, key, row in merged]


def event_about(detail: ServiceDetail, row_id: str) -> str:
    """All that is known of one event, "" when it is not there any more."""
    for change in detail.changes:
        if f"c{change.id}" == row_id:
            return _joined(change_text(change), change.evidence, source=change.source)
    for event in detail.security:
        if f"s{event.id}" == row_id:
            client = f"from {event.client}" if event.client else ""
            return _joined(event.category, client, event.text, event.action, source=event.source)
    return ""


def _joined(*parts: str, source: str) -> str:
    """Foreign texts, cleaned, each once; and who says so."""
    said = dict.fromkeys(clean_line(each, 600) for each in (*parts, f"source: {source}" if source else "") if each)
    return "; ".join(said)
