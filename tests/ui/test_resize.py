"""A terminal that changes its size while frames arrive shows what one of that size shows from the start."""

from __future__ import annotations

import contextlib
import signal
import sys

import pytest

from tests.tui import PtyRun

SIZES = ((80, 24), (120, 40), (100, 30), (60, 15))
#: Every size after every other.
STEPS = (0, 1, 2, 0, 3, 1, 0, 2, 1, 3, 2, 3, 0)


def _run(row_id: str, how: str, size: tuple[int, int]) -> PtyRun:
    argv = [sys.executable, "-m", "tests.ui.moving", row_id, how]
    return PtyRun(argv, width=size[0], height=size[1])


def _fresh(row_id: str, size: tuple[int, int]) -> list[str]:
    with _run(row_id, "still", size) as tty:
        tty.wait_text("1 overview" if row_id != "-" else "SERVICE", 15)
        tty.wait_quiet(0.4, 10)
        return tty.lines()


def _resize(tty: PtyRun, size: tuple[int, int]) -> None:
    before = tty.total_bytes
    tty.resize(*size)
    tty.wait(lambda _: tty.total_bytes > before + 200, 10, "frames of the new size")


def _settled(tty: PtyRun, wanted: list[str]) -> list[str]:
    """What stays on the screen, but for its first line, which may say how slow the line was.

    What is still on its way when the machine stops for a moment is waited for.
    """
    with contextlib.suppress(AssertionError):
        tty.wait(lambda _: tty.lines()[1:] == wanted, 10)
    tty.wait_quiet(0.4, 10)
    return tty.lines()[1:]


@pytest.mark.parametrize("row_id", ["llama-chat", "-"], ids=["detail", "fleet"])
def test_the_screen_after_each_resize_is_a_fresh_one(row_id: str) -> None:
    """Sabotage: without the reset in FrugalApp._display what the old layout wrote stays beside the footer."""
    fresh = [_fresh(row_id, size) for size in SIZES]
    with _run(row_id, "moving", SIZES[STEPS[0]]) as tty:
        tty.wait_text("1 overview" if row_id != "-" else "SERVICE", 15)
        for step in STEPS[1:4]:  # while numbers change all the time
            _resize(tty, SIZES[step])
        tty.signal(signal.SIGUSR1)
        at = STEPS[3]
        for step in STEPS[3:]:
            if step != at:  # the same size again brings no signal, and no frame to wait for
                _resize(tty, SIZES[step])
            at = step
            assert _settled(tty, fresh[step][1:]) == fresh[step][1:], SIZES[step]
