"""A chart that is opened right after the start says that it begins, not that nothing is known."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.tui import screen_text
from tests.ui import frames
from tests.ui.world import World, run_console


def opened(first_at: float, *keys: str) -> tuple[str, float]:
    """The chart's screen where the only column began then, four seconds of it; how long its range is."""
    frame, detail = frames.drawn(), frames.drawn_detail()
    column = msgspec.structs.replace(detail.history.columns[-1], at=first_at)
    detail = msgspec.structs.replace(detail, history=msgspec.structs.replace(detail.history, columns=(column,)))
    world = World(msgspec.structs.replace(frame, details={"llama-chat": detail}))

    async def script(app: Any, pilot: Any) -> tuple[str, float]:
        await pilot.press("v", *keys)
        await pilot.pause()
        return screen_text(app), app.top.view.window_s

    return run_console(script, world, size=(120, 40))


def test_before_the_first_column_is_over_the_chart_says_so() -> None:
    """One of these began in the column that goes on, whatever its length."""
    texts = [opened(frames.NOW - 4 - 6 * each, "3")[0] for each in range(5)]
    assert any("is not over yet; - and + change the range" in each for each in texts), texts[0]
    assert not any("nothing known of then" in each for each in texts)


def test_it_begins_with_a_range_that_what_is_known_fills() -> None:
    """Seen failing: of an hour the last two columns were drawn, a stroke at the right edge."""
    text, window_s = opened(frames.NOW - 60)
    assert window_s == 300.0
    assert "of 5m" in text
