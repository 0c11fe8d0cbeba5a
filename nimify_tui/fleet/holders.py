"""Whose processes compute on this host's GPUs, and whose pods have those of clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.regions import RegionKind
from nimify_tui.fleet.tracks import RegionTrack


def with_holders(panel: GpuPanel, regions: Mapping[str, RegionTrack]) -> GpuPanel:
    """The panel with ``holders`` filled: the services by their replicas' processes or pods, then how many others.

    Processes only of embedded regions: the process numbers of others are those of other hosts.
    """
    if panel.region:
        return _with_pods(panel, regions.get(panel.region))
    wanted = {pid for gpu in panel.gpus for pid in gpu.processes}
    if not wanted:
        return panel
    owner: dict[int, str] = {}
    for region in regions.values():
        if region.region is None or region.region.kind is not RegionKind.EMBEDDED:
            continue
        for track in region.services.values():
            for each in track.replicas.values():
                if each.replica.pid in wanted:
                    owner[each.replica.pid] = track.key.name
    return msgspec.structs.replace(panel, gpus=tuple(_held(gpu, owner) for gpu in panel.gpus))


def _with_pods(panel: GpuPanel, region: RegionTrack | None) -> GpuPanel:
    wanted = {pod for gpu in panel.gpus for pod in gpu.pods}
    if not wanted:
        return panel
    owner: dict[str, str] = {}
    for key, track in region.services.items() if region is not None else ():
        owner.update((pod, key.name) for name in track.replicas if (pod := f"{key.namespace}/{name}") in wanted)
    gpus = []
    for gpu in panel.gpus:
        counts = Counter(owner.get(pod, pod) for pod in gpu.pods)
        gpus.append(msgspec.structs.replace(gpu, holders=_words(counts)))
    return msgspec.structs.replace(panel, gpus=tuple(gpus))


def _words(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(name if count == 1 else f"{name} ×{count}" for name, count in sorted(counts.items()))


def _held(gpu: Gpu, owner: dict[int, str]) -> Gpu:
    counts = Counter(owner[pid] for pid in gpu.processes if pid in owner)
    words = [*_words(counts)]
    others = len(gpu.processes) - counts.total()
    if others:
        words.append(f"{others} other process{'es' if others > 1 else ''}")
    return msgspec.structs.replace(gpu, holders=tuple(words))
