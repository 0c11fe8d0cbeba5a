"""What the chart's screen says in words: title, facts, the read-out at the cursor, marks, and the panel as PromQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from nimify_tui.base.text import clean_line
from nimify_tui.domain.changes import Change
from nimify_tui.domain.history import ChartMetric
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.promql import own_words
from nimify_tui.fleet.details import MARKS
from nimify_tui.fleet.frames import Frame, ServiceDetail, ServiceRow
from nimify_tui.fleet.past import told_between
from nimify_tui.fleet.series import COLUMN_S
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present.charts import KEPT_S, Compare, Drawn, Lack, Scene, format_of
from nimify_tui.ui.present.panels import change_mark, change_text
from nimify_tui.ui.present.queries import told_once
from nimify_tui.ui.present.timerange import RANGES, TimeView
from nimify_tui.ui.widgets.cells import SpanLike
from nimify_tui.ui.widgets.chart import Reading
from nimify_tui.ui.widgets.scale import Span
from nimify_tui.ui.widgets.timeaxis import ChartMark

Spans = tuple[SpanLike, ...]
#: A mark is told of at the cursor when it is no further away than so many columns.
_NEAR_COLUMNS = 2.0
_MARKS_TOLD = 3


class Told(NamedTuple):
    """A mark with its words; what lasted did so until ``until`` (unix seconds)."""

    mark: ChartMark
    words: str
    until: float | None = None

    def away(self, at: float) -> float:
        """How far a time is from it, seconds."""
        return max(self.mark.at - at, at - (self.mark.at if self.until is None else self.until), 0.0)


def marks_of(detail: ServiceDetail | None, now: float) -> list[Told]:
    """Deploys (changes, and revisions from before this console watched) and incidents, oldest first."""
    if detail is None:
        return []
    several = len({service.key.region for service in detail.services}) > 1
    found = [
        Told(change_mark(each), _change_words(each, now, several))
        for each in detail.changes
        if each.kind in MARKS
    ]
    told = {(each.key, each.revision) for each in detail.changes if each.revision is not None}
    for service in detail.services:
        for revision in service.revisions:
            if (service.key, revision.number) not in told:
                words = f"revision {revision.number}"
                words += f" by {clean_line(revision.created_by, 40)}" if revision.created_by else ""
                at = revision.created_at
                found.append(
                    Told(ChartMark(at, f"r{revision.number}", "deploy"), _stamped(at, now, words, service.key, several))
                )
    for one in detail.history.incidents:
        ended = f" to {fmt.date_clock(one.ended_at, now)}" if one.ended_at is not None else ", fires still"
        words = f"{clean_line(one.rule, 60)}{ended}: {clean_line(one.text, 120)}"
        mark = ChartMark(one.fired_at, one.rule, "incident")
        until = one.ended_at if one.ended_at is not None else now
        found.append(Told(mark, _stamped(one.fired_at, now, words, one.key, several), until))
    return sorted(found, key=lambda each: each.mark.at)


def _change_words(change: Change, now: float, several: bool) -> str:
    return _stamped(change.at, now, change_text(change), change.key, several)


def _stamped(at: float, now: float, words: str, key: ServiceKey | None, several: bool) -> str:
    where = f" @ {clean_line(key.region, 40)}" if several and key is not None else ""
    return f"{fmt.date_clock(at, now)} {words}{where}"


def title_spans(row: ServiceRow, scene: Scene) -> Spans:
    """``latency  llama-chat, 3 regions  p95 by region``."""
    where = f"{row.region_count} regions" if row.region_count > 1 and not row.depth else row.region_states[0][0]
    lines = {
        ChartMetric.LATENCY: "p50, p95, p99" if scene.compare is Compare.NOTHING else "p95",
        ChartMetric.REQUESTS: "requests/s", ChartMetric.ERRORS: "failed of all",
    }[scene.metric]  # fmt: skip
    how = {Compare.NOTHING: "", Compare.REGIONS: " by region", Compare.REVISIONS: " since the deploy"}[scene.compare]
    return (
        (scene.metric.value, "title"),
        (f"  {clean_line(row.name, 60)}, {clean_line(where, 40)}", ""),
        (f"  {lines}{how}", "dim"),
    )


def ranges_spans(view: TimeView) -> Spans:
    """``1 5m  2 15m  3 1h``, the one that is shown in bold."""
    spans: list[SpanLike] = []
    for number, name in enumerate(RANGES, 1):
        spans += [(f"{number} {name}", "title" if name == view.name else "dim"), ("  ", "")]
    return tuple(spans[:-1])


def range_facts(scene: Scene, drawings: Sequence[Drawn], view: TimeView, now: float) -> str:
    """``have 12m of 6h · to now``: what lacks comes first, for where there is little room."""
    lacking: dict[str, list[str]] = {}
    for each in drawings:
        if has := each.has(scene):
            lacking.setdefault(has, []).append(each.group.name)
    parts = [", ".join(f"{' '.join(names) or 'have'} {has}" for has, names in lacking.items())] if lacking else []
    parts = [f"{parts[0]} of {view.name}"] if parts else []
    if scene.compare is Compare.REVISIONS:
        parts.append("after and before")
    else:
        parts.append(f"to {'now' if view.live else fmt.date_clock(view.end(now), now)}")
    return " · ".join(parts)


def facts(scene: Scene, drawings: Sequence[Drawn], monitored: Mapping[str, str]) -> str:
    """``Prometheus prom:9090``: who tells it."""
    parts = [scene.note] if scene.note else []
    regions = {key.region: None for each in drawings for key in each.group.keys}
    servers = dict.fromkeys(monitored[each] for each in regions if each in monitored)
    if len(servers) > 1:
        parts.append(f"Prometheus x{len(servers)}")
    elif servers:
        parts.append(clean_line(next(iter(servers)), 60))
    if any(each not in monitored for each in regions):
        parts.append("measured here")
    return " · ".join(parts)


def remarks(scene: Scene, drawings: Sequence[Drawn], monitored: Mapping[str, str]) -> list[str]:
    """What is not whole of what servers told, what they could not tell, and who has not answered yet."""
    said: dict[str, None] = {}
    points: dict[str, None] = {}
    for each in drawings:
        for key, answer in each.answers:
            server = clean_line(monitored[key.region], 60)
            if answer is None:
                said[f"asking {server}"] = None
            elif answer.error:
                said[": ".join(filter(None, (clean_line(answer.error, 200), clean_line(answer.remedy, 120))))] = None
            else:
                if answer.note:
                    said[clean_line(answer.note, 200)] = None
                if answer.piece_s:
                    step, piece = fmt.span_words(answer.step_s), fmt.span_words(answer.piece_s)
                    points[f"each point is of {step}, its peak of {piece}"] = None
        if scene.metric is ChartMetric.REQUESTS:
            said.update(dict.fromkeys(_without(scene, each)))
        said.update(dict.fromkeys(_lack_words(lack, scene.axis.end_at) for lack in each.lacks))
    if scene.compare is not Compare.REGIONS and scene.window_s > KEPT_S and any(each.answers for each in drawings):
        regions = {key.region: None for each in drawings for key in each.group.keys if key.region not in monitored}
        if regions:
            said[f"{', '.join(clean_line(each, 40) for each in regions)}: the last hour alone"] = None
    return [*said, *points]


def _without(scene: Scene, drawing: Drawn) -> Iterator[str]:
    """The regions that a sum is without before they told something, or after."""
    group, told = drawing.group, [(key, answer) for key, answer in drawing.answers if answer is not None]
    between = {key: found for key, answer in told if (found := told_between(answer)) is not None}
    if not between:
        return
    first, last = min(begin for begin, _ in between.values()), max(end for _, end in between.values())
    for key, answer in told:
        region, now = clean_line(key.region, 40), scene.axis.end_at
        if key not in between:
            if not answer.error:
                yield f"without {region}"
            continue
        begin, end = between[key]
        # A step ends at its time.
        if begin > first and begin - scene.step_s > group.begin:
            yield f"without {region} until {fmt.date_clock(begin - scene.step_s, now)}"
        if end < last and end < group.end:
            yield f"without {region} since {fmt.date_clock(end, now)}"


def _lack_words(lack: Lack, now: float) -> str:
    """Which region what was measured here is without, and when."""
    region = clean_line(lack.region, 40)
    if lack.begin is None and lack.end is None:
        return f"without {region}"
    if lack.begin is None:
        return f"without {region} until {fmt.date_clock(lack.end or now, now)}"
    since = fmt.date_clock(lack.begin, now)
    return f"without {region} {f'{since} to {fmt.date_clock(lack.end, now)}' if lack.end else f'since {since}'}"


def empty_words(scene: Scene, drawings: Sequence[Drawn], detail: ServiceDetail | None, said: Sequence[str]) -> str:
    """Why nothing is drawn."""
    if said:
        return said[0]
    if detail is None:
        return "looking it up"
    if not detail.history.columns:
        return clean_line(detail.history.reason, 120) or "no requests measured yet"
    first = detail.history.columns[0].at
    if all(not each.answers for each in drawings) and scene.axis.end_at < first:
        if first - scene.axis.end_at <= 2 * scene.axis.step:
            return f"the first column of {fmt.span_words(scene.axis.step)} is not over yet; - and + change the range"
        return "nothing known of then: an hour is kept here, a region's Prometheus has more"
    return "no requests in this time"


# -- the cursor ------------------------------------------------------------------------------
def moment_words(scene: Scene, reading: Reading | None, pointed: bool, now: float) -> str:
    """The time that is read: ``18:42:10 to 18:43:10``."""
    if not pointed:
        return "last values"
    if reading is None:
        return "there is no room for a cursor, or nothing to read"
    since = scene.axis.since
    if since is not None:
        after = max(0.0, reading.begin_at - since)
        return f"{fmt.span_words(after)} after the deploy, and as long into the time before it"
    return f"{fmt.date_clock(reading.begin_at, now)} to {fmt.date_clock(reading.end_at, now)}"


def span_text(span: Span, metric: ChartMetric, signs: str = "") -> str:
    """``1.9s``, or ``0.6s to 1.9s`` where a column has more than one value; ``>10s`` where that is only a bound."""
    if span is None:
        return fmt.UNKNOWN
    text = format_of(metric)
    low, high = text(span[0]), text(span[1])
    least, most = ("<" if "<" in signs else ""), (">" if ">" in signs else "")
    if low == high:
        return high if high.startswith("<") else f"{least or most}{high}"
    return f"{least}{low} to {most}{high}"


def signs_at(drawn: Drawn, number: int, begin: float, end: float) -> str:
    """The signs of a curve's points between two times."""
    return "".join(sign for at, sign in drawn.signs[number] if begin <= at < end) if drawn.signs else ""


