"""Whose processes compute on this host's GPUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.regions import RegionKind
from nimify_tui.fleet.tracks import RegionTrack


def with_holders(panel: GpuPanel, regions: Iterable[RegionTrack]) -> GpuPanel:
    """The panel with ``holders`` filled: the services by their replicas' processes, then how many others there are.

    Only of embedded regions: the process numbers of others are those of other hosts.
    """
    wanted = {pid for gpu in panel.gpus for pid in gpu.processes}
    if not wanted:
        return panel
    owner: dict[int, str] = {}
    for region in regions:
        if region.region is None or region.region.kind is not RegionKind.EMBEDDED:
            continue
        for track in region.services.values():
            for each in track.replicas.values():
                if each.replica.pid in wanted:
                    owner[each.replica.pid] = track.key.name
    return msgspec.structs.replace(panel, gpus=tuple(_held(gpu, owner) for gpu in panel.gpus))


def _held(gpu: Gpu, owner: dict[int, str]) -> Gpu:
    counts = Counter(owner[pid] for pid in gpu.processes if pid in owner)
    words = [name if count == 1 else f"{name} ×{count}" for name, count in sorted(counts.items())]
    others = len(gpu.processes) - counts.total()
    if others:
        words.append(f"{others} other process{'es' if others > 1 else ''}")
    return msgspec.structs.replace(gpu, holders=tuple(words))
