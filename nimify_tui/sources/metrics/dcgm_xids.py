"""Which XIDs are new: an exporter tells the last one as long as it runs, or how many came in a window that moves on.

A gauge that stays is no second fault; what stood there before the first look is kept, and news only where the card
is to blame. The same XID twice is seen only where the exporter counts
(DCGM_EXP_XID_ERRORS_COUNT, off by default).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from nimify_tui.domain.gpus import Gpu, GpuFault
from nimify_tui.domain.updates import SecuritySeen
from nimify_tui.domain.xids import fault_of
from nimify_tui.sources.gpu_faults import GpuFaults, fault_event, fault_note
from nimify_tui.sources.metrics.dcgm import Card

#: Of one XID that came often between two readings so many are kept.
_MOST_AT_ONCE = 5


class XidHistory:
    """What exporters told of one region's cards; ``faults`` keeps it over restarts."""

    def __init__(self, region: str, faults: GpuFaults) -> None:
        self._region, self._faults = region, faults
        #: By card: the last XID, and how often each was told of its window, at the reading before.
        self._last: dict[str, int] = {}
        self._counts: dict[str, Mapping[int, int]] = {}

    def told(self, found: Sequence[Card], source: str) -> tuple[list[Gpu], list[SecuritySeen]]:
        """The cards and slices with what is known of their faults, and an event for each that is new."""
        gpus: list[Gpu] = []
        events: list[SecuritySeen] = []
        for card in found:
            gpu = card.gpu
            who = gpu.uuid or f"{self._region}/{gpu.node}/{gpu.index}"
            for fault in self._new(who, card):
                self._faults.add(who, fault)
                if fault.latest and not fault.hardware:  # old, and no fault of the card: no news
                    continue
                event = fault_event(self._region, gpu.node, gpu.index, fault, source)
                events.append(SecuritySeen(fault.at, event))
            faults = self._faults.of(who)
            note = ", ".join(filter(None, (fault_note(faults), gpu.note)))
            gpus.append(msgspec.structs.replace(gpu, region=self._region, faults=faults, note=note))
            gpus += [msgspec.structs.replace(each, region=self._region) for each in card.slices]
        return gpus, events

    def write(self) -> None:
        """Write down what is kept. Blocks until the disk has it."""
        self._faults.write()

    def _new(self, who: str, card: Card) -> Iterable[GpuFault]:
        at = card.at
        first = who not in self._last
        if card.counts is not None:
            before, self._counts[who] = self._counts.get(who), card.counts
            self._last[who] = card.last_xid or 0
            return self._counted(who, card, before, at)
        before_xid, self._last[who] = self._last.get(who, 0), card.last_xid or 0
        if not card.last_xid or card.last_xid == before_xid:
            return ()
        if first and any(each.xid == card.last_xid for each in self._faults.of(who)[:1]):
            return ()
        return (msgspec.structs.replace(fault_of(at, card.last_xid), latest=first),)

    def _counted(self, who: str, card: Card, before: Mapping[int, int] | None, at: float) -> Iterable[GpuFault]:
        kept = self._faults.of(who)
        for xid, count in (card.counts or {}).items():
            ours = sum(each.xid == xid and each.at > at - card.window_s for each in kept)
            new = count - ours if before is None else max(count - before.get(xid, 0), count - ours)
            for _ in range(min(new, _MOST_AT_ONCE)):
                yield msgspec.structs.replace(fault_of(at, xid), latest=before is None)
