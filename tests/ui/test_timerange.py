"""Which time a chart shows: never beyond now, around what is pointed at."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.ui.present.timerange import FARTHEST_S, RANGES, TimeView
from tests.ui import frames

views = st.builds(
    TimeView, st.sampled_from(list(RANGES.values())), st.none() | st.floats(frames.NOW - FARTHEST_S, frames.NOW - 1),
).flatmap(
    lambda view: (st.none() | st.floats(0.0, 1.0)).map(
        lambda share: view if share is None else replace(view, cursor_at=view.end(frames.NOW) - share * view.window_s)
    )
)  # fmt: skip


@given(views, st.lists(st.sampled_from(["in", "out", "past", "later", "6h"]), max_size=12))
def test_time_never_goes_beyond_now_nor_loses_what_is_pointed_at(view: TimeView, moves: list[str]) -> None:
    now = frames.NOW
    for move in moves:
        before = view
        if move in ("in", "out"):
            view = view.zoomed(1 if move == "in" else -1, now)
        elif move == "6h":
            view = view.ranged(RANGES["6h"], now)
        else:
            view = view.panned(-0.5 if move == "past" else 0.5, now)
        end = view.end(now)
        assert end <= now
        assert view.window_s in RANGES.values()
        assert (view.cursor_at is None) == (before.cursor_at is None)
        if view.cursor_at is not None and end > now - FARTHEST_S:
            assert end - view.window_s - 1e-3 <= view.cursor_at <= end + 1e-3
    assert view.back().live
