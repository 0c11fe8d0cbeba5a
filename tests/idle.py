"""When an app in this process has done all that it was given: looked up instead of guessed.

Textual's own pilot takes silence of the processor for that: it sleeps 40 ms or more for each key, and a whole second
where anything else of the test run is at work. Here what is left to do is asked: messages in a queue, callbacks of the
loop, a layout or a paint that waits for the next sixtieth of a second (which is then done at once).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

#: So many rounds of the loop in a row find nothing: a task that was woken in one of them had its turn.
ROUNDS = 3
#: An app that is not done by then will not be, on the slowest machine, seconds.
NEVER_S = 60.0


def _is_busy(app: Any) -> bool:
    """Whether a callback is ready, or a widget has a message that it has not handled."""
    loop: Any = asyncio.get_running_loop()
    return bool(loop._ready) or any(
        pump._next_callbacks or not pump._message_queue.empty() for pump in (app, *app._registry) if pump._running
    )


def _owes_a_frame(app: Any) -> bool:
    """Whether the screen waits for its next update; one that is covered, or in a batch, gets none."""
    if not app.screen_stack or app._batch_count:
        return False
    screen = app.screen
    return screen._running and bool(
        screen._layout_required
        or screen._scroll_required
        or screen._repaint_required
        or screen._recompose_required
        or screen._dirty_widgets
        or screen._callbacks
    )


async def settled(app: Any) -> None:
    """Return when nothing is left to do; timers of the app's own are not awaited. AssertionError if it never ends."""
    end_s = time.monotonic() + NEVER_S
    calm = 0
    while calm < ROUNDS:
        assert time.monotonic() < end_s, f"the app still works after {NEVER_S} s"
        await asyncio.sleep(0)
        if _is_busy(app):
            calm = 0
        elif _owes_a_frame(app):
            app.screen._on_timer_update()
            calm = 0
        else:
            calm += 1


@contextlib.contextmanager
def exact(app: Any) -> Iterator[None]:
    """While the block runs, a pilot of ``app`` waits by :func:`settled`."""

    async def wait_for_idle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
        await settled(app)

    here = "textual.app.wait_for_idle", "textual.pilot.wait_for_idle"
    with mock.patch(here[0], wait_for_idle), mock.patch(here[1], wait_for_idle):
        yield
