"""GPUs: all of them in one list, which pods hold what on which nodes, and one of them in all that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.names import ServiceKey
from nimify_tui.fleet.frames import Frame
from nimify_tui.ui.commands import Scope
from nimify_tui.ui.present import gpu_table as table
from nimify_tui.ui.present import gpu_words as words
from nimify_tui.ui.present import gpus, head, queries
from nimify_tui.ui.present.layout import Box
from nimify_tui.ui.screens.base import ConsoleScreen, bindings_for
from nimify_tui.ui.screens.querying import hand_queries
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.panel import TextPanel
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import LiveTable, rows_by_key
from nimify_tui.ui.widgets.textline import StatusLine

_COLUMNS = (
    Column("name", "GPU", 14, 40, flex=2, shorten="middle"),
    Column("use", "USE", 4, align="right"),
    Column("tensor", "TENSOR", 6, align="right", priority=2),
    Column("dram", "DRAM", 4, align="right", priority=2),
    Column("memory", "MEMORY", 8, align="right"),
    Column("heat", "TEMP", 5, align="right"),
    Column("power", "POWER", 5, align="right", priority=1),
    Column("who", "HELD BY", 10, 40, flex=2),
    Column("remarks", "REMARKS", 14, flex=3),
)
_ROOM_COLUMNS = (
    Column("node", "NODE", 14, 40, flex=2, shorten="middle"),
    Column("what", "WHAT", 8, 14, flex=1),
    Column("has", "HAS", 4, align="right"),
    Column("held", "HELD", 4, align="right"),
    Column("free", "FREE", 4, align="right"),
    Column("who", "BY", 10, 60, flex=3),
    Column("remarks", "REMARKS", 14, flex=3, priority=1),
)


class GpusScreen(ConsoleScreen):
    """See the module's text."""

    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.GPUS, Scope.LIST, Scope.GLOBAL)
    BINDINGS: ClassVar[list[BindingType]] = bindings_for(Scope.GPUS, Scope.GLOBAL)

    def __init__(self) -> None:
        super().__init__()
        self.status = StatusLine(id="status")
        self.rule = Rule("gpus", id="gpus-rule")
        self.table = LiveTable(_COLUMNS, id="gpus")
        self.facts_rule = Rule("the gpu", id="facts-rule")
        self.facts = TextPanel(id="facts", indent=2)
        self.rooms_rule = Rule("nodes and pods", id="rooms-rule")
        self.rooms = LiveTable(_ROOM_COLUMNS, id="rooms")
        self._shown: Mapping[str, Gpu] = {}
        self._drawn: tuple[GpuPanel, ...] | None = None

    def compose(self) -> ComposeResult:
        """The panes."""
        yield from (self.status, self.rule, self.table, self.facts_rule, self.facts, self.rooms_rule, self.rooms)
        yield self.footer_line
        yield self.prompt

    def on_mount(self) -> None:
        """Begin: fill the panes, take the focus."""
        self.set_focus(self.table)

    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """Where each pane stands: the GPUs have the room that the others leave."""
        facts = 7 if height >= 36 else 4 if height >= 20 else 2
        rooms = max(2, (height - facts - 6) // 3)
        cards = max(2, height - facts - rooms - 5)
        return {
            "status": Box(0, 0, width, 1),
            "gpus-rule": Box(0, 1, width, 1),
            "gpus": Box(0, 2, width, cards),
            "facts-rule": Box(0, 2 + cards, width, 1),
            "facts": Box(0, 3 + cards, width, facts),
            "rooms-rule": Box(0, 3 + cards + facts, width, 1),
            "rooms": Box(0, 4 + cards + facts, width, rooms),
        }

    def show(self, frame: Frame, now: float) -> None:
        """Fill the panes."""
        app = self.console_app
        self.status.set_spans(*head.status_spans(frame, app.head_facts(), app.size.width))
        if frame.gpus is not self._drawn:  # what they say hangs on nothing but them
            self._drawn = frame.gpus
            self._shown = {table.gpu_id(gpu): gpu for panel in frame.gpus for gpu in panel.gpus}
            self.table.set_rows(*rows_by_key(table.gpu_rows(frame.gpus)))
            self.rooms.set_rows(*rows_by_key(table.room_rows(frame.gpus)))
        all_of = words.totals(frame.gpus)
        facts = [gpus.gpu_facts(frame.gpus, now)] if self._shown else []
        if all_of.cards:
            facts = [words.use_words(all_of).replace("   ", " · "), *facts]
        self.rule.set(None, " · ".join(facts))
        reasons = [panel.reason for panel in frame.gpus if panel.reason]
        self.table.set_empty(f"  {'; '.join(dict.fromkeys(reasons)) or 'no GPU known: no region reported one'}")
        waits = len(_waiting(frame))
        free = [words.free_words(all_of).replace("   ", " · ")] if all_of.of or all_of.parts else []
        self.rooms_rule.set(None, " · ".join([*free, *([f"{waits} wait"] if waits else [])]))
        self.rooms.set_empty("  no cluster tells who holds its GPUs")
        self._show_facts(frame, now)

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """What the commands do."""
        return {"other": lambda _: self._other(), "promql": self._promql}

    def _promql(self, path: str) -> None:
        chosen = self._shown.get(str(self.table.cursor_key))
        lines = queries.gpu_query_lines([chosen], several=True) if chosen is not None else ["# no GPU is known"]
        hand_queries(self.console_app, lines, path)

    def _other(self) -> None:
        self.set_focus(self.rooms if self.focused is self.table else self.table)
        self._moved()

    def _show_facts(self, frame: Frame, now: float) -> None:
        """Of the GPU under the cursor; while the nodes have the focus who tells, and who waits."""
        chosen = self._shown.get(str(self.table.cursor_key))
        if chosen is not None and self.focused is not self.rooms:
            self.facts_rule.set("the gpu", words.label(chosen, several=True))
            self.facts.set_lines(table.gpu_detail(chosen, now, self.facts.rows_high))
            return
        waiting = _waiting(frame)
        self.facts_rule.set("who waits, who tells", f"{len(waiting)} waiting")
        told = [words.telling(panel, now) for panel in frame.gpus]
        self.facts.set_lines([*(((each, "warn"),) for each in waiting), *(((each, "dim"),) for each in told)])

    @on(LiveTable.CursorMoved)
    def _moved(self) -> None:
        self._show_facts(self.console_app.context.frame, self.console_app.now)

    @on(LiveTable.Activated, "#gpus")
    def _opened(self, event: LiveTable.Activated) -> None:
        event.stop()
        app, chosen = self.console_app, self._shown.get(str(event.key))
        if chosen is None:
            return
        spaces = dict.fromkeys(pod.partition("/")[0] for pod in chosen.pods)
        names = [each.partition(" ×")[0] for each in chosen.holders]
        rows = app.context.frame.rows
        keys = (ServiceKey(chosen.region, name, space) for name in names for space in (spaces or ("",)))
        found = next((key.row_id for key in keys if key.row_id in rows), "")
        if found:
            app.open_detail(found)
        else:
            app.say("no service that is known here holds it", "dim")

    def summary_lines(self) -> list[str]:
        """What is seen, as plain text."""
        frame, now = self.console_app.context.frame, self.console_app.now
        glyphs = self.console_app.glyphs
        lines = ["".join(text for text, _ in spans) for spans in gpus.gpu_lines(frame.gpus, 160, glyphs, 0, now)]
        return [*lines, *(words.telling(panel, now) for panel in frame.gpus)]


def _waiting(frame: Frame) -> list[str]:
    places = [panel.places for panel in frame.gpus if panel.places is not None]
    return [line for each in places for line in words.waiting_lines(each)]
