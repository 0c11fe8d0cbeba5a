"""One session of an operator: engine, gate and desk put together, for the screen and the command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from nimify_tui.alerting import Alertmanagers
from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.clock import Clock, SystemClock
from nimify_tui.cachewatch import CacheWatch
from nimify_tui.clusters import ANY, ClusterRegions, Wanted
from nimify_tui.config import Config
from nimify_tui.controllers.desks import Desks
from nimify_tui.controllers.entering import Door
from nimify_tui.controllers.infer import InferAnswer, first_answer, try_inference
from nimify_tui.controllers.kubernetes.entering import PodDoor
from nimify_tui.controllers.late import LateController
from nimify_tui.controllers.live import LIVE, LiveDesk, Terminal
from nimify_tui.controllers.local import LocalController
from nimify_tui.controllers.mirror import Mirror
from nimify_tui.controllers.waves import Vitals
from nimify_tui.controllers.world import Controller
from nimify_tui.domain.demands import Demand, LogDemand
from nimify_tui.domain.live import Forward
from nimify_tui.domain.measures import MeasureState
from nimify_tui.domain.models import ModelReport
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import (
    ActionRequest,
    ActionResult,
    Plan,
    Progress,
    UnfinishedAction,
    Verb,
    Verdict,
)
from nimify_tui.domain.regions import Region, RegionKind
from nimify_tui.domain.services import Replica, Service
from nimify_tui.embedded import EmbeddedRegions
from nimify_tui.engine import Engine, RegionWork, Rooms, Sink
from nimify_tui.fleet.frames import Frame
from nimify_tui.fleet.logtail import LogTail
from nimify_tui.fleet.store import Fleet
from nimify_tui.gate.gate import Gate
from nimify_tui.gate.journal import Journal
from nimify_tui.hosts import DockerRegions
from nimify_tui.lastknown import LastKnown
from nimify_tui.monitors import Monitors
from nimify_tui.wanted import check_regions, read_config, wanted_clusters

T = TypeVar("T")


@dataclass(frozen=True)
class Needs:
    """What a call needs of a session beyond watching the regions.

    ``keep``: start the supervisor of a configured embedded region that has none. ``numbers``: read
    metrics and GPUs. ``remember``: show, and write down, last-known rows.
    """

    keep: bool = False
    numbers: bool = False
    remember: bool = False


class Session:
    """What a screen or a call may do, from any thread; see :class:`nimify_tui.ui.context.ConsoleContext`."""

    def __init__(
        self,
        config: Config,
        needs: Needs,
        only: Sequence[str] = (),
        hint: str = "",
        wanted: Wanted = ANY,
        clock: Clock | None = None,
    ) -> None:
        user, self.host = operator()
        self.actor = f"{user}@{self.host}"
        self.clock: Clock = clock or SystemClock()
        self.hint = hint
        journal = Journal(AuditLog(AuditPlaces.default(), self.clock), self.clock)
        self._mirror = Mirror()
        self._gate = Gate(config.gate_policy, self._configured_region, journal, self.clock, self.actor)
        clusters = self._clusters = ClusterRegions(config, self.clock, only, wanted, rest=self._started)
        only = only or clusters.named
        regions = tuple(region for region in config.regions if not only or region.name in only)
        regions += clusters.found
        self._embedded = EmbeddedRegions(
            regions, self._gate.verify, self.clock, config.gate_policy,
            keep=needs.keep and not config.gate.read_only, only=frozenset(only),
        )  # fmt: skip
        hosts = DockerRegions(config, self.clock)
        monitors = Monitors(config, only, clusters.link, self.clock, self.forwards)
        self.alerting = Alertmanagers(config, only, clusters.link, self._gate.verify, self.clock)
        last_known = LastKnown(frozenset(region.name for region in regions))
        rooms = Rooms(
            regions=regions,
            discover=self._embedded.discover,
            region_work=_by_kind({
                RegionKind.EMBEDDED: self._embedded.watch, RegionKind.KUBERNETES: clusters.watch,
                RegionKind.DOCKER: hosts.watch,
            }),
            fleet_work=(
                *(
                    work for one in (self._embedded, clusters, hosts)
                    for work in one.fleet_work(needs.numbers, monitors.regions)
                ),
                *monitors.fleet_work(needs.numbers), *self.alerting.fleet_work(),
                *CacheWatch(config, only, monitors.server, self.clock).fleet_work(needs.numbers),
                *((last_known.keep,) if needs.remember else ()), lambda *_: self._live.run(),
                clusters.rights(self._kind, self._may_write),
            ),
            listeners=(self._mirror.apply,),
            before=last_known.read if needs.remember else _nothing,
            after=last_known.write if needs.remember else _nothing, ahead=frozenset({RegionKind.KUBERNETES}),
        )  # fmt: skip
        self.engine = Engine(rooms, config.slos, self.clock)
        controllers: dict[RegionKind, Controller] = {
            RegionKind.EMBEDDED: LocalController(self._embedded.backend, self._embedded.kept_model),
            RegionKind.KUBERNETES: LateController(lambda: _kubernetes(clusters, self._gate, self.clock)),
            RegionKind.DOCKER: LateController(lambda: _docker(hosts, self._gate, self.clock)),
        }
        self._desk = Desks(
            self._gate, controllers, self._mirror, self.clock, measure=lambda key: vitals(self.frame, key)
        )
        self._desk.hand_on(self.alerting.desks(self._gate, self._mirror))
        self._live = self._live_desk(clusters, hosts)

    def _may_write(self, region: str) -> bool:
        return self._gate.may_change(region).allowed

    def _live_desk(self, clusters: ClusterRegions, hosts: DockerRegions) -> LiveDesk:
        gate, sockets = self._gate, partial(clusters.sockets, self._gate.verify)
        # The ways into replicas, by the kind of their region.
        doors: dict[RegionKind, Callable[[], Door]] = {
            RegionKind.KUBERNETES: lambda: PodDoor(gate, sockets, clusters.link, self.clock),
            RegionKind.DOCKER: lambda: _container_door(hosts, gate),
        }
        return LiveDesk(gate, self._mirror, doors, sockets, self.clock)

    async def _started(self) -> None:
        await self.engine.started()

    def _kind(self, key: ServiceKey) -> str:
        """What kind of workload a service is, "" while it is not seen."""
        service = self._mirror.service(key)
        return service.labels.get("kind", "") if service is not None else ""

    def _configured_region(self, name: str) -> Region | None:
        """The gate asks before the engine is there, and for regions that come and go."""
        return self.engine.region(name)

    # -- looking -------------------------------------------------------------------------
    @property
    def read_only(self) -> bool:
        """True when nothing can be changed from here, whatever the region."""
        return self._gate.read_only

    @property
    def frame(self) -> Frame:
        """The newest picture of the fleet."""
        return self.engine.frame

    def demand(self, demand: Demand) -> None:
        """Look this up from now on."""
        self.engine.demand(demand)

    def release(self, demand: Demand) -> None:
        """No longer needed."""
        self.engine.release(demand)

    def log_tail(self, demand: LogDemand) -> LogTail:
        """The lines of a demanded log."""
        return self.engine.log_tail(demand)

    def service(self, key: ServiceKey) -> Service | None:
        """A service as its region told last."""
        return self._mirror.service(key)

    def replicas(self, key: ServiceKey) -> Sequence[Replica]:
        """The replicas of a service as its region told last."""
        return self._mirror.replicas(key)

    def on_loop(self, look: Callable[[Fleet], T]) -> Future[T]:
        """Let ``look`` read the fleet on the loop that owns it."""

        async def run() -> T:
            return look(self.engine.fleet)

        return self.engine.submit(run())

    def pause(self, seconds: float) -> None:
        """Let the calling thread wait while the engine works on."""
        self.engine.submit(asyncio.sleep(seconds)).result()

    # -- acting --------------------------------------------------------------------------
    def may_change(self, region: str) -> Verdict:
        """Whether a change in ``region`` could be allowed at all."""
        return self._gate.may_change(region)

    def plan(self, request: ActionRequest, *, simulation: bool = False) -> Future[Plan]:
        """A plan for ``request``; nothing is changed."""
        if request.verb in LIVE:
            return self.engine.submit(self._live.plan(request))
        return self.engine.submit(self._desk.plan(request, simulation=simulation))

    def manifest_request(
        self, path: str, regions: Sequence[str], namespace: str, *, force: bool = False
    ) -> Future[ActionRequest]:
        """What it means to apply a file of YAML or JSON in these regions; nothing is changed."""

        def read() -> ActionRequest:
            from nimify_tui.backends.kubernetes.manifests import read_file
            from nimify_tui.controllers.kubernetes.manifests import apply_request

            whole = os.path.abspath(os.path.expanduser(path))
            return apply_request(
                read_file(path), os.path.basename(path), regions, namespace, force=force, path=whole
            )

        return self.engine.submit(asyncio.to_thread(read))

    def review(self, plan: Plan) -> Verdict:
        """What the gate says to the plan and how it is confirmed."""
        return self._gate.review(plan)

    def carry_out(
        self,
        plan: Plan,
        answer: str,
        progress: Callable[[Progress], None] = lambda _: None,
        settles: UnfinishedAction | None = None,
    ) -> Future[ActionResult]:
        """Authorise with ``answer``, do it, watch it."""
        if plan.request.verb is Verb.FORWARD:
            return self.engine.submit(self._live.forward(plan, answer))
        return self.engine.submit(self._desk.carry_out(plan, answer, progress, settles))

    def stop(self, plan: Plan, *, now: bool) -> Future[bool]:
        """Touch no further target of a running plan; ``now``: nor watch the current one any longer."""

        async def stop() -> bool:
            return self._desk.stop(plan.id, now=now)

        return self.engine.submit(stop())

    def shell(self, plan: Plan, answer: str, terminal: Terminal) -> Future[ActionResult]:
        """Authorise with ``answer``, run a shell on ``terminal`` until it ends."""
        return self.engine.submit(self._live.shell(plan, answer, terminal))

    def forwards(self) -> Sequence[Forward]:
        """The port-forwards of this session."""
        return self._live.forwards()

    def end_forward(self, forward_id: str) -> Future[None]:
        """End a port-forward."""
        return self.engine.submit(self._live.end(forward_id))

    def cancel(self, plan: Plan) -> None:
        """The operator turned the plan down."""
        self._gate.cancel(plan)

    def unfinished(self) -> Future[Sequence[UnfinishedAction]]:
        """Actions that an earlier session began and did not end, with what is so now."""

        async def look() -> Sequence[UnfinishedAction]:
            found = await asyncio.to_thread(self._desk.unfinished)
            return [await self._check(action) for action in found]

        return self.engine.submit(look())

    def check(self, action: UnfinishedAction) -> Future[UnfinishedAction]:
        """Look again at what is so now."""
        return self.engine.submit(self._check(action))

    async def _check(self, action: UnfinishedAction) -> UnfinishedAction:
        live = action.plan.request.verb in LIVE
        return self._live.standing(action) if live else await self._desk.check(action)

    def resolve_unfinished(self, action: UnfinishedAction, how: str, text: str = "") -> Future[None]:
        """Put on record that it is dealt with."""
        return self.engine.submit(asyncio.to_thread(self._desk.resolve, action, how, text))

    def login(self, region: str) -> Future[None]:
        """Run a cluster's login in this process' terminal, which must be free, and connect to it again."""
        return self.engine.submit(self._clusters.login(region))

    def reconnect(self, region: str) -> Future[None]:
        """Ask a cluster again now, also for what it has refused."""
        return self.engine.submit(self._clusters.reconnect(region))

    # -- models --------------------------------------------------------------------------
    def analyse(self, path: str) -> Future[ModelReport]:
        """Read a model file in a limited child process."""
        return self.engine.submit(asyncio.to_thread(analyse_model, path))

    def infer(self, key: ServiceKey, payload: str) -> Future[InferAnswer]:
        """Ask a service; "" asks with an example made from its metadata."""

        async def ask() -> InferAnswer:
            service = self._mirror.service(key)
            if service is None:
                from nimify_tui.base.errors import NetworkError

                raise NetworkError(f"{key.row_id} is not seen from here", "wait until its region is LIVE")
            return await try_inference(service, self.clock, payload=payload.encode() or None)

        return self.engine.submit(ask())

    def first_answer(self, key: ServiceKey, deadline_s: float) -> Future[InferAnswer]:
        """Wait for the first answered inference of a new service."""
        return self.engine.submit(
            first_answer(lambda: self._mirror.service(key), self.clock, deadline_s=deadline_s)
        )


def _by_kind(works: Mapping[RegionKind, RegionWork]) -> RegionWork:
    """What runs for a region: the work of its kind."""

    async def work(region: Region, sink: Sink) -> None:
        await works[region.kind](region, sink)

    return work


def _kubernetes(clusters: ClusterRegions, gate: Gate, clock: Clock) -> Controller:
    from nimify_tui.controllers.kubernetes.controller import KubernetesController

    return KubernetesController(clusters.link, gate, clock)


def _docker(hosts: DockerRegions, gate: Gate, clock: Clock) -> Controller:
    from nimify_tui.controllers.docker.controller import DockerController

    return DockerController(hosts.link, gate, clock, hosts.recipe)


def _container_door(hosts: DockerRegions, gate: Gate) -> Door:
    from nimify_tui.controllers.docker.entering import ContainerDoor

    return ContainerDoor(hosts.link, gate.verify)


def vitals(frame: Frame, key: ServiceKey) -> Vitals:
    """How a service does by the fresh numbers of a frame."""
    row = frame.rows.get(key.row_id) or frame.rows.get(key.fold_id)
    if row is None or row.keys != (key,):
        return Vitals(why="it is not seen")
    if row.error_ratio.state is not MeasureState.FRESH:
        return Vitals(why=row.error_ratio.reason or f"its numbers are {row.error_ratio.state}")
    p95 = row.p95.value if row.p95.state is MeasureState.FRESH else None
    return Vitals(error_ratio=row.error_ratio.value, p95_s=p95)


def analyse_model(path: str) -> ModelReport:
    """What is in a model file. Blocks."""
    from nimify_tui.models.analysis import analyse

    return analyse(path)


def _nothing(_fleet: object) -> None:
    return None


def operator() -> tuple[str, str]:
    """(user, host) of whoever runs this, as they stand in the audit trail."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid{os.getuid()}"
    return user, socket.gethostname()


@contextlib.contextmanager
def open_session(options: argparse.Namespace, needs: Needs | None = None) -> Iterator[Session]:
    """A session for one call without a screen; everything is ended when the block is left."""
    config, only = read_config(options), tuple(options.region or ())
    wanted = wanted_clusters(options)
    check_regions(config, only, wanted)
    session = Session(config, needs or Needs(keep=True), only, wanted=wanted)
    session.engine.start()
    try:
        yield session
    finally:
        session.engine.stop()
