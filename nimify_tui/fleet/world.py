"""Facts as they come in: cheap to take, with a note of which rows they touch. Only the engine's loop writes here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nimify_tui.base.errors import ValidationError
from nimify_tui.domain.alertmanagers import ManagerFacts
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.demands import HistoryDemand, ObjectDemand
from nimify_tui.domain.history import History
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.objects import ObjectText
from nimify_tui.domain.plans import Rights
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.domain.services import Replica, Service
from nimify_tui.domain.slos import Slo, read_slo
from nimify_tui.domain.updates import (
    AlertmanagerSeen,
    CacheFailed,
    CacheSeen,
    Changed,
    GpuMapSeen,
    GpusSeen,
    HistoryRead,
    ModelsSeen,
    ObjectRead,
    RegionGone,
    RegionListed,
    RegionSeen,
    ReplicaGone,
    ReplicaSeen,
    RightsSeen,
    Sampled,
    SampleFailed,
    SecuritySeen,
    ServiceGone,
    ServiceSeen,
    Tick,
    Update,
    Used,
)
from nimify_tui.fleet.budgets import Ledger
from nimify_tui.fleet.caches import CacheTracks
from nimify_tui.fleet.cards import Cards
from nimify_tui.fleet.counters import observe
from nimify_tui.fleet.feeds import Changes, Security
from nimify_tui.fleet.fronts import observe_front
from nimify_tui.fleet.served import observe_models
from nimify_tui.fleet.shared import SharedCaches
from nimify_tui.fleet.tracks import RegionTrack, ReplicaTrack, ServiceTrack

#: A region's own change within this time of what we would derive makes ours superfluous.
_SAME_CHANGE_S = 5.0
#: Who says what is derived here.
_OURS = "console"
#: Objects that are kept: who goes back and forth between two finds both at once.
_OBJECTS = 8
#: Histories that are kept: of six regions those of a few ranges, each at most some 300 kB.
_HISTORIES = 24
#: Services of which it is remembered what may be done to them.
_RIGHTS_KEPT = 512
_LOST = frozenset({RegionState.DOWN, RegionState.AUTH})


class World:
    """Everything that was told. ``touched`` and ``sampled`` hold the services whose rows have to be looked at."""

    def __init__(self, slos: tuple[Slo, ...], scrape_s: float) -> None:
        self.slos = {slo.service: slo for slo in slos}
        #: Error budgets of an earlier session, for when their services come.
        self.ledgers: dict[ServiceKey, Ledger] = {}
        self.scrape_s = scrape_s
        self.at = 0.0
        self.applied = 0
        self.regions: dict[str, RegionTrack] = {}
        self.services: dict[ServiceKey, ServiceTrack] = {}
        self.folds: dict[str, list[ServiceTrack]] = {}
        self.by_row: dict[str, ServiceTrack] = {}
        self.changes = Changes()
        self.security = Security()
        self.gpus = Cards()
        #: Alertmanagers by their origin.
        self.managers: dict[str, ManagerFacts] = {}
        self.rights: dict[ServiceKey, Rights] = {}
        self.caches = CacheTracks()
        self.shared = SharedCaches()
        #: The newest answers to who looks at an object.
        self.objects: dict[ObjectDemand, ObjectText] = {}
        self.histories: dict[HistoryDemand, History] = {}
        self.touched: set[ServiceTrack] = set()
        self.sampled: set[ServiceTrack] = set()
        self.touched_regions: set[str] = set()
        #: Services that are gone: (row id, fold id, key).
        self.gone: list[tuple[str, str, ServiceKey]] = []
        self._waiting: dict[str, RegionListed] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            Tick: self._tick,
            RegionSeen: self._region_seen,
            RegionGone: self._region_gone,
            RegionListed: self._region_listed,
            ServiceSeen: self._service_seen,
            ServiceGone: self._service_gone,
            ReplicaSeen: self._replica_seen,
            ReplicaGone: self._replica_gone,
            Sampled: self._sampled,
            SampleFailed: self._sample_failed,
            ModelsSeen: self._models_seen,
            Used: self._used,
            Changed: self._changed,
            SecuritySeen: self._security_seen,
            GpusSeen: self._gpus_seen,
            CacheSeen: self._cache_seen,
            CacheFailed: self._cache_failed,
            AlertmanagerSeen: self._manager_seen,
            GpuMapSeen: self._gpu_map_seen,
            ObjectRead: self._object_read,
            HistoryRead: self._history_read,
            RightsSeen: self._rights_seen,
        }

    def apply(self, update: Update) -> None:
        """Take one fact in."""
        self.applied += 1
        self._handlers[type(update)](update)

    # -- time and regions ----------------------------------------------------------------

    def _tick(self, update: Tick) -> None:
        self.at = max(self.at, update.at)

    def _region(self, name: str) -> RegionTrack:
        track = self.regions.get(name)
        if track is None:
            track = self.regions[name] = RegionTrack(name)
        return track

    def _region_seen(self, update: RegionSeen) -> None:
        name = update.region.name
        track = self._region(name)
        before, fact = track.health, track.region
        track.region, track.health = update.region, update.health
        self.touched_regions.add(name)
        waiting = self._waiting.pop(name, None)
        if waiting is not None and not track.services:
            self._list(track, waiting)
        if fact != update.region or before is None or before.state is not update.health.state:
            self.touched.update(track.services.values())
        if before is not None and before.state is not update.health.state:
            self._region_changed(track, before, update.health, update.at)

    def _region_changed(self, track: RegionTrack, before: RegionHealth, now: RegionHealth, at: float) -> None:
        """Losing a region and having it back are changes that explain what its rows say."""
        name = track.name
        lost_now, lost_before = now.state in _LOST, before.state in _LOST
        if lost_now == lost_before or (lost_now and before.state is RegionState.CONNECTING):
            return
        since = (now.last_contact_at or now.since) if lost_now else now.since
        known = self.changes.of_region(name)
        if any(each.source != _OURS and abs(each.at - since) <= _SAME_CHANGE_S for each in known):
            return
        if lost_now:
            kind, text = ChangeKind.REGION, f"no contact with {name} from this host"
        else:
            lost_s = max(0.0, at - (before.last_contact_at or before.since))
            kind, text = ChangeKind.RECOVERY, f"contact with {name} again after {lost_s:.0f} s"
        self.changes.add(
            Change(
                id=f"{_OURS}-region-{name}-{since:.1f}-{kind}", at=since, kind=kind, region=name, key=None, text=text,
                evidence=now.cause, source=_OURS,
            )
        )  # fmt: skip

    def _region_gone(self, update: RegionGone) -> None:
        track = self.regions.pop(update.region, None)
        self._waiting.pop(update.region, None)
        if track is None:
            return
        for service in list(track.services.values()):
            self._drop(service)
        self.gpus.forget(update.region)
        self.changes.forget_region(update.region)
        self.shared.forget_region(update.region)
        self.security.forget_region(update.region)
        self.touched_regions.add(update.region)

    def _region_listed(self, update: RegionListed) -> None:
        track = self._region(update.region)
        if not update.last_known:
            self._list(track, update)
        elif track.region is None:
            self._waiting[update.region] = update
        elif not track.services:
            self._list(track, update)

    def _list(self, track: RegionTrack, listed: RegionListed) -> None:
        was_last_known = track.last_known_at is not None
        track.last_known_at = listed.at if listed.last_known else None
        named = {service.key for service in listed.services}
        for service in [each for key, each in track.services.items() if key not in named]:
            self._drop(service)
        for fact in listed.services:
            self._set_service(fact)
        there = {replica.key for replica in listed.replicas}
        for service in track.services.values():
            for name in [name for name in service.replicas if ReplicaKey(service.key, name) not in there]:
                self._drop_replica(service, name)
        for replica in listed.replicas:
            self._set_replica(replica)
        if was_last_known != listed.last_known:
            for service in track.services.values():
                service.episode.forget_if(was_last_known)
        self.touched.update(track.services.values())
        self.touched_regions.add(track.name)

    # -- services and replicas -----------------------------------------------------------

    def _service(self, key: ServiceKey) -> ServiceTrack:
        track = self.services.get(key)
        if track is None:
            region = self._region(key.region)
            track = self.services[key] = region.services[key] = ServiceTrack(key, region)
            self.folds.setdefault(track.fold_id, []).append(track)
            self.by_row[track.row_id] = track
            self._aim(track, self.slos.get(key.name), "")
            self.touched_regions.add(key.region)
        return track

    def _service_seen(self, update: ServiceSeen) -> None:
        self._set_service(update.service)

    def _set_service(self, service: Service) -> None:
        track = self.services.get(service.key) or self._service(service.key)
        before = track.service
        if before is not None and before.uid != service.uid:
            self._drop(track)  # deleted and made anew under the same name: another service
            track = self._service(service.key)
        elif before is not None and before.stopped != service.stopped:
            track.numbers = None  # measured again at once: a stopped service has none
        if service.slo != (track.service.slo if track.service is not None else "") and track.key.name not in self.slos:
            self._aim(track, *_objective(service))
        track.service = service
        self.touched.add(track)

    def _aim(self, track: ServiceTrack, slo: Slo | None, problem: str) -> None:
        """Give a service its objective; what was seen of its requests counts by the objective of then."""
        track.slo, track.slo_problem = slo, problem
        track.numbers = None  # measured again at once
        if slo is None:
            track.budget = None
            return
        if track.budget is None:
            track.budget = self.ledgers.pop(track.key, None) or Ledger(slo)
        track.budget.slo = slo

    def _service_gone(self, update: ServiceGone) -> None:
        track = self.services.get(update.key)
        if track is not None:
            self._drop(track)

    def _drop(self, track: ServiceTrack) -> None:
        key = track.key
        del self.services[key]
        track.region.services.pop(key, None)
        track.region.count(track, None, None)
        self.by_row.pop(track.row_id, None)
        fold = self.folds[track.fold_id]
        fold.remove(track)
        if not fold:
            del self.folds[track.fold_id]
        self.touched.discard(track)
        self.sampled.discard(track)
        self.touched_regions.add(key.region)
        self.gone.append((track.row_id, track.fold_id, key))

    def _replica_seen(self, update: ReplicaSeen) -> None:
        self._set_replica(update.replica)

    def _set_replica(self, replica: Replica) -> None:
        service_key, name = replica.key
        service = self.services.get(service_key) or self._service(service_key)
        track = service.replicas.get(name)
        if track is None:
            service.replicas[name] = ReplicaTrack(replica)
            self.sampled.add(service)
        else:
            if track.replica.run != replica.run:
                track.forget_counters()
            track.replica = replica
        self.touched.add(service)

    def _replica_gone(self, update: ReplicaGone) -> None:
        service = self.services.get(update.key.service)
        if service is not None and update.key.replica in service.replicas:
            self._drop_replica(service, update.key.replica)
            self.touched.add(service)

    def _drop_replica(self, service: ServiceTrack, name: str) -> None:
        track = service.replicas.pop(name)
        if service.caches is not None:
            service.caches.forget(track)

    # -- numbers, changes, security, GPUs ------------------------------------------------

    def _sampled(self, update: Sampled) -> None:
        service_key, name = update.key
        service = self.services.get(service_key)
        if service is None:
            return
        track = service.replicas.get(name)
        if track is None:
            return
        observe(service, track, update.sample, self.scrape_s, self.caches)
        if update.sample.models is not None:
            observe_models(service, track, update.sample, self.scrape_s, self.caches)
        if update.sample.front is not None:
            every_s = update.sample.every_s or self.scrape_s
            told = update.sample.front
            self.sampled.update(observe_front(service.region.services.values(), update.key, update.at, told, every_s))
        self.sampled.add(service)

    def _models_seen(self, update: ModelsSeen) -> None:
        service = self.services.get(update.key.service)
        track = service.replicas.get(update.key.replica) if service is not None else None
        if service is not None and track is not None:
            track.models = update.models
            self.touched.add(service)

    def _sample_failed(self, update: SampleFailed) -> None:
        service = self.services.get(update.key.service)
        track = service.replicas.get(update.key.replica) if service is not None else None
        if service is not None and track is not None:
            track.failed, track.failed_at = update.reason, update.at
            service.failed = update.reason
            self.sampled.add(service)

    def _used(self, update: Used) -> None:
        service = self.services.get(update.key.service)
        track = service.replicas.get(update.key.replica) if service is not None else None
        if service is not None and track is not None:
            track.use = update.use  # only a detail shows it, and those are made anew every second

    def _changed(self, update: Changed) -> None:
        change = update.change
        if change.key is None and change.source != _OURS:
            for each in self.changes.of_region(change.region):
                if each.source == _OURS and each.kind is change.kind and abs(each.at - change.at) <= _SAME_CHANGE_S:
                    self.changes.remove(each)
        if self.changes.add(change) and change.key is not None:
            track = self.services.get(change.key)
            if track is not None:
                self.touched.add(track)

    def _security_seen(self, update: SecuritySeen) -> None:
        self.security.add(update.event)

    def _gpus_seen(self, update: GpusSeen) -> None:
        self.gpus.seen(update.node, update.panel)

    def _gpu_map_seen(self, update: GpuMapSeen) -> None:
        self.gpus.placed(update.region, update.at, update.places)

    def _manager_seen(self, update: AlertmanagerSeen) -> None:
        self.managers[update.manager.origin] = update.manager

    def _cache_seen(self, update: CacheSeen) -> None:
        self.shared.observe(update.at, update.told)

    def _cache_failed(self, update: CacheFailed) -> None:
        self.shared.fail(update.at, update.key, update.reason)

    def _object_read(self, update: ObjectRead) -> None:
        self.objects.pop(update.demand, None)
        self.objects[update.demand] = update.answer
        while len(self.objects) > _OBJECTS:
            del self.objects[next(iter(self.objects))]

    def _history_read(self, update: HistoryRead) -> None:
        # Replaced as a whole: frames share it.
        kept = [pair for pair in self.histories.items() if pair[0] != update.demand][1 - _HISTORIES :]
        self.histories = {**dict(kept), update.demand: update.answer}

    def _rights_seen(self, update: RightsSeen) -> None:
        # Replaced as a whole: frames share it. Bounded: what was looked at long ago is asked again.
        kept = list(self.rights.items())[-_RIGHTS_KEPT:]
        self.rights = {**dict(kept), update.key: update.rights}


def _objective(service: Service) -> tuple[Slo | None, str]:
    """(what a service tells of its objective, why that cannot be used)."""
    if not service.slo:
        return None, ""
    try:
        return read_slo(service.key.name, service.slo), ""
    except ValidationError as error:
        return None, error.message
