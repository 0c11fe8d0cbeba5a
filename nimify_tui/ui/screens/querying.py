"""A panel as PromQL: to the terminal's clipboard and to read, or into a file. The one way of every screen."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nimify_tui.ui.handing import hand_over
from nimify_tui.ui.widgets.dialog import Dialog

if TYPE_CHECKING:
    from nimify_tui.ui.console import ConsoleApp

_DIALOG_CELLS = 110


def hand_queries(app: ConsoleApp, lines: Sequence[str], path: str) -> None:
    """Give these lines; ``path`` "": to the terminal, and show them."""
    if hand_over(app, lines, path, again="promql"):
        width = min(_DIALOG_CELLS, app.size.width - 2)
        wrap = textwrap.TextWrapper(max(20, width - 4), break_on_hyphens=False).wrap  # names and UUIDs stay whole
        wrapped = [[part] for line in lines for part in wrap(line) or [""]]
        hint = "sent to the terminal's clipboard; esc closes, down scrolls"
        app.push_screen(Dialog("PromQL", wrapped, ask="none", hint=hint, width=width))
