"""GPUs as lines: what is shown in little room, what with more, and what is a warning."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from nimify_tui.domain.gpus import GpuPanel
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
