"""All GPUs as they were told, joined with who holds them, and how long each did nothing by our own readings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from nimify_tui.domain.gpus import IDLE_PERCENT, Gpu, GpuMap, GpuPanel, GpuRoom, aged
from nimify_tui.fleet.holders import with_holders
from nimify_tui.fleet.tracks import RegionTrack

#: Readings that are further apart than so many times what they should be are a break, at least so many seconds.
_BREAK, _BREAK_S = 4.0, 60.0
#: The age of clusters' numbers is looked at so often, seconds.
_AGE_S = 15.0
_WHOLE, _SHARE = "nvidia.com/gpu", "nvidia.com/gpu.shared"


class _Watch:
    """One card's duty cycle over the readings: since when it is looked at without a break, and was busy last."""

    __slots__ = ("at", "busy_at", "since")

    def __init__(self, told: Gpu) -> None:
        self.since = self.at = self.busy_at = told.utilisation.at or 0.0

    def seen(self, told: Gpu) -> Gpu:
        """The card as it was told now, with what is known of its past; the same reading again is none."""
        value, at = told.utilisation.value, told.utilisation.at
        if value is None or at is None:
            return told
        if at > self.at + max(_BREAK_S, _BREAK * told.every_s):
            self.since = self.busy_at = at
        self.at = max(self.at, at)
        if value >= IDLE_PERCENT:
            self.busy_at = self.at
        return msgspec.structs.replace(told, idle_s=self.at - self.busy_at, watched_s=self.at - self.since)


class Cards:
    """GPU panels by node, or by region of a cluster. Only the fleet writes here."""

    def __init__(self) -> None:
        self._panels: dict[str, GpuPanel] = {}
        self._maps: dict[str, tuple[float, GpuMap]] = {}
        self._watches: dict[str, dict[str, _Watch]] = {}
        #: By region: what was made of its panel and map; and the cards that this host tells itself.
        self._made: dict[str, GpuPanel | None] = {}
        self._here: frozenset[str] = frozenset()
        self._all: tuple[GpuPanel, ...] | None = None
        self._slot = -1.0

    def seen(self, key: str, panel: GpuPanel) -> None:
        """What the GPUs of a node, or of a region, say."""
        before, kept = self._watches.get(key, {}), {}
        gpus = []
        for told in panel.gpus:
            who = f"{told.uuid or f'{told.node}/{told.index}'} {told.instance}"
            watch = before.get(who) or _Watch(told)
            kept[who] = watch
            gpus.append(watch.seen(told))
        self._watches[key] = kept
        self._panels[key] = msgspec.structs.replace(panel, gpus=tuple(gpus))
        self._made.pop(panel.region, None)
        self._all = None
        if not panel.region:
            here = frozenset(gpu.uuid for each in self._panels.values() if not each.region for gpu in each.gpus)
            if here != self._here:
                self._here = here
                self._made.clear()

    def placed(self, region: str, at: float, places: GpuMap) -> None:
        """Who holds the GPUs of a cluster."""
        self._maps[region] = at, places
        self._made.pop(region, None)
        self._all = None

    def forget(self, region: str) -> None:
        """The region is no more."""
        self._maps.pop(region, None)
        for key in [key for key, panel in self._panels.items() if panel.region == region]:
            del self._panels[key]
            self._watches.pop(key, None)
        self._made.pop(region, None)
        self._all = None

    def all(self, regions: Mapping[str, RegionTrack], at: float) -> tuple[GpuPanel, ...]:
        """This host's first, then by region, as of ``at``; the same object for a while in which nothing was told."""
        if at // _AGE_S != self._slot:  # what nobody tells anew grows old
            self._slot = at // _AGE_S
            self._made.clear()
            self._all = None
        if self._all is None:
            found = [with_holders(panel, regions) for panel in self._panels.values() if not panel.region]
            for name in sorted({panel.region for panel in self._panels.values() if panel.region} | self._maps.keys()):
                if name not in self._made:
                    made = self._region(name, at)
                    self._made[name] = with_holders(made, regions) if made is not None else None
                if (panel := self._made[name]) is not None:
                    found.append(panel)
            self._all = tuple(found)
        return self._all

    def _region(self, name: str, now: float) -> GpuPanel | None:
        """A region's panel with its map; None where it has no GPU. Cards that this host tells itself are left out."""
        panel = self._panels.get(name)
        at, places = self._maps.get(name, (None, GpuMap()))
        has = bool(places.rooms or places.waiting)
        if panel is None or (not panel.gpus and not has):
            if not has:
                return None
            reason = "no numbers: no dcgm-exporter is known here" if not places.exporters else "not read yet"
            panel = GpuPanel(at=at, reason=reason, region=name)
        told = [aged(gpu, now) for gpu in panel.gpus if not gpu.uuid or gpu.uuid not in self._here]
        gpus, others = _of_nodes(told, places)
        if not gpus and panel.gpus and not has:
            return None
        partial = panel.partial
        if others:
            words = f"{others} GPU{'s' if others > 1 else ''} on none of its nodes left out: another cluster's?"
            partial = f"{partial}; {words}" if partial else words
        return msgspec.structs.replace(
            panel, gpus=_shared(gpus, places), places=places if has else None, partial=partial
        )


def _of_nodes(gpus: list[Gpu], places: GpuMap) -> tuple[list[Gpu], int]:
    """The GPUs by the names of the cluster's nodes, and how many are of none of them.

    One server may read several clusters. Where no name is known at all, hosts are called otherwise, and all are kept.
    """
    exporters, known = dict(places.exporters), {room.node for room in places.rooms}
    firsts = Counter(node.partition(".")[0] for node in known)
    # "n1" is "n1.ec2.internal", but a number is the beginning of an address.
    short = {first: node for node in known if firsts[first := node.partition(".")[0]] == 1 and not first.isdigit()}
    named = []
    for gpu in gpus:
        node = exporters.get(gpu.node, gpu.node)
        named.append((gpu, node if node in known else short.get(node.partition(".")[0], node)))
    ours = [msgspec.structs.replace(gpu, node=node) for gpu, node in named if node in known]
    if not ours:
        return [msgspec.structs.replace(gpu, node=node) for gpu, node in named], 0
    return ours, len(named) - len(ours)


def _shared(gpus: list[Gpu], places: GpuMap) -> tuple[Gpu, ...]:
    """The GPUs with the pods that an exporter does not tell: of a node with one card they are its own.

    Of several cards nobody but the exporter knows which is whose.
    """
    cards: dict[str, int] = {}
    for gpu in gpus:
        if not gpu.instance:
            cards[gpu.node] = cards.get(gpu.node, 0) + 1
    rooms = {room.node: room for room in places.rooms if room.resource in (_WHOLE, _SHARE)}
    return tuple(_alone(gpu, rooms.get(gpu.node), cards.get(gpu.node, 0)) for gpu in gpus)


def _alone(gpu: Gpu, room: GpuRoom | None, cards: int) -> Gpu:
    """The only card of its node, with the pods that hold something there: more than one where it is shared."""
    if room is None or cards != 1 or gpu.instance or gpu.slices:
        return gpu
    # More to give than one card is shares of it only where the node says that it has one: else the others are lost.
    shares = room.resource == _SHARE or (room.cards == 1 and room.capacity > 1)
    if not shares and (gpu.pods or room.capacity > 1):
        return gpu
    pods = tuple(pod for pod, _ in room.held)
    return msgspec.structs.replace(gpu, pods=pods, shared=len(pods) if len(pods) > 1 else 0)
