"""dcgm-exporters read by us: one that is broken costs the others nothing, and what is left out is said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from nimify_tui.backends.http import HttpClient
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.updates import GpusSeen, Update
from nimify_tui.sources.gpu_faults import GpuFaults
from nimify_tui.sources.metrics import dcgm_direct
from nimify_tui.sources.metrics.dcgm_direct import DirectCards, Exporter, RegionExporters, by_address
from tests.metrics.dcgm_pages import a800, ada
from tests.metrics.prom import serving


def panel(updates: Sequence[Update]) -> GpuPanel:
    (seen,) = [each for each in updates if isinstance(each, GpusSeen)]
    return seen.panel


def test_a_broken_exporter_is_said_and_its_old_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen failing with the others' pages dropped where one of them fails."""
    monkeypatch.setattr(dcgm_direct, "MOST", 2)
    answers: dict[int, tuple[int, bytes]] = {}

    async def go(ports: list[int]) -> None:
        region = RegionExporters("us", GpuFaults(), SystemClock())
        async with HttpClient() as client:
            some = [
                by_address(client, f"pod {number}", f"http://127.0.0.1:{port}", f"node-{number}")
                for number, port in enumerate(ports)
            ]
            told = panel(await region.turn(some))
            assert [f"{each.node}/{each.index}{each.instance}" for each in told.gpus] == [
                "node-0/0", "node-1/0", "node-1/02g.20gb #3", "node-1/02g.20gb #5", "node-1/02g.20gb #6", "node-1/1",
            ]  # fmt: skip
            assert (told.reason, told.region) == ("", "us")
            assert told.partial == "1 exporters more than the 2 that are read"
            answers[1] = (500, b"")
            told = panel(await region.turn(some[:2]))
            assert len(told.gpus) == 6
            assert told.partial.startswith("1 of 2 exporters not read: pod 1: http://127.0.0.1:")
            assert told.partial.endswith("answers 500")
            answers[0] = (200, b'DCGM_FI_DEV_GPU_UTIL{gpu="0" 3\n')
            told = panel(await region.turn(some[:1]))
            assert len(told.gpus) == 1
            assert "not Prometheus' text format" in told.partial
            told = panel(await region.turn([]))
            assert (told.gpus, told.reason) == ((), "no dcgm-exporter runs there")

    answers.update(enumerate(((200, ada().encode()), (200, a800().encode()), (200, b""))))
    with serving(lambda _: answers[0]) as one, serving(lambda _: answers[1]) as two:
        asyncio.run(go([one, two, one]))


def test_who_has_no_exporter_says_nothing_and_one_that_hangs_delays_no_other_region() -> None:
    """Seen failing with one turn for all regions: the second never came."""

    async def go() -> None:
        came: asyncio.Queue[str] = asyncio.Queue()

        async def page() -> bytes:
            return ada().encode()

        async def hangs() -> bytes:
            await asyncio.Event().wait()
            return b""

        def sink(updates: Sequence[Update]) -> None:
            came.put_nowait(panel(updates).region)

        regions = {"slow": [Exporter("a", "n", hangs)], "none": [], "well": [Exporter("b", "n", page)]}
        work = asyncio.create_task(DirectCards(lambda: regions, GpuFaults(), SystemClock()).run(sink))
        async with asyncio.timeout(30):
            assert await came.get() == "well"
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(go())
