"""What is found out about a terminal, what follows, and the colours of the themes."""

from __future__ import annotations

import pytest
from rich.color import Color

from nimify_tui.ui.frugal import nearest_256
from nimify_tui.ui.terminal import FlowControl, SlowLine, TerminalProfile, TerminalRefused, color_depth, probe
from nimify_tui.ui.theme import PALETTES, THEME_NAMES


class Tty:
    def __init__(self, is_terminal: bool = True) -> None:
        self._is = is_terminal

    def isatty(self) -> bool:
        return self._is


def probed(environ: dict[str, str], **options: object) -> TerminalProfile:
    fixed = {"encoding": "utf-8", "size": (80, 24), "stdin": Tty(), "stderr": Tty()} | options
    return probe({"TERM": "xterm-256color"} | environ, **fixed)  # type: ignore[arg-type]  # options by name, typed in the callee


@pytest.mark.parametrize(
    ("environ", "choice", "depth"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "auto", "truecolor"),
        ({"TERM": "xterm-256color"}, "auto", "256"),
        ({"TERM": "tmux-256color", "NO_COLOR": ""}, "auto", "256"),
        ({"TERM": "xterm"}, "auto", "16"),
        ({"TERM": "linux"}, "auto", "16"),
        ({"TERM": "vt100"}, "auto", "none"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "auto", "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "256", "256"),
    ],
)
def test_colour_depth(environ: dict[str, str], choice: str, depth: str) -> None:
    assert color_depth(environ, choice) == depth  # type: ignore[arg-type]  # words from the parameter table


def test_what_follows_from_the_terminal() -> None:
    ssh = probed({"SSH_CONNECTION": "a", "TMUX": "/tmp/x"})
    assert (ssh.ssh, ssh.multiplexer, ssh.mouse, ssh.glyphs.name) == (True, "tmux", False, "unicode")
    assert ssh.drain_hz < probed({}).drain_hz
    assert probed({}, encoding="latin-1").glyphs.name == "ascii"
    assert probed({}, ascii_only=True).glyphs.name == "ascii"
    assert probed({"TERM": "linux"}).glyphs.name == "ascii"
    none = probed({"NO_COLOR": "1"})
    assert none.ansi_color
    assert none.theme() == "nimify-ansi"
    assert ssh.textual_env()["TEXTUAL_ANIMATIONS"] == "none"
    assert ssh.textual_env()["TEXTUAL_DISABLE_KITTY_KEY"] == "1"


@pytest.mark.parametrize(
    ("environ", "options", "word"),
    [
        ({"TERM": "dumb"}, {}, "TERM=dumb"),
        ({"TERM": ""}, {}, "not set"),
        ({}, {"stdin": Tty(False)}, "standard input"),
        ({}, {"stderr": Tty(False)}, "standard error"),
    ],
)
def test_what_cannot_show_a_screen_is_refused_with_a_way_out(
    environ: dict[str, str], options: dict[str, object], word: str
) -> None:
    with pytest.raises(TerminalRefused) as refused:
        probed(environ, **options)
    assert word in refused.value.message
    assert "snapshot" in refused.value.remedy


def test_the_governor_halves_and_recovers() -> None:
    line = SlowLine(8.0)
    assert line.text == ""
    assert line.sample(0.9)
    assert (line.hz, line.text) == (4.0, "line slow: 4 Hz")
    for _ in range(5):
        line.sample(0.9)
    assert line.hz == 1.0
    changes = [line.sample(0.0) for _ in range(15)]
    assert changes.count(True) == 3
    assert line.hz == 8.0
    assert not line.slow


def test_flow_control_waits_for_answers_and_gives_up_on_silent_terminals() -> None:
    flow = FlowControl()
    assert flow.sent(4000, 0.0) == FlowControl.QUERY
    assert not flow.must_wait(0.1), "before the first answer nobody knows whether there are any"
    flow.answered(0.5)
    flow.sent(4000, 1.0)
    assert flow.must_wait(1.1)
    flow.answered(0.5)
    assert not flow.must_wait(1.2)
    flow.sent(4000, 2.0)
    assert not flow.must_wait(2.0 + FlowControl.LOST_S + 0.1), "an answer may get lost"
    silent = FlowControl()
    assert [silent.sent(10, 0.0) for _ in range(9)][-1] == ""


# WCAG 2.2, success criterion 1.4.3: relative luminance and contrast ratio.
def _luminance(rgb: tuple[int, int, int]) -> float:
    parts = [value / 255 for value in rgb]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str, depth: str) -> float:
    values = []
    for name in (one, other):
        color = Color.parse(name)
        if depth == "256":
            image = nearest_256(color)
            assert image is not None
            color = image
        values.append(_luminance(tuple(color.get_truecolor())))  # type: ignore[arg-type]  # always three numbers
    high, low = max(values), min(values)
    return (high + 0.05) / (low + 0.05)


TEXT = ("foreground", "ok", "warn", "crit", "start", "stale", "dimmed", "keys")


@pytest.mark.parametrize("depth", ["truecolor", "256"])
@pytest.mark.parametrize("theme", [name for name in THEME_NAMES if name != "nimify-ansi"])
def test_text_is_readable(theme: str, depth: str) -> None:
    colours = PALETTES[theme]
    least = 7.0 if theme == "nimify-contrast" else 4.5
    for name in TEXT:
        assert contrast(colours[name], colours["background"], depth) >= least, (name, depth)
    assert contrast(colours["select-text"], colours["select"], depth) >= 4.5
    assert contrast(colours["rule"], colours["background"], depth) >= 3.0
    for name in ("warn", "crit"):
        assert contrast(colours[name], colours["select"], depth) >= 3.0, (name, "on the selection", depth)


def test_the_256_colour_image_of_a_dark_grey_is_a_grey() -> None:
    panel = nearest_256(Color.parse("#242F38"))
    assert panel is not None
    assert panel.number is not None
    assert panel.number >= 232, "Rich's own rounding gives navy 17"


def test_a_line_is_called_slow_by_what_it_carries() -> None:
    flow, line = FlowControl(), SlowLine()
    flow.sent(100, 0.0)
    flow.answered(0.15)  # a far terminal
    flow.sent(11_000, 1.0)
    flow.answered(1.70)  # 0.55 s of it for the bytes
    assert flow.rate_bytes_s is not None
    assert 19_000 < flow.rate_bytes_s < 21_000
    assert line.sample(0.0, flow.rate_bytes_s)
    assert line.text == "line slow: 20 kB/s"
    flow.sent(11_000, 2.0)
    flow.answered(2.16)
    assert line.sample(0.0, flow.rate_bytes_s)
    assert line.text == ""


def test_a_far_terminal_alone_is_no_slow_line() -> None:
    flow = FlowControl()
    flow.sent(100, 0.0)
    flow.answered(0.4)
    flow.sent(6_000, 1.0)
    flow.answered(1.45)
    assert not SlowLine().sample(0.0, flow.rate_bytes_s)


def test_a_frame_that_waited_behind_another_is_no_measure_of_the_way() -> None:
    """As over 20 kB/s: seen failing (70 kB/s) when the second frame's wait was taken for the way there and back."""
    flow, line = FlowControl(), SlowLine()
    flow.sent(4136, 0.0)
    flow.sent(1746, 0.1)
    flow.answered(0.29)
    flow.answered(0.31)
    flow.sent(2899, 0.5)
    flow.answered(0.74)
    assert flow.rate_bytes_s is not None
    assert flow.rate_bytes_s < 20_000
    assert line.sample(0.0, flow.rate_bytes_s)
    assert line.text.startswith("line slow: ")
