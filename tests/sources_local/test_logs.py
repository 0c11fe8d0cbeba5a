"""Logs on demand: live, over cuts and runs, bounded, and honest about what is left out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nimify_tui.backends.local import LocalBackend
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.demands import DetailDemand, LogDemand, LogLine
from nimify_tui.domain.services import ReplicaState
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.local import logs
from nimify_tui.sources.local.logs import FileTail, LogSource
from nimify_tui.supervisor.logs import cut_when_long
from tests.supervisor.support import Region, key
from tests.support import Home


class Looking(Fleet):
    """A fleet of which somebody looks at logs, and at more."""

    def __init__(self, *demands: LogDemand) -> None:
        super().__init__()
        self.demand(DetailDemand("demo"))
        for demand in demands:
            self.demand(demand)

    def lines(self, demand: LogDemand) -> list[LogLine]:
        """What came."""
        return self.log_tail(demand).since(0)[1]


async def until(probe: Callable[[], Any], deadline_s: float = 10.0) -> Any:
    """Let the loop work until ``probe`` answers."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + deadline_s
    while not (answer := probe()):
        assert loop.time() < end_s, "not within the deadline"
        tick = asyncio.Event()
        loop.call_later(0.02, tick.set)
        await tick.wait()
    return answer


async def following(region: Region, looking: Looking, work: Callable[[], Any]) -> None:
    """Run a source while ``work`` runs."""
    backend = LocalBackend(region.socket, lambda _permit, _plan: None)
    source = LogSource(looking, lambda _name: backend, SystemClock())
    task = asyncio.create_task(source.run(lambda _updates: None))
    try:
        await work()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def append(path: str, data: bytes) -> None:
    """Write to a log as its replica would."""
    with open(path, "ab") as log:
        log.write(data)


def texts(lines: Sequence[LogLine]) -> str:
    """All of it."""
    return "\n".join(line.text for line in lines)


def test_lines_of_all_replicas_come_merged_and_a_new_run_is_followed(home: Home) -> None:
    merged, single = LogDemand(key()), LogDemand(key(), "demo-1")
    before = LogDemand(key(), "demo-1", previous=True)
    looking = Looking(merged, single, before)
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=2))
        pid = wire.replicas["demo-1"].pid
        assert pid is not None

        async def work() -> None:
            await until(lambda: {line.replica for line in looking.lines(merged)} == {"demo-1", "demo-2"})
            times = [line.at for line in looking.lines(merged)]
            assert times == sorted(times)
            assert {line.replica for line in await until(lambda: looking.lines(single))} == {"demo-1"}
            assert not any(line.replica for line in looking.lines(before)), "there was no run before"
            os.kill(pid, signal.SIGKILL)
            await until(lambda: any(line.run == 2 for line in looking.lines(single)))
            old = await until(lambda: [line for line in looking.lines(before) if line.replica])
            assert {line.run for line in old} == {1}

        asyncio.run(following(region, looking, work))
        wire.replica(ReplicaState.READY, "demo-1")


def test_what_nobody_looks_at_is_not_read(home: Home) -> None:
    demand = LogDemand(key())
    looking = Looking(demand)
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))
        [path] = wire.log_paths("demo-1")

        async def work() -> None:
            await until(lambda: looking.lines(demand))
            looking.release(demand)
            await until(_loops(3))
            append(path, b"unseen\n")
            await until(_loops(3))
            assert "unseen" not in texts(looking.lines(demand))
            looking.demand(demand)
            await until(lambda: "unseen" in texts(looking.lines(demand)))

        asyncio.run(following(region, looking, work))


def _loops(count: int) -> Callable[[], bool]:
    """True once the source has gone round so often."""
    end_s = asyncio.get_running_loop().time() + count * logs.POLL_S
    return lambda: asyncio.get_running_loop().time() > end_s


def test_no_line_is_missed_or_doubled_over_cuts(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.3.log"
    tail, got, written = FileTail(path), [], 0
    assert (tail.replica, tail.run) == ("demo-1", 3)
    for turn in range(300):
        with open(path, "ab") as log:
            for _ in range(turn % 7):
                log.write(f"line {written}\n".encode())
                written += 1
            if turn % 5 == 0:
                log.write(b"line ")  # half a line, ended later
                log.write(f"{written}".encode())
                log.flush()
                got += tail.read()
                log.write(b"\n")
                written += 1
        if turn % 3 == 0:
            cut_when_long(path, 200)
        got += tail.read()
    assert [line.decode() for line in got] == [f"line {number}" for number in range(written)]


def test_sabotage_a_tail_that_does_not_know_cuts_misses_lines(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.1.log"
    tail = FileTail(path)
    path.write_bytes(b"one\n")
    assert tail.read() == [b"one"]
    with open(path, "ab") as log:
        log.write(b"two\n" * 100)
    cut_when_long(path, 200)
    path.with_name(path.name + ".1").unlink()
    assert tail.read() == [], "without the part that was cut off the lines are gone: the part is what saves them"


def test_a_long_file_begins_near_its_end_and_a_flood_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.1.log"
    path.write_bytes(b"".join(b"%09d\n" % number for number in range(200_000)))
    tail = FileTail(path)
    first = tail.read()
    assert first[-1] == b"000199999"
    assert len(first) * 10 <= logs.FIRST_BYTES
    assert all(len(line) == 9 for line in first)
    with open(path, "ab") as log:
        log.write(b"".join(b"%09d\n" % number for number in range(1_000_000)))
    flood = tail.read()
    assert flood[-1] == b"000999999"
    assert sum(map(len, flood)) <= logs.LOOK_BYTES
    assert tail.left_out_bytes > 5_000_000


def test_lines_without_end_are_cut_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.1.log"
    path.write_bytes(b"")
    tail = FileTail(path)
    held = 0
    for _ in range(50):
        with open(path, "ab") as log:
            log.write(b"x" * 100_000)
        held += sum(map(len, tail.read()))
    assert held >= 50 * 100_000 - 64 * 1024


def test_the_time_of_a_line_is_the_one_it_names(home: Home) -> None:
    demand = LogDemand(key(), "demo-1")
    looking = Looking(demand)
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))
        [path] = wire.log_paths("demo-1")

        async def work() -> None:
            await until(lambda: looking.lines(demand))
            record = json.dumps({"ts": "2026-01-02T03:04:05.250Z", "msg": "then"}).encode()
            append(path, record + b"\n\xff\x1b[31m no json\n")
            lines = await until(lambda: [line for line in looking.lines(demand) if "no json" in line.text])
            then = next(line for line in looking.lines(demand) if "then" in line.text)
            assert then.at == 1767323045.25
            assert lines[0].at > then.at
            assert "\x1b[31m" in lines[0].text, "the screen cleans what it draws; the log stays what it is"

        asyncio.run(following(region, looking, work))
