"""The palette: all commands that work on the screen below, found by any part of their words."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.events import Key
from textual.message import Message

from nimify_tui.ui import commands
from nimify_tui.ui.commands import Command, key_text
from nimify_tui.ui.screens.base import ConsoleScreen, ScreenPrompt
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.dialog import Floating
from nimify_tui.ui.widgets.prompt import Prompt
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import LiveTable, Row, rows_by_key

_COLUMNS = (
    Column("key", "KEY", 8),
    Column("title", "COMMAND", 16),
    Column("help", "WHAT IT DOES", 20, flex=1),
)
_STEPS = {"up": -1, "down": 1}


class PaletteScreen(Floating[Any]):
    """Floats over ``below``; enter runs the chosen command there, by the same way as its key."""

    def __init__(self, below: ConsoleScreen) -> None:
        super().__init__()
        self._below = below
        self._commands = [
            each
            for each in commands.of_scopes(below.active_scopes())
            if each.bound and each.id != "global.palette"
        ]
        self.rule = Rule("palette", "enter runs, esc closes", id="palette-rule")
        self.prompt = ScreenPrompt(self._said, id="palette-prompt")
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

    def take_key(self, event: Key) -> None:
        """Up and down choose, all else is for the prompt."""
        if event.key in _STEPS:
            self.table.action_cursor(_STEPS[event.key])
        else:
            self.prompt.on_key(event)

    def _said(self, message: Message) -> None:
        """What the prompt has to tell, at once."""
        if isinstance(message, Prompt.Changed):
            self._fill(message.value)
            return
        chosen = self.table.cursor_key
        self.dismiss(None)
        if isinstance(message, Prompt.Submitted) and chosen is not None:
            self._below.run_command(commands.by_id(str(chosen)), "")

    @on(LiveTable.Activated)
    def _activated(self, event: LiveTable.Activated) -> None:
        event.stop()
        self.dismiss(None)
        self._below.call_later(self._below.run_command, commands.by_id(str(event.key)), "")


def _matches(command: Command, text: str) -> bool:
    haystack = " ".join((command.title, *command.names, command.help)).lower()
    return all(word in haystack for word in text.lower().split())
