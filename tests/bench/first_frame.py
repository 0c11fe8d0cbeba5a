"""From exec to the first frame, against a minimal Textual program: runs of both in turn, on the same machine.

The console starts as on a new machine: an empty home, so that its first frame has to come before anything
is known. Its frame counts when the name of the embedded region is on it.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import statistics
import subprocess
import time

from tests.bench.harness import Result, as_installed, at_most
from tests.bench.programs.minimal import MARKER
from tests.support import PYTHON, private_home
from tests.tui import clean_env

RATIO_BAR = 1.8
RUNS = 9
CONSOLE_MARKER = b"local"
DEADLINE_S = 30.0


def first_frame_s(argv: list[str], marker: bytes, env: dict[str, str]) -> float:
    """Seconds from just before exec until ``marker`` has come out of the pty (120x40)."""
    master, slave = pty.openpty()
    seen = bytearray()
    try:
        started = time.monotonic()
        process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True,
            env={**clean_env(env), "COLUMNS": "120", "LINES": "40"},
        )  # fmt: skip
        os.close(slave)
        try:
            while marker not in seen:
                left = started + DEADLINE_S - time.monotonic()
                if left <= 0 or not select.select([master], [], [], left)[0]:
                    raise TimeoutError(f"{marker!r} not within {DEADLINE_S} s; got {bytes(seen[-500:])!r}")
                try:
                    seen += os.read(master, 65536)
                except OSError as error:  # EIO: the program has ended
                    raise RuntimeError(f"{argv[1:]} ended before {marker!r}: {bytes(seen[-500:])!r}") from error
            return time.monotonic() - started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
    finally:
        os.close(master)


def minimal_s() -> float:
    """One start of the yardstick."""
    return first_frame_s([PYTHON, "-m", "tests.bench.programs.minimal"], MARKER.encode(), {})


def console_s() -> float:
    """One start of the console in an empty home of its own; what it started ends with it."""
    with private_home() as home:
        return first_frame_s([PYTHON, "-m", "nimify_tui"], CONSOLE_MARKER, home.env)


def run(runs: int = RUNS) -> Result:
    """The median of the ratios of neighbouring runs: what slows both down at a moment cancels out."""
    as_installed()
    minimal_s(), console_s()  # the disk's cache
    pairs = [(minimal_s(), console_s()) for _ in range(runs)]
    ratio = statistics.median(console / minimal for minimal, console in pairs)
    detail = {
        "minimal_ms": round(statistics.median(minimal for minimal, _ in pairs) * 1000),
        "console_ms": round(statistics.median(console for _, console in pairs) * 1000),
        "best_ratio": round(min(console for _, console in pairs) / min(minimal for minimal, _ in pairs), 2),
        "runs": runs,
    }
    return at_most("first frame, against a minimal program", round(ratio, 2), "x", RATIO_BAR, detail)
