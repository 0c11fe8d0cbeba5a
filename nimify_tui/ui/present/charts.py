"""The chart's screen: which times of whom are looked at, and what came of it as curves. No drawing, no demand is made.

Two sources: what this console has measured itself (an hour in columns of four seconds), and what a region's Prometheus
has. What neither knows is a gap.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nimify_tui.base.text import clean_line
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.demands import Demand, DetailDemand, HistoryDemand
from nimify_tui.domain.history import ChartMetric, History
from nimify_tui.domain.names import ServiceKey, short_region
from nimify_tui.fleet.frames import ChartColumn, Frame, LatencyHistory, ServiceDetail, ServiceRow
from nimify_tui.fleet.past import Stretch, merged
from nimify_tui.fleet.series import COLUMN_S, HOUR_COLUMNS
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present.timerange import RANGES, TimeView
from nimify_tui.ui.widgets.chart import ChartData, ChartSeries
from nimify_tui.ui.widgets.plot import FORMS
from nimify_tui.ui.widgets.scale import Formatter, Point
from nimify_tui.ui.widgets.timeaxis import ChartMark, TimeAxis

#: Regions that are compared: as many as there are forms of a line.
MOST_REGIONS = len(FORMS)
#: A Prometheus is asked for a range that goes on so often at most, seconds.
REFRESH_S = 60
#: Shorter points are asked of nobody, seconds.
_LEAST_STEP_S = 5
#: Up to columns so long (seconds) what was measured here comes first: a Prometheus tells rates over more than that.
_OWN_FIRST_S = 60
#: The column that goes on is shown where columns are longer than this, seconds.
_WHOLE_S = 60
#: What was measured here belongs together when it is no further apart, seconds.
_OWN_GAP_S = 4 * COLUMN_S
#: What this console keeps of what it measured, seconds.
KEPT_S = COLUMN_S * HOUR_COLUMNS
#: Part of a range that may lack before it is said.
_LACKING = 0.1
#: A region that lacks in no more columns than this only answered a moment later than others did.
_LEAST_LACK = 3
#: What was measured here ends at most so long before now, seconds.
_FRESH_S = 30.0
_LINES = {
    ChartMetric.LATENCY: (("p50", "p50"), ("p95", "p95"), ("p99", "p99")),
    ChartMetric.REQUESTS: (("req/s", "p95"),),
    ChartMetric.ERRORS: (("err", "p99"),),
}
#: The line that is compared.
MAIN = {ChartMetric.LATENCY: 1, ChartMetric.REQUESTS: 0, ChartMetric.ERRORS: 0}
_STYLES = ("p95", "p99", "ok", "bold", "p50", "stale")


class Compare(enum.StrEnum):
    """What lies over each other."""

    NOTHING = "nothing"
    REGIONS = "regions"
    REVISIONS = "revisions"


@dataclass(frozen=True)
class Group:
    """What is drawn together: the services of a row between two times, moved by ``shift_s`` on the axis.

    ``label`` is its name where there is little room.
    """

    name: str
    label: str
    row_id: str
    keys: tuple[ServiceKey, ...]
    begin: float
    end: float
    shift_s: float = 0.0


@dataclass(frozen=True)
class Scene:
    """What a chart is about: its axis (``since``: a deploy that times are told from), groups, and the points' step."""

    metric: ChartMetric
    compare: Compare
    axis: TimeAxis
    window_s: float
    groups: tuple[Group, ...]
    step_s: int
    note: str = ""

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """(name, style) of the lines of each group."""
        all_ = _LINES[self.metric]
        return all_ if self.compare is Compare.NOTHING else (all_[MAIN[self.metric]],)

    def demands(self, monitored: Mapping[str, str], now: float) -> frozenset[Demand]:
        """What has to be looked up: details, and the past of regions with a Prometheus."""
        found: set[Demand] = {DetailDemand(group.row_id) for group in self.groups}
        # A multiple of the step, so that the same answer does for a while.
        refresh = self.step_s * math.ceil(REFRESH_S / self.step_s)
        for group in self.groups:
            begin, end = (math.floor(at / self.step_s) * self.step_s for at in (group.begin, group.end + self.step_s))
            end = min(end, math.floor(now / refresh) * refresh)
            if end - begin >= self.step_s:
                keys = [key for key in group.keys if key.region in monitored]
                found.update(HistoryDemand(key, self.metric, begin, end, self.step_s) for key in keys)
        return frozenset(found)


