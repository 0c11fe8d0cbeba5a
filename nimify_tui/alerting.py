"""The Alertmanagers of a session: who of the regions has which, what asks there, and what changes silences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from nimify_tui.base.clock import Clock
from nimify_tui.config import Config
from nimify_tui.config.monitoring import alertmanagers_of
from nimify_tui.config.schema import RegionConfig
from nimify_tui.controllers.desk import ActionDesk
from nimify_tui.controllers.late import LateController
from nimify_tui.controllers.silence_world import SilenceWorld
from nimify_tui.controllers.world import Controller, World
from nimify_tui.domain.alertmanagers import ManagerState
from nimify_tui.domain.plans import Permit, Plan, Verb
from nimify_tui.domain.regions import RegionKind
from nimify_tui.engine import FleetWork, Sink
from nimify_tui.fleet.frames import Frame
from nimify_tui.fleet.store import Fleet
from nimify_tui.gate.gate import Gate

if TYPE_CHECKING:
    from nimify_tui.backends.alertmanager.server import Alertmanager
    from nimify_tui.backends.kubernetes.connection import Connection
    from nimify_tui.backends.prometheus.place import ServerPlace
    from nimify_tui.sources.alerts.managers import AlertSource

Verify = Callable[[Permit, Plan], None]
Links = Callable[[str], "Connection | None"]


class Alertmanagers:
    """The regions that have Alertmanagers. One that several regions name is asked once, for all of them.

    ``only`` (empty: all) narrows as ``--region`` does; ``link`` gives the open connection of a cluster; ``verify`` is
    the gate's check of a permit. Nothing of it is imported before it is asked.
    """

    def __init__(
        self, config: Config, only: Sequence[str], link: Links, verify: Verify, clock: Clock
    ) -> None:
        self._link, self._verify, self._clock = link, verify, clock
        self._places: dict[str, tuple[ServerPlace, list[str]]] = {}
        for item in config.region:
            if only and item.name not in only:
                continue
            for place in alertmanagers_of(item):
                self._places.setdefault(_origin(place, item.name), (place, []))[1].append(item.name)
        self._known = frozenset(item.name for item in config.region)
        self._servers: dict[str, Alertmanager] = {}
        self._source: AlertSource | None = None

    def fleet_work(self) -> tuple[FleetWork, ...]:
        """What runs beside the regions; nothing where no region has one."""
        return (self._ask,) if self._places else ()

    def of(self, region: str) -> dict[str, Alertmanager]:
        """The Alertmanagers of a region by their origin."""
        return {name: self._server(name) for name, (_, regions) in self._places.items() if region in regions}

    def regions_of(self, origin: str) -> tuple[str, ...]:
        """The regions that name an Alertmanager."""
        return tuple(self._places[origin][1])

    def told(self, frame: Frame) -> bool:
        """Whether each was asked, whatever came of it."""
        asked = {each.origin for each in frame.alerts.managers if each.state is not ManagerState.ASKING}
        return asked >= self._places.keys()

    @property
    def regions(self) -> frozenset[str]:
        """All regions that are configured."""
        return self._known

    def desks(self, gate: Gate, world: World) -> Mapping[Verb, ActionDesk]:
        """The desk of silences, by its verbs."""

        def made() -> Controller:
            from nimify_tui.controllers.silencing import SilenceController

            return SilenceController(self, self._clock)

        late = LateController(made)
        desk = ActionDesk(gate, dict.fromkeys(RegionKind, late), SilenceWorld(world), self._clock)
        return {Verb.SILENCE: desk, Verb.UNSILENCE: desk}

    def ask_now(self) -> None:
        """A silence was changed: what they tell is another now."""
        if self._source is not None:
            self._source.ask_now()

    def _server(self, name: str) -> Alertmanager:
        if name not in self._servers:
            place, [first, *_] = self._places[name]
            self._servers[name] = server_of(place, lambda: self._link(first), self._verify)
        return self._servers[name]

    async def _ask(self, _fleet: Fleet, sink: Sink) -> None:
        """Ask until cancelled."""
        from nimify_tui.sources.alerts.managers import AlertSource, Asked

        self._source = AlertSource(
            {
                name: Asked(name, tuple(regions), self._server(name), self._clock)
                for name, (_, regions) in self._places.items()
            }
        )
        await self._source.run(sink)


def _origin(place: ServerPlace, region: str) -> str:
    """An Alertmanager in words that no other one has."""
    who = place.who.removeprefix(f"{place.what} ")
    where = f"{who} in {region}" if place.inside else f"{who}{place.prefix}"
    return where + (f" ({place.tenant})" if place.tenant else "")


def server_of(place: ServerPlace, link: Callable[[], Connection | None], verify: Verify) -> Alertmanager:
    """The Alertmanager at a place; nothing is connected yet."""
    from nimify_tui.backends.alertmanager.errors import from_status
    from nimify_tui.backends.alertmanager.server import Alertmanager
    from nimify_tui.backends.prometheus.through import Through
    from nimify_tui.backends.prometheus.ways import Direct

    if place.inside:
        return Alertmanager(Through(place, link, refused=from_status, verify=verify))
    return Alertmanager(Direct(place, refused=from_status, verify=verify))


async def looked_at(item: RegionConfig, kubeconfig: str = "") -> str:
    """What the Alertmanagers of a region say, in one line. Raises NimifyError for one that is of no use."""
    from nimify_tui.backends.kubernetes.connection import Connection
    from nimify_tui.backends.prometheus.ways import no_changes
    from nimify_tui.base.errors import ConfigurationError
    from nimify_tui.clusters import place_of_context
    from nimify_tui.domain.alertmanagers import WATCHDOGS

    places, link, said, dogs = alertmanagers_of(item), None, [], 0
    if any(place.inside for place in places):
        link = Connection(place_of_context(item.context or "", kubeconfig))
        await link.open()
    try:
        for place in places:
            server = server_of(place, lambda: link, no_changes)
            try:
                status, told = await server.status(), await server.alerts()
            finally:
                server.close()
            dogs += any(each.name in WATCHDOGS for each in told.alerts)
            said.append(" ".join(filter(None, (server.who, status.version, f"has {len(told.alerts)} alerts"))))
    finally:
        if link is not None:
            await link.close()
    if not dogs:
        text = f"{'; '.join(said)}, and no Watchdog: nobody would know that alerts do not arrive"
        raise ConfigurationError(text, "let a rule always fire: `nimify-tui rules export` has one")
    return "; ".join(said) + ", its Watchdog fires"
