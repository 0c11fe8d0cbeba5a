"""Which pods of a cluster have GPUs, slices or shares of them, on which nodes, and what is left: node by GPU by pod."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from nimify_tui.base.text import clean_line
from nimify_tui.domain.gpus import GpuMap, GpuRoom
from nimify_tui.sources.kubernetes.kinds import Node, Pod
from nimify_tui.sources.kubernetes.ledger import OVER, holds_the_same, wanted_of, whole

#: Resources of NVIDIA's device plugin: nvidia.com/gpu, nvidia.com/gpu.shared, nvidia.com/mig-1g.10gb.
_RESOURCE = "nvidia.com/"
#: Pods that are told as waiting, and exporters that are known.
_WAITING, _EXPORTERS = 50, 5_000


class GpuBook:
    """Keeps the pods that want GPUs, and the exporters. ``only`` are the namespaces that are read (empty: all)."""

    def __init__(self) -> None:
        self.only: Sequence[str] = ()
        self._pods: dict[str, Pod] = {}
        #: By uid: pods of dcgm-exporter that run.
        self.exporters: dict[str, Pod] = {}
        self._changed = False
        self._told = GpuMap()

    def pod(self, before: Pod | None, now: Pod | None) -> None:
        """A pod is another one than before (None: it was not, or is no more)."""
        uid = (now or before or Pod()).metadata.uid
        if before is not None and now is not None and holds_the_same(before, now) and uid not in self.exporters:
            return  # nor has it another name: that is the pod's for life
        over = now is None or now.status.phase in OVER
        self._keep(self._pods, uid, None if over or now is None or not gpus_of(now) else now)
        self._keep(self.exporters, uid, None if over or now is None or not _exports(now) else now)

    def _keep(self, kept: dict[str, Pod], uid: str, now: Pod | None) -> None:
        before = kept.get(uid)
        if now is None:
            if before is not None:
                del kept[uid]
                self._changed = True
            return
        kept[uid] = now
        if before is None or (before.spec.node_name, gpus_of(before)) != (now.spec.node_name, gpus_of(now)):
            self._changed = True

    def node(self, before: Node | None, now: Node | None) -> None:
        """A node is another one than before."""
        old, new = (_rooms(each) if each is not None else () for each in (before, now))
        if old != new:
            self._changed = True

    def again(self) -> None:
        """Tell it once more: all is listed anew."""
        self._changed, self._told = True, GpuMap()

    def news(self, nodes: Iterable[Node]) -> GpuMap | None:
        """The map where it is another one than it was told."""
        if not self._changed:
            return None
        self._changed = False
        held: dict[tuple[str, str], dict[str, int]] = {}
        waiting: list[tuple[str, str, int]] = []
        for each in self._pods.values():
            name = clean_line(f"{each.metadata.namespace}/{each.metadata.name}", 320)
            for resource, count in gpus_of(each).items():
                if each.spec.node_name:
                    held.setdefault((each.spec.node_name, resource), {})[name] = count
                else:
                    waiting.append((name, clean_line(resource, 80), count))
        rooms = []
        for node in nodes:
            for room, resource in _rooms(node):
                holders = tuple(sorted(held.get((node.metadata.name, resource), {}).items()))
                rooms.append(msgspec.structs.replace(room, held=holders))
        told = GpuMap(
            rooms=tuple(sorted(rooms, key=lambda room: (room.node, room.resource))),
            waiting=tuple(sorted(waiting)[:_WAITING]),
            exporters=tuple(
                (clean_line(each.metadata.name, 253), each.spec.node_name)
                for each in list(self.exporters.values())[:_EXPORTERS]
                if each.spec.node_name
            ),
            partial=f"only pods of ns {clean_line(', '.join(self.only), 120)} are seen" if self.only else "",
        )
        if told == self._told:
            return None
        self._told = told
        return told


def gpus_of(pod: Pod) -> dict[str, int]:
    """How many of which GPUs a pod asks for."""
    return {name: count for name, count in wanted_of(pod).items() if name.startswith(_RESOURCE)}


def _exports(pod: Pod) -> bool:
    return any("dcgm-exporter" in each.image for each in pod.spec.containers or ())


def _rooms(node: Node) -> tuple[tuple[GpuRoom, str], ...]:
    """What a node has, without who holds it."""
    status, labels = node.status, node.metadata.labels
    names = sorted({name for each in (status.capacity, status.allocatable) for name in each or () if _ours(name)})
    found = []
    for name in names:
        can = whole((status.allocatable or {}).get(name, "0"))
        has = max(can, whole((status.capacity or {}).get(name, "0")))
        if not has:
            continue
        room = GpuRoom(
            node=clean_line(node.metadata.name, 253), resource=clean_line(name, 80), capacity=has, allocatable=can,
            product=clean_line(labels.gpu_product, 60) if labels is not None else "",
            cards=(whole(labels.gpu_count) or None) if labels is not None else None, barred=_barred(node),
        )  # fmt: skip
        found.append((room, name))
    return tuple(found)


def _ours(name: str) -> bool:
    return name.startswith(_RESOURCE)


def _barred(node: Node) -> str:
    ready = next((each.status for each in node.status.conditions or () if each.type == "Ready"), "")
    return "not ready" if ready not in ("", "True") else "cordoned" if node.spec.unschedulable else ""
