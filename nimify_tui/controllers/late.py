"""The door to a controller whose modules come with the first plan, not with the first frame."""

from __future__ import annotations

from collections.abc import Callable

from nimify_tui.controllers.world import Controller, Draft, Receipt, Say, Standing, World, quiet
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Permit, Plan


class LateController:
    """A :class:`nimify_tui.controllers.world.Controller` that ``make`` makes (and imports) when it is needed first."""

    def __init__(self, make: Callable[[], Controller]) -> None:
        self._make = make
        self._made: Controller | None = None

    @property
    def _real(self) -> Controller:
        if self._made is None:
            self._made = self._make()
        return self._made

    async def draft(self, part: ActionRequest, key: ServiceKey, world: World) -> Draft:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        return await self._real.draft(part, key, world)

    async def send(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, permit: Permit, say: Say = quiet
    ) -> Receipt:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        return await self._real.send(plan, part, key, permit, say)

    async def standing(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, receipt: Receipt, world: World
    ) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        return await self._real.standing(plan, part, key, receipt, world)

    async def reality(self, plan: Plan, part: ActionRequest, key: ServiceKey, world: World) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        return await self._real.reality(plan, part, key, world)
