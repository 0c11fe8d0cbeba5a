"""The panes below the service table: why, latency, GPU, caches, security, changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.widget import Widget

from nimify_tui.fleet.frames import Frame, ServiceDetail, ServiceRow
from nimify_tui.ui.present import feeds, gpus, panels, queries
from nimify_tui.ui.present.layout import PANELS
from nimify_tui.ui.present.services import reason_text
from nimify_tui.ui.screens.querying import hand_queries
from nimify_tui.ui.widgets.chart import LatencyChart
from nimify_tui.ui.widgets.feed import Feed
from nimify_tui.ui.widgets.panel import TextPanel
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.textline import StripLine

if TYPE_CHECKING:
    from nimify_tui.ui.screens.fleet import FleetScreen


class FleetPanels:
    """Makes the panes and fills those that are shown."""

    def __init__(self) -> None:
        self.why_rule = Rule("why", id="why-rule")
        self.why = TextPanel(id="why", indent=2, more=False)
        self.tabs = Rule(id="tabs")
        self.chart_rule = Rule("latency", id="latency-rule")
        self.chart = LatencyChart(id="latency")
        self.gpu_rule = Rule("gpu", id="gpu-rule")
        self.gpu = TextPanel(id="gpu")
        self.cache_rule = Rule("caches", "hit rate · trend · size", id="cache-rule")
        self.cache = StripLine(id="cache")
        self.security_rule = Rule("security", id="security-rule")
        self.security = Feed(
            feeds.SECURITY_COLUMNS,
            id="security",
            lead=False,
            empty="  nothing refused, malformed, limited or crashed",
        )
        self.changes_rule = Rule("changes", id="changes-rule")
        self.changes = Feed(feeds.CHANGE_COLUMNS, id="changes", lead=False, empty="  nothing changed since the start")

    def widgets(self) -> Iterator[Widget]:
        """All panes, in the order of the focus."""
        yield from (self.why_rule, self.why, self.tabs, self.chart_rule, self.chart, self.gpu_rule, self.gpu)
        yield from (self.cache_rule, self.cache, self.security_rule, self.security, self.changes_rule, self.changes)

    def show(self, frame: Frame, now: float, row: ServiceRow | None, screen: FleetScreen) -> None:
        """Fill what is visible for the selected row."""
        detail = frame.details.get(row.id) if row is not None else None
        width = screen.app.size.width
        short = width < 100
        if self.why.display:
            self._show_why(row, detail, now, screen)
        if self.tabs.display:
            self._show_tabs(frame, now, row, detail, screen)
        if self.chart.display:
            history = detail.history if detail is not None else None
            self.chart_rule.set(panels.chart_title(row), panels.chart_facts(history))
            empty = "looking it up" if row is not None else "no service selected"
            self.chart.set_data(panels.chart_data(history, now, empty))
        if self.gpu.display:
            self.gpu_rule.set("gpu", gpus.gpu_facts(frame.gpus, now))
            glyphs, room = screen.console_app.glyphs, self.gpu.rows_high
            self.gpu.set_lines(gpus.gpu_lines(frame.gpus, self.gpu.cols or 40, glyphs, room, now))
        if self.cache.display:
            self.show_caches(frame, now, screen)
        if self.security.display:
            self.security_rule.set("security", feeds.security_facts(frame, now))
            rows = feeds.security_rows(frame.security[:200], now, short)
            self.security.set_events(rows, frame.security_dropped + max(0, len(frame.security) - 200))
        if self.changes.display:
            self.changes_rule.set("changes", f"{len(frame.changes)} known")
            self.changes.set_events(feeds.change_rows(frame.changes[:200], now, short))

    def show_caches(self, frame: Frame, now: float, screen: FleetScreen) -> None:
        """Side by side on a line, one below the other with room."""
        glyphs = screen.console_app.glyphs
        if self.cache.rows_high > 1:
            width = max(10, self.cache.cols)
            self.cache.set_items(
                [_full(each, width) for each in panels.cache_table(frame.caches, now, width, glyphs)]
            )
        else:
            self.cache.set_items(panels.cache_items(frame.caches, glyphs, self.cache.cols))

    def promql(self, screen: FleetScreen, path: str) -> None:
        """Hand over what is shown as PromQL."""
        frame, zoom = screen.console_app.context.frame, screen.zoom
        shown = [zoom or PANELS[0]] if zoom or screen.tabs else PANELS
        hand_queries(screen.console_app, queries.panel_lines(frame, screen.selected_row(), shown), path)

    def _show_why(
        self, row: ServiceRow | None, detail: ServiceDetail | None, now: float, screen: FleetScreen
    ) -> None:
        self.why_rule.set(panels.why_title(row, detail), panels.why_facts(detail, now))
        if row is None:
            self.why.set_lines([])
            return
        why = detail.why if detail is not None else None
        reason = reason_text(row, now, short=True)
        if cell_len(reason) <= screen.table.width_of_column("reason"):
            reason = ""  # the table says it whole
        width = max(20, self.why.cols - 2)
        self.why.set_lines(*panels.why_lines(why, width, max(1, self.why.rows_high), reason))

    def _show_tabs(
        self, frame: Frame, now: float, row: ServiceRow | None, detail: ServiceDetail | None, screen: FleetScreen
    ) -> None:
        shown = screen.zoom or PANELS[0]
        title: list[tuple[str, str]] = []
        for number, name in enumerate(PANELS, 1):
            text = f"{number} {name}"
            title += [(text, "title" if name == shown else "dim"), ("  ", "")]
        facts = {
            "latency": panels.chart_facts(detail.history if detail is not None else None),
            "gpu": gpus.gpu_facts(frame.gpus, now),
            "cache": "hit rate · trend · size",
            "security": feeds.security_facts(frame, now),
            "changes": f"{len(frame.changes)} known",
        }[shown]
        self.tabs.set(title[:-1], facts if screen.app.size.width >= 100 else _brief(facts))


def _brief(facts: str) -> str:
    """The age, as far as there is one, and the key for the next panel."""
    age = next((part for part in facts.split(" · ") if part.startswith("age ")), "")
    return f"{age} · tab" if age else "tab"


def _full(spans: tuple[tuple[str, str], ...], width: int) -> tuple[tuple[str, str], ...]:
    length = sum(len(text) for text, _ in spans)
    return (*spans, (" " * max(0, width - 2 - length), ""))
