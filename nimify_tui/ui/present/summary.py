"""What is on the screen as plain text, for a chat or a ticket."""

from __future__ import annotations

from nimify_tui.base.text import clean_line
from nimify_tui.domain.regions import RegionState
from nimify_tui.fleet.frames import Frame, RegionRow, ReplicaRow, ServiceDetail, ServiceRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present.panels import change_text
from nimify_tui.ui.present.services import reason_text, since_text, where_text

#: Rows of a summary at most; what is left out is counted.
_ROWS = 40


def fleet_summary(frame: Frame, now: float, selected: ServiceRow | None) -> list[str]:
    """Regions that are not live, services worst first, and why of the selected one."""
    summary = frame.summary
    first = (
        f"nimify fleet at {fmt.moment(now):%Y-%m-%d %H:%M:%S}Z: regions {summary.regions_live}/{summary.regions_total},"
        f" services {summary.services}, unwell {summary.unhealthy}, {fmt.measure(summary.rps)} rps,"
        f" p95 {fmt.measure(summary.p95)}, errors {fmt.measure(summary.error_ratio, 2)}"
    )
    unseen = [each for each in frame.regions if each.health.state is not RegionState.LIVE]
    lines = [first, *(_region_line(each) for each in unseen)]
    lines += [row_line(frame.rows[row_id], now) for row_id in frame.order[:_ROWS]]
    if len(frame.order) > _ROWS:
        lines.append(f"and {len(frame.order) - _ROWS} more services")
    detail = frame.details.get(selected.id) if selected is not None else None
    if detail is not None:
        lines += ["", *why_text(detail, now)]
    return lines


def _region_line(row: RegionRow) -> str:
    name, cause = clean_line(row.region.name, 60), clean_line(row.health.cause, 200)
    return f"region {name} {row.health.state}: {cause}"


def row_line(row: ServiceRow, now: float) -> str:
    """One service on one line."""
    ready = f"{'?' if row.ready is None else row.ready}/{row.desired}"
    numbers = f"{fmt.measure(row.rps)} rps, p95 {fmt.measure(row.p95)}, errors {fmt.measure(row.error_ratio)}"
    since = since_text(row, now)
    text = f"{row.state:<9} {clean_line(row.name, 80)} ({where_text(row, False)}) {ready} ready, {numbers}"
    reason = reason_text(row, now, False)
    return f"{text}{f', since {since}' if since else ''}{f', {reason}' if reason else ''}"


def why_text(detail: ServiceDetail, now: float) -> list[str]:
    """The why of a detail as lines."""
    why = detail.why
    since = "" if why.onset_at is None else f" since {fmt.date_clock(why.onset_at, now)}Z"
    lines = [
        f"why {clean_line(why.row_id, 120)} @ {clean_line(why.region, 60)}{since}: {clean_line(why.symptom, 300)}"
    ]
    for clue in why.clues:
        evidence = f" [{clean_line(clue.change.evidence, 200)}]" if clue.change.evidence else ""
        lines.append(
            f"  {fmt.clock(clue.change.at)}Z {change_text(clue.change)}{evidence}, {fmt.offset(clue.offset_s)}"
        )
    if not why.clues:
        lines.append(f"  {clean_line(why.verdict, 300) or 'nothing known changed'}")
    if why.elsewhere:
        lines.append(f"  {clean_line(why.elsewhere, 300)}")
    return lines


def detail_summary(row: ServiceRow | None, detail: ServiceDetail | None, now: float) -> list[str]:
    """One service: its line, why, replicas, the last changes."""
    if row is None:
        return ["the service is no longer there"]
    lines = [f"nimify service at {fmt.moment(now):%Y-%m-%d %H:%M:%S}Z", row_line(row, now)]
    if detail is None:
        return lines
    lines += why_text(detail, now)
    return lines + [_replica_line(each) for each in detail.replicas]


def _replica_line(row: ReplicaRow) -> str:
    replica = row.replica
    name, region = clean_line(replica.key.replica, 60), clean_line(replica.key.service.region, 60)
    reason = f": {clean_line(replica.reason, 200)}" if replica.reason else ""
    words = f" ({clean_line(replica.last_words, 200)})" if replica.last_words else ""
    return f"  replica {name} @ {region} {replica.state} r{replica.revision} run {replica.run}{reason}{words}"
