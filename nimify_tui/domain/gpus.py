"""GPUs as NVML or DCGM tell."""

from __future__ import annotations

import msgspec

from nimify_tui.domain.measures import Measure


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU (or MIG slice) of one node."""

    node: str
    index: int
    uuid: str
    name: str
    utilisation: Measure
    memory_used: Measure
    memory_total: Measure
    temperature: Measure
    power: Measure
    note: str = ""
    processes: tuple[int, ...] = ()


class GpuPanel(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about GPUs; with no GPU ``reason`` says so ("no NVIDIA driver on this host")."""

    at: float | None
    gpus: tuple[Gpu, ...] = ()
    reason: str = "not asked yet"
    source: str = ""
