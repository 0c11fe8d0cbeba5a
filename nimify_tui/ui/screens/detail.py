"""One service: replicas and why, logs, events, revisions, metrics, configuration, a trial request."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget

from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.fleet.frames import Frame, ServiceDetail, ServiceRow
from nimify_tui.ui.commands import Command, Needs, Scope
from nimify_tui.ui.present import detail as present
from nimify_tui.ui.present import events, head, panels, queries
from nimify_tui.ui.present.layout import Box
from nimify_tui.ui.present.summary import detail_summary
from nimify_tui.ui.screens.base import ConsoleScreen, bindings_for
from nimify_tui.ui.screens.changing import Changing, Targets
from nimify_tui.ui.screens.detail_infer import InferPane
from nimify_tui.ui.screens.detail_logs import LogPane
from nimify_tui.ui.screens.detail_pods import PodDeeds
from nimify_tui.ui.screens.querying import hand_queries
from nimify_tui.ui.screens.starts import Starts, starting_replicas
from nimify_tui.ui.widgets.chart import LatencyChart
from nimify_tui.ui.widgets.feed import Feed
from nimify_tui.ui.widgets.panel import TextPanel
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import LiveTable, rows_by_key
from nimify_tui.ui.widgets.textline import StatusLine

#: Seconds between two looks at the log's tail.
LOG_POLL_S = 0.25
#: Tabs of one table, below which the row under the cursor is told whole in so many lines.
_TABLES = ("events", "revisions", "metrics")
_WORDS = 3
#: Below this width only the open tab has its name.
_TAB_NAMES = 76
#: Tab -> scopes that work on it besides the screen's own.
_TAB_SCOPES: dict[str, tuple[Scope, ...]] = {
    "logs": (Scope.LOGS,),
    "revisions": (Scope.REVISIONS,),
    "try": (Scope.INFER,),
}


class DetailScreen(ConsoleScreen):
    """See the module's text. ``row_id`` is a fold's or one region's; ``tab`` counts from 1."""

    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.DETAIL, Scope.LIST, Scope.GLOBAL)
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_for(Scope.DETAIL, Scope.LOGS, Scope.REVISIONS, Scope.INFER, Scope.GLOBAL),
        Binding("enter", "run('infer.send')", "send", show=False, id="infer.enter"),
    ]

    def __init__(self, row_id: str, tab: int = 1) -> None:
        super().__init__()
        self.row_id = row_id
        self.tab = present.TABS[tab - 1]
        self.pods = PodDeeds(self)
        self.changing: Changing = Changing(self, self.targets, self.pods.service)
        self.logs = LogPane(self)
        self.infer = InferPane(self)
        self.status = StatusLine(id="status")
        self.title_rule = Rule(id="title-rule")
        self.tabs = Rule(id="tabs")
        self.replicas = LiveTable(present.REPLICA_COLUMNS, id="replicas", empty="no replica known")
        self.words = TextPanel(id="words", indent=3, more=False)
        self.why_rule = Rule("why", id="why-rule")
        self.why = TextPanel(id="why", indent=2)
        self.chart_rule = Rule("latency", id="latency-rule")
        self.chart = LatencyChart(id="latency")
        self.events = Feed(
            events.EVENT_COLUMNS, id="events", lead=False, header=True, empty="  nothing happened here yet"
        )
        self.revisions = LiveTable(present.REVISION_COLUMNS, id="revisions", empty="no revision known")
        self.metrics = LiveTable(present.METRIC_COLUMNS, id="metrics", empty="no metric known")
        self.configuration = TextPanel(id="configuration", indent=2)
        self._demand = DetailDemand(row_id)
        self._starts = Starts()

    def compose(self) -> ComposeResult:
        """The panes."""
        yield from (
            self.status,
            self.title_rule,
            self.tabs,
            self.replicas,
            self.words,
            self.why_rule,
            self.why,
            self.chart_rule,
        )
        yield from (self.chart, self.logs.rule, self.logs.view, self.events, self.revisions, self.metrics)
        yield from (self.configuration, self.infer.panel, self.footer_line, self.prompt)

    def on_mount(self) -> None:
        """Begin: fill the panes, take the focus."""
        self.console_app.context.demand(self._demand)
        self.changing.look(self.targets()[0])
        self.set_interval(LOG_POLL_S, self._poll_logs, name="logs")
        self._focus_tab()

    def on_unmount(self) -> None:
        """Give back what was demanded."""
        self.console_app.context.release(self._demand)
        self._starts.look(self.console_app.context, ())
        self.changing.look(())
        self.logs.release()

    # -- facts -------------------------------------------------------------------------------
    def row(self) -> ServiceRow | None:
        """The table's row of this service, None when it is gone."""
        return self.console_app.context.frame.rows.get(self.row_id)

    def detail(self) -> ServiceDetail | None:
        """Its detail, None until it has come."""
        return self.console_app.context.frame.details.get(self.row_id)

    def targets(self) -> Targets:
        """What a change means here: every region of the row."""
        row = self.row()
        return (row.keys if row is not None else ()), ()

    # -- layout ------------------------------------------------------------------------------
    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """Where each pane stands."""
        for table, columns in (
            (self.replicas, present.REPLICA_COLUMNS),
            (self.events, events.EVENT_COLUMNS),
            (self.revisions, present.REVISION_COLUMNS),
            (self.metrics, present.METRIC_COLUMNS),
        ):
            table.set_columns(present.columns_at(columns, width))
        boxes = {
            "status": Box(0, 0, width, 1),
            "title-rule": Box(0, 1, width, 1),
            "tabs": Box(0, 2, width, 1),
        }
        top, room = 3, max(1, height - 4)
        if self.tab == "overview":
            boxes.update(_overview(width, top, room))
        elif self.tab == "logs":
            boxes["logs-rule"] = Box(0, top, width, 1)
            boxes["logs"] = Box(0, top + 1, width, max(1, room - 1))
        elif self.tab in _TABLES and room >= 10:
            boxes[self.tab] = Box(0, top, width, room - _WORDS)
            boxes["words"] = Box(0, top + room - _WORDS, width, _WORDS)
        else:
            boxes[self.tab] = Box(0, top, width, room)
        return boxes

    def _pane(self) -> Widget:
        return {
            "overview": self.replicas, "logs": self.logs.view, "events": self.events, "revisions": self.revisions,
            "metrics": self.metrics, "configuration": self.configuration, "try": self.infer.panel,
        }[self.tab]  # fmt: skip

    def _focus_tab(self) -> None:
        self.set_focus(self._pane())

    def _open_tab(self, tab: str) -> None:
        self.tab = tab
        self.place_panes()
        self._focus_tab()
        app = self.console_app
        self.show(app.context.frame, app.now)
        self.show_footer()

    def _step_tab(self, step: int) -> None:
        index = (present.TABS.index(self.tab) + step) % len(present.TABS)
        self._open_tab(present.TABS[index])

    def active_scopes(self) -> tuple[Scope, ...]:
        """The scopes of the tab, then the screen's own."""
        return (*_TAB_SCOPES.get(self.tab, ()), *self.SCOPES)

    # -- showing -----------------------------------------------------------------------------
    def show(self, frame: Frame, now: float) -> None:
        """Fill the panes."""
        app = self.console_app
        width = app.size.width
        short = width < 100
        row, detail = self.row(), self.detail()
        self.status.set_spans(*head.status_spans(frame, app.head_facts(), width))
        self.title_rule.set(*present.title_spans(row, self.row_id, now, short, app.glyphs))
        self._show_tabs(width)
        self._starts.look(app.context, starting_replicas([detail] if detail is not None else []))
        if detail is None:
            empty = "looking it up" if row is not None else "this service is no longer there; esc goes back"
            for table in (self.replicas, self.events, self.revisions, self.metrics):
                table.set_empty(f" {empty}")
            self.configuration.set_empty(empty)
        else:
            self._show_detail(detail, now, short)
        if self.tab == "logs":
            self.logs.choose(row, detail)
            self._poll_logs()
        if self.tab == "try":
            self.infer.show()

    def _show_tabs(self, width: int) -> None:
        title: list[tuple[str, str]] = []
        for number, name in enumerate(present.TABS, 1):
            shown = name[:6] if width < 84 and name == "configuration" else name
            if width < _TAB_NAMES and name != self.tab:
                shown = ""  # its digit still opens it
            title += [(f"{number} {shown}".rstrip(), "title" if name == self.tab else "dim"), ("  ", "")]
        self.tabs.set(title[:-1])

    def _show_detail(self, detail: ServiceDetail, now: float, short: bool) -> None:
        match self.tab:
            case "overview":
                unseen = present.unseen_regions(self.console_app.context.frame.regions)
                self.replicas.set_rows(*rows_by_key(present.replica_rows(detail.replicas, now, short, unseen)))
                self._show_words(detail, now)
                self.why_rule.set(None, panels.why_facts(detail, now))
                width = max(20, self.why.cols - 2)
                self.why.set_lines(*panels.why_lines(detail.why, width, max(1, self.why.rows_high)))
                self.chart_rule.set("latency", panels.chart_facts(detail.history))
                self.chart.set_data(panels.chart_data(detail.history, now))
            case "events":
                self.events.set_events(events.event_rows(detail, now, short))
                self._show_about(detail)
            case "revisions":
                columns = present.revision_columns(detail.services)
                self.revisions.set_columns(present.columns_at(columns, self.app.size.width))
                rows = present.revision_rows(detail.services, now, short, detail.replicas)
                self.revisions.set_rows(*rows_by_key(rows))
                self._show_about(detail)
            case "metrics":
                self.metrics.set_rows(*rows_by_key(present.metric_rows(detail, now, short)))
                self._show_about(detail)
            case "configuration":
                self.configuration.set_lines(present.configuration_lines(detail.services, now, detail.models))

    def _show_words(self, detail: ServiceDetail, now: float) -> None:
        """The whole reason and last words of the replica under the cursor."""
        chosen = [each for each in detail.replicas if present.replica_id(each) == self.replicas.cursor_key]
        text = present.replica_words(chosen[0], now) if chosen else ""
        self.words.set_text(textwrap.wrap(text, max(20, self.app.size.width - 4))[:2])

    def _show_about(self, detail: ServiceDetail) -> None:
        """The whole of what the row under the cursor had to cut."""
        about = {
            "events": lambda: events.event_about(detail, str(self.events.cursor_key)),
            "revisions": lambda: present.revision_about(detail.services, str(self.revisions.cursor_key)),
            "metrics": lambda: present.metric_line_about(detail, str(self.metrics.cursor_key)),
        }[self.tab]()
        self.words.set_text(textwrap.wrap(about, max(20, self.app.size.width - 4))[:_WORDS])

    @on(LiveTable.CursorMoved, "#events, #revisions, #metrics")
    def _about_moved(self, event: LiveTable.CursorMoved) -> None:
        event.stop()
        if self.tab in _TABLES and (detail := self.detail()) is not None:
            self._show_about(detail)

    @on(LiveTable.CursorMoved, "#replicas")
    def _replica_moved(self, event: LiveTable.CursorMoved) -> None:
        event.stop()
        if (detail := self.detail()) is not None:
            self._show_words(detail, self.console_app.now)

    def _poll_logs(self) -> None:
        if self.tab == "logs":
            self.logs.poll()

    def prompt_opened(self) -> None:
        """Rows keep their places."""
        self.replicas.freeze_order()

    def prompt_closed(self) -> None:
        """Rows may move again."""
        self.replicas.thaw_order()

    # -- commands ----------------------------------------------------------------------------
    def refusal(self, command: Command) -> str:
        """Also when there is no service to act on."""
        reason = super().refusal(command)
        return (
            "the service is no longer there"
            if not reason and command.needs is Needs.SERVICE and not self.row()
            else reason
        )

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """What the commands do."""
        tabs = {f"tab-{number}": self._opener(name) for number, name in enumerate(present.TABS, 1)}
        return {
            **tabs,
            **self.changing.deeds(),
            **self.logs.deeds(),
            **self.infer.deeds(),
            **self.pods.deeds(),
            "why": lambda _: self._open_tab("overview"),
            "chart": lambda wanted: self.console_app.open_chart(self.row_id, wanted),
            "promql": self._promql,
            "next-tab": lambda _: self._step_tab(1),
            "previous-tab": lambda _: self._step_tab(-1),
        }

    def _promql(self, path: str) -> None:
        row, detail = self.row(), self.detail()
        line = None
        if self.tab == "metrics" and detail is not None:
            line = present.metric_line(detail, str(self.metrics.cursor_key))
        told = queries.detail_lines(row, detail)
        if detail is not None and line is not None:
            told = queries.metric_query_lines(row, detail, line)
        hand_queries(self.console_app, told, path)

    def _opener(self, tab: str) -> Callable[[str], None]:
        return lambda _: self._open_tab(tab)

    @on(LiveTable.Activated, "#revisions")
    def _roll_back(self, event: LiveTable.Activated) -> None:
        event.stop()
        detail = self.detail()
        if reason := self.console_app.change_refusal():
            self.console_app.say(reason, "warn")
            return
        found = self._revision(detail, str(event.key)) if detail is not None else None
        if found is None:
            return
        key, number, current = found
        if current:
            self.console_app.say(f"r{number} runs already", "dim")
            return
        self.console_app.acting.propose(ActionRequest(verb=Verb.ROLLBACK, targets=(key,), revision=number))

    @staticmethod
    def _revision(detail: ServiceDetail, row_id: str) -> tuple[ServiceKey, int, bool] | None:
        for service in detail.services:
            numbers = [each.number for each in service.revisions] + [each.number for each in service.around.kept]
            for number in numbers:
                if present.revision_id(service.key, number) == row_id:
                    return service.key, number, number == service.revision
        return None

    @on(LiveTable.Activated, "#replicas")
    def _replica_logs(self, event: LiveTable.Activated) -> None:
        event.stop()
        detail = self.detail()
        chosen = (
            [each for each in detail.replicas if present.replica_id(each) == event.key] if detail is not None else []
        )
        if chosen:
            self.logs.follow_replica(chosen[0])
            self._open_tab("logs")

    def summary_lines(self) -> list[str]:
        """What is seen, as plain text."""
        lines = detail_summary(self.row(), self.detail(), self.console_app.now)
        if self.tab == "logs":
            lines += ["", f"logs of {self.logs.describe()}", *self.logs.last_lines(60)]
        return lines


def _overview(width: int, top: int, room: int) -> dict[str, Box]:
    """Replicas, why, and the chart where there is room."""
    why = min(8, max(3, room * 25 // 100))
    chart = room * 30 // 100 if room >= 18 else 0
    words = 2 if room >= 14 else 0
    table = max(1, room - why - chart - words)
    boxes = {"replicas": Box(0, top, width, table)}
    if words:
        boxes["words"] = Box(0, top + table, width, words)
    table += words
    boxes["why-rule"] = Box(0, top + table, width, 1)
    boxes["why"] = Box(0, top + table + 1, width, max(1, why - 1))
    if chart:
        boxes["latency-rule"] = Box(0, top + table + why, width, 1)
        boxes["latency"] = Box(0, top + table + why + 1, width, chart - 1)
    return boxes
