"""A chart that is opened right after the start says that it begins, not that nothing is known."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.tui import screen_text
from tests.ui import frames
from tests.ui.world import World, run_console


def opened(first_at: float) -> str:
    """The chart's screen where the only column began then, four seconds of it."""
    frame, detail = frames.drawn(), frames.drawn_detail()
    column = msgspec.structs.replace(detail.history.columns[-1], at=first_at)
    detail = msgspec.structs.replace(detail, history=msgspec.structs.replace(detail.history, columns=(column,)))
    world = World(msgspec.structs.replace(frame, details={"llama-chat": detail}))

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("v")
        await pilot.pause()
        return screen_text(app)

    return run_console(script, world, size=(120, 40))


def test_before_the_first_column_is_over_the_chart_says_so() -> None:
    """One of these began in the column that goes on, whatever its length."""
    texts = [opened(frames.NOW - 4 - 6 * each) for each in range(5)]
    assert any("is not over yet; - and + change the range" in each for each in texts), texts[0]
    assert not any("nothing known of then" in each for each in texts)
