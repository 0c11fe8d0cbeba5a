"""GPUs out of a real Prometheus that scrapes pages of dcgm-exporter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from nimify_tui.backends.prometheus.answers import Row
from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.updates import GpusSeen, SecuritySeen, Update
from nimify_tui.sources.gpu_faults import GpuFaults
from nimify_tui.sources.metrics.dcgm import FEW
from nimify_tui.sources.metrics.dcgm_prometheus import RegionCards, newest
from tests.metrics.dcgm_pages import a800, ada, shared
from tests.metrics.prom import front, prometheus, serving
from tests.support import wait_for


def panel(updates: list[Update]) -> GpuPanel:
    (seen,) = [each for each in updates if isinstance(each, GpusSeen)]
    return seen.panel


def test_the_gpus_of_a_region_come_out_of_its_prometheus(tmp_path: Path) -> None:
    """Pods by the labels that the server renamed, slices, shares, one XID once, and who ended is no holder any more.

    Seen failing with all series of the window taken: the card was shared by the pod of before and that of now.
    """
    pages = {"ada": ada(GPU_UTIL="87"), "a800": a800(whole=False), "shared": shared()}

    def page(name: str) -> Callable[[BaseHTTPRequestHandler], tuple[int, bytes]]:
        return lambda _: (200, pages[name].encode())

    loop = asyncio.new_event_loop()

    def go(url: str) -> None:
        server = PrometheusServer(Direct(ServerPlace(url=url)), clock := SystemClock())
        region = RegionCards("us-east-1", server, GpuFaults(), clock)

        def turn() -> list[Update]:
            return loop.run_until_complete(region.turn(clock.now()))

        def next_pod() -> GpuPanel | None:
            told = panel(turn())
            return told if told.gpus[0].pods == ("default/cuda-next",) else None

        first = panel(turn())
        assert [f"{each.node}/{each.index} {each.instance}".strip() for each in first.gpus] == [
            "lke529760-766837-0a634ab30000/0", "msxf-hpc-64-35-ai/0", "msxf-hpc-64-35-ai/0 2g.20gb #3",
            "msxf-hpc-64-35-ai/0 2g.20gb #5", "msxf-hpc-64-35-ai/0 2g.20gb #6", "msxf-hpc-64-35-ai/1",
            "worker1/0",
        ]  # fmt: skip
        assert (first.gpus[-1].shared, first.gpus[-1].pods[2]) == (3, "somenamespace/pod3")
        card = first.gpus[0]
        assert (card.utilisation.value, card.pods) == (87.0, ("default/cuda-75454ffb9f-8ljq7",))
        assert (card.region, card.every_s, first.region) == ("us-east-1", 30.0, "us-east-1")
        assert first.source == f"DCGM through {server.who}"
        assert first.at is not None
        assert 0.0 <= clock.now() - first.at < 30.0
        # Another pod has the card now, and it reports an XID.
        pages["ada"] = ada(pod="cuda-next", XID_ERRORS="79")
        found = wait_for(next_pod, 60, why="the next pod alone")
        assert isinstance(found, GpuPanel)
        assert found.gpus[0].shared == 0
        assert [each.xid for each in found.gpus[0].faults] == [79]
        assert [each for each in turn() if isinstance(each, SecuritySeen)] == []
        server.close()

    async def refused(url: str, asked: list[tuple[str, dict[str, str]]]) -> None:
        server = PrometheusServer(Direct(ServerPlace(url=url)), clock := SystemClock(), max_series=14)
        region = RegionCards("us-east-1", server, GpuFaults(), clock)
        told = panel(await region.turn(clock.now()))
        # Everything was too much, and so are the few: nothing is told of a part.
        assert (told.gpus, len(asked)) == ((), 2)
        assert "more than 14" in told.reason
        assert all(name in asked[1][0] for name in FEW)
        assert "SM_CLOCK" not in asked[1][0]
        server.close()

    with ExitStack() as stack:
        ports = [(stack.enter_context(serving(page(name))), name) for name in pages]
        targets = [
            (f"127.0.0.1:{port}", {"namespace": "gpu-operator", "pod": f"nvidia-dcgm-exporter-{name}"})
            for port, name in ports
        ]
        made = stack.enter_context(prometheus(tmp_path, targets, least=2))
        go(made.url)
        loop.close()
        before = stack.enter_context(front(made.url))
        asyncio.run(refused(before.url, before.asked))


def test_a_scrape_that_is_still_coming_in_is_not_believed_yet() -> None:
    def row(gpu: str, *times: float) -> Row:
        return Row({"__name__": "DCGM_FI_DEV_GPU_UTIL", "gpu": gpu, "instance": "n:9400"}, [(at, at) for at in times])

    rows = [row("0", 10.0, 40.0), row("1", 10.0)]
    assert sorted(each.at for each in newest(rows, 41.0)[0]) == [10.0, 10.0]
    assert [(each.labels["gpu"], each.at) for each in newest(rows, 46.0)[0]] == [("0", 40.0)]
    assert newest(rows, 46.0)[1] == 30.0


def test_a_server_without_gpus_or_without_an_answer_says_so_once_and_old_numbers_stay() -> None:
    answers: list[tuple[int, bytes]] = [(200, b'{"status":"success","data":{"resultType":"matrix","result":[]}}')]

    def handle(_: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        return answers[0]

    async def go(url: str) -> None:
        server = PrometheusServer(Direct(ServerPlace(url=url)), clock := SystemClock())
        region = RegionCards("us", server, GpuFaults(), clock)
        assert "has no series of dcgm-exporter" in panel(await region.turn(clock.now())).reason
        assert await region.turn(clock.now()) == []
        now = clock.now()
        answers[0] = (200, (
            '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"DCGM_FI_DEV_GPU_UTIL",'
            f'"gpu":"0","UUID":"u","Hostname":"n1"}},"values":[[{now:.0f},"42"]]}}]}}}}'
        ).encode())  # fmt: skip
        assert panel(await region.turn(now)).gpus[0].utilisation.value == 42.0
        answers[0] = (503, b"")
        told = panel(await region.turn(now + 30.0))
        assert told.gpus[0].utilisation.value == 42.0
        assert told.partial
        assert told.at == float(f"{now:.0f}")
        server.close()

    with serving(handle) as port:
        asyncio.run(go(f"http://127.0.0.1:{port}"))


def test_an_answer_that_nobody_thought_of_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen failing with what it raises let through: the numbers of the replicas ended with it."""

    async def turn(*_: object) -> list[Update]:
        raise RuntimeError("a label that nobody thought of")

    async def go() -> None:
        server = PrometheusServer(Direct(ServerPlace(url="http://127.0.0.1:9")), clock := SystemClock())
        told: asyncio.Queue[list[Update]] = asyncio.Queue()
        region = RegionCards("us", server, GpuFaults(), clock)
        monkeypatch.setattr(region, "turn", turn)
        work = asyncio.create_task(region.run(lambda updates: told.put_nowait(list(updates))))
        async with asyncio.timeout(30):
            assert panel(await told.get()).reason == "its DCGM series could not be understood"
        assert not work.done()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(go())
