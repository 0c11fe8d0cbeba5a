"""Out of the world a frame: only what was touched is derived again, everything else is shared."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from nimify_tui.domain.alerts import NO_ALERTS
from nimify_tui.domain.asked import Asked
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.slos import Slo
from nimify_tui.fleet import rows
from nimify_tui.fleet.alarms import Alarms
from nimify_tui.fleet.budgets import burn
from nimify_tui.fleet.cachestats import stats
from nimify_tui.fleet.details import Detail, Explain
from nimify_tui.fleet.detect import Flag
from nimify_tui.fleet.frames import CacheStat, Frame, ModelRow, RegionRow, ServiceDetail, ServiceRow, Summary
from nimify_tui.fleet.managed import ManagedAlerts
from nimify_tui.fleet.matching import Services, services_of
from nimify_tui.fleet.numbers import (
    STALE_INTERVALS,
    WINDOW_S,
    Numbers,
    absent_s,
    assess,
    fresh_of,
    measure,
    merged,
)
from nimify_tui.fleet.series import BUCKETS, HOUR_COLUMNS
from nimify_tui.fleet.served import model_rows
from nimify_tui.fleet.tokenlines import late_first_token
from nimify_tui.fleet.tracks import ServiceTrack
from nimify_tui.fleet.whereabouts import Whereabouts
from nimify_tui.fleet.world import World

#: Bytes for the histories of all services; with many services each keeps less than the hour.
HISTORY_BYTES = 12_000_000
#: Columns that every service keeps, however many there are (80 s); what is looked at keeps its hour.
_LEAST_COLUMNS = 20
#: A derived change is worded anew for so long after it was found: the first numbers are of its beginning.
_REWORD_S = 16.0

#: A budget's burn is measured anew at least so often, seconds.
_BURN_S = 60.0
#: With more services than this, numbers are measured over several frames.
MEASURED_AT_ONCE = 400

#: A service that was made so recently gets its first traffic and warms up: neither is a sign.
YOUNG_SERVICE_S = 30.0

_Key = tuple[int, int, int, float, str, str]


class Publisher:
    """Makes the frames of one world. One thread."""

    def __init__(self, world: World, explain: Explain) -> None:
        self._world = world
        self._explain = explain
        self._stale_s = STALE_INTERVALS * world.scrape_s
        self._at = 0.0
        self._second = -1
        self._version = 0
        self._sized_for = 0
        self._working: dict[str, ServiceRow] = {}
        self._folded: dict[str, tuple[str, ...]] = {}
        self._keys: dict[str, _Key] = {}
        self._sorted: list[_Key] = []
        #: By fold: the models of its rows that have several, by row.
        self._served: dict[str, dict[str, tuple[ModelRow, ...]]] = {}
        #: By fold: the numbers of its regions, and all together.
        self._merges: dict[str, tuple[dict[str, Numbers], Numbers]] = {}
        #: Services whose numbers are to be measured again.
        self._queue: dict[ServiceTrack, None] = {}
        self._alarms, self._managed = Alarms(world.scrape_s), ManagedAlerts()
        #: Services to be judged by the rules with the next second: a row may be another one ten times in it.
        self._unjudged: dict[ServiceTrack, None] = {}
        # What the frames share.
        self._alerts = NO_ALERTS
        self._rows: dict[str, ServiceRow] = {}
        self._order: tuple[str, ...] = ()
        self._children: dict[str, tuple[str, ...]] = {}
        self._models: dict[str, tuple[ModelRow, ...]] = {}
        self._regions: tuple[RegionRow, ...] = ()
        self._summary: Summary | None = None
        self._caches: tuple[CacheStat, ...] = ()
        self._whereabouts, self._asked = Whereabouts(), tuple[Asked, ...]()
        self._details: dict[str, Detail] = {}
        self._shown: dict[str, ServiceDetail] = {}

    def publish(self, at: float, demanded: frozenset[str]) -> Frame:
        """The frame of ``at`` with the details of the ``demanded`` rows."""
        world = self._world
        at = self._at = max(at, world.at, self._at)
        second = int(at) != self._second
        due, world.touched = world.touched, set()
        if second:
            self._second = int(at)
            self._queue.update(dict.fromkeys(world.sampled))
            self._queue.update((track, None) for track in world.services.values() if track.next_at <= at)
            world.sampled = set()
            self._size_histories()
        measured = self._next_measured(len(due))
        folds, regions, gone = set(), world.touched_regions, world.gone
        world.touched_regions, world.gone = set(), []
        for row_id, fold_id, key in gone:
            self._working.pop(row_id, None)
            self._alarms.forget(key)
            folds.add(fold_id)
        for track in due | measured:
            if world.services.get(track.key) is track and self._derive(track, at, track in measured):
                folds.add(track.fold_id)
                regions.add(track.key.region)
        if folds:
            self._fold_all(folds)
        if second:
            self._alarm(at)
        if second or regions or self._summary is None:
            self._summarise(at)
        if second:
            self._cache_stats(at)
        self._detail(at, second, {track.fold_id for track in due | measured}, demanded)
        return self._frame(at)

    def _next_measured(self, due: int) -> set[ServiceTrack]:
        """Some of those that wait to be measured: a frame is never held up by thousands of them."""
        queue = self._queue
        if len(queue) <= MEASURED_AT_ONCE:
            self._queue = {}
            return set(queue)
        some = list(islice(queue, max(MEASURED_AT_ONCE // 4, MEASURED_AT_ONCE - due)))
        for track in some:
            del queue[track]
        return set(some)

    # -- rows ----------------------------------------------------------------------------

    def _derive(self, track: ServiceTrack, at: float, measured: bool) -> bool:
        """Look at one service again, at its numbers too when ``measured``; True when its row is another one now."""
        world, region = self._world, track.region
        if track.service is None or region.region is None:
            return False
        slo = track.slo
        if measured or track.numbers is None:
            self._measure(track, slo, at)
        models, track.models = track.models, model_rows(track, at, world.scrape_s)
        row = rows.service_row(track, at, slo, world.changes)
        self._schedule(track, row, at)
        before = track.row
        self._unjudged[track] = None
        if row == before:
            return models != track.models
        track.row = self._working[row.id] = row
        if before is None or row.state is not before.state:
            self._alarms.look(track, at, self._skew_s(track))  # since when it is so does not wait for the second
        rank, calm, gravity, since, name, row_id = rows.order_key(row)
        # Of equally bad regions the one where it is worst: the others may only suffer with it.
        track.place = (rank, calm, gravity, -track.weight, since, name, row_id)
        return True

    def _measure(self, track: ServiceTrack, slo: Slo | None, at: float) -> None:
        world = self._world
        numbers = track.numbers = measure(track, at, world.scrape_s)
        track.region.count(track, track.countable if numbers.rps.value is not None else None, numbers.rps.value)
        self._look(track, numbers, at)
        has = slo is not None and slo.ttft_ms is not None
        late = late_first_token(track, fresh_of(track, at, world.scrape_s), slo) if has else ""
        track.findings = assess(track, numbers, slo, late)
        budget = rows.budget_of(slo, [track], at, numbers.rps)
        track.burnt = burn(budget, track.sampled_at or None, "metrics", track.slo_problem)
        if track.hostile:
            world.security.from_counters(track, at)

    def _look(self, track: ServiceTrack, numbers: Numbers, at: float) -> None:
        """Ask the detector, and tell what it has found or found to be over."""
        if track.detector is None or track.series is None or numbers.rps.value is None or numbers.stale:
            return
        detector = track.detector
        young = track.service is not None and at - track.service.created_at < YOUNG_SERVICE_S
        revision = track.service.revision if track.service is not None else None
        news = detector.look(track.series, at, young=young, revision=revision)
        if not news and not detector.flags:
            return
        for flag in news:
            if not flag.seen_at:
                self._tell(track, flag, ChangeKind.RECOVERY)
        for flag in detector.flags.values():
            if at - flag.found_at <= _REWORD_S:
                self._tell(track, flag, flag.kind)

    def _tell(self, track: ServiceTrack, flag: Flag, kind: ChangeKind) -> None:
        service = track.service
        self._world.changes.add(
            Change(
                id=f"metrics-{track.row_id}-{flag.kind}-{kind}-{flag.onset:.0f}", at=flag.onset, kind=kind,
                region=track.key.region, key=track.key, text=flag.text, evidence=flag.evidence, source="metrics",
                revision=service.revision if service is not None and kind is ChangeKind.SLOWDOWN else None,
            )
        )  # fmt: skip

    def _schedule(self, track: ServiceTrack, row: ServiceRow, at: float) -> None:
        """When the numbers of ``track`` turn old without anybody saying anything."""
        if row.burn.value is not None:  # its windows go on, whether anybody watches or not
            track.next_at = min(track.next_at, at + _BURN_S)
        if not track.sampled_at:
            return
        age = at - track.sampled_at
        stale_s = STALE_INTERVALS * track.every_s or self._stale_s
        if age <= stale_s:
            track.next_at = min(track.next_at, track.sampled_at + stale_s + 0.001)
        elif age <= absent_s(track):
            # Reasons tell the age: renewed now and then, so that a row is not another one each second.
            track.next_at = min(track.next_at, at + 5.0, track.sampled_at + absent_s(track) + 0.001)
        if track.hostile:
            track.next_at = min(track.next_at, at + 1.0)

    def _fold_all(self, folds: Iterable[str]) -> None:
        """Fold the services over their regions again and put the rows into their order."""
        moved: list[tuple[_Key | None, _Key | None]] = []
        served = False
        for fold_id in folds:
            members = [each for each in self._world.folds.get(fold_id, ()) if each.row is not None]
            before = self._keys.get(fold_id)
            if not members:
                self._working.pop(fold_id, None)
                self._folded.pop(fold_id, None)
                self._keys.pop(fold_id, None)
                self._merges.pop(fold_id, None)
                served |= self._served.pop(fold_id, None) is not None
                moved.append((before, None))
                continue
            if len(members) > 1:
                members.sort(key=_place)
                self._folded[fold_id] = tuple(each.row_id for each in members)
            else:
                self._folded.pop(fold_id, None)
            slo = next((each.slo for each in members if each.slo is not None), None)
            row = rows.fold_row(members, slo, self._merged(fold_id, members), self._at)
            known = self._working.get(fold_id)
            if known is None or known != row:
                self._working[fold_id] = row
            served |= self._serve(fold_id, members)
            key = rows.order_key(row)
            if key != before:
                self._keys[fold_id] = key
                moved.append((before, key))
        self._rows = dict(self._working)
        if self._folded != self._children:
            self._children = dict(self._folded)
        if served:
            self._models = {row_id: models for each in self._served.values() for row_id, models in each.items()}
        self._sort(moved)

    def _serve(self, fold_id: str, members: list[ServiceTrack]) -> bool:
        """Put the models of a service below the rows that are shown of it; True when they are others now."""
        alone = len(members) == 1
        below = {fold_id if alone else each.row_id: each.models for each in members if each.models}
        if below == self._served.get(fold_id, {}):
            return False
        if below:
            self._served[fold_id] = below
        else:
            del self._served[fold_id]
        return True

    def _merged(self, fold_id: str, members: list[ServiceTrack]) -> Numbers:
        """The numbers of all regions together, merged again only when one of them was measured again."""
        of = {each.row_id: each.numbers for each in members if each.numbers is not None}
        known = self._merges.get(fold_id)
        if known is not None and known[0].keys() == of.keys() and all(known[0][each] is of[each] for each in of):
            return known[1]
        made = merged([(each, each.numbers) for each in members if each.numbers is not None])
        self._merges[fold_id] = (of, made)
        return made

    def _sort(self, moved: list[tuple[_Key | None, _Key | None]]) -> None:
        if not moved:
            return
        out = {before for before, _ in moved if before is not None}
        kept = [key for key in self._sorted if key not in out] if out else self._sorted
        kept.extend(after for _, after in moved if after is not None)
        kept.sort()  # nearly sorted already
        self._sorted = kept
        order = tuple(key[5] for key in kept)
        if order != self._order:
            self._order = order

    # -- the rest ------------------------------------------------------------------------

    def _alarm(self, at: float) -> None:
        """Judge what was derived since the last time, GPUs, certificates, and the alerts that time alone moves."""
        alarms, unjudged = self._alarms, self._unjudged
        self._unjudged = {}
        for track in unjudged:
            if self._world.services.get(track.key) is track:
                alarms.look(track, at, self._skew_s(track))
        alarms.pass_time(at)
        seen = [(each.name, each.health) for each in self._world.regions.values() if each.health is not None]
        alarms.things(self._world.gpus.all(self._world.regions, at), seen, at)
        self._alerts = self._managed.merged(alarms.told(), self._world.managers, self._services, at)

    def _services(self) -> Services:
        return services_of(self._world)

    def _skew_s(self, track: ServiceTrack) -> float:
        region = self._world.regions.get(track.key.region)
        return region.health.skew_s if region is not None and region.health is not None else 0.0

    def _summarise(self, at: float) -> None:
        everything = self._world.regions.values()
        tracks = [track for track in everything if track.region is not None and track.health is not None]
        made = []
        for track in tracks:
            row = rows.region_row(track, at, self._stale_s)
            if row != track.row:
                track.row = row
            assert track.row is not None
            made.append(track.row)
        if len(made) != len(self._regions) or any(a is not b for a, b in zip(made, self._regions, strict=True)):
            self._regions = tuple(made)
        folds = (self._rows[each] for each in self._order)
        summary = rows.summary(tracks, folds, self._alerts, at, self._stale_s)
        if summary != self._summary:
            self._summary = summary

    def _cache_stats(self, at: float) -> None:
        world = self._world
        have = [track for track in world.services.values() if track.caches is not None]
        self._asked = self._whereabouts.of(have)
        parts = [track.caches for track in have if track.caches is not None]
        found = stats([world.caches], at, "metrics", world.shared.of(), parts)
        if found != self._caches:
            self._caches = found

    def _detail(self, at: float, second: bool, due: set[str], demanded: frozenset[str]) -> None:
        for row_id in [each for each in self._details if each not in demanded]:
            del self._details[row_id]
        shown = {}
        for row_id in demanded:
            tracks, peers = self._members(row_id)
            row = self._rows.get(row_id)
            if row is None or not tracks:
                continue
            for track in tracks:
                if track.series is not None:
                    track.series.keep = HOUR_COLUMNS
            detail = self._details.get(row_id)
            if detail is None:
                detail = self._details[row_id] = Detail(row_id)
            made = detail.shown
            if made is None or second or tracks[0].fold_id in due:
                world = self._world
                made = detail.build(
                    row, tracks, peers, at, world.scrape_s, world.changes, world.security, self._explain,
                    self._alarms.incidents(track.key for track in tracks),
                    world.shared.of({track.key.region for track in tracks}),
                )
            shown[row_id] = made
        self._shown = shown

    def _members(self, row_id: str) -> tuple[list[ServiceTrack], list[ServiceTrack]]:
        """The services of a row, and all of the same name."""
        world = self._world
        one = world.by_row.get(row_id)
        everywhere = world.folds.get(one.fold_id if one is not None else row_id, [])
        peers = [each for each in everywhere if each.row is not None]
        return ([one] if one.row is not None else []) if one is not None else peers, peers

    def _size_histories(self) -> None:
        """Share out the memory for histories when the number of services has changed a lot."""
        world = self._world
        count = len(world.services)
        if not count or 0.9 * self._sized_for <= count <= 1.1 * self._sized_for:
            return
        self._sized_for = count
        for track in world.services.values():
            if track.series is not None:
                width = BUCKETS + len(track.series.bounds) + 1
                track.series.keep = min(HOUR_COLUMNS, max(_LEAST_COLUMNS, HISTORY_BYTES // (count * width * 4)))

    def _frame(self, at: float) -> Frame:
        world = self._world
        assert self._summary is not None
        self._version += 1
        return Frame(
            version=self._version, at=at, summary=self._summary, regions=self._regions, rows=self._rows,
            order=self._order, children=self._children, security=world.security.newest_first,
            security_dropped=world.security.dropped, changes=world.changes.newest_first,
            gpus=world.gpus.all(world.regions, at), caches=self._caches, details=self._shown, window_s=WINDOW_S,
            applied=world.applied, objects=dict(world.objects), rights=world.rights, histories=world.histories,
            models=self._models, alerts=self._alerts, asked=self._asked,
        )  # fmt: skip


def _place(track: ServiceTrack) -> tuple[int, int, int, float, float, str, str]:
    return track.place
