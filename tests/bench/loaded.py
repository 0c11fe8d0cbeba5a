"""The console in a pty while six regions send changes at it: shared by the benchmarks of key echo and bytes."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimify_tui.ui.glyphs import UNICODE
from tests.bench.harness import pause
from tests.support import PYTHON, REPO, Home, private_home, wait_for
from tests.tui import PtyRun, clean_env

FRAME_START = b"\x1b[?2026h"
"""Textual opens each frame with it, once the terminal has said that it knows synchronised output."""


def cursor_row_name(tty: PtyRun) -> str:
    """The name of the row that the cursor stands on, "" when none is seen.

    Looks at the first column and one line only: reading the whole screen takes longer than an echo.
    """
    with tty._changed:
        buffer, width = tty.screen.buffer, tty.screen.columns
        for y in range(tty.screen.lines):
            if buffer[y][0].data == UNICODE.cursor:
                words = "".join(buffer[y][x].data for x in range(1, width // 2)).split()
                return next((word for word in words if word[0].isalpha()), "")
    return ""


def way(tty: PtyRun, wanted: str) -> str:
    """The key that moves the cursor: ``wanted`` (``j`` or ``k``), the other at that end of the table.

    The cursor follows its row, which a roll-out may have carried to either end.
    """
    with tty._changed:
        lines = tty.screen.display
        at = next((y for y, line in enumerate(lines) if line.startswith(UNICODE.cursor)), 0)
        above, below = lines[at - 1].split(), lines[at + 1].split()
    if not below or below[0].startswith("─"):
        return "k"
    return "j" if not above or above[0] == "SERVICE" else wanted


def echo_s(tty: PtyRun, key: str, deadline_s: float = 10.0) -> float:
    """Press a key that moves the cursor; seconds until the terminal shows it on another service's row."""
    before = cursor_row_name(tty)
    started = time.monotonic()
    tty.press(key)
    while (name := cursor_row_name(tty)) in {"", before}:
        waited_s = time.monotonic() - started
        if waited_s > deadline_s:
            raise AssertionError(f"{key} did not move the cursor from {name!r} in {deadline_s} s:\n{tty.text()}")
        with tty._changed:
            if cursor_row_name(tty) in {"", before}:
                tty._changed.wait(deadline_s - waited_s)
    return time.monotonic() - started


def moved_s(tty: PtyRun, seconds: float, every_s: float = 0.15) -> list[float]:
    """Move the cursor down five rows and up again, over and over, for so long; the seconds of each echo."""
    found: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        key = "j" if len(found) // 5 % 2 == 0 else "k"
        found.append(echo_s(tty, key))
        pause(every_s)
    return found


class Load:
    """The load's process: see tests/bench/programs/load.py."""

    def __init__(self, home: Home) -> None:
        self._process = subprocess.Popen(
            [PYTHON, "-m", "tests.bench.programs.load"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPO, env=clean_env(home.env),
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        if self._stdout.readline() != "ready\n":
            raise RuntimeError("the load did not start")

    def start(self, rate: int, hot: int, seconds: float) -> None:
        """Begin to send; :meth:`wait` gives the account."""
        self._stdin.write(f"go {rate} {hot} {seconds}\n")
        self._stdin.flush()

    def wait(self) -> dict[str, float]:
        """How much was sent (``sent``, ``hot``, ``seconds``)."""
        found: dict[str, float] = json.loads(self._stdout.readline())
        return found

    def close(self) -> None:
        """End the process."""
        self._stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._stdout.close()


@dataclass
class LoadedConsole:
    """The console's terminal, its gauge and the load."""

    tty: PtyRun
    load: Load
    gauge_file: Path

    def gauge(self) -> dict[str, Any]:
        """What the console says of itself now (see tests/bench/programs/console.py)."""
        self.gauge_file.unlink(missing_ok=True)
        self.tty.signal(signal.SIGUSR1)
        wait_for(self.gauge_file.exists, 20, why="the gauge", detail=self.tty.text)
        found: dict[str, Any] = json.loads(self.gauge_file.read_text(encoding="utf-8"))
        return found

    def frames(self) -> int:
        """Frames that have come out of the pty (of the last 4 MB)."""
        return bytes(self.tty.raw).count(FRAME_START)

    def echoes_s(self, seconds: float, every_s: float = 0.15) -> list[float]:
        """See :func:`moved_s`."""
        return moved_s(self.tty, seconds, every_s)


@contextlib.contextmanager
def loaded_console(
    arguments: list[str], *, width: int = 120, height: int = 40, env: Mapping[str, str] | None = None,
    rate_bytes_s: float | None = None,
) -> Iterator[LoadedConsole]:  # fmt: skip
    """Start load and console in a home of their own; both end with the block."""
    with private_home() as home, contextlib.closing(Load(home)) as load:
        gauge_file = home.root / "gauge"
        argv = [PYTHON, "-m", "tests.bench.programs.console", *arguments]
        full = {**home.env, "COLORTERM": "truecolor", "GAUGE_TO": str(gauge_file), **(env or {})}
        with PtyRun(argv, width=width, height=height, env=full, sync=True, rate_bytes_s=rate_bytes_s) as tty:
            yield LoadedConsole(tty, load, gauge_file)