def near(told: Sequence[Told], reading: Reading | None, pointed: bool) -> list[Told]:
    """The marks about the cursor, the nearest first; without a cursor the newest ones."""
    if reading is None:
        return []
    if not pointed:
        return [each for each in reversed(told) if each.mark.at < reading.end_at][:_MARKS_TOLD]
    middle, room = (reading.begin_at + reading.end_at) / 2, reading.end_at - reading.begin_at
    found = [each for each in told if each.away(middle) <= (_NEAR_COLUMNS + 0.5) * room]
    return sorted(found, key=lambda each: each.away(middle))[:_MARKS_TOLD]


# -- PromQL ----------------------------------------------------------------------------------
def promql_lines(scene: Scene, drawings: Sequence[Drawn], frame: Frame, monitored: Mapping[str, str]) -> list[str]:
    """The panel as PromQL, the same expression of several servers once; else what is measured here, and over what."""
    said: list[tuple[str, tuple[str, ...]]] = []
    keys: dict[ServiceKey, str] = {key: each.group.row_id for each in drawings for key in each.group.keys}
    answers = {key: answer for each in drawings for key, answer in each.answers if answer is not None}
    for key, row_id in keys.items():
        where = clean_line(key.region, 60)
        if key.region in monitored:
            answer, server = answers.get(key), clean_line(monitored[key.region], 60)
            if answer is None:
                lines: tuple[str, ...] = (f"# {server} has not answered yet",)
            elif answer.error:
                lines = (f"# {clean_line(answer.error, 200)}",)
            else:
                told = [(f"# {clean_line(name, 60)}", clean_line(text, 40_000)) for name, text in answer.queries]
                lines = tuple(line for pair in told for line in pair) or ("# this runtime does not tell it",)
            where = f"{where} ({server})"
        else:
            detail = frame.details.get(row_id)
            names = own_words(detail.history.runtime, scene.metric) if detail is not None else ""
            over = f"measured by this console over {COLUMN_S:g} s each, for an hour"
            lines = (f"# no Prometheus: {names or 'no metric read yet'}", f"# {over}")
        said.append((where, lines))
    return told_once(said)
