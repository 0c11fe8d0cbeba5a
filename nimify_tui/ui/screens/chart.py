"""One service over time: ranges of 5 min to 30 days, a cursor that reads, regions and revisions over each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from nimify_tui.domain.demands import Demand, DetailDemand
from nimify_tui.domain.history import ChartMetric
from nimify_tui.fleet.frames import Frame, ServiceDetail, ServiceRow
from nimify_tui.ui.commands import Command, Scope
from nimify_tui.ui.present import chart_words, charts, head
from nimify_tui.ui.present.chart_unusual import Strangeness
from nimify_tui.ui.present.charts import Compare, Drawn, Group, Scene
from nimify_tui.ui.present.layout import Box
from nimify_tui.ui.present.timerange import RANGES, TimeView
from nimify_tui.ui.screens.base import ConsoleScreen, bindings_for
from nimify_tui.ui.screens.querying import hand_queries
from nimify_tui.ui.widgets.cells import SpanLike
from nimify_tui.ui.widgets.chart import ChartData, LatencyChart
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.textline import StatusLine, StripLine
from nimify_tui.ui.widgets.timeaxis import TimeAxis, mark_glyph

#: Columns that the cursor goes at once.
_FAR = 10
#: Lines of marks and remarks with room, and with little.
_WORDS, _LITTLE = (2, 1), (1, 0)
#: Values that stand side by side.
_VALUE_CELLS = 30
_ROOMY_LINES = 20


class ChartScreen(ConsoleScreen):
    """See the module's text. ``row_id`` is a fold's or one region's; ``wanted`` names a range."""

    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.CHART, Scope.GLOBAL)
    BINDINGS: ClassVar[list[BindingType]] = bindings_for(Scope.CHART, Scope.GLOBAL)

    def __init__(self, row_id: str, wanted: str = "") -> None:
        super().__init__()
        self.row_id, self._wanted = row_id, wanted
        self.view = TimeView(RANGES.get(wanted, 3600.0))
        self.metric = ChartMetric.LATENCY
        self.compare = Compare.NOTHING
        self.status = StatusLine(id="status")
        self.title_rule = Rule(id="title-rule")
        self.ranges = Rule(id="ranges")
        self.chart = LatencyChart(id="chart")
        self.reading_rule = Rule(id="reading-rule")
        self.values = StripLine(id="values")
        self.marks = StatusLine(id="marks")
        self.remarks = StatusLine(id="remarks")
        self._demands: frozenset[Demand] = frozenset()
        self._scene: Scene | None = None
        self._drawn: list[Drawn] = []
        self._strangeness = Strangeness()
        self._data: ChartData | None = None
        #: What the picture was made of: while it is the same, so is the picture.
        self._seen: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The panes."""
        yield from (self.status, self.title_rule, self.ranges, self.chart, self.reading_rule, self.values)
        yield from (self.marks, self.remarks, self.footer_line, self.prompt)

    def on_mount(self) -> None:
        """Begin with the detail of its row, and where nothing was asked for with a range that what is known fills."""
        self._demand(frozenset({DetailDemand(self.row_id)}))
        detail, row = self.detail(), self.row()
        if not self._wanted and detail is not None and row is not None and self._monitored().keys().isdisjoint(
            key.region for key in row.keys
        ):
            self.view = TimeView(charts.range_that_fits(detail.history))
        self.chart.can_focus = True  # else the hidden prompt gets the keys
        self.set_focus(self.chart)

    def on_unmount(self) -> None:
        """Give back what was demanded."""
        self._demand(frozenset())

    def on_screen_suspend(self) -> None:
        """Nothing is asked for a chart that is not seen."""
        self._demand(frozenset())

    def on_screen_resume(self) -> None:
        """It is looked at again."""
        if self._deeds:
            self._again()

    def _demand(self, wanted: frozenset[Demand]) -> None:
        context = self.console_app.context
        for each in wanted - self._demands:
            context.demand(each)
        for each in self._demands - wanted:
            context.release(each)
        self._demands = wanted

    # -- layout ------------------------------------------------------------------------------
    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """The chart has what the read-out leaves."""
        roomy = height >= _ROOMY_LINES
        below = (self._value_lines(width) if roomy else 1, *(_WORDS if roomy else _LITTLE))
        room = max(1, height - 5 - sum(below))
        boxes = {
            "status": Box(0, 0, width, 1), "title-rule": Box(0, 1, width, 1), "ranges": Box(0, 2, width, 1),
            "chart": Box(0, 3, width, room), "reading-rule": Box(0, 3 + room, width, 1),
        }  # fmt: skip
        y = 4 + room
        for name, lines in zip(("values", "marks", "remarks"), below, strict=True):
            if lines:
                boxes[name] = Box(0, y, width, lines)
                y += lines
        return boxes

    def _value_lines(self, width: int) -> int:
        """Lines for the values: by the number of regions, not by what they say, so that nothing jumps."""
        row = self.row()
        count = min(charts.MOST_REGIONS, len(row.keys)) if row is not None and self.compare is Compare.REGIONS else 1
        return -(-count // max(1, width // _VALUE_CELLS))

    # -- showing -----------------------------------------------------------------------------
    def row(self) -> ServiceRow | None:
        """The table's row of this service, None when it is gone."""
        return self.console_app.context.frame.rows.get(self.row_id)

    def detail(self) -> ServiceDetail | None:
        """Its detail, None until it has come."""
        return self.console_app.context.frame.details.get(self.row_id)

    def _monitored(self) -> dict[str, str]:
        """The regions that have a Prometheus, with its name."""
        regions = self.console_app.context.frame.regions
        return {each.region.name: each.region.monitor for each in regions if each.region.monitor}

    def _again(self) -> None:
        app = self.console_app
        self.show(app.context.frame, app.now)

    def show(self, frame: Frame, now: float) -> None:
        """Fill the panes; a picture whose column has not completed is the same, and costs nothing."""
        app = self.console_app
        self.status.set_spans(*head.status_spans(frame, app.head_facts(), app.size.width))
        row = self.row()
        if row is None:
            self.title_rule.set("chart", "")
            self.chart.set_data(ChartData((), now, empty="this service is no longer there; esc goes back"))
            return
        if not self.chart.cols:
            return  # it has no size yet
        scene = self._scene = self._staged(row, now)
        monitored = self._monitored()
        if app.screen is self:
            self._demand(scene.demands(monitored, now))
        seen = self._made_of(scene, row, frame, monitored, now)
        if len(seen) == len(self._seen) and all(a is b or a == b for a, b in zip(seen, self._seen, strict=True)):
            return
        self._seen = seen
        self._drawn = [charts.drawn(scene, each, frame, monitored) for each in scene.groups]
        self._draw(scene, row, monitored, now)

    def _made_of(
        self, scene: Scene, row: ServiceRow, frame: Frame, monitored: Mapping[str, str], now: float
    ) -> tuple[object, ...]:
        """Everything that the picture and its words come from; what is shared by two frames is compared by identity."""
        details = [frame.details.get(each) for each in dict.fromkeys((self.row_id, *(g.row_id for g in scene.groups)))]
        told = [
            (one.history.columns, one.history.incidents, one.history.reason, one.changes, one.services)
            for one in details
            if one is not None
        ]
        day = now // 86400
        return (
            scene, self.view, frame.histories, monitored, told, row.name, row.slo, row.region_states, day,
            self.app.size, self.console_app.glyphs.name,
        )  # fmt: skip

    def _staged(self, row: ServiceRow, now: float) -> Scene:
        """What the chart is about at this size and now."""
        detail, chart, view = self.detail(), self.chart, self.view
        now_end = charts.live_end(detail.history if detail is not None else None, now)
        end = now_end if view.live else view.end(now)
        since = None
        deploy = charts.last_deploy(detail, end) if self.compare is Compare.REVISIONS else None
        if deploy is not None:
            since = deploy[0]
            end = since + view.window_s

        def axis_for(at: float) -> TimeAxis:
            return chart.axis_for(at, view.window_s, since)

        axis = charts.live_axis(axis_for, end) if view.live and since is None else axis_for(end)
        if view.cursor_at is not None and not axis.start_at <= view.cursor_at < axis.end_at:
            self.view = replace(view, cursor_at=None)
        if deploy is not None:
            at, number, before = deploy
            names = [f"r{number}" if number is not None else "after", f"r{before}" if before is not None else "before"]
            groups: tuple[Group, ...] = (
                Group(names[0], names[0], row.id, row.keys, at, min(now_end, at + view.window_s)),
                Group(names[1], names[1], row.id, row.keys, at - view.window_s, at, view.window_s),
            )
            note = ""
        else:
            short = self.app.size.width < 100
            groups, note = charts.groups_of(row, self.compare, axis.start_at, axis.end_at, short=short)
            if self.compare is Compare.REVISIONS:
                note = "no deploy is known"
        compare = Compare.NOTHING if self.compare is Compare.REVISIONS and deploy is None else self.compare
        return Scene(self.metric, compare, axis, view.window_s, groups, charts.step_of(axis, chart.dots), note)

    def _draw(self, scene: Scene, row: ServiceRow, monitored: Mapping[str, str], now: float) -> None:
        detail, view = self.detail(), self.view
        strange = self._strangeness.of(scene, self._drawn, now)
        told = sorted((*chart_words.marks_of(detail, now), *strange.told), key=lambda each: each.mark.at)
        said = chart_words.remarks(scene, self._drawn, monitored)
        empty = chart_words.empty_words(scene, self._drawn, detail, said)
        self._data = charts.chart_data(scene, self._drawn, row, [each.mark for each in told], view, empty)
        self.chart.set_data(self._data)
        self.title_rule.set(chart_words.title_spans(row, scene), chart_words.facts(scene, self._drawn, monitored))
        self.ranges.set(chart_words.ranges_spans(view), chart_words.range_facts(scene, self._drawn, view, now))
        pointed = view.cursor_at is not None
        at = view.cursor_at if view.cursor_at is not None else scene.axis.end_at - 1.0
        reading = self.chart.reading(at)
        self.reading_rule.set(chart_words.moment_words(scene, reading, pointed, now), "")
        self.values.set_items(self._values(scene, at, pointed))
        glyphs = self.console_app.glyphs
        marks = chart_words.near(told, reading, pointed)
        self.marks.set_lines(
            [
                (" ", (mark_glyph(each.mark.kind, glyphs), "bad" if each.mark.kind == "incident" else "dim"),
                 f" {each.words}") for each in marks
            ] or [((" nothing was changed, nothing fired about then" if pointed else " ", "dim"),)]
        )  # fmt: skip
        self.remarks.set_spans([(" " + " · ".join(filter(None, (*said, strange.words))), "dim")])

    def _values(self, scene: Scene, at: float, pointed: bool) -> list[list[SpanLike]]:
        """Each line's form, name and value at the cursor; without one the last value."""
        reading = self.chart.reading(at)
        items: list[list[SpanLike]] = []
        for number, series in enumerate(self._data.series if self._data is not None else ()):
            span = reading.spans[number] if reading is not None else None
            begin, end = (reading.begin_at, reading.end_at) if reading is not None else (at, at)
            if not pointed:
                last = next((point for point in reversed(series.points) if point[1] is not None), None)
                span = None if last is None or last[1] is None else (last[1], last[1])
                begin, end = (last[0], last[0] + 0.001) if last is not None else (at, at)
            lines = len(scene.lines)
            signs = chart_words.signs_at(self._drawn[number // lines], number % lines, begin, end)
            text = chart_words.span_text(span, scene.metric, signs)
            name = scene.groups[number].name if scene.compare is Compare.REGIONS else series.name
            items.append([(self.chart.legend(series.form), series.style), f" {name} ", (text, "bold")])
        return items

    # -- commands ----------------------------------------------------------------------------
    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """What the commands do."""
        ranges = {f"range-{name}": self._ranger(name) for name in RANGES}
        return {
            **ranges,
            "in": lambda _: self._look(self.view.zoomed(1, self.console_app.now)),
            "out": lambda _: self._look(self.view.zoomed(-1, self.console_app.now)),
            "range": self._range,
            "left": lambda _: self._point(-1),
            "right": lambda _: self._point(1),
            "far-left": lambda _: self._point(-_FAR),
            "far-right": lambda _: self._point(_FAR),
            "earlier": lambda _: self._pan(-0.5),
            "later": lambda _: self._pan(0.5),
            "live": lambda _: self._look(self.view.back()),
            "metric": self._metric,
            "compare": self._compare,
            "promql": self._promql,
        }

    def _ranger(self, name: str) -> Callable[[str], None]:
        return lambda _: self._range(name)

    def _look(self, view: TimeView) -> None:
        self.view = view
        self._again()

    def _range(self, name: str) -> None:
        window_s = RANGES.get(name.strip())
        if window_s is None:
            self.console_app.say(f"no range {name!r}; there are {', '.join(RANGES)}", "warn")
            return
        self._look(self.view.ranged(window_s, self.console_app.now))

    def _pan(self, share: float) -> None:
        if self._scene is not None and self._scene.compare is Compare.REVISIONS:
            self.console_app.say("around a deploy nothing is panned: + and - make the time longer or shorter", "dim")
            return
        self._look(self.view.panned(share, self.console_app.now))

    def _point(self, columns: int) -> None:
        """Move the cursor; the first time it comes in from the right."""
        if self._scene is None:
            return
        axis, at = self._scene.axis, self.view.cursor_at
        column = axis.width + min(columns, 0) if at is None else axis.column(at) + columns
        column = min(axis.width - 1, max(0, column))
        self._look(replace(self.view, cursor_at=axis.start_at + (column + 0.5) * axis.step))

    def _metric(self, name: str) -> None:
        every = list(ChartMetric)
        if name and name not in every:
            self.console_app.say(f"no metric {name!r}; there are {', '.join(every)}", "warn")
            return
        self.metric = ChartMetric(name) if name else every[(every.index(self.metric) + 1) % len(every)]
        self._again()

    def _compare(self, name: str) -> None:
        every = list(Compare)
        if name and name not in every:
            self.console_app.say(f"nothing to compare by {name!r}; there are {', '.join(every)}", "warn")
            return
        self.compare = Compare(name) if name else every[(every.index(self.compare) + 1) % len(every)]
        # Another axis: what was pointed at is not on it.
        self.view = replace(self.view.back(), end_at=self.view.end_at)
        self.place_panes()
        self._again()

    def _promql(self, path: str) -> None:
        app = self.console_app
        if self._scene is None:
            return
        lines = chart_words.promql_lines(self._scene, self._drawn, app.context.frame, self._monitored())
        hand_queries(app, lines, path)

    def values_for(self, command: Command) -> Iterable[str]:
        """Values that may follow a command."""
        match command.id:
            case "chart.metric":
                return tuple(ChartMetric)
            case "chart.compare":
                return tuple(Compare)
            case _:
                return super().values_for(command)

    def go_back(self) -> bool:
        """The cursor goes first."""
        if self.view.cursor_at is None:
            return False
        self._look(replace(self.view, cursor_at=None))
        return True

    def summary_lines(self) -> list[str]:
        """What is seen, as plain text."""
        row, scene, now = self.row(), self._scene, self.console_app.now
        if row is None or scene is None:
            return ["the service is no longer there"]
        title = "".join(text if isinstance(text, str) else text[0] for text in chart_words.title_spans(row, scene))
        facts = chart_words.facts(scene, self._drawn, self._monitored())
        facts += f" · {self.view.name} " + chart_words.range_facts(scene, self._drawn, self.view, now)
        pointed = self.view.cursor_at is not None
        at = self.view.cursor_at if self.view.cursor_at is not None else scene.axis.end_at - 1.0
        reading = self.chart.reading(at)
        values = ["".join(_text(part) for part in item[1:]) for item in self._values(scene, at, pointed)]
        told = chart_words.near(chart_words.marks_of(self.detail(), now), reading, pointed)
        moment = chart_words.moment_words(scene, reading, pointed, now)
        return [f"{title} · {facts}", moment, *values, *(each.words for each in told)]


def _text(part: SpanLike) -> str:
    return part if isinstance(part, str) else part[0]
