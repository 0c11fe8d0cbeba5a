"""The port-forwards of this session: where they lead, what went through, and their end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from nimify_tui.base.text import clean_line
from nimify_tui.domain.live import Forward
from nimify_tui.fleet.frames import Frame
from nimify_tui.ui import format as fmt
from nimify_tui.ui.commands import Scope
from nimify_tui.ui.present import head
from nimify_tui.ui.present.layout import Box
from nimify_tui.ui.screens.base import ConsoleScreen, bindings_for
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import LiveTable, Row, rows_by_key
from nimify_tui.ui.widgets.textline import StatusLine

_COLUMNS = (
    Column("local", "HERE", 15),
    Column("pod", "REACHES", 20, flex=2, shorten="middle"),
    Column("where", "WHERE", 7, 14, flex=1, priority=1),
    Column("since", "SINCE", 5, align="right", priority=2),
    Column("count", "CONN", 5, align="right", priority=3),
    Column("bytes", "IN/OUT", 11, align="right", priority=4),
    Column("state", "STATE", 12, flex=3),
)


class ForwardsScreen(ConsoleScreen):
    """See the module's text."""

    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.FORWARDS, Scope.LIST, Scope.GLOBAL)
    BINDINGS: ClassVar[list[BindingType]] = bindings_for(Scope.FORWARDS, Scope.GLOBAL)

    def __init__(self) -> None:
        super().__init__()
        self.status = StatusLine(id="status")
        self.rule = Rule("port-forwards", id="forwards-rule")
        self.table = LiveTable(_COLUMNS, id="forwards", empty="none: F on a replica opens one")

    def compose(self) -> ComposeResult:
        """The panes."""
        yield from (self.status, self.rule, self.table, self.footer_line, self.prompt)

    def on_mount(self) -> None:
        """Begin: fill the panes, take the focus."""
        self.set_focus(self.table)

    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """Where each pane stands."""
        return {
            "status": Box(0, 0, width, 1),
            "forwards-rule": Box(0, 1, width, 1),
            "forwards": Box(0, 2, width, max(1, height - 3)),
        }

    def show(self, frame: Frame, now: float) -> None:
        """Fill the panes."""
        app = self.console_app
        forwards = app.context.forwards()
        self.status.set_spans(*head.status_spans(frame, app.head_facts(), app.size.width))
        self.rule.set(None, f"{sum(not each.ended for each in forwards)} open")
        self.table.set_rows(*rows_by_key((each.id, _row(each, now)) for each in reversed(forwards)))

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """What the commands do."""
        return {"end": lambda _: self._end()}

    def _end(self) -> None:
        key = self.table.cursor_key
        if key is not None:
            self.run_worker(self._ended(str(key)), name="end forward", exit_on_error=False)

    async def _ended(self, forward_id: str) -> None:
        app = self.console_app
        await app.acting.answer(app.context.end_forward(forward_id), "not ended")
        app.refresh_screens()

    def summary_lines(self) -> list[str]:
        """What is seen, as plain text."""
        return [_words(each) for each in self.console_app.context.forwards()] or ["no port-forward"]


def _row(each: Forward, now: float) -> Row:
    key = each.key.service
    state = each.ended or each.trouble or "open"
    style = "dim" if each.ended else "warn" if each.trouble else "ok"
    cells: Sequence[Cell] = (
        Cell(f"127.0.0.1:{each.local_port}", "dim" if each.ended else ""),
        Cell(f"{clean_line(each.key.replica, 80)}:{each.pod_port}"),
        Cell(clean_line(key.region, 40)),
        Cell(fmt.span(max(0.0, now - each.opened_at))),
        Cell(f"{each.open_now}/{each.connections}"),
        Cell(f"{fmt.size(each.received_bytes)}/{fmt.size(each.sent_bytes)}"),
        Cell(clean_line(state, 200), style),
    )
    return Row(tuple(cells))


def _words(each: Forward) -> str:
    where = f"{clean_line(each.key.replica, 80)}:{each.pod_port} in {clean_line(each.key.service.region, 40)}"
    return f"127.0.0.1:{each.local_port} -> {where}: {clean_line(each.ended or each.trouble or 'open', 200)}"
