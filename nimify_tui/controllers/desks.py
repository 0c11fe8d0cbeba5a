"""Several desks as one: which of them an action belongs to is told by its verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nimify_tui.controllers.desk import ActionDesk
from nimify_tui.domain.plans import ActionRequest, ActionResult, Plan, Progress, UnfinishedAction, Verb


class Desks(ActionDesk):
    """A desk that hands some verbs on to others; all have one gate, and so one trail."""

    _others: Mapping[Verb, ActionDesk] = MappingProxyType({})

    def hand_on(self, others: Mapping[Verb, ActionDesk]) -> None:
        """These verbs are for these desks."""
        self._others = others

    async def plan(self, request: ActionRequest, *, simulation: bool = False) -> Plan:
        """See :class:`ActionDesk`."""
        other = self._others.get(request.verb)
        if other is not None:
            return await other.plan(request, simulation=simulation)
        return await super().plan(request, simulation=simulation)

    async def carry_out(
        self,
        plan: Plan,
        answer: str,
        progress: Callable[[Progress], None] = lambda _: None,
        settles: UnfinishedAction | None = None,
    ) -> ActionResult:
        """See :class:`ActionDesk`."""
        other = self._others.get(plan.request.verb)
        if other is not None:
            return await other.carry_out(plan, answer, progress, settles)
        return await super().carry_out(plan, answer, progress, settles)

    def stop(self, plan_id: str, *, now: bool) -> bool:
        """See :class:`ActionDesk`."""
        return super().stop(plan_id, now=now) or any(each.stop(plan_id, now=now) for each in self._others.values())

    async def check(self, unfinished: UnfinishedAction) -> UnfinishedAction:
        """See :class:`ActionDesk`."""
        other = self._others.get(unfinished.plan.request.verb)
        if other is not None:
            return await other.check(unfinished)
        return await super().check(unfinished)
