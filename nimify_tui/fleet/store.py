"""The one store: facts go in, immutable frames come out.

One writer (the engine's loop) calls :meth:`Fleet.apply` and :meth:`Fleet.publish`; readers in any
thread take :attr:`Fleet.frame`. Time enters only with updates and with ``publish(at)``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from nimify_tui.domain.demands import Demand, DetailDemand, LogDemand
from nimify_tui.domain.gpus import EXPORTER_FAMILY
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import Replica, Service
from nimify_tui.domain.slos import Slo
from nimify_tui.domain.updates import RegionListed, Update
from nimify_tui.fleet import memory
from nimify_tui.fleet.budgets import Ledger
from nimify_tui.fleet.details import Explain, metric_lines, replica_row, unexplained
from nimify_tui.fleet.frames import Frame, MetricLine, ReplicaRow
from nimify_tui.fleet.logtail import LogTail
from nimify_tui.fleet.publisher import Publisher
from nimify_tui.fleet.tracks import ServiceTrack
from nimify_tui.fleet.world import World

#: So many budgets of a region are kept for the next start, some 50 kB each.
_KEPT_BUDGETS = 400
_MAX_TAILS = 32

DemandListener = Callable[[Demand, bool], None]


class Fleet:
    """See the module's text.

    ``slos`` are looked up by a service's name. ``explain`` ranks causes (``advice.causes.explain``);
    without it the details say "not looked into". ``scrape_s`` is how often replicas are scraped.
    """

    def __init__(self, slos: tuple[Slo, ...] = (), explain: Explain | None = None, scrape_s: float = 2.0) -> None:
        self.slos = slos
        self.scrape_s = scrape_s
        self._world = World(slos, scrape_s)
        self._publisher = Publisher(self._world, explain or unexplained)
        self._lock = threading.Lock()
        self._demands: dict[Demand, int] = {}
        self._listeners: list[DemandListener] = []
        self._tails: dict[LogDemand, LogTail] = {}
        #: The newest frame; replaced as a whole.
        self.frame: Frame = self._publisher.publish(0.0, frozenset())

    # -- loop thread ---------------------------------------------------------------------

    def apply(self, update: Update) -> None:
        """Take one fact in."""
        self._world.apply(update)

    def apply_many(self, updates: Iterable[Update]) -> None:
        """Take facts in, in their order."""
        apply = self._world.apply
        for update in updates:
            apply(update)

    def publish(self, at: float) -> Frame:
        """Make the frame of ``at`` (unix seconds; time never goes back): rows that nothing touched are shared.

        Numbers move once a second, states at once.
        """
        self.frame = self._publisher.publish(at, self._demanded_rows())
        return self.frame

    def targets(self) -> list[Replica]:
        """All replicas that tell numbers of their own, as their regions told of them last; none from the disk."""
        return [
            track.replica
            for service in self._world.services.values()
            if service.region.last_known_at is None and not _exports_gpus(service)
            for track in service.replicas.values()
        ]

    def gpu_exporters(self) -> list[Replica]:
        """The replicas that tell the GPUs of their host."""
        return [
            track.replica
            for service in self._world.services.values()
            if service.region.last_known_at is None and _exports_gpus(service)
            for track in service.replicas.values()
        ]

    def metered(self, of_region: str = "") -> list[tuple[Service, list[Replica]]]:
        """The services whose numbers are read through their region ("" for all), with all replicas; none from the disk.
        """
        regions = self._world.regions
        wanted = regions.values() if not of_region else [regions[of_region]] if of_region in regions else []
        return [
            (track.service, track.facts)
            for region in wanted
            if region.last_known_at is None
            for track in region.services.values()
            if track.service is not None and track.service.metrics_at and not _exports_gpus(track)
        ]

    def replicas(self, at: float) -> list[ReplicaRow]:
        """All replicas with their own numbers, by region, service and name."""
        found = [
            replica_row(track, service, at, self.scrape_s)
            for service in self._world.services.values()
            if service.row is not None
            for track in service.replicas.values()
        ]
        return sorted(found, key=lambda row: row.replica.key)

    def numbers(self, at: float) -> dict[str, list[MetricLine]]:
        """The lines of each service in each region, as its detail has them, by the row's id."""
        tracks = self._world.services.values()
        return {track.row_id: metric_lines(track, at, self.scrape_s) for track in tracks if track.row is not None}

    def last_known(self) -> dict[str, bytes]:
        """For each region that was seen in this session (demos excepted): what to write down for the next start."""
        found = {}
        for name, track in self._world.regions.items():
            region, health = track.region, track.health
            if region is None or region.demo or health is None or track.last_known_at is not None:
                continue
            if not track.services and health.state is not RegionState.LIVE:
                continue
            live = health.state is RegionState.LIVE
            services = [each for each in track.services.values() if each.service is not None]
            found[name] = memory.encode(
                memory.LastKnown(
                    version=memory.VERSION, region=name,
                    at=self.frame.at if live else health.last_contact_at or health.since,
                    services=tuple(each.service for each in services if each.service is not None),
                    replicas=tuple(replica for each in services for replica in each.facts),
                    budgets=tuple(
                        each.budget.kept(each.key.name, each.key.namespace)
                        for each in [each for each in services if each.budget is not None][:_KEPT_BUDGETS]
                        if each.budget is not None
                    ),
                )
            )  # fmt: skip
        return found

    def restore(self, region: str, data: bytes) -> None:
        """Show what :meth:`last_known` gave for ``region`` in an earlier session until the region is seen.

        May come before the region is announced. Raises ValidationError when ``data`` is anything else.
        """
        known = memory.decode(data, region)
        for each in known.budgets:
            ledger = Ledger(self._world.slos.get(each.service) or Slo(service=each.service))
            ledger.restore(each)
            self._world.ledgers[ServiceKey(region, each.service, each.namespace)] = ledger
        self.apply(RegionListed(known.at, region, known.services, known.replicas, last_known=True))

    # -- any thread ----------------------------------------------------------------------

    def demand(self, demand: Demand) -> None:
        """Somebody looks at this from now on; counted, so that two may look."""
        with self._lock:
            count = self._demands.get(demand, 0)
            self._demands[demand] = count + 1
            listeners = list(self._listeners)
        if count == 0:
            for listener in listeners:
                listener(demand, True)

    def release(self, demand: Demand) -> None:
        """Nobody needs it any more (as often as it was demanded)."""
        with self._lock:
            count = self._demands.get(demand, 0)
            if count > 1:
                self._demands[demand] = count - 1
                return
            self._demands.pop(demand, None)
            if isinstance(demand, LogDemand):
                self._tails.pop(demand, None)
            listeners = list(self._listeners)
        if count:
            for listener in listeners:
                listener(demand, False)

    def on_demand(self, listener: DemandListener) -> None:
        """Call ``listener(demand, wanted)`` when a demand comes up or ends, in the thread that says so."""
        with self._lock:
            self._listeners.append(listener)

    def demands(self) -> frozenset[Demand]:
        """What is demanded now."""
        with self._lock:
            return frozenset(self._demands)

    def log_tail(self, demand: LogDemand) -> LogTail:
        """The lines of a log; the same object while it is demanded."""
        with self._lock:
            tail = self._tails.get(demand)
            if tail is None:
                tail = self._tails[demand] = LogTail()
                idle = [each for each in self._tails if each not in self._demands and each != demand]
                for each in idle[: max(0, len(self._tails) - _MAX_TAILS)]:
                    del self._tails[each]
            return tail

    def _demanded_rows(self) -> frozenset[str]:
        with self._lock:
            return frozenset(demand.row_id for demand in self._demands if isinstance(demand, DetailDemand))


def _exports_gpus(track: ServiceTrack) -> bool:
    """Whether it is read for the GPUs it tells, and for nothing else."""
    return track.service is not None and track.service.family == EXPORTER_FAMILY
