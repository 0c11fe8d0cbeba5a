"""What the line pays: bytes in a real pty, 120x40. Counts, not milliseconds."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.support import wait_for
from tests.tui import PtyRun

ARGV = [sys.executable, "-m", "tests.widgets.program"]
TRUECOLOR = {"COLORTERM": "truecolor"}


def started(rows: int = 60, **options: object) -> PtyRun:
    env = options.pop("env", TRUECOLOR)
    tty = PtyRun([*ARGV, str(rows)], width=120, height=40, env=env, **options)  # type: ignore[arg-type]  # options by name, typed in the callee
    try:
        tty.wait_text("svc-19", 20)
        tty.wait_quiet(0.3)
    except BaseException:
        tty.close()
        raise
    return tty


def cost(tty: PtyRun, *keys: str, shows: bool = False) -> int:
    """Bytes that ``keys`` bring; ``shows``: they change something, however long a busy machine takes for it."""
    before = tty.total_bytes
    tty.press(*keys)
    if shows:
        wait_for(lambda: tty.total_bytes > before, 20, why=f"what {keys} brings", detail=tty.text)
    tty.wait_quiet(0.4)
    return tty.total_bytes - before


@pytest.mark.parametrize("env", [TRUECOLOR, {}, {"NO_COLOR": "1"}], ids=["truecolor", "256", "no-colour"])
def test_a_tick_of_20_cells_costs_at_most_4_kb_and_no_change_costs_nothing(env: dict[str, str]) -> None:
    with started(env=env) as tty:
        ticks = [cost(tty, "t", shows=True) for _ in range(3)]
        assert 0 < max(ticks) <= 4000, ticks
        assert max(ticks) <= 2000, f"the budget is met, but it used to be 800: {ticks}"
        assert cost(tty, "n") == 0


def test_repaints_that_change_nothing_send_nothing() -> None:
    with started() as tty:
        assert cost(tty, "r") == 0
        assert cost(tty, "o") <= 8


def test_under_a_dialog_only_changed_cells_are_repainted() -> None:
    with started() as tty:
        opened = cost(tty, "m", shows=True)
        assert 0 < opened < 4000
        assert "Restart svc-1" in tty.text()
        assert "svc-2" in tty.text()
        before, shown = tty.total_bytes, tty.text()
        tty.signal(signal.SIGUSR1)
        tty.wait(lambda text: text != shown)
        tty.wait_quiet(0.4)
        assert 0 < tty.total_bytes - before <= 2000
        assert "Restart svc-1" in tty.text()


def test_thirty_thousand_rows_cost_the_line_what_sixty_do() -> None:
    with started(60) as few, started(30_000) as many:
        assert abs(cost(few, "t", shows=True) - cost(many, "t", shows=True)) < 300
        assert many.total_bytes < few.total_bytes + 500


def test_on_a_slow_line_a_key_is_answered_and_the_screen_says_so() -> None:
    with started(rate_bytes_s=20_000) as tty:
        tty.press("b")
        for _ in range(8):
            tty.bytes_during(0.3)
            tty.press("s")
        tty.wait_text("line slow", 5)
        tty.press("m")
        tty.wait_text("Restart svc-1", 2)
