"""GPUs as lines: what is shown in little room, what with more, and what is a warning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from nimify_tui.domain.gpus import Gpu, GpuMap, GpuPanel, GpuRoom
from nimify_tui.domain.measures import Measure, absent
from nimify_tui.domain.xids import fault_of
from nimify_tui.ui.glyphs import UNICODE
from nimify_tui.ui.present import gpus
from tests.ui import frames
from tests.ui.pieces import gpu, num


def text(spans: Sequence[tuple[str, str]]) -> str:
    return "".join(part for part, _ in spans)


def test_without_a_gpu_the_panel_says_why() -> None:
    lines = gpus.gpu_lines((GpuPanel(at=1.0, reason="no NVIDIA driver on this host"),), 40, UNICODE)
    assert [text(each) for each in lines] == ["no NVIDIA driver on this host"]
    assert "no GPU known" in text(gpus.gpu_lines((), 40, UNICODE)[0])


def test_gpus_show_load_memory_heat_and_what_idles() -> None:
    lines = [text(each) for each in gpus.gpu_lines(frames.drawn_gpus(), 60, UNICODE)]
    assert lines[0].startswith("node-1/0  87% ▇▇▇▇▇▇▇▁ 71/80G  79°C 612W")
    assert "XID 79" in lines[3]
    assert "free 0 of 4   idle but holding memory 1" in lines[4]


def whole_card() -> GpuPanel:
    """One that tells everything, as recorded of an H100 at work."""

    def rate(value: float) -> Measure:
        return num(value * 2**20, "bytes_per_second")

    card = msgspec.structs.replace(
        gpu("node-1", 0, 100, 20, 58, 695), tensor_active=num(93.5, "percent"), dram_active=num(23.8, "percent"),
        temperature_limit=num(87.0, "celsius"), power_limit=num(700.0, "watt"), clock=num(1350.0, "megahertz"),
        clock_limit=num(1980.0, "megahertz"), slowed=("power cap",), ecc_corrected=num(0.0, "count"),
        ecc_uncorrected=num(0.0, "count"), pcie="gen5 x16", pcie_received=rate(15.5), pcie_sent=rate(5.3),
        pcie_replays=num(0.0, "count"), nvlink_received=absent("bytes_per_second", "not supported"),
        nvlink_sent=absent("bytes_per_second", "not supported"), holders=("llama-chat ×2", "1 other process"),
        faults=(fault_of(frames.NOW - 60, 31), fault_of(frames.NOW - 7200, 13)),
    )  # fmt: skip
    return GpuPanel(at=frames.NOW, gpus=(card,), reason="", source="NVML")


def test_with_room_a_gpu_shows_its_work_its_limits_its_links_and_its_faults() -> None:
    lines = [text(each) for each in gpus.gpu_lines((whole_card(),), 150, UNICODE, 8, frames.NOW)]
    assert lines[0].endswith("58°C 695W  llama-chat ×2, 1 other process")
    assert lines[1].strip() == (
        "tensor 94%  dram 24%  clock 1350 MHz of 1980 MHz (power cap)  limits 87°C 700W"
    )
    assert lines[2].strip() == (
        "ECC 0 uncorrected, 0 corrected  PCIe gen5 x16, in 15.5M/s, out 5.3M/s, replays 0"
        "  NVLink in – (not supported), out – (not supported)"
    )
    assert "XID 31 memory page fault: a program on the GPU did it" in lines[3]
    assert "XID 13" in lines[4]
    assert lines[5] == "free 0 of 1   idle but holding memory 0   tensor 94%   dram 24%"
    assert [text(each) for each in gpus.gpu_lines((whole_card(),), 150, UNICODE, 4, frames.NOW)][3] == lines[5]
    short = [text(each) for each in gpus.gpu_lines((whole_card(),), 70, UNICODE, 8, frames.NOW)]
    assert short[1] == lines[5]
    tight = [text(each) for each in gpus.gpu_lines((whole_card(),), 44, UNICODE, 8, frames.NOW)]
    assert tight[1:] == ["free 0 of 1   idle but holding memory 0", "tensor 94%   dram 24%"]


def test_what_slows_a_gpu_is_a_warning_only_when_it_is_no_set_limit() -> None:
    hot = msgspec.structs.replace(
        whole_card().gpus[0], slowed=("power cap", "heat (hardware)"), slowed_by_fault=True,
        temperature=num(87.0, "celsius"),
    )  # fmt: skip
    line = gpus.gpu_lines((msgspec.structs.replace(whole_card(), gpus=(hot,)),), 60, UNICODE)[0]
    assert ("  87°C", "warn") in line
    assert (" slowed: power cap, heat (hardware)", "warn") in line
    cool = gpus.gpu_lines((whole_card(),), 60, UNICODE)[0]
    assert [style for _, style in cool if style == "warn"] == []


# -- clusters ----------------------------------------------------------------------------------------------------------


def of_cluster(index: int, busy: float | None, node: str = "n1", **more: Any) -> Gpu:
    made = gpu(node, index, busy if busy is not None else 0.0, 20, 58, 300)
    if busy is None:
        made = msgspec.structs.replace(made, utilisation=absent("percent", "not measurable: MIG"))
    return msgspec.structs.replace(made, **{"region": "us-east-1", "every_s": 30.0, **more})


def room(node: str, capacity: int = 8, resource: str = "nvidia.com/gpu", **more: Any) -> GpuRoom:
    made = GpuRoom(node=node, resource=resource, capacity=capacity, allocatable=capacity)
    return msgspec.structs.replace(made, **more)


def cluster(*gpus: Gpu, **places: Any) -> GpuPanel:
    return GpuPanel(
        at=frames.NOW - 14, gpus=gpus, reason="", source="DCGM through Prometheus p:9090", region="us-east-1",
        places=GpuMap(**places) if places else None,
    )  # fmt: skip


def lines_of(*panels: GpuPanel, width: int = 100, height: int = 0) -> list[str]:
    return [text(each) for each in gpus.gpu_lines(panels, width, UNICODE, height, frames.NOW)]


def test_a_card_in_slices_is_not_measurable_and_its_slices_stand_below_it() -> None:
    unknown = absent("bytes", "not measurable: MIG")
    card = of_cluster(0, None, slices=2, memory_used=unknown, memory_total=unknown)
    works = of_cluster(0, 38.0, instance="1g.10gb #7", pods=("ml/a",), holders=("a",))
    silent = of_cluster(0, None, instance="1g.10gb #12")
    found = lines_of(cluster(card, works, silent))
    assert found[0].startswith("n1/0       –  not measurable: MIG, 2 slices  58°C 300W")
    assert found[1] == "n1/0#7   38% ▇▇▇▁▁▁▁▁ 20/80G  a"
    assert found[2] == "n1/0#12    – 1g.10gb  20/80G"
    assert gpus.gpu_facts((cluster(card, works, silent),), frames.NOW).startswith("1 × H100 ")


def test_reserved_and_idle_is_told_by_our_own_history_and_what_is_missing_for_that() -> None:
    pods: dict[str, Any] = {"pods": ("ml/a",)}
    found = lines_of(cluster(
        of_cluster(0, 1.0, idle_s=2520.0, watched_s=7200.0, **pods),
        of_cluster(1, 1.0, idle_s=720.0, watched_s=720.0, **pods),
        of_cluster(2, 1.0, idle_s=720.0, watched_s=7200.0, **pods),
        of_cluster(3, 1.0, idle_s=7200.0, watched_s=7200.0),
        of_cluster(4, 71.0, shared=3, pods=("ml/a", "ml/b", "ml/c")),
        rooms=(room("n1", 8, held=(("ml/a", 4),)),),
    ))  # fmt: skip
    assert [line.partition("W ")[2] for line in found[:5]] == [
        "reserved, idle 42m", "reserved, idle: have 12m of 30m", "reserved, idle for 12m", "", "shared by 3 pods",
    ]  # fmt: skip
    assert found[5] == "free 4 of 8   reserved, idle 1"
    assert found[6] == "in use 1, idle 4   100/400G   1.5kW"


def test_what_waits_and_what_is_missing_is_said_and_much_comes_after_the_sum() -> None:
    panel = cluster(
        *(of_cluster(index, 90.0, node=f"n{number}") for number in (1, 2) for index in range(8)),
        rooms=(room("n1", allocatable=7, held=(("ml/a", 7),)), room("n2", barred="cordoned"),
               room("n3", 7, "nvidia.com/mig-1g.10gb", held=(("ml/b", 3),))),
        waiting=(("ml/big", "nvidia.com/gpu", 2), ("ml/c", "nvidia.com/gpu", 1)),
    )  # fmt: skip
    found = lines_of(panel, height=7)
    assert found[:4] == [
        "free 0 of 16   reserved, idle 0   slices and shares free 4 of 7",
        "n1: 1 of 8 missing: not allocatable",
        "ml/big needs 2 GPUs, 0 free (most on one node: 0); 1 more wait",
        "in use 16   320/1280G   4.8kW",
    ]
    assert len(found) == 20
    # With room it says who tells, and what was not read.
    told = msgspec.structs.replace(cluster(of_cluster(0, 90.0)), partial="1 of 2 exporters not read: pod x answers 500")
    found = lines_of(told, height=9)
    assert found[-1] == f"us-east-1: DCGM through Prometheus p:9090, age 10 s; {told.partial}"
    assert found[-3] == f"us-east-1: {told.partial}"


def test_two_regions_have_their_names_and_none_is_read_says_why() -> None:
    far = msgspec.structs.replace(cluster(of_cluster(0, 5.0)), region="eu")
    far = msgspec.structs.replace(far, gpus=(of_cluster(0, 5.0, region="eu"),))
    found = lines_of(cluster(of_cluster(0, 4.0)), far)
    assert [line.partition(" ")[0] for line in found[:2]] == ["us-east-1:n1/0", "eu:n1/0"]
    bare = GpuPanel(at=1.0, reason="no numbers: no dcgm-exporter is known here", region="eu",
                    places=GpuMap(rooms=(room("n1"),)))  # fmt: skip
    assert lines_of(bare) == ["eu: no numbers: no dcgm-exporter is known here"]


def test_a_great_many_are_summed_up_and_have_a_screen_of_their_own() -> None:
    many = cluster(*(of_cluster(index % 8, 90.0, node=f"n{index // 8}") for index in range(240)))
    found = lines_of(many, width=48, height=6)
    assert found[1].startswith("in use 240 ")
    assert found[-1] == "140 more, all of them in :gpus"
    assert len(found) == 103
