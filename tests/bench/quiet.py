"""Bytes a minute of the whole console when nothing changes, 120x40: an idle session over SSH.

Before it counts, the console has had time to settle; k9s writes 18 kB a minute.
"""

from __future__ import annotations

from tests.bench.harness import Result, at_most
from tests.support import PYTHON, private_home
from tests.tui import PtyRun

BAR_BYTES_MIN = 300
SETTLE_S = 8.0


def run(seconds: float = 60.0) -> Result:
    """The real console on an empty embedded region; its clock runs."""
    with private_home() as home:
        env = {**home.env, "COLORTERM": "truecolor"}
        with PtyRun([PYTHON, "-m", "nimify_tui"], width=120, height=40, env=env, sync=True) as tty:
            tty.wait_text("local", 30)
            tty.bytes_during(SETTLE_S)
            count = tty.bytes_during(seconds)
            alive = tty.process.poll() is None
            tty.press("?")
            tty.wait_text("help", 10)
    problems = [] if alive else ["the console ended"]
    return at_most("nothing changes, whole console", round(count * 60 / seconds), "B/min", BAR_BYTES_MIN, {}, problems)
