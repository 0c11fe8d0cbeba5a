"""Bytes that go to the terminal when 20 visible cells change once a second, and when nothing changes: in the table
alone, and on the whole fleet screen at a standing clock.

Counted at the other end of a pty of 120x40, truecolor.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.harness import Result, at_most
from tests.bench.programs.table import CHANGED, p95_ms
from tests.support import PYTHON, Home, private_home, wait_for
from tests.tui import PtyRun

TICK_BAR_BYTES = 4000
TICKS = 10
QUIET_S = 0.25
#: Where the frames of the fleet screen come from, and what stands on the screen then.
FLEET_SOURCES = {"drawn": "rollout to revision 12", "store": "service-0006"}


@dataclass
class FedRun:
    """A program in its pty that is fed through a pipe and counts what it has shown."""

    tty: PtyRun
    report: Path
    pipe: int
    sent: int = 0

    def counts(self) -> dict[str, Any]:
        """What the program says it has applied and drawn."""
        found: dict[str, Any] = json.loads(self.report.read_text(encoding="utf-8"))
        return found

    def send(self, command: str) -> int:
        """Send one command; how many bytes it made the program write."""
        before = self.tty.total_bytes
        os.write(self.pipe, command.encode() + b"\n")
        self.sent += 1
        wait_for(lambda: self.counts()["applied"] >= self.sent, 10, why=command, detail=self.tty.text)
        self.arrived(command)
        self.tty.wait_quiet(QUIET_S)
        return self.tty.total_bytes - before

    def arrived(self, command: str) -> None:
        """Wait for what a command brings to the screen."""


class TableRun(FedRun):
    """The table program."""

    def arrived(self, command: str) -> None:
        """A tick's values; what is still missing after a while is the caller's finding."""
        if command.startswith("tick "):
            with contextlib.suppress(AssertionError):
                tick = int(command.removeprefix("tick "))
                wait_for(lambda: not self.missing(tick), 5, why="the tick's values on the screen")

    def missing(self, tick: int) -> list[str]:
        """The changed values of a tick that the screen does not show in their rows."""
        lines = {line.split()[1]: line for line in self.tty.lines() if "service-" in line}
        wanted = {f"service-{number:02d}": f" {p95_ms(number, tick)}ms " for number in range(CHANGED)}
        return [f"{name}{text}" for name, text in wanted.items() if text not in lines.get(name, "")]


@contextlib.contextmanager
def table_run(home: Home) -> Iterator[TableRun]:
    """Start the table program at 120x40 and wait until it stands still."""
    with started(home, "tests.bench.programs.table", (), "service-37") as (tty, report, pipe):
        yield TableRun(tty, report, pipe)


@contextlib.contextmanager
def fleet_run(home: Home, source: str, env: Mapping[str, str] | None = None) -> Iterator[FedRun]:
    """Start the console at 120x40 and a standing clock, fed by ``source`` (see programs/fleet_screen.py)."""
    wanted = FLEET_SOURCES[source]
    with started(home, "tests.bench.programs.fleet_screen", (source,), wanted, env) as (tty, report, pipe):
        yield FedRun(tty, report, pipe)


@contextlib.contextmanager
def started(
    home: Home, module: str, more: tuple[str, ...], wanted: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[PtyRun, Path, int]]:
    """A program of ``programs/`` that obeys a FIFO, once it shows ``wanted`` and stands still: (pty, report, pipe)."""
    fifo, report = home.root / "fifo", home.root / "report"
    os.mkfifo(fifo)
    argv = [PYTHON, "-m", module, str(fifo), str(report), *more]
    whole = {**home.env, "COLORTERM": "truecolor"} if env is None else {**home.env, **env}
    with PtyRun(argv, width=120, height=40, env=whole, sync=True) as tty:
        tty.wait_text(wanted, 30)
        wait_for(report.exists, 10, why="the first report", detail=tty.text)
        tty.wait_quiet(2 * QUIET_S)
        pipe = os.open(fifo, os.O_WRONLY)
        try:
            yield tty, report, pipe
        finally:
            os.close(pipe)


def run(ticks: int = TICKS) -> list[Result]:
    """All budgets; a tick whose values are not on the screen, a frame that was not shown, is no measurement."""
    missing: list[str] = []
    with private_home() as home, table_run(home) as program:
        changed = []
        for number in range(1, ticks + 1):
            changed.append(program.send(f"tick {number}"))
            missing += [f"tick {number}: {text} is not on the screen" for text in program.missing(number)]
        frames = program.counts()["frames"]
        same = [program.send("same") for _ in range(ticks)]
        counts = program.counts()
    problems = (
        missing[:3]
        if counts["applied"] == program.sent
        else [f"applied {counts['applied']} of {program.sent}"]
    )
    detail = {
        "mean": round(sum(changed) / ticks),
        "sent": program.sent,
        "applied": counts["applied"],
        "frames": frames,
    }
    return [
        at_most("20 visible cells change, 120x40", max(changed), "B/tick", TICK_BAR_BYTES, detail, problems),
        at_most("a new frame, nothing changed", max(same), "B", 0, {"frames given": ticks}, problems),
        whole_screen(ticks),
    ]


def whole_screen(ticks: int = TICKS) -> Result:
    """The whole fleet screen: bytes of all new frames with the same content together, the worst source."""
    worst, problems = 0, []
    for source in FLEET_SOURCES:
        with private_home() as home, fleet_run(home, source) as program:
            version = program.counts()["version"]
            worst = max(worst, sum(program.send("same") for _ in range(ticks)))
            given = program.counts()["version"] - version
            problems += [f"{source}: {given} frames shown, not {ticks}"] if given != ticks else []
            problems += (
                [] if program.send("other") else [f"{source}: a frame that differs is not drawn either"]
            )
    detail = {"frames given": ticks, "sources": ", ".join(FLEET_SOURCES)}
    return at_most("a new frame, nothing changed, whole fleet screen", worst, "B", 0, detail, problems)
