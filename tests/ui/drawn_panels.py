"""GPUs and caches of the drawn screens."""

from __future__ import annotations

from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.measures import absent
from nimify_tui.fleet.frames import CacheStat
from tests.ui.pieces import NOW, gpu, num


def drawn_caches() -> tuple[CacheStat, ...]:
    """Two tiers that are known and one that is not."""
    return (
        CacheStat(
            tier="response L1",
            hit_ratio=num(0.71, "ratio"),
            size=num(212 * 2**20, "bytes"),
            trend=(0.7, 0.72, 0.6, 0.71),
        ),
        CacheStat(
            tier="redis L2",
            hit_ratio=num(0.38, "ratio"),
            size=num(1.1 * 2**30, "bytes"),
            trend=(0.2, 0.3, None, 0.38),
        ),
        CacheStat(tier="edge L3", hit_ratio=num(None, "ratio"), size=num(None, "bytes"), note="not probed"),
    )


def drawn_gpus() -> tuple[GpuPanel, ...]:
    """Two nodes."""
    gone = absent("percent", "gone")
    lost = Gpu(
        node="node-2",
        index=1,
        uuid="GPU-x",
        name="H100",
        note="XID 79, fell off the bus 18:31",
        utilisation=gone,
        memory_used=gone,
        memory_total=gone,
        temperature=gone,
        power=gone,
    )
    return (
        GpuPanel(
            at=NOW - 4,
            gpus=(gpu("node-1", 0, 87, 71, 79, 612), gpu("node-1", 1, 91, 74, 82, 640)),
            reason="",
            source="NVML",
        ),
        GpuPanel(
            at=NOW - 4,
            gpus=(gpu("node-2", 0, 3, 70, 41, 98, "reserved, idle"), lost),
            reason="",
            source="NVML",
        ),
    )
