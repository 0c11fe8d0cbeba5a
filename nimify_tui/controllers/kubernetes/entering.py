"""The way into the pods of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NetworkError, NimifyError
from nimify_tui.controllers.entering import SHELL, Entry
from nimify_tui.controllers.live_words import live_facts, pod_path
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Permit, Plan, Precondition, Verb
from nimify_tui.domain.services import Service
from nimify_tui.gate.gate import Gate

if TYPE_CHECKING:  # it comes with an HTTP client that no first frame needs
    from nimify_tui.backends.kubernetes.sockets import PodCommand, PodSockets
    from nimify_tui.controllers.kubernetes.reading import Line


class PodDoor:
    """``sockets`` gives the way into a region's pods, ``line`` its connection; both None while there is no contact."""

    def __init__(
        self,
        gate: Gate,
        sockets: Callable[[str], PodSockets | None],
        line: Callable[[str], Line | None],
        clock: Clock,
    ) -> None:
        self._gate, self._sockets, self._line, self._clock = gate, sockets, line, clock

    async def entry(self, request: ActionRequest, key: ServiceKey, service: Service) -> Entry:
        """See :class:`nimify_tui.controllers.entering.Door`."""
        rights = await self._rights(request, key)
        before = Precondition(key, service.uid, service.generation)
        return Entry(facts=(*live_facts(request), *rights), precondition=before)

    async def _rights(self, request: ActionRequest, key: ServiceKey) -> list[tuple[str, str]]:
        """The plan's lines about the rights that it takes. Raises GateRefused when one is missing."""
        from nimify_tui.backends.kubernetes.rights import needed_on_pods
        from nimify_tui.controllers.kubernetes.trying import ask_rights, why_untried

        if why := why_untried(self._gate, request, key.region):
            return [("rights", why)]
        line = self._line(key.region)
        if line is None:
            raise _no_contact(key.region)
        wanted = needed_on_pods(request.verb, key.namespace)
        return [await ask_rights(line, self._clock, access, key.region) for access in wanted]

    def ready(self, region: str) -> None:
        """See :class:`nimify_tui.controllers.entering.Door`."""
        self.sockets(region)

    def sockets(self, region: str) -> PodSockets:
        """The way into a region's pods. Raises NetworkError while there is none."""
        found = self._sockets(region)
        if found is None:
            raise _no_contact(region)
        return found

    async def command(self, plan: Plan, permit: Permit) -> PodCommand:
        """See :class:`nimify_tui.controllers.entering.Door`; for DEBUG in a container of its own."""
        request, pod = plan.request, pod_path(plan.request)
        sockets, words = self.sockets(request.targets[0].region), ["sh", "-c", SHELL]
        if request.verb is Verb.DEBUG:
            name = f"nimify-debug-{plan.id[:6]}"
            return await sockets.debug(
                pod, name, request.image, request.container, words, permit=permit, plan=plan
            )
        return await sockets.command(pod, request.container, words, permit=permit, plan=plan)

    def may_be_open(self, plan: Plan, error: NimifyError) -> bool:
        """See :class:`nimify_tui.controllers.entering.Door`."""
        # The debug container may have been added, and the answer lost.
        unsure = isinstance(error, NetworkError) or getattr(error, "status", 0) >= 500
        return plan.request.verb is Verb.DEBUG and unsure

    def left_open(self, plan: Plan) -> str:
        """See :class:`nimify_tui.controllers.entering.Door`."""
        return "it ended with the console that opened it; what was done in it is not known"


def _no_contact(region: str) -> NetworkError:
    return NetworkError(f"no contact with {region}", "wait until the region is LIVE")
