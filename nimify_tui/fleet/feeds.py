"""The two time lines of the fleet, bounded: what changed, and security events."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable

import msgspec

from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.security import SecurityEvent, Severity
from nimify_tui.fleet.tracks import ServiceTrack

KEEP_CHANGES = 1000
KEEP_SECURITY = 500
#: Changes kept for each service, for its detail.
_KEEP_EACH = 60
#: Counters' security events wait so long for the log line that says the same.
WAIT_S = 6.0
#: Log lines within this time of a counter's increase speak of the same.
SAME_S = 20.0
#: Events of counters are folded over this time.
FOLD_S = 30.0
#: Categories come out of foreign log lines.
_MAX_SAID = 4096
_MED = frozenset({"malformed", "attack", "refused", "oversized", "injection", "traversal"})


class Changes:
    """Changes in the order of their times; a repeated id replaces."""

    def __init__(self, keep: int = KEEP_CHANGES) -> None:
        self._keep = keep
        self._known: dict[str, Change] = {}
        self._order: list[tuple[float, str]] = []
        self._by_service: dict[ServiceKey, dict[str, Change]] = {}
        self._newest_first: tuple[Change, ...] | None = ()

    def add(self, change: Change) -> bool:
        """Take a change in; False when it was known just so."""
        old = self._known.get(change.id)
        if old == change:
            return False
        if old is not None:
            del self._order[bisect_left(self._order, (old.at, old.id))]
        self._known[change.id] = change
        insort(self._order, (change.at, change.id))
        if change.key is not None:
            mine = self._by_service.setdefault(change.key, {})
            mine[change.id] = change
            if len(mine) > _KEEP_EACH:
                del mine[min(mine, key=lambda each: mine[each].at)]
        while len(self._order) > self._keep:
            _, name = self._order.pop(0)
            gone = self._known.pop(name)
            if gone.key is not None:
                self._by_service.get(gone.key, {}).pop(name, None)
        self._newest_first = None
        return change.id in self._known

    def remove(self, change: Change) -> None:
        """Take a change back: somebody who knows better has told it."""
        if self._known.pop(change.id, None) is None:
            return
        del self._order[bisect_left(self._order, (change.at, change.id))]
        if change.key is not None:
            self._by_service.get(change.key, {}).pop(change.id, None)
        self._newest_first = None

    def forget_region(self, region: str) -> None:
        """Drop everything about a region."""
        for name in [name for name, change in self._known.items() if change.region == region]:
            del self._known[name]
        self._order = [pair for pair in self._order if pair[1] in self._known]
        for key in [key for key in self._by_service if key.region == region]:
            del self._by_service[key]
        self._newest_first = None

    def of(self, key: ServiceKey) -> list[Change]:
        """Those of a service, oldest first."""
        return sorted(self._by_service.get(key, {}).values(), key=lambda each: each.at)

    def of_region(self, region: str) -> list[Change]:
        """Those of a whole region."""
        return [each for each in self._known.values() if each.key is None and each.region == region]

    def stopped_by(self, key: ServiceKey) -> str:
        """Who stopped the service, "" when that is not known."""
        for change in reversed(self.of(key)):
            if change.kind in (ChangeKind.SCALE, ChangeKind.OPERATOR) and change.text.startswith("stopped"):
                return change.by
        return ""

    @property
    def newest_first(self) -> tuple[Change, ...]:
        """All that are kept; the same object until something is added."""
        if self._newest_first is None:
            self._newest_first = tuple(self._known[name] for _, name in reversed(self._order))
        return self._newest_first


class Security:
    """Security events; a repeated id replaces (its count went on)."""

    def __init__(self, keep: int = KEEP_SECURITY) -> None:
        self._keep = keep
        self._known: dict[str, SecurityEvent] = {}
        self._said: dict[tuple[ServiceKey | None, str], deque[float]] = {}
        self._folds: dict[tuple[ServiceKey, str], str] = {}
        self._newest_first: tuple[SecurityEvent, ...] | None = ()
        self.dropped = 0

    def add(self, event: SecurityEvent) -> None:
        """Take an event in."""
        if event.source != "metrics":
            if len(self._said) > _MAX_SAID:
                self._said.clear()
            self._said.setdefault((event.key, event.category), deque(maxlen=8)).append(event.at)
        self._known[event.id] = event
        if len(self._known) > self._keep + self._keep // 4:
            kept = sorted(self._known.values(), key=lambda each: each.at)[-self._keep :]
            self.dropped += len(self._known) - len(kept)
            self._known = {each.id: each for each in kept}
        self._newest_first = None

    def forget_region(self, region: str) -> None:
        """Drop everything about a region."""
        self._known = {name: each for name, each in self._known.items() if each.region != region}
        self._newest_first = None

    def from_counters(self, track: ServiceTrack, at: float) -> bool:
        """Events that only the counters of ``track`` tell of; those that log lines told are not told again."""
        waiting = track.hostile
        found = False
        while waiting and at - waiting[0][0] >= WAIT_S:
            seen_at, category, count = waiting.popleft()
            if any(abs(seen_at - said) <= SAME_S for said in self._said.get((track.key, category), ())):
                continue
            self._fold(track.key, category, seen_at, max(1, round(count)))
            found = True
        return found

    def _fold(self, key: ServiceKey, category: str, at: float, count: int) -> None:
        name = self._folds.get((key, category), "")
        known = self._known.get(name)
        if known is not None and at - float(name.rpartition(":")[2]) < FOLD_S:
            self.add(msgspec.structs.replace(known, at=at, count=known.count + count))
            return
        name = f"metrics:{key.row_id}:{category}:{at:.0f}"
        self._folds[key, category] = name
        self.add(
            SecurityEvent(
                id=name, at=at, severity=Severity.MED if category in _MED else Severity.LOW, region=key.region, key=key,
                category=category, text=f"{category} requests, by the runtime's counters", action="refused",
                count=count, source="metrics",
            )
        )  # fmt: skip

    def of(self, keys: Iterable[ServiceKey]) -> tuple[SecurityEvent, ...]:
        """Those of some services, newest first."""
        wanted = set(keys)
        return tuple(each for each in self.newest_first if each.key in wanted)

    @property
    def newest_first(self) -> tuple[SecurityEvent, ...]:
        """All that are kept; the same object until something is added."""
        if self._newest_first is None:
            self._newest_first = tuple(sorted(self._known.values(), key=lambda each: -each.at))
            if len(self._newest_first) > self._keep:
                self._newest_first = self._newest_first[: self._keep]
        return self._newest_first
