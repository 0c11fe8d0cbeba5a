"""The GPUs on a screen of their own: cards and slices, nodes and pods, one of them whole; enter opens who holds it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.gpus import Gpu, GpuMap, GpuPanel, GpuRoom
from nimify_tui.domain.measures import absent
from nimify_tui.domain.xids import fault_of
from nimify_tui.ui.screens.detail import DetailScreen
from nimify_tui.ui.screens.gpus import GpusScreen
from tests.hostile import CORPUS
from tests.tui import check_golden, screen_text
from tests.ui import frames
from tests.ui.drawn_panels import drawn_gpus
from tests.ui.frames import NOW, num
from tests.ui.pieces import gpu
from tests.ui.test_hostile_screens import check_inert
from tests.ui.world import World, run_console, type_text

SIZES = [(80, 24), (120, 40), (200, 60)]
EU, SOURCE = "eu-west-1", "DCGM through Prometheus prom:9090"


def card(node: str, index: int, busy: float | None, *numbers: float, **more: Any) -> Gpu:
    made = msgspec.structs.replace(gpu(node, index, busy or 0.0, *(numbers or (20, 58, 300))), region=EU, every_s=30.0)
    if busy is None:
        made = msgspec.structs.replace(made, utilisation=absent("percent", "not measurable: MIG", SOURCE))
    return msgspec.structs.replace(made, **more)


def cluster() -> GpuPanel:
    """A node that works, one with a reserved card that idles and a lost one, one in slices, one that is shared."""
    gone = absent("bytes", "not measurable: MIG")
    room = GpuRoom(node="node-1", resource="nvidia.com/gpu", capacity=2, allocatable=2, product="NVIDIA-H100-80GB-HBM3")
    chat = {"pods": ("ns-chat/llama-chat-1",), "holders": ("llama-chat",)}
    cards = (
        card("node-1", 0, 87, 71, 79, 612, tensor_active=num(61.0, "percent"), dram_active=num(72.0, "percent"),
             clock=num(1755.0, "megahertz"), slowed=("power cap",), **chat),
        card("node-1", 1, 91, 74, 88, 640, slowed=("heat",), slowed_by_fault=True,
             temperature_limit=num(87.0, "celsius"), **chat),
        card("node-2", 0, 3, 70, 41, 98, idle_s=2520.0, watched_s=9000.0, pods=("ml/notebook-0",),
             holders=("ml/notebook-0",)),
        card("node-2", 1, 0, 0, 30, 60, note="XID 79, fell off the bus 18:31",
             faults=(fault_of(NOW - 660, 79), fault_of(NOW - 7200, 31))),
        card("node-3", 0, None, 0, 44, 180, slices=2, memory_used=gone, memory_total=gone),
        card("node-3", 0, 38, 9, 0, 0, instance="1g.10gb #7", pods=("ml/embed-0",), holders=("embed-e5",)),
        card("node-3", 0, None, 1, 0, 0, instance="1g.10gb #12"),
        card("node-4", 0, 71, 30, 61, 70, shared=3, pods=("ml/a", "ml/b", "ml/c"), holders=("ml/a", "ml/b", "ml/c")),
    )  # fmt: skip
    replace = msgspec.structs.replace
    rooms = (
        replace(room, held=(("ns-chat/llama-chat-1", 2),)),
        replace(room, node="node-2", allocatable=1, held=(("ml/notebook-0", 1),)),
        replace(room, node="node-3", resource="nvidia.com/mig-1g.10gb", capacity=7, allocatable=7,
                held=(("ml/embed-0", 1),)),
        replace(room, node="node-4", capacity=4, allocatable=4, cards=1, product="Tesla-T4",
                held=(("ml/a", 1), ("ml/b", 1), ("ml/c", 1))),
    )  # fmt: skip
    places = GpuMap(rooms=rooms, waiting=(("ml/big-1", "nvidia.com/gpu", 2),))
    return GpuPanel(at=NOW - 14, gpus=cards, reason="", source=SOURCE, region=EU, places=places)


def world(*panels: GpuPanel) -> World:
    return World(msgspec.structs.replace(frames.drawn(), gpus=panels))


async def opened(pilot: Any) -> None:
    await pilot.press("colon")
    await type_text(pilot, "gpus")
    await pilot.press("enter")
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
def test_the_screen(size: tuple[int, int]) -> None:
    async def script(app: Any, pilot: Any) -> str:
        await opened(pilot)
        await pilot.press("down", "down", "down")
        await pilot.pause()
        return screen_text(app)

    text = run_console(script, world(drawn_gpus()[0], cluster()), size=size)
    check_golden(f"gpus-{size[0]}x{size[1]}", text)


def test_tab_goes_to_the_nodes_and_says_who_waits_and_who_tells() -> None:
    async def script(app: Any, pilot: Any) -> tuple[str, list[str]]:
        await pilot.press("ctrl+g")
        await pilot.pause()
        await pilot.press("tab")
        await pilot.pause()
        assert isinstance(app.screen, GpusScreen)
        return screen_text(app), app.screen.summary_lines()

    text, summary = run_console(script, world(cluster()), size=(120, 40))
    assert "ml/big-1 needs 2 GPUs, 1 free (most on one node: 1)" in text
    assert f"{EU}: {SOURCE}, age 10 s" in " ".join(text.split())
    assert "in use 3, idle 2, unknown 1" in " ".join(text.split())
    assert "free 0 of 4 · reserved, idle 1 · slices and shares free 7 of 11 · 1 wait" in text
    assert any("reserved, idle 42m" in each for each in summary)


def test_enter_opens_the_service_that_holds_a_gpu() -> None:
    async def script(app: Any, pilot: Any) -> bool:
        await opened(pilot)
        await pilot.press("enter")
        await pilot.pause()
        return isinstance(app.screen, DetailScreen)

    held = card("node-1", 0, 87, pods=("/llama-chat-1",), holders=("llama-chat",))
    panel = GpuPanel(at=NOW, gpus=(held,), reason="", source=SOURCE, region=EU)
    assert run_console(script, world(panel), size=(120, 40))
    nobody = msgspec.structs.replace(panel, gpus=(card("node-1", 0, 87),))
    assert not run_console(script, world(nobody), size=(120, 40))


def test_without_gpus_the_reason_stands_there() -> None:
    async def script(app: Any, pilot: Any) -> str:
        await opened(pilot)
        return screen_text(app)

    text = run_console(script, world(GpuPanel(at=NOW, reason="no NVIDIA driver on this host")), size=(80, 24))
    assert "no NVIDIA driver on this host" in text
    assert "no cluster tells who holds its GPUs" in text


def test_hostile_names_stay_inert() -> None:
    made = world()

    async def script(app: Any, pilot: Any) -> None:
        await opened(pilot)
        for bad in CORPUS.values():
            one = card(bad, 0, 3, name=bad, uuid=bad, note=bad, holders=(bad,), pods=(bad,), instance=bad,
                       slowed=(bad,), slowed_by_fault=True, pcie=bad, region=bad)  # fmt: skip
            room = GpuRoom(node=bad, resource=bad, capacity=1, allocatable=1, product=bad, held=((bad, 1),), barred=bad)
            panel = GpuPanel(at=NOW, gpus=(one,), reason=bad, source=bad, region=bad, partial=bad,
                             places=GpuMap(rooms=(room,), waiting=((bad, bad, 1),), partial=bad))  # fmt: skip
            made.frame = msgspec.structs.replace(made.frame, gpus=(panel,))
            app.refresh_screens()
            await pilot.pause()
            check_inert(screen_text(app), (80, 24))
            await pilot.press("tab")
            await pilot.pause()
            check_inert(screen_text(app), (80, 24))

    run_console(script, made, size=(80, 24))