def last_deploy(detail: ServiceDetail | None, before: float) -> tuple[float, int | None, int | None] | None:
    """(when, revision, the one before) of the newest roll-out until ``before``; None where none is known."""
    if detail is None:
        return None
    told = [
        (each.at, each.revision) for each in detail.changes if each.kind is ChangeKind.ROLLOUT and each.at <= before
    ]
    kept = [(each.created_at, each.number) for service in detail.services for each in service.revisions]
    # The first revision replaces nothing.
    told += [pair for pair in kept if pair[0] <= before and pair[1] > min(number for _, number in kept)]
    if not told:
        return None
    at, number = max(told, key=lambda pair: pair[0])
    earlier = [each for _, each in kept if number is not None and each < number]
    return at, number, max(earlier, default=None)


def live_end(history: LatencyHistory | None, now: float) -> float:
    """Where a chart of now ends: at the last column that is whole."""
    if history is not None and history.columns:
        end = history.columns[-1].at + history.column_s
        if 0.0 <= now - end <= _FRESH_S:
            return end
    return now


def range_that_fits(history: LatencyHistory) -> float:
    """The shortest range that has all that was measured here, an hour at most, seconds."""
    covered = history.columns[-1].at - history.columns[0].at if history.columns else KEPT_S
    return next((each for each in RANGES.values() if covered <= each), KEPT_S)


def groups_of(
    row: ServiceRow, compare: Compare, begin: float, end: float, *, short: bool
) -> tuple[tuple[Group, ...], str]:
    """The groups of a row without a deploy in mind, and what is left out."""
    if compare is not Compare.REGIONS:
        return (Group("", "", row.id, row.keys, begin, end),), ""
    shown = sorted(row.keys[:MOST_REGIONS])
    note = f"{len(shown)} of {len(row.keys)} regions, the worst" if len(row.keys) > len(shown) else ""
    labels = {key: clean_line(short_region(key.region), 40) for key in shown}
    names = labels if short else {key: clean_line(key.region, 40) for key in shown}
    return tuple(Group(names[key], labels[key], key.row_id, (key,), begin, end) for key in shown), note


def live_axis(axis_for: Callable[[float], TimeAxis], end: float) -> TimeAxis:
    """The axis of a range that ends now: of long columns the one that goes on is the last."""
    axis = axis_for(end)
    return axis_for(end + axis.step - 1.0) if axis.step > _WHOLE_S else axis


def step_of(axis: TimeAxis, dots: int) -> int:
    """Seconds of a point: a dot column where that is whole seconds, else a column."""
    step = int(axis.step)
    return step // dots if step % dots == 0 and step // dots >= _LEAST_STEP_S else max(_LEAST_STEP_S, step)


class Lack(NamedTuple):
    """A region of which nothing was measured while others told; None: before all of them, or still."""

    region: str
    begin: float | None
    end: float | None


