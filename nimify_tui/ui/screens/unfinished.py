"""Actions: those that an earlier session left unfinished, with what is so now; and those of this session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from nimify_tui.base.text import clean_line
from nimify_tui.domain.plans import ActionState, UnfinishedAction
from nimify_tui.fleet.frames import Frame
from nimify_tui.gate.journal import was_masked
from nimify_tui.ui import format as fmt
from nimify_tui.ui.acting import Deed
from nimify_tui.ui.commands import Scope
from nimify_tui.ui.present import head
from nimify_tui.ui.present.layout import Box
from nimify_tui.ui.present.plans import Spans, keys_text, state_style, target_lines, unfinished_text
from nimify_tui.ui.screens.base import ConsoleScreen, bindings_for
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.panel import TextPanel
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import LiveTable, Row, rows_by_key
from nimify_tui.ui.widgets.textline import StatusLine

_COLUMNS = (
    Column("begun", "BEGUN", 11),
    Column("state", "STATE", 8),
    Column("what", "WHAT", 20, 44, flex=2),
    Column("reality", "WHAT IS SO NOW", 20, flex=3),
    Column("actor", "BY", 10, 24, flex=1, priority=1),
)
_DEED_COLUMNS = tuple(replace(each, title="RESULT") if each.key == "reality" else each for each in _COLUMNS)


class UnfinishedScreen(ConsoleScreen):
    """See the module's text."""

    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.UNFINISHED, Scope.LIST, Scope.GLOBAL)
    BINDINGS: ClassVar[list[BindingType]] = bindings_for(Scope.UNFINISHED, Scope.GLOBAL)

    def __init__(self) -> None:
        super().__init__()
        self.status = StatusLine(id="status")
        self.rule = Rule("unfinished actions", id="unfinished-rule")
        self.table = LiveTable(_COLUMNS, id="unfinished", empty="none: no earlier session was cut short")
        self.facts_rule = Rule("the plan", id="facts-rule")
        self.facts = TextPanel(id="facts", indent=2)
        self.deeds_rule = Rule("this session", id="deeds-rule")
        self.done = LiveTable(_DEED_COLUMNS, id="deeds", empty="nothing was changed in this session")

    def compose(self) -> ComposeResult:
        """The panes."""
        yield from (
            self.status,
            self.rule,
            self.table,
            self.facts_rule,
            self.facts,
            self.deeds_rule,
            self.done,
        )
        yield self.footer_line
        yield self.prompt

    def on_mount(self) -> None:
        """Begin: fill the panes, take the focus."""
        self.set_focus(self.table if self.console_app.acting.unfinished else self.done)

    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """Where each pane stands."""
        room = max(6, height - 2)
        table, facts = max(2, room * 40 // 100), max(2, room * 25 // 100)
        rest = max(1, room - table - facts - 3)
        return {
            "status": Box(0, 0, width, 1),
            "unfinished-rule": Box(0, 1, width, 1),
            "unfinished": Box(0, 2, width, table),
            "facts-rule": Box(0, 2 + table, width, 1),
            "facts": Box(0, 3 + table, width, facts),
            "deeds-rule": Box(0, 3 + table + facts, width, 1),
            "deeds": Box(0, 4 + table + facts, width, rest),
        }

    def show(self, frame: Frame, now: float) -> None:
        """Fill the panes."""
        app = self.console_app
        acting = app.acting
        self.status.set_spans(*head.status_spans(frame, app.head_facts(), app.size.width))
        self.rule.set(None, f"{len(acting.unfinished)} to decide")
        self.table.set_rows(*rows_by_key((each.plan.id, _row(each, now)) for each in acting.unfinished))
        running = acting.under_way()
        done = f"{len(acting.deeds)} done"
        self.deeds_rule.set(None, f"{len(running)} running · {done}" if running else done)
        rows = [
            (plan.id, _deed_row(Deed(plan, ActionState.RUNNING, step.text, step.at, app.context.actor), now))
            for plan, step in reversed(running)
        ]
        rows += [(each.plan.id, _deed_row(each, now)) for each in reversed(acting.deeds)]
        self.done.set_rows(*rows_by_key(rows))
        self._show_facts()

    def _show_facts(self) -> None:
        if self.focused is self.done and (lines := self._deed_lines()):
            self.facts_rule.set("result", "")
            self.facts.set_lines(lines)
            return
        self.facts_rule.set("the plan", "")
        action = self._chosen()
        if action is None:
            self.facts.set_lines([])
            return
        facts = [("was", action.plan.summary), *action.plan.facts]
        self.facts.set_lines(
            [((f"{clean_line(label, 12):<12}", "dim"), clean_line(text, 400)) for label, text in facts]
        )

    def _deed_lines(self) -> list[Spans]:
        """What became of each target of the action under the lower cursor."""
        acting, key, width = self.console_app.acting, self.done.cursor_key, self.app.size.width - 4
        for plan, step in acting.under_way():
            if plan.id == key:
                return [((plan.summary, "bold"),), *target_lines(plan, step.ended, step, width)]
        for each in acting.deeds:
            if each.plan.id == key:
                return [((each.plan.summary, "bold"),), *target_lines(each.plan, each.results, width=width)]
        return []

    def _chosen(self) -> UnfinishedAction | None:
        key = self.table.cursor_key
        return next((each for each in self.console_app.acting.unfinished if each.plan.id == key), None)

    @on(LiveTable.CursorMoved, "#unfinished, #deeds")
    def _moved(self, event: LiveTable.CursorMoved) -> None:
        event.stop()
        self._show_facts()

    @on(LiveTable.Activated, "#unfinished")
    def _activated(self, event: LiveTable.Activated) -> None:
        event.stop()
        self._check()

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """What the commands do."""
        return {
            "check": lambda _: self._check(),
            "stop": lambda _: self._stop(),
            "other": lambda _: self._other(),
            "continue": lambda _: self._continue(),
            "undo": lambda _: self._undo(),
            "done": lambda _: self._resolve("done"),
            "dismiss": lambda _: self._resolve("dismissed"),
        }

    def _stop(self) -> None:
        running = {plan.id for plan, _ in self.console_app.acting.under_way()}
        chosen = str(self.done.cursor_key)
        self.console_app.acting.cancel(chosen if self.focused is self.done and chosen in running else "")

    def _other(self) -> None:
        self.set_focus(self.table if self.focused is self.done else self.done)
        self._show_facts()

    def _check(self) -> None:
        if (action := self._chosen()) is not None:
            self.run_worker(self._look_again(action), name="check", exclusive=True, exit_on_error=False)

    async def _look_again(self, action: UnfinishedAction) -> None:
        app = self.console_app
        found = await app.acting.answer(app.context.check(action), "check")
        if found is not None:
            app.acting.replace_unfinished(found)
            app.say(f"{found.state} {unfinished_text(found)}: {found.reality or 'nothing more is known'}")
            app.refresh_screens()

    def _continue(self) -> None:
        if (action := self._chosen()) is not None and self._complete(action):
            request = msgspec.structs.replace(action.plan.request, hidden=())
            self.console_app.acting.propose(request, resolves=action)

    def _complete(self, action: UnfinishedAction) -> bool:
        """Whether its record says all; one that held a credential was masked."""
        if was_masked(action.plan):
            self.console_app.say(
                "the record of this action is masked (it held a credential): plan it anew by hand", "warn"
            )
            return False
        return True

    def _undo(self) -> None:
        if (action := self._chosen()) is None or not self._complete(action):
            return
        if action.plan.undo is None:
            self.console_app.say("there is no way back from this action: check what is so now, then dismiss it", "warn")
            return
        self.console_app.acting.propose(action.plan.undo, resolves=action)

    def _resolve(self, how: str) -> None:
        if (action := self._chosen()) is not None:
            self.run_worker(self.console_app.acting.resolve(action, how), name=how, exit_on_error=False)

    def summary_lines(self) -> list[str]:
        """What is seen, as plain text."""
        actions = self.console_app.acting.unfinished
        return [f"{each.state} {unfinished_text(each)}: {clean_line(each.reality, 300)}" for each in actions] or [
            "none"
        ]


def _deed_row(deed: Deed, now: float) -> Row:
    what = f"{deed.plan.request.verb} {keys_text(deed.plan.request.targets)}"
    state = Cell(str(deed.state), state_style(deed.state))
    return Row((fmt.date_clock(deed.at, now), state, what, clean_line(deed.message, 300), deed.actor))


def _row(action: UnfinishedAction, now: float) -> Row:
    state = Cell(str(action.state), state_style(action.state))
    reality = action.reality or "not looked at yet: enter checks"
    return Row((fmt.date_clock(action.begun_at, now), state, unfinished_text(action), reality, action.actor))
