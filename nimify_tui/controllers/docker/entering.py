"""The way into the containers of a Docker host."""

from __future__ import annotations

from collections.abc import Callable

from nimify_tui.backends.docker.connection import Connection, Verify
from nimify_tui.backends.docker.errors import OutcomeUnknown
from nimify_tui.backends.docker.groups import group_of
from nimify_tui.backends.docker.kinds import Container
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.specs import check_container_name
from nimify_tui.backends.docker.terminal import CALLS, ContainerCommand, command_in
from nimify_tui.base.errors import ClusterError, NetworkError, NimifyError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.docker.facts import name_of, objects_of
from nimify_tui.controllers.docker.reading import inspected
from nimify_tui.controllers.entering import SHELL, Entry
from nimify_tui.controllers.live_words import shell_facts
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Permit, Plan, Precondition, Verb
from nimify_tui.domain.services import Service


class ContainerDoor:
    """``line`` finds the open connection of a region, ``verify`` is the gate's check of a permit."""

    def __init__(self, line: Callable[[str], Connection | None], verify: Verify) -> None:
        self._line, self._verify = line, verify

    async def entry(self, request: ActionRequest, key: ServiceKey, service: Service) -> Entry:
        """See :class:`nimify_tui.controllers.entering.Door`."""
        name = check_container_name(request.replica)
        if request.verb is Verb.FORWARD:
            raise ValidationError(
                "only a port of a pod is forwarded", "a container is reached where it publishes its port"
            )
        if request.verb is not Verb.SHELL:
            beside = f"docker run --rm -it --pid container:{name} --network container:{name}"
            raise ValidationError(
                "only a pod takes a debug container",
                f"on the host: `{beside} {clean_line(request.image, 120) or 'busybox'}`",
            )
        if request.container:
            raise ValidationError("a replica here is one container", "name none")
        one = await inspected(self._open(key.region), name)
        if one is None or group_of(one).uid != service.uid:
            raise ValidationError(f"{name} is not there (any more)", "choose another replica")
        _check_running(one)
        return Entry(
            facts=shell_facts(("objects", f"{objects_of([one])}, image {clean_line(one.config.image, 120)}")),
            precondition=Precondition(key, service.uid, service.generation, one.id),
            calls=CALLS,
        )

    def ready(self, region: str) -> None:
        """See :class:`nimify_tui.controllers.entering.Door`."""
        self._open(region)

    def _open(self, region: str) -> Connection:
        line = self._line(region)
        if line is None or not line.is_open:
            raise NetworkError(f"no contact with {region}", "wait until the region is LIVE")
        return line

    async def command(self, plan: Plan, permit: Permit) -> ContainerCommand:
        """See :class:`nimify_tui.controllers.entering.Door`."""
        [before] = plan.preconditions
        line = self._open(before.key.region)
        one = await inspected(line, before.path)
        if one is None:
            raise ClusterError(f"{plan.request.replica} is no more", "look again, then plan anew")
        _check_running(one)
        return await command_in(line, one.id, name_of(one), SHELL, Leave(permit, plan, self._verify))

    def may_be_open(self, plan: Plan, error: NimifyError) -> bool:
        """See :class:`nimify_tui.controllers.entering.Door`."""
        return isinstance(error, OutcomeUnknown)

    def left_open(self, plan: Plan) -> str:
        """See :class:`nimify_tui.controllers.entering.Door`."""
        name = clean_line(plan.request.replica, 120)
        return f"its console ended without it; a shell that was left there is seen in `docker top {name}`"


def _check_running(one: Container) -> None:
    """Raises ClusterError for one in which nothing can be run."""
    if one.state.status == "paused":
        raise ClusterError(f"{name_of(one)} is paused", f"`docker unpause {name_of(one)}` first")
    if one.state.status != "running":
        raise ClusterError(
            f"{name_of(one)} does not run ({clean_line(one.state.status, 40)})", "start it first; its logs tell more"
        )
