"""The whole console at a standing clock, given frames from outside: one command a line out of a FIFO.

``python -m tests.bench.programs.fleet_screen FIFO REPORT SOURCE``. SOURCE ``drawn``: the frame of the drawn
screens, every panel filled; ``store``: what the fleet's store publishes for 42 services in six regions.

``same``: a new frame with the same content (no object of the last one is in it, or the store has heard every
fact again); ``other``: one number is another one. ``version`` and ``repaint`` are careless: a title that tells
the frame's version, or one widget sent again whatever it shows; both from then on with each frame. ``count``: no
frame, the counts only. After each command, when its frame has been shown, the counts go to REPORT.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from nimify_tui.base.clock import ManualClock
from nimify_tui.domain.demands import Demand
from nimify_tui.domain.updates import Sampled, Tick
from nimify_tui.fleet.frames import Frame
from nimify_tui.fleet.store import Fleet
from nimify_tui.ui.console import ConsoleApp
from nimify_tui.ui.terminal import probe
from nimify_tui.ui.widgets.canvas import LineCanvas
from tests.bench.programs.store import START_AT, keys, listed, sample
from tests.ui import frames
from tests.ui.world import World

REPLICAS = 252
TURNS = 3


class Drawn:
    """Hand-made frames. ``world`` is what the console asks."""

    def __init__(self) -> None:
        self.world = World(frames.drawn())

    def same(self) -> Frame:
        """Equal in everything but its version, and of other objects."""
        last = self.world.frame
        made = msgspec.structs.replace(copy.deepcopy(last), version=last.version + 1)
        assert not any(made.rows[row_id] is last.rows[row_id] for row_id in last.rows)
        return made

    def other(self) -> Frame:
        """The requests of the first service are others."""
        made = self.same()
        first = made.order[0]
        row = msgspec.structs.replace(made.rows[first], rps=frames.num(777, "rps"))
        return msgspec.structs.replace(made, rows={**made.rows, first: row})


class StoreWorld(World):
    """A world whose demands go to the store, as in the real console."""

    def __init__(self, fleet: Fleet, now: float) -> None:
        super().__init__(fleet.frame)
        self.clock = ManualClock(now)
        self._fleet = fleet

    def demand(self, demand: Demand) -> None:
        """The store hears of it."""
        super().demand(demand)
        self._fleet.demand(demand)

    def release(self, demand: Demand) -> None:
        """The store hears of it."""
        super().release(demand)
        self._fleet.release(demand)


class Stored:
    """Frames of the real store: each time all facts are told again, as after a reconnection."""

    def __init__(self) -> None:
        self._fleet = Fleet()
        self._keys = keys(REPLICAS)
        self._facts = list(listed(self._keys))
        self._fleet.apply_many(self._facts)
        self._at = START_AT
        for turn in range(1, TURNS + 1):
            self._at = START_AT + 2 * turn
            self._fleet.apply(Tick(self._at))
            self._fleet.apply_many(
                [Sampled(self._at, key, sample(n, turn)) for n, key in enumerate(self._keys)]
            )
            self._fleet.publish(self._at)
        self._at += 1
        self._fleet.publish(self._at)
        self.world = StoreWorld(self._fleet, self._at)

    def same(self) -> Frame:
        """The same facts, the same time."""
        self._fleet.apply_many(copy.deepcopy(self._facts))
        return self._fleet.publish(self._at)

    def other(self) -> Frame:
        """The first replica is gone."""
        self._facts = list(listed(self._keys[1:]))
        return self.same()


class FleetConsole(ConsoleApp):
    """The console, and what it tells about itself."""

    def __init__(self, source: Drawn | Stored, fifo: Path, report: Path) -> None:
        super().__init__(source.world, probe())
        self._source, self._fifo, self._report = source, fifo, report
        self._pending = b""
        self._careless: list[Callable[[], object]] = []
        self.obeyed = 0

    def on_ready(self) -> None:
        """Obey the FIFO as soon as there is a screen."""
        handle = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)  # also writing: never an end of file
        asyncio.get_running_loop().add_reader(handle, self._read, handle)
        self._source.world.frame = self._source.same()  # now with the details that the screen has asked for
        self.drain()
        self.call_after_refresh(self._tell)

    def _read(self, handle: int) -> None:
        *lines, self._pending = (self._pending + os.read(handle, 65536)).split(b"\n")
        for line in lines:
            word = line.decode()
            self.obeyed += 1
            if word == "count":
                continue
            if word == "version":
                self._careless.append(self._tell_version)
            elif word == "repaint":
                self._careless.append(self._repaint)
            world = self._source.world
            world.frame = self._source.other() if word == "other" else self._source.same()
            self.drain()
            for deed in self._careless:
                deed()
            assert self._shown[0] is world.frame
        self.call_after_refresh(self._tell)

    def _tell_version(self) -> None:
        self.top.query_one("#table-rule").set("services", f"frame {self.context.frame.version}")  # type: ignore[attr-defined]  # a Rule

    def _repaint(self) -> None:
        self.encoder.reset()  # else it sends nothing even then
        self.top.query_one("#status").refresh()

    def _tell(self) -> None:
        lines = sum(each.lines_drawn for each in self.top.query(LineCanvas))
        counts = {"applied": self.obeyed, "version": self.context.frame.version, "lines": lines}
        counts["bytes"] = self.meter.bytes_written if self.meter is not None else -1
        new = self._report.with_suffix(".new")
        new.write_text(json.dumps(counts), encoding="utf-8")
        new.rename(self._report)


if __name__ == "__main__":
    FleetConsole(Stored() if sys.argv[3] == "store" else Drawn(), Path(sys.argv[1]), Path(sys.argv[2])).run(
        mouse=False
    )
