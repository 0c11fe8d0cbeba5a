"""The palette: all commands that work on the screen below, found by any part of their words."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import ModalScreen

from nimify_tui.ui import commands
from nimify_tui.ui.commands import Command, key_text
from nimify_tui.ui.screens.base import ConsoleScreen
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.prompt import Prompt
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import LiveTable, Row, rows_by_key

_COLUMNS = (
    Column("key", "KEY", 8),
    Column("title", "COMMAND", 16),
    Column("help", "WHAT IT DOES", 20, flex=1),
)


class PaletteScreen(ModalScreen[Any]):
    """Floats over ``below``; enter runs the chosen command there, by the same way as its key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "up", show=False, priority=True),
        Binding("down", "move(1)", "down", show=False, priority=True),
    ]

    def __init__(self, below: ConsoleScreen) -> None:
        super().__init__()
        self._below = below
        self._commands = [
            each for each in commands.of_scopes(below.active_scopes()) if each.bound and each.id != "global.palette"
        ]
        self.rule = Rule("palette", "enter runs, esc closes", id="palette-rule")
        self.prompt = Prompt(id="palette-prompt")
        self.table = LiveTable(_COLUMNS, id="palette-table", header=False, empty="no such command", lead=True)

    def compose(self) -> ComposeResult:
        """The panes."""
        yield self.rule
        yield self.prompt
        yield self.table

    def on_mount(self) -> None:
        """Begin: fill the panes, take the focus."""
        width, height = self.app.size
        for child, lines in ((self.rule, 1), (self.prompt, 1), (self.table, max(3, min(16, height - 6)))):
            child.styles.width = max(20, min(100, width - 4))
            child.styles.height = lines
        self._fill("")
        self.prompt.start("> ", hint="type a part of its name")

    def _fill(self, text: str) -> None:
        found = [each for each in self._commands if _matches(each, text)]
        self.table.set_rows(*rows_by_key((each.id, self._row(each)) for each in found))
        self.table.move_to(0)

    def _row(self, command: Command) -> Row:
        reason = self._below.refusal(command)
        key = key_text(command.keys[0]) if command.keys else f":{command.names[0]}" if command.names else ""
        text = f"{command.help}; not now: {reason}" if reason else command.help
        return Row((Cell(key, "key"), Cell(command.title), Cell(text, "dim")), style="dim" if reason else "")

    def on_key(self, event: Key) -> None:
        """What was typed before the prompt had the focus."""
        self.prompt.on_key(event)

    def action_move(self, step: int) -> None:
        """Move in the list while the prompt has the focus."""
        self.table.action_cursor(step)

    @on(Prompt.Changed)
    def _changed(self, event: Prompt.Changed) -> None:
        event.stop()
        self._fill(event.value)

    @on(Prompt.Cancelled)
    def _cancelled(self, event: Prompt.Cancelled) -> None:
        event.stop()
        self.dismiss(None)

    @on(Prompt.Submitted)
    def _submitted(self, event: Prompt.Submitted) -> None:
        event.stop()
        self._run()

    @on(LiveTable.Activated)
    def _activated(self, event: LiveTable.Activated) -> None:
        event.stop()
        self._run()

    def _run(self) -> None:
        key = self.table.cursor_key
        self.dismiss(None)
        if key is not None:
            self._below.call_later(self._below.run_command, commands.by_id(str(key)), "")


def _matches(command: Command, text: str) -> bool:
    haystack = " ".join((command.title, *command.names, command.help)).lower()
    return all(word in haystack for word in text.lower().split())
