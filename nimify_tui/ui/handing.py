"""Text that leaves the screen: to the terminal's clipboard (OSC 52), or into a file that is not there yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nimify_tui.ui.format import plural

if TYPE_CHECKING:
    from nimify_tui.ui.console import ConsoleApp

#: OSC 52: terminals drop what is much longer.
CLIPBOARD_BYTES = 8192


def hand_over(app: ConsoleApp, lines: Sequence[str], path: str, *, again: str) -> bool:
    """Give ``lines`` to the terminal, or write them to ``path`` when there is one, and say what was done.

    ``again`` is the command that writes a file. True when they went to the terminal.
    """
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    if path:
        _write(app, Path(path).expanduser(), text)
        return False
    data = text.encode()[:CLIPBOARD_BYTES].decode(errors="ignore")
    data = data[: data.rfind("\n") + 1] or data  # half a line may say something else
    cut = "" if len(data) == len(text) else f", cut at {CLIPBOARD_BYTES // 1024} kB"
    app.copy_to_clipboard(data)
    said = f"{plural(len(lines), 'line')} sent to terminal{cut}; whether it takes them is its setting"
    app.say(said, "", f":{again} FILE")
    return True


def _write(app: ConsoleApp, path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        app.say(f"not written: {error.strerror or error}: {path}", "bad")
    else:
        app.say(f"written to {path}", "ok")
