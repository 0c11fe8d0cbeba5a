"""What else the machine does meanwhile: a time measured beside other work says little, and should say so itself."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.bench.harness import pause
from tests.bench.wrk import TICKS_S, cpu_s

#: So many cores busy with other things, and a figure is not worth much: up to here what is measured is ours.
QUIET_CORES = 0.25


class Neighbours:
    """Cores that others kept busy since this was made."""

    def __init__(self) -> None:
        self._began, self._all_s, self._own_s = time.monotonic(), _all_s(), _own_s()

    @property
    def cores(self) -> float:
        """On average, until now."""
        others_s = (_all_s() - self._all_s) - (_own_s() - self._own_s)
        return round(max(0.0, others_s / (time.monotonic() - self._began)), 2)


def wait_quiet(patience_s: float = 60.0) -> None:
    """Until the others rest, but not for ever: what is measured then tells of them."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        seen = Neighbours()
        pause(1.0)
        if seen.cores <= QUIET_CORES:
            return


def _all_s() -> float:
    """CPU seconds of all cores that were not idle (proc(5), /proc/stat: user, nice, system, irq, softirq, steal)."""
    fields = [int(each) for each in Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / TICKS_S


def _own_s() -> float:
    """Of this process, its descendants, and those that ended."""
    ended = os.times()
    return cpu_s(os.getpid()) + ended.children_user + ended.children_system
