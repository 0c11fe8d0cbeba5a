"""Apps that hold one widget, for the tests of widgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.widget import Widget

from nimify_tui.ui.frugal import FrugalApp
from nimify_tui.ui.terminal import TerminalProfile
from nimify_tui.ui.theme import style_path


def profile(**changes: Any) -> TerminalProfile:
    """An ordinary truecolor terminal, with changes."""
    fields: dict[str, Any] = {
        "color": "truecolor",
        "utf8": True,
        "ssh": False,
        "multiplexer": "",
        "term": "xterm-256color",
        "width": 80,
        "height": 24,
        "mouse": False,
    }
    return TerminalProfile(**(fields | changes))


class HostApp(FrugalApp):
    """Shows the widgets that ``make`` returns, one below the other; collects their messages."""

    CSS_PATH = [style_path("base.tcss"), style_path("widgets.tcss")]

    def __init__(
        self, make: Callable[[], Sequence[Widget]], terminal: TerminalProfile | None = None, **changes: Any
    ) -> None:
        super().__init__(terminal or profile(**changes))
        self._make = make
        self.seen: list[Any] = []

    def compose(self) -> ComposeResult:
        yield from self._make()
