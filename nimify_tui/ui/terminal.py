"""What this terminal can do, found once; and what follows from it.

Nothing here imports Textual: the launcher probes, puts :meth:`TerminalProfile.textual_env` into the
environment, and only then imports the screens (Textual reads its variables at import).
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.ui.glyphs import ASCII, UNICODE, Glyphs

ColorDepth = Literal["truecolor", "256", "16", "none"]
ColorChoice = Literal["auto", "truecolor", "256", "16", "none"]


class TerminalRefused(ConfigurationError):
    """This terminal cannot show a full screen; the remedy says what can."""


class _Stream(Protocol):
    def isatty(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class TerminalProfile:
    """The terminal's abilities; ``width``/``height`` are cells at the start."""

    color: ColorDepth
    utf8: bool
    ssh: bool
    multiplexer: Literal["", "tmux", "screen"]
    term: str
    width: int
    height: int
    mouse: bool

    @property
    def glyphs(self) -> Glyphs:
        """The symbols this terminal can draw."""
        return UNICODE if self.utf8 else ASCII

    @property
    def ansi_color(self) -> bool:
        """Whether the App is made with ``ansi_color=True`` (the terminal's own 16 colours, or none)."""
        return self.color in ("16", "none")

    @property
    def drain_hz(self) -> float:
        """How often the screens take a new frame on a line that keeps up, per second."""
        return 4.0 if self.ssh else 8.0

    def theme(self, wanted: str = "nimify-dark") -> str:
        """The theme to use: the wanted one, or the 16-colour one where there are no more."""
        return "nimify-ansi" if self.ansi_color else wanted

    def textual_env(self) -> dict[str, str]:
        """Variables to set before Textual is imported.

        No animations and no smooth scrolling anywhere (one animated page-down is 200 kB), the kitty
        keyboard protocol off (a dropped session would leave it on), the colour system as probed.
        """
        system = {"truecolor": "truecolor", "256": "256", "16": "standard", "none": "standard"}[self.color]
        return {
            "TEXTUAL_ANIMATIONS": "none",
            "TEXTUAL_SMOOTH_SCROLL": "0",
            "TEXTUAL_DISABLE_KITTY_KEY": "1",
            "TEXTUAL_COLOR_SYSTEM": system,
        }


def color_depth(environ: Mapping[str, str], choice: ColorChoice = "auto") -> ColorDepth:
    """Colours by the usual signs: the flag, NO_COLOR (non-empty, no-color.org), COLORTERM, TERM."""
    if choice != "auto":
        return choice
    if environ.get("NO_COLOR"):
        return "none"
    term = environ.get("TERM", "").lower()
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") or term.endswith("-direct"):
        return "truecolor"
    if "256" in term or term.startswith(("xterm-kitty", "alacritty", "foot", "wezterm", "xterm-ghostty")):
        return "256"
    if term in ("linux", "ansi", "cygwin") or "color" in term or term.startswith(("xterm", "screen", "tmux", "rxvt")):
        return "16"
    return "none"


def probe(
    environ: Mapping[str, str] | None = None,
    *,
    color: ColorChoice = "auto",
    ascii_only: bool = False,
    mouse: bool | None = None,
    encoding: str | None = None,
    size: tuple[int, int] | None = None,
    stdin: _Stream | None = None,
    stderr: _Stream | None = None,
) -> TerminalProfile:
    """Look at the terminal once. Arguments other than flags are for tests.

    Raises :class:`TerminalRefused` when there is no terminal, or a ``dumb`` one.
    """
    environ = os.environ if environ is None else environ
    stdin = sys.__stdin__ if stdin is None else stdin
    stderr = sys.__stderr__ if stderr is None else stderr
    remedy = "use `nimify-tui snapshot` for a terminal-less look"
    if stdin is None or not stdin.isatty():
        raise TerminalRefused("standard input is not a terminal", remedy)
    if stderr is None or not stderr.isatty():
        raise TerminalRefused("standard error is not a terminal; the screen is drawn there", remedy)
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        raise TerminalRefused(f"TERM={term or '(not set)'} cannot show a full screen", f"set TERM, or {remedy}")
    if encoding is None:
        encoding = getattr(stderr, "encoding", None) or "ascii"
    if size is None:
        size = terminal_size(environ)
    multiplexer: Literal["", "tmux", "screen"] = ""
    if environ.get("TMUX"):
        multiplexer = "tmux"
    elif environ.get("STY"):
        multiplexer = "screen"
    return TerminalProfile(
        color=color_depth(environ, color),
        utf8=not ascii_only and term != "linux" and encoding.lower().replace("-", "") == "utf8",
        ssh=bool(environ.get("SSH_CONNECTION") or environ.get("SSH_TTY")),
        multiplexer=multiplexer,
        term=term,
        width=size[0],
        height=size[1],
        mouse=bool(mouse),
    )


def terminal_size(environ: Mapping[str, str]) -> tuple[int, int]:
    """Columns and lines of the terminal on stdin, stderr or stdout; 80x24 when none tells."""
    for fd in (0, 2, 1):
        try:
            columns, lines = os.get_terminal_size(fd)
        except OSError:
            continue
        if columns > 0 and lines > 0:
            return columns, lines
    return int(environ.get("COLUMNS") or 80), int(environ.get("LINES") or 24)