# -- curves ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Drawn:
    """A group's curves as they are known, and the answers of servers that they are made of.

    ``signs``: for each curve the points that are only bounds, (when, ">" or "<"). ``lacks``: the regions that it is
    without, as measured here.
    """

    group: Group
    points: tuple[tuple[Point, ...], ...]
    answers: tuple[tuple[ServiceKey, History | None], ...]
    signs: tuple[tuple[tuple[float, str], ...], ...] = ()
    lacks: tuple[Lack, ...] = ()

    def has(self, scene: Scene) -> str:
        """How much of the range is known: ``12m``, ``nothing``; "" when nothing to speak of lacks."""
        known = [
            at for line in self.points for at, value in line
            if value is not None and scene.axis.start_at <= at <= scene.axis.end_at
        ]  # fmt: skip
        told = any(answer is not None and answer.steps for _, answer in self.answers)
        have = max(known) - min(known) + (scene.step_s if told else COLUMN_S) if known else 0.0
        if have >= (1.0 - _LACKING) * scene.window_s:
            return ""
        return fmt.span(have) if known else "nothing"


def drawn(scene: Scene, group: Group, frame: Frame, monitored: Mapping[str, str]) -> Drawn:
    """A group's curves out of what is known now."""
    detail = frame.details.get(group.row_id)
    answers = tuple(
        (key, answer_for(frame, key, scene, group)) for key in group.keys if key.region in monitored
    )
    stretches = merged([each for _, each in answers if each is not None and each.steps], scene.metric)
    columns = detail.history.columns if detail is not None else ()
    numbers = range(len(_LINES[scene.metric])) if scene.compare is Compare.NOTHING else (MAIN[scene.metric],)
    half = detail.history.column_s / 2 if detail is not None else 0.0
    asked = {key.region for key, _ in answers}
    bounds = [each for each in columns if each.bounds]
    return Drawn(
        group, tuple(tuple(_line(scene, group, stretches, columns, half, number)) for number in numbers), answers,
        tuple(tuple(_signs(scene, group, stretches, bounds, number)) for number in numbers),
        tuple(each for each in _lacks(columns, group) if each.region not in asked),
    )  # fmt: skip


def _signs(
    scene: Scene, group: Group, stretches: Sequence[Stretch], columns: Sequence[ChartColumn], number: int
) -> Iterable[tuple[float, str]]:
    """Of the ``columns`` that have any."""
    if scene.metric is not ChartMetric.LATENCY:
        return
    for stretch in stretches:
        extent = stretch.lines[number] if number < len(stretch.lines) else None
        if extent is not None and extent.sign != " ":
            yield stretch.at - scene.step_s / 2 + group.shift_s, extent.sign
    for column in columns:
        if column.bounds[number] != " ":
            yield column.at + COLUMN_S / 2 + group.shift_s, column.bounds[number]


def _lacks(columns: Sequence[ChartColumn], group: Group) -> list[Lack]:
    """The last time that each region lacked in, within the group's own."""
    found: list[Lack] = []
    if not any(each.without for each in columns):
        return found
    told = [each for each in columns if each.rps is not None and group.begin <= each.at < group.end]
    for region in sorted({region for each in told for region in each.without}):
        last = max(place for place, each in enumerate(told) if region in each.without)
        first = last
        while first > 0 and region in told[first - 1].without:
            first -= 1
        end = told[last].at + COLUMN_S if last < len(told) - 1 else None
        if last - first >= _LEAST_LACK:
            found.append(Lack(region, told[first].at if first > 0 else None, end))
    return found


def _falls(columns: Sequence[ChartColumn]) -> frozenset[float]:
    """The columns in which a region lacks that told before and after: a sum would look like a fall."""
    found: set[float] = set()
    for region in {region for each in columns for region in each.without}:
        before, waiting = False, list[float]()
        for each in columns:
            if each.rps is None:
                continue
            if region in each.without:
                waiting += [each.at] if before else []
            else:
                before = True
                found.update(waiting)
                waiting.clear()
    return frozenset(found)


def answer_for(frame: Frame, key: ServiceKey, scene: Scene, group: Group) -> History | None:
    """The answer that has most of this time, the newest of several: a range that has gone on shows the one before until
    the next comes.
    """
    best, most = None, 0.0
    for demand, answer in frame.histories.items():
        if (demand.key, demand.metric, demand.step_s) == (key, scene.metric, scene.step_s):
            common = min(demand.end, group.end) - max(demand.begin, group.begin)
            if common > 0.0 and common >= most:
                best, most = answer, common
    return best


