"""GPUs as NVML or DCGM tell."""

from __future__ import annotations

import msgspec

from nimify_tui.domain.measures import Measure, absent

_NOT_ASKED = "this source does not tell it"


class GpuFault(msgspec.Struct, frozen=True, kw_only=True):
    """An XID that the driver reported: ``hardware`` False when a program on the GPU is to blame."""

    at: float
    xid: int
    text: str
    hardware: bool
    remedy: str


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU (or MIG slice) of one node.

    ``utilisation`` is a duty cycle: how much of the time anything ran. ``tensor_active`` and ``dram_active``
    say how much work that was. ``temperature_limit`` is where the driver begins to slow the clocks down.
    ``slowed`` are the reasons why the clocks are not higher, in words, and ``slowed_by_fault`` whether one of them
    is heat or a fault rather than a set limit. ``pcie`` is the link in words; ``link_narrow`` that it has fewer
    lanes than it could. ``faults`` are newest first. ``holders``
    are the services whose ``processes`` compute on it, in words.
    """

    node: str
    index: int
    uuid: str
    name: str
    utilisation: Measure
    memory_used: Measure
    memory_total: Measure
    temperature: Measure
    power: Measure
    tensor_active: Measure = absent("percent", _NOT_ASKED)
    dram_active: Measure = absent("percent", _NOT_ASKED)
    temperature_limit: Measure = absent("celsius", _NOT_ASKED)
    power_limit: Measure = absent("watt", _NOT_ASKED)
    clock: Measure = absent("megahertz", _NOT_ASKED)
    clock_limit: Measure = absent("megahertz", _NOT_ASKED)
    ecc_corrected: Measure = absent("count", _NOT_ASKED)
    ecc_uncorrected: Measure = absent("count", _NOT_ASKED)
    pcie_replays: Measure = absent("count", _NOT_ASKED)
    pcie_received: Measure = absent("bytes_per_second", _NOT_ASKED)
    pcie_sent: Measure = absent("bytes_per_second", _NOT_ASKED)
    nvlink_received: Measure = absent("bytes_per_second", _NOT_ASKED)
    nvlink_sent: Measure = absent("bytes_per_second", _NOT_ASKED)
    slowed: tuple[str, ...] = ()
    slowed_by_fault: bool = False
    pcie: str = ""
    link_narrow: bool = False
    note: str = ""
    processes: tuple[int, ...] = ()
    holders: tuple[str, ...] = ()
    faults: tuple[GpuFault, ...] = ()


class GpuPanel(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about GPUs; with no GPU ``reason`` says so ("no NVIDIA driver on this host")."""

    at: float | None
    gpus: tuple[Gpu, ...] = ()
    reason: str = "not asked yet"
    source: str = ""
