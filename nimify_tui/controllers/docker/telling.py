"""What an engine tells while it pulls or builds, as the steps of an action."""

from __future__ import annotations

from nimify_tui.backends.docker.progress import Event, Layer, Sent, Step
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.wording import size_text
from nimify_tui.controllers.world import Say


def tell(event: Event, what: str, say: Say) -> None:
    """Say ``event``; ``what`` is going on ("builds")."""
    match event:
        case Sent():
            say(f"{what}: sent {size_text(event.done_bytes)} of {size_text(event.total_bytes)}", 0, 0)
        case Step():
            say(f"{what}: {clean_line(event.text, 160)}", event.number, event.total)
        case Layer():
            size = f" {size_text(event.done_bytes)} of {size_text(event.total_bytes)}" if event.total_bytes else ""
            words = f"{event.id} {event.status}{size}".strip()
            say(f"{what}: {words}", 0, 0)
        case _:
            if text := clean_line(str(getattr(event, "text", "")), 160):
                say(f"{what}: {text}", 0, 0)
