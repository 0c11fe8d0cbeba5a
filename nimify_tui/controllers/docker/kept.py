"""What was removed, so that it can be made again: in this console's memory alone, for it may hold secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.creating import CALLS, remove, start_body
from nimify_tui.backends.docker.groups import FRONT
from nimify_tui.backends.docker.kinds import Container
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.docker.looking import image_of, to_its_end
from nimify_tui.controllers.docker.orders import Member, calls_for
from nimify_tui.controllers.docker.reading import inspected, serves
from nimify_tui.controllers.docker.replacing import Successor, successor
from nimify_tui.controllers.docker.replicas import Replicas
from nimify_tui.controllers.drafts import plural
from nimify_tui.controllers.wording import diff
from nimify_tui.controllers.world import Draft, Say, Standing
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Precondition, Verb

#: Removals that are remembered; the oldest is forgotten first.
_MOST = 32


@dataclass(frozen=True)
class KeptContainer:
    """A removed container: how it was, and what makes it again."""

    was: Member
    again: Successor


class Kept:
    """By the mark of a removal: its containers, the front of a service last."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[KeptContainer, ...]] = {}

    async def keep(self, line: Connection, mark: str, some: Sequence[Container]) -> None:
        """Remember containers before they go. Raises ClusterError for one that cannot be made again."""
        found = []
        for each in some:
            shown = await line.get(f"/containers/{each.id}/json", dict)
            image = await line.get(f"/images/{shown['Image']}/json", dict)
            if any(one.labels.get(FRONT) for one in some):
                shown = {**shown, "Mounts": []}  # the volumes without a name go with a service of ours
            was = Member(shown)
            named = await image_of(line, was.image_name, was.image)
            found.append(KeptContainer(was, successor(shown, image, named, {}, beside=False)))
        while len(self._kept) >= _MOST:
            self._kept.pop(next(iter(self._kept)))
        self._kept[mark] = tuple(found)

    def of(self, mark: str) -> tuple[KeptContainer, ...]:
        """Raises ValidationError when it is not kept (any more)."""
        if mark not in self._kept:
            raise ValidationError(
                "how it was is not kept any more: only the console that removed it knows, until it ends",
                "deploy it anew",
            )
        return self._kept[mark]

    def draft(self, part: ActionRequest, key: ServiceKey) -> Draft:
        """What was removed is made again. Raises ValidationError."""
        some = self.of(part.mark)
        names = {clean_line(each.was.name, 120): clean_line(each.was.image_name, 120) for each in some}
        fronted = bool(some[-1].was.labels.get(FRONT))
        number = len(some) - fronted
        return Draft(
            part=msgspec.structs.replace(part, replicas=number),
            precondition=Precondition(key, "", 0),
            facts=(
                ("objects", f"{number} {plural('container', number)}{', a front and a network' if fronted else ''}"),
                ("change", "made again as they were, and started"),
                ("lost", "what they wrote outside of volumes with a name does not come back"),
                ("on failure", "nothing of it is left"),
            ),
            diff=diff({}, names),
            undo=ActionRequest(verb=Verb.DELETE, targets=(key,)),
            calls=calls_for(number) if fronted else number * CALLS,
        )

    async def bring_back(
        self, line: Connection, part: ActionRequest, key: ServiceKey, leave: Leave, clock: Clock, say: Say
    ) -> None:
        """Make it again; a failure, or that it is cancelled, leaves nothing of it. Raises what a start does."""
        some = self.of(part.mark)
        if some[-1].was.labels.get(FRONT):
            replicas = [(each.was.name, each.again) for each in some[:-1]]
            service = Replicas(line, some[-1].was.labels[FRONT], leave, clock, say)
            await service.bring_back(replicas, some[-1].was, some[-1].again)
            return
        made: list[str] = []

        async def undo() -> None:
            for each in made:
                await remove(line, each, leave)

        try:
            for number, each in enumerate(some):
                say(f"starts {clean_line(each.was.name, 120)}", number, len(some))
                made.append(await start_body(line, each.was.name, each.again.body, each.again.networks, leave))
        except BaseException:
            await to_its_end(undo())
            raise

    async def look(self, line: Connection, part: ActionRequest) -> Standing:
        """How far it is; RUNNING with ``done`` 0 when nothing of it is there."""
        some = self.of(part.mark)
        now = [await inspected(line, each.was.name) for each in some]
        there, well = [each for each in now if each is not None], sum(each is not None and serves(each) for each in now)
        state = ActionState.OK if well == len(some) else ActionState.RUNNING
        text = f"{well} of {len(some)} {'runs' if len(some) == 1 else 'run'} again"
        return Standing(state=state, text=text, done=len(there), total=len(some))
