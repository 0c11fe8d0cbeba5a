"""The fleet: is anything wrong, where, since when, why; and the numbers that prove it.

The order of rows holds still while a prompt or a dialog is open and for :data:`HOLD_S` after the cursor
was moved, so that no row slips away under the finger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer

from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.fleet.frames import Frame, ServiceRow
from nimify_tui.ui.commands import Command, Needs, Scope
from nimify_tui.ui.present import feeds, head, services
from nimify_tui.ui.present.detail import columns_at
from nimify_tui.ui.present.layout import PANELS, Box, fleet_layout
from nimify_tui.ui.present.services import View
from nimify_tui.ui.present.summary import fleet_summary
from nimify_tui.ui.screens.base import ConsoleScreen, bindings_for
from nimify_tui.ui.screens.changing import Changing
from nimify_tui.ui.screens.fleet_panels import FleetPanels
from nimify_tui.ui.screens.starts import Starts, metered_in_view, starting_in_view
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import LiveTable
from nimify_tui.ui.widgets.textline import StatusLine, StripLine

#: The order holds still this long after the cursor moved (seconds).
HOLD_S = 2.0
#: The hint for newcomers goes by itself after this long (seconds), and as soon as it was followed.
HINT_S = 300.0
_LOOKING = "looking for regions on this machine"


class ServiceTable(LiveTable):
    """The table of services. Until somebody moves the cursor it stays on the worst row."""

    def __init__(self, by_hand: Callable[[], None]) -> None:
        super().__init__(id="table", empty="")
        self._by_hand = by_hand
        self._touched = False

    def move_to(self, index: int) -> None:
        """The operator moves the cursor: from now on it follows its row."""
        self._touched = True
        self._by_hand()
        super().move_to(index)

    def follow_worst(self) -> None:
        """Stay on the first row while nobody has moved the cursor."""
        if not self._touched and self.cursor_index > 0 and not self.order_frozen:
            super().move_to(0)


class FleetScreen(ConsoleScreen):
    """See the module's text."""

    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.FLEET, Scope.LIST, Scope.GLOBAL)
    BINDINGS: ClassVar[list[BindingType]] = bindings_for(Scope.FLEET, Scope.GLOBAL)

    def __init__(self) -> None:
        super().__init__()
        self.view = View()
        self.zoom = ""
        self.changing: Changing = Changing(self, self.targets)
        self.ordering = services.Ordering()
        self.rows = services.Rows()
        self.table = ServiceTable(self._moved_by_hand)
        self.status = StatusLine(id="status")
        self.strip = StripLine(id="strip")
        self.rule = Rule("services", id="table-rule")
        self.panels = FleetPanels()
        self._strip_lines = 1
        self._hint_done = False
        self._shown_at = 0.0
        self._demand: DetailDemand | None = None
        self._hold: Timer | None = None
        self._starts = Starts()

    def compose(self) -> ComposeResult:
        """The panes."""
        yield from (self.status, self.strip, self.rule, self.table, *self.panels.widgets())
        yield from (self.footer_line, self.prompt)

    def on_mount(self) -> None:
        """Begin: fill the panes, take the focus."""
        self._shown_at = self.console_app.now
        self.set_focus(self.table)

    # -- layout ------------------------------------------------------------------------------
    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """Where each pane stands."""
        self._use_columns(width)
        self.panels.security.set_columns(columns_at(feeds.SECURITY_COLUMNS, width))
        self.panels.changes.set_columns(columns_at(feeds.CHANGE_COLUMNS, width))
        return fleet_layout(width, height, self._strip_lines, self.zoom).boxes

    def _use_columns(self, width: int) -> None:
        rows = self.console_app.context.frame.rows
        self.table.set_columns(services.columns_for(width, services.mute_columns(rows.values())))

    @property
    def tabs(self) -> bool:
        """Whether one panel is shown at a time."""
        width, height = self.app.size
        return fleet_layout(width, height, self._strip_lines, self.zoom).tabs

    def _zoom(self, panel: str) -> None:
        big = not fleet_layout(*self.app.size, self._strip_lines, "").tabs
        self.zoom = "" if big and panel == self.zoom else panel
        focused = self.focused
        self.place_panes()
        if focused is not self.table and (focused is None or not focused.display):
            self.set_focus(self.table)
        self.show(self.console_app.context.frame, self.console_app.now)

    def _step_panel(self, step: int) -> None:
        index = PANELS.index(self.zoom) if self.zoom in PANELS else 0 if self.tabs else -1 if step > 0 else 0
        self._zoom(PANELS[(index + step) % len(PANELS)])

    # -- showing -----------------------------------------------------------------------------
    def show(self, frame: Frame, now: float) -> None:
        """Fill the panes."""
        app = self.console_app
        width, height = self.app.size
        self.status.set_spans(*head.status_spans(frame, app.head_facts(), width))
        self._show_strip(frame, now, width, height)
        self._show_table(frame, now, width)
        self._demand_cursor(frame)
        self._starts.look(app.context, starting_in_view(self.table, frame), metered_in_view(self.table, frame))
        self.panels.show(frame, now, self.selected_row(frame), self)
        # What can be done follows from the rows and the regions; an unchanged line costs no byte.
        self.show_footer()

    def _show_strip(self, frame: Frame, now: float, width: int, height: int) -> None:
        app = self.console_app
        strip = head.strip(frame, now, width, height, app.glyphs)
        lines = [*strip.lines]
        if (count := len(app.acting.unfinished)) > 0:
            lines.append(head.unfinished_line(count))
        if app.context.hint and not self._hint_done and now - self._shown_at < HINT_S:
            lines.append(head.hint_line(app.context.hint, width))
        self.strip.set_items([*strip.items, *(_whole_line(each, width) for each in lines)])
        needed = self.strip.lines_needed(width)
        if needed != self._strip_lines:
            self._strip_lines = needed
            self.place_panes()

    def _show_table(self, frame: Frame, now: float, width: int) -> None:
        self.view = replace(self.view, opened=self.view.opened & (frame.children.keys() | frame.models.keys()))
        order = self.ordering.order(frame, self.view)
        self._use_columns(width)
        self.rows.use(frame, self.view.opened, now, self._name_width(width), short=width < 100)
        self.table.set_empty(self._empty_text(frame))
        self.table.set_rows(order, self.rows)
        self.table.follow_worst()
        folded = sum(1 for each in order if (row := frame.rows.get(each)) is not None and not row.depth)
        self.rule.set("services", services.counts_text(frame, folded, self.view))

    @staticmethod
    def _name_width(width: int) -> int:
        return services.columns_for(width)[0].min_width if width < 160 else 24

    def _empty_text(self, frame: Frame) -> str:
        if frame.order:
            return "no service matches the filter; esc clears it"
        live = any(each.health.state == "LIVE" for each in frame.regions)
        if not frame.regions:
            return "no region configured: see `nimify-tui config path`" if frame.applied else _LOOKING
        return "no services yet: n opens the wizard" if live else "nothing known yet: no region has answered"

    # -- the cursor's row --------------------------------------------------------------------
    def selected_row(self, frame: Frame | None = None) -> ServiceRow | None:
        """The row under the cursor; on a model it is that of its service."""
        key = str(self.table.cursor_key)
        return (frame or self.console_app.context.frame).rows.get(self.rows.models.above(key) or key)

    def _demand_cursor(self, frame: Frame) -> None:
        row = self.selected_row(frame)
        wanted = DetailDemand(row.id) if row is not None else None
        if wanted == self._demand:
            return
        context = self.console_app.context
        if wanted is not None:
            context.demand(wanted)
        if self._demand is not None:
            context.release(self._demand)
        self._demand = wanted
        self.changing.look(row.keys if row is not None else ())

    def on_unmount(self) -> None:
        """Give back what was demanded."""
        self._starts.look(self.console_app.context, ())
        if self._demand is not None:
            self.console_app.context.release(self._demand)
            self._demand = None
        self.changing.look(())

    def targets(self) -> tuple[tuple[ServiceKey, ...], tuple[ServiceKey, ...]]:
        """What a change means: (services, those of them that a filter hides). Marks win over the cursor."""
        rows, above = self.console_app.context.frame.rows, self.rows.models.above
        marked = {above(str(each)) or str(each) for each in self.table.marked} & rows.keys()
        if not marked:
            row = self.selected_row()
            return (row.keys if row is not None else ()), ()
        hidden_rows = {str(each) for each in self.table.hidden_marked}
        keys: dict[ServiceKey, bool] = {}
        for each in sorted(marked):
            for key in rows[each].keys:
                keys[key] = keys.get(key, True) and each in hidden_rows
        return tuple(keys), tuple(key for key, hidden in keys.items() if hidden)

    @on(LiveTable.CursorMoved, "#table")
    def _cursor_moved(self, event: LiveTable.CursorMoved) -> None:
        event.stop()
        frame = self.console_app.context.frame
        self._demand_cursor(frame)
        self.panels.show(frame, self.console_app.now, self.selected_row(), self)

    def _moved_by_hand(self) -> None:
        if self._hold is not None:
            self._hold.stop()
        self.table.freeze_order()
        self._hold = self.set_timer(HOLD_S, self._thaw)

    def _thaw(self) -> None:
        self._hold = None
        if not self.prompting and self.is_current:
            self.table.thaw_order()

    def prompt_opened(self) -> None:
        """Rows keep their places."""
        self.table.freeze_order()

    def prompt_closed(self) -> None:
        """Rows may move again."""
        self._thaw()

    def on_screen_suspend(self) -> None:
        """Another screen opened over it."""
        self.table.freeze_order()
        self._starts.look(self.console_app.context, ())

    def on_screen_resume(self) -> None:
        """Back on top."""
        self._thaw()
        if self._deeds:
            self.show(self.console_app.context.frame, self.console_app.now)

    @on(LiveTable.Activated, "#table")
    def _opened(self, event: LiveTable.Activated) -> None:
        event.stop()
        self._hint_done = True
        self.console_app.open_detail(self.rows.models.above(str(event.key)) or str(event.key))

    @on(LiveTable.Toggled, "#table")
    def _toggled(self, event: LiveTable.Toggled) -> None:
        event.stop()
        self._unfold(str(event.key))

    def _unfold(self, row_id: str) -> None:
        row = (frame := self.console_app.context.frame).rows.get(row_id)
        if above := self.rows.models.above(row_id):  # on a model: fold its row
            row_id = above
            self.table.select(row_id)
        elif row is not None and row.depth and row_id not in frame.models:  # on a region's row: fold its service
            row_id = row.keys[0].fold_id
            self.table.select(row_id)
        if row_id not in frame.children and row_id not in frame.models:
            note = clean_line(row.models_note, 160) if row is not None else ""
            self.console_app.say(note or "this service runs in one region", "dim")
            return
        self.view = replace(self.view, opened=self.view.opened ^ {row_id})
        self.table.thaw_order()
        self.show(frame, self.console_app.now)

    # -- commands ----------------------------------------------------------------------------
    def refusal(self, command: Command) -> str:
        """Also when there is no service to act on."""
        reason = super().refusal(command)
        if not reason and command.needs is Needs.SERVICE and self.selected_row() is None:
            return f"{command.title}: no service under the cursor"
        return reason

    def footer_commands(self) -> Sequence[Command]:
        """Without a single service the keys that need one make room."""
        shown = super().footer_commands()
        return shown if self.table.order else [each for each in shown if each.needs is not Needs.SERVICE]

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """What the commands do."""
        zooms = {f"panel-{name}": lambda _, name=name: self._zoom(name) for name in PANELS}
        return {
            **self.changing.deeds(),
            **{f"sort-{name}": self._sorter(name) for name in services.SORTS},
            **zooms,
            "open": self._open,
            "logs": lambda _: self._detail(2),
            "why": lambda _: self._detail(1),
            "chart": self._chart,
            "promql": lambda path: self.panels.promql(self, path),
            "unfold": lambda _: self._unfold(str(self.table.cursor_key)),
            "filter": self._filter,
            "new": self.console_app.open_wizard,
            "panels": lambda _: self._zoom(""),
            "next-panel": lambda _: self._step_panel(1),
            "previous-panel": lambda _: self._step_panel(-1),
            "sort-worst": self._sort,
            "unmark": lambda _: self.table.clear_marks(),
        }

    def _sorter(self, name: str) -> Callable[[str], None]:
        return lambda _: self._sort(name)

    def _open(self, wanted: str) -> None:
        if wanted:
            self.console_app.open_named(wanted)
        else:
            self._detail(1)

    def _detail(self, tab: int) -> None:
        if (row := self.selected_row()) is not None:
            self._hint_done = True
            self.console_app.open_detail(row.id, tab)

    def _chart(self, wanted: str) -> None:
        if (row := self.selected_row()) is not None:
            self.console_app.open_chart(row.id, wanted)

    def _sort(self, column: str) -> None:
        column = column.strip().lower()
        if column and column not in services.SORTS:
            self.console_app.say(f"no column {column!r}; there are {', '.join(services.SORTS)}", "warn")
            return
        again = bool(column) and column == self.view.sort
        self.view = replace(self.view, sort=column, reverse=again and not self.view.reverse)
        self._reorder()

    def _reorder(self) -> None:
        self.table.thaw_order()
        self.show(self.console_app.context.frame, self.console_app.now)

    def _filter(self, pattern: str) -> None:
        if pattern:
            self._set_filter(pattern)
            return
        before = self.view.filter_text
        self.ask(
            "/", self._set_filter, value=before, hint="regular expression; !x: not x; enter keeps, esc gives up",
            changed=self._try_filter, cancelled=lambda: self._set_filter(before),
        )  # fmt: skip

    def _try_filter(self, pattern: str) -> None:
        self.view = replace(self.view, filter_text=pattern)
        self._reorder()
        self.table.freeze_order()
        self.prompt.show_error(self.ordering.trouble)

    def _set_filter(self, pattern: str) -> None:
        self.view = replace(self.view, filter_text=pattern.strip())
        self._reorder()

    def go_back(self) -> bool:
        """Panel to table, all panels, filter, marks, unfolded rows: one at a time."""
        if self.focused is not self.table:
            self.set_focus(self.table)
        elif self.zoom and not fleet_layout(*self.app.size, self._strip_lines).tabs:
            self._zoom("")
        elif self.view.filter_text:
            self._set_filter("")
        elif self.table.marked:
            self.table.clear_marks()
        elif self.view.opened:
            self.view = replace(self.view, opened=frozenset())
            self._reorder()
        elif self.console_app.context.hint and not self._hint_done:
            self._hint_done = True
            self._reorder()
        else:
            return False
        return True

    def summary_lines(self) -> list[str]:
        """What is seen, as plain text."""
        return fleet_summary(self.console_app.context.frame, self.console_app.now, self.selected_row())


def _whole_line(spans: tuple[tuple[str, str], ...], width: int) -> tuple[tuple[str, str], ...]:
    """A line of its own in the strip: filled up, so that nothing stands beside it."""
    length = sum(len(text) for text, _ in spans)
    return (*spans, (" " * max(0, width - 2 - length), ""))
