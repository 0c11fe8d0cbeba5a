"""The demo as an operator sees it: live numbers, bytes a second of the whole screen, key echo over a slow line.

Real servers and real traffic from other processes; the numbers on the screen have to move meanwhile.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from nimify_tui.demo.kernel import MARK
from tests.bench.harness import Result, at_most, pause, percentile
from tests.bench.loaded import FRAME_START, cursor_row_name, echo_s
from tests.support import PYTHON, private_home, processes_naming
from tests.tui import PtyRun

LIVE_BAR_S = 10.0
MEMORY_BAR_MB = 4096.0
STEADY_BAR_KB_S = 8.0
SLOW_BAR_MS = 250.0
SLOW_LINE_BYTES_S = 20_000
SETTLE_S = 15.0
#: A console, warden, director and traffic, six supervisors, at least 16 replicas.
MIN_PROCESSES = 25
#: The shared tick of the numbers is 1 Hz; a frame is drawn for nearly each of them.
TICKS_S = 0.8
SLOW_WORDS = "line slow"


@contextlib.contextmanager
def demo(width: int, height: int, rate_bytes_s: float | None = None) -> Iterator[PtyRun]:
    """The demo in a pty, with live numbers on its screen; it ends itself with the block."""
    with private_home() as home:
        env = {**home.env, "COLORTERM": "truecolor"}
        argv = [PYTHON, "-m", "nimify_tui", "demo", "--seed", "1", "--scenario", "none"]
        with PtyRun(argv, width=width, height=height, env=env, sync=True, rate_bytes_s=rate_bytes_s) as tty:
            tty.wait(lambda text: text.count("ms") >= 5 and "●" in text, 60, "live numbers")
            yield tty


def frames_of(tty: PtyRun) -> int:
    """Frames that have come out of the pty (of the last 4 MB)."""
    return bytes(tty.raw).count(FRAME_START)


def stood_still(frames: int, needed: int) -> list[str]:
    """Why a count of bytes or an echo proves nothing: a screen that is not drawn is cheap and quick."""
    return [] if frames >= needed else [f"drew {frames} frames, needs {needed}"]


def whole(seconds: float = 30.0) -> list[Result]:
    """From exec to live numbers; what all its processes hold; and the screen, 120x40, when nobody presses anything."""
    began = time.monotonic()
    with demo(120, 40) as tty:
        live_s = round(time.monotonic() - began, 1)
        pause(SETTLE_S)
        pids = [tty.process.pid, *processes_naming(f"{MARK}={demo_of(tty.process.pid)}")]
        held_mb = round(sum(map(proportional_bytes, pids)) / 2**20)
        before, frames_before = tty.lines(), frames_of(tty)
        count = tty.bytes_during(seconds)
        frames = frames_of(tty) - frames_before
        moved = sum(one != two for one, two in zip(before, tty.lines(), strict=True))
    problems = [] if moved >= 5 else [f"only {moved} lines changed in {seconds} s: nothing was live"]
    problems += stood_still(frames, int(TICKS_S * seconds))
    detail = {"lines_changed": moved, "frames": frames, "seconds": seconds}
    value_kb_s = round(count / seconds / 1000, 2)
    return [
        at_most("demo, from exec to live numbers", live_s, "s", LIVE_BAR_S),
        at_most("demo, memory of all its processes", held_mb, "MB", MEMORY_BAR_MB, {"processes": len(pids)},
                [] if len(pids) > MIN_PROCESSES else [f"only {len(pids)} processes found"]),
        at_most("whole demo screen, steady, 120x40", value_kb_s, "kB/s", STEADY_BAR_KB_S, detail, problems),
    ]  # fmt: skip


def demo_of(console_pid: int) -> str:
    """The identity of the demo that a console has started."""
    path = Path(f"/proc/{console_pid}/task/{console_pid}/children")
    words = Path(f"/proc/{path.read_text(encoding='ascii').split()[0]}/environ").read_bytes().split(b"\0")
    (mark,) = [each for each in words if each.startswith(f"{MARK}=".encode())]
    return mark.decode().partition("=")[2]


def proportional_bytes(pid: int) -> int:
    """What a process holds, pages that it shares counted by its share (PSS of proc(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def slow_line(seconds: float = 20.0) -> Result:
    """80x24 over 20 kB/s: p95 of the echo, and the status line has to have said that the line is slow.

    It says so while the line lags, which the first paint makes it do; afterwards the console stays below its rate.
    """
    with demo(80, 24, SLOW_LINE_BYTES_S) as tty:
        # On the screen, not among the bytes: of a line that changes only the cells that differ are sent.
        said = False
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end:
            said = said or SLOW_WORDS in tty.text()
            pause(0.2)
        echoes_ms: list[float] = []
        frames_before = frames_of(tty)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            key = "j" if len(echoes_ms) // 4 % 2 == 0 else "k"
            echoes_ms.append(1000 * echo_s(tty, key))
            pause(0.2)
            said = said or SLOW_WORDS in tty.text()
        frames = frames_of(tty) - frames_before
        standing = cursor_row_name(tty)
    problems = [] if said else ["the status line never said that the line is slow"]
    problems += stood_still(frames, len(echoes_ms))
    detail = {
        "bytes": tty.total_bytes, "frames": frames,
        "keys": len(echoes_ms), "p50_ms": round(percentile(echoes_ms, 0.5), 1), "max_ms": round(max(echoes_ms), 1),
        "cursor_on": standing,
    }  # fmt: skip
    p95_ms = round(percentile(echoes_ms, 0.95), 1)
    return at_most("key echo p95, demo, 80x24 over 20 kB/s", p95_ms, "ms", SLOW_BAR_MS, detail, problems)


def run() -> list[Result]:
    """One after the other."""
    return [*whole(), slow_line()]
