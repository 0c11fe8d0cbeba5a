"""A new frame with the same content costs the terminal nothing: the whole fleet screen, counted in a real pty."""

from __future__ import annotations

import pytest

from tests.bench import bytes_per_tick
from tests.bench.bytes_per_tick import FLEET_SOURCES, FedRun, fleet_run
from tests.support import Home, wait_for

FRAMES = 10
#: So many frames may be needed until a screen that was just opened stands still.
SETTLING = 5
#: A machine that is busy makes the terminal answer late; the status line then says so, in other bytes each time.
SLOW, TRIES = "line slow", 3
TRUECOLOR = {"COLORTERM": "truecolor"}
ENVS = {"truecolor": TRUECOLOR, "256": {}, "no colour": {"NO_COLOR": "1"}}


def cost_of_frames(program: FedRun, keys: tuple[str, ...] = ()) -> int:
    """Bytes that ten new frames with the same content make the console write, on the screen that ``keys`` open."""
    for key in keys:
        before = program.tty.total_bytes
        program.tty.press(key)
        wait_for(lambda before=before: program.tty.total_bytes > before, why=key, detail=program.tty.text)  # type: ignore[misc]  # bound at once
        program.tty.wait_quiet()
    written = 0
    for _ in range(TRIES):
        slow = SLOW in program.tty.text()
        written = _cost(program)
        if not slow and SLOW not in program.tty.text():
            break
    return written


def _cost(program: FedRun) -> int:
    for _ in range(SETTLING):  # the details that this screen has asked for, a frame that was still on its way
        if program.send("same") == 0:
            break
    program.send("count")
    program.tty.wait_quiet()  # its thread may not have read yet what was written before
    counts, at_terminal = program.counts(), program.tty.total_bytes
    for _ in range(FRAMES):
        program.send("same")
    program.send("count")
    after = program.counts()
    assert after["version"] == counts["version"] + FRAMES, "each frame was another one, and was shown"
    written = int(after["bytes"] - counts["bytes"])
    if written:
        print(f"written: {bytes(program.tty.raw)[-written:]!r}")  # shown where that fails a test
    # The terminal's own thread reads them, when it has its turn.
    wait_for(lambda: program.tty.total_bytes - at_terminal == written, why="the terminal to get what the driver wrote")
    return written


@pytest.mark.e2e
@pytest.mark.parametrize("source", FLEET_SOURCES)
def test_ten_new_frames_with_the_same_content_send_no_byte(home: Home, source: str) -> None:
    """Seen failing: see the two sabotages below."""
    with fleet_run(home, source) as program:
        assert cost_of_frames(program) == 0, "and by then the screen stands still"
        lines = program.counts()["lines"]
        assert cost_of_frames(program) == 0
        assert program.counts()["lines"] == lines, "no widget even repainted a line"
        assert program.send("other") > 0, "a frame that differs does arrive"


@pytest.mark.e2e
@pytest.mark.parametrize("colours", ENVS)
def test_no_byte_whatever_the_colours_the_tab_and_the_dialog(home: Home, colours: str) -> None:
    with fleet_run(home, "drawn", ENVS[colours]) as program:
        ways = ((), ("2",), ("4",), ("?",), ("escape", ":"), ("escape", "enter"), ("5",), ("v", "left"))
        assert [cost_of_frames(program, keys) for keys in ways] == [0] * len(ways)


@pytest.mark.e2e
@pytest.mark.parametrize("careless", ["version", "repaint"])
def test_sabotage_one_careless_widget_is_counted(home: Home, careless: str) -> None:
    """``version``: the table's title tells the frame's version; ``repaint``: the status line is sent again."""
    with fleet_run(home, "drawn") as program:
        program.send(careless)
        with pytest.raises(AssertionError, match="== 0"):
            assert cost_of_frames(program) == 0


def test_the_benchmark_counts_the_same() -> None:
    result = bytes_per_tick.whole_screen(ticks=2)
    assert result.passed, result
    assert result.value == 0