class FlowControl:
    """How much the terminal has not shown yet, by asking it (a cursor position report after each frame).

    The kernel, sshd and the network hold tens of kilobytes that no program can see; a terminal that
    answers the question has shown everything before it. One that never answers limits nothing.
    """

    QUERY = "\x1b[6n"
    #: More than this on its way (bytes): the next frame waits, so that a key never queues behind it.
    WINDOW_BYTES = 1500
    #: No answer for this long (seconds): the answer was lost, go on.
    LOST_S = 5.0
    #: A frame this large tells how fast the line is; a smaller one only how far away the terminal is.
    RATE_BYTES = 2000
    #: A frame up to this large, with nothing before it on its way, tells how far away the terminal is.
    NEAR_BYTES = 500

    def __init__(self) -> None:
        self.answers = 0
        self._rates_bytes_s: deque[float] = deque(maxlen=2)
        self._round_trip_s = math.inf
        self._asked = 0
        #: When each was sent, its bytes, and whether nothing else was on its way then.
        self._waiting: list[tuple[float, int, bool]] = []
        self._settled = threading.Event()

    @property
    def rate_bytes_s(self) -> float | None:
        """What the line carried, the better of the two newest large frames; None before there was one.

        The better one: a terminal that is busy for a moment is no slow line.
        """
        return max(self._rates_bytes_s, default=None)

    @property
    def unshown_bytes(self) -> int:
        """Bytes sent and not known to be shown."""
        return sum(size for _, size, _ in self._waiting)

    def sent(self, size: int, mono_s: float) -> str:
        """A frame of ``size`` bytes goes out: what to append to it."""
        if not self.answers and self._asked >= 8:
            return ""  # this terminal does not answer
        self._asked += 1
        self._waiting.append((mono_s, size, not self._waiting))
        return self.QUERY

    def answered(self, mono_s: float) -> None:
        """The terminal answered the oldest question (called in the input thread)."""
        self.answers += 1
        if self._waiting:
            sent_s, size, alone = self._waiting[0]
            took_s = mono_s - sent_s
            # What went out behind another frame has waited for that one: it tells neither.
            if alone and size <= self.NEAR_BYTES:
                self._round_trip_s = min(self._round_trip_s, took_s)
            if alone and size >= self.RATE_BYTES:
                # The nearest answer so far stands for the way there and back; until there was a small
                # frame it is this one's own, and the whole time counts as the line's.
                away_s = self._round_trip_s if self._round_trip_s < took_s else 0.0
                self._rates_bytes_s.append(size / max(took_s - away_s, 1e-4))
        del self._waiting[:1]
        if not self._waiting:
            self._settled.set()

    def settle(self, grace_s: float) -> None:
        """Wait until the last question is answered, at most ``grace_s`` seconds."""
        self._settled.clear()
        if self.answers and self._waiting:
            self._settled.wait(grace_s)
        self.forget()

    def forget(self) -> None:
        """Nothing is on its way (the terminal was handed over)."""
        self._waiting.clear()

    def must_wait(self, mono_s: float) -> bool:
        """Whether a frame sent now would queue behind too much."""
        if not self._waiting or not self.answers:
            return False
        if mono_s - self._waiting[0][0] > self.LOST_S:
            self.forget()
            return False
        return self.unshown_bytes > self.WINDOW_BYTES


class SlowLine:
    """How often to draw, from how the line drains: halve when frames wait, recover slowly.

    Call :meth:`sample` about once a second.
    """

    #: Calm samples in a row before the rate is doubled again.
    CALM_SAMPLES = 5
    #: A line that carries less (bytes a second) is called slow: a whole screen takes a third of a second on it.
    SLOW_BYTES_S = 32_000.0

    def __init__(self, base_hz: float = 8.0) -> None:
        self.base_hz = base_hz
        self.hz = base_hz
        self.rate_bytes_s: float | None = None
        self._calm = 0

    def sample(self, waiting_ratio: float, rate_bytes_s: float | None = None) -> bool:
        """``waiting_ratio``: share of the time in which frames had to wait; True when what is said changed.

        ``rate_bytes_s`` is what the line carried lately, None when that is not known.
        """
        before = self.text
        self.rate_bytes_s = rate_bytes_s
        if waiting_ratio > 0.35:
            self._calm = 0
            self.hz = max(1.0, self.hz / 2)
        elif waiting_ratio < 0.1:
            self._calm += 1
            if self._calm >= self.CALM_SAMPLES:
                self._calm = 0
                self.hz = min(self.base_hz, self.hz * 2)
        else:
            self._calm = 0
        return self.text != before

    @property
    def slow(self) -> bool:
        """Whether the line lags, or carries so little that a whole screen takes long on it."""
        return self.hz < self.base_hz or (self.rate_bytes_s is not None and self.rate_bytes_s < self.SLOW_BYTES_S)

    @property
    def interval_s(self) -> float:
        """Seconds between two takes of a new frame."""
        return 1.0 / self.hz

    @property
    def text(self) -> str:
        """What the status line says, ``""`` when the line keeps up."""
        if self.hz < self.base_hz or self.rate_bytes_s is None:
            return f"line slow: {self.hz:g} Hz" if self.slow else ""
        return f"line slow: {self.rate_bytes_s / 1000:.0f} kB/s" if self.slow else ""