def _line(
    scene: Scene, group: Group, stretches: Sequence[Stretch], columns: Sequence[ChartColumn], half: float, number: int
) -> Iterable[Point]:
    """One line: what a server tells, and what was measured here."""
    falls = _falls(columns) if scene.metric is ChartMetric.REQUESTS else frozenset[float]()
    own = [
        (each.at + half, None if each.at in falls else _value(each, scene.metric, number)) for each in columns
    ]
    first = next((at for at, value in own if value is not None), math.inf)
    if scene.axis.step <= _OWN_FIRST_S:
        past = [each for each in stretches if each.at <= first - half]
    else:
        past = list(stretches)
    until = past[-1].at if past else -math.inf
    points: list[Point] = []
    before = math.inf
    for each in past:
        extent = each.lines[number] if number < len(each.lines) else None
        middle = each.at - scene.step_s / 2
        if each.at - before > 1.5 * scene.step_s:
            points.append((before + scene.step_s / 2, None))
        before = each.at
        if extent is not None:
            points += [(middle, end) for end in (extent.low, extent.high) if end != extent.value]
        points.append((middle, extent.value if extent is not None else None))
    points += [point for point in own if point[0] - half >= until]
    # Before and after a deploy each have their own time; of all others only what is beyond the picture is left out.
    begin = group.begin if scene.compare is Compare.REVISIONS else -math.inf
    return [(at + group.shift_s, value) for at, value in points if begin <= at < group.end]


def _value(column: ChartColumn, metric: ChartMetric, number: int) -> float | None:
    match metric:
        case ChartMetric.LATENCY:
            return (column.p50_s, column.p95_s, column.p99_s)[number]
        case ChartMetric.REQUESTS:
            return column.rps
        case ChartMetric.ERRORS:
            return column.error_ratio


def chart_data(
    scene: Scene, drawings: Sequence[Drawn], row: ServiceRow, marks: Sequence[ChartMark], view: TimeView, empty: str
) -> ChartData:
    """What the chart draws."""
    series, compared = [], scene.compare is not Compare.NOTHING
    for place, each in enumerate(drawings):
        # What a server tells belongs together from step to step; a gap is told as one.
        asked = any(answer is not None for _, answer in each.answers)
        gap_s = max(1.6 * scene.step_s, _OWN_GAP_S) if asked else None
        lines = ((each.group.label, _STYLES[place % len(_STYLES)]),) if compared else scene.lines
        for (name, style), points in zip(lines, each.points, strict=True):
            series.append(ChartSeries(name, style, points, place if compared else 0, gap_s))
    slo, slo_text = _objective(scene, row)
    return ChartData(
        series=tuple(series), now_at=scene.axis.end_at, window_s=scene.window_s, slo=slo, slo_text=slo_text,
        marks=tuple(marks), format=format_of(scene.metric), empty=empty, cursor_at=view.cursor_at,
        since=scene.axis.since,
    )  # fmt: skip


def format_of(metric: ChartMetric) -> Formatter:
    """A value with its unit."""
    return {
        ChartMetric.LATENCY: fmt.latency, ChartMetric.REQUESTS: fmt.rate,
        ChartMetric.ERRORS: lambda value: fmt.percent(value, 2),
    }[metric]  # fmt: skip


def _objective(scene: Scene, row: ServiceRow) -> tuple[float | None, str]:
    slo = row.slo
    if slo is None or scene.metric is ChartMetric.REQUESTS:
        return None, "no SLO" if slo is None else ""
    if scene.metric is ChartMetric.ERRORS:
        return 1.0 - slo.objective, ""
    if slo.latency_ms is None or (scene.compare is not Compare.NOTHING and slo.quantile != 0.95):
        return None, f"SLO {slo.objective * 100:g}%"
    return slo.latency_ms / 1000, ""
