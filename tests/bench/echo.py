"""Key echo while 20,000 changes a second arrive from six regions, 1,000 of them about the rows that are seen.

The table is filtered and sorted by a column that changes, so rows move; the cursor keeps its row, and only a
key moves it to another. k9s needs 67 ms (p95) while 3,000 pods roll.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.harness import Result, at_most, load_problems, pause, percentile
from tests.bench.loaded import LoadedConsole, echo_s, loaded_console
from tests.support import wait_for

BAR_MS = 50.0
RATE = 20_000
HOT_RATE = 1_000
#: At least so many of the changes a second have to concern cells that are seen.
VISIBLE_S = 500
SECONDS = 15.0


def prepare(console: LoadedConsole) -> None:
    """Filter to the rows that change, and sort by what changes in them."""
    console.tty.wait_text("calm-", 60)
    console.tty.press("/")
    console.tty.wait_quiet(0.5)
    console.tty.send("hot\r")
    console.tty.wait(lambda text: "hot-" in text and "calm-" not in text, 20, "the filter")
    console.tty.wait_quiet(0.5)
    console.tty.press("Y")
    console.tty.wait_text("by ready", 10)
    echo_s(console.tty, "j")


def reach_problems(account: Mapping[str, float], rate: int) -> list[str]:
    """Why the load was not the one that the bar is about: too few changes, or too few of what is seen."""
    each_s = {name: account[name] / account["seconds"] for name in ("sent", "hot")}
    problems = []
    if each_s["sent"] < 0.95 * rate:
        problems.append(f"the load reached only {each_s['sent']:.0f} changes/s")
    if each_s["hot"] < VISIBLE_S:
        problems.append(f"only {each_s['hot']:.0f} changes/s of what is seen, needs {VISIBLE_S}")
    return problems


def run(rate: int = RATE, seconds: float = SECONDS) -> Result:
    """p95 of the echo; not valid when the load did not arrive or the screen stood still."""
    with loaded_console(["--read-only"]) as console:
        prepare(console)
        applied_before, frames_before = console.gauge()["applied"], console.frames()
        console.load.start(rate, HOT_RATE, seconds)
        pause(1.0)
        echoes_ms = [1000 * each for each in console.echoes_s(seconds - 2.0)]
        account = console.load.wait()
        frames = console.frames() - frames_before
        sent = int(account["sent"])
        wait_for(lambda: console.gauge()["applied"] - applied_before >= sent, 10, why="everything applied", every_s=0.5)
        applied = console.gauge()["applied"] - applied_before
    problems = load_problems(sent, applied, frames, account["seconds"])
    problems += reach_problems(account, rate)
    detail = {
        "sent": sent, "applied": applied, "visible_sent_s": round(account["hot"] / account["seconds"]),
        "frames": frames, "seconds": account["seconds"], "keys": len(echoes_ms),
        "p50_ms": round(percentile(echoes_ms, 0.5), 1), "max_ms": round(max(echoes_ms), 1),
    }  # fmt: skip
    p95_ms = round(percentile(echoes_ms, 0.95), 1)
    return at_most("key echo p95, 20,000 changes/s", p95_ms, "ms", BAR_MS, detail, problems)
