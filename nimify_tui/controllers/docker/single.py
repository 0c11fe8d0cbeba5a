"""One container is given another image under its own name: the old one waits aside until the new one serves."""

from __future__ import annotations

import asyncio
import contextlib

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.creating import CALLS, remove, start_body
from nimify_tui.backends.docker.errors import NotThere
from nimify_tui.backends.docker.kinds import GRACE_S
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.controllers.docker.looking import LOOK_S, Looking, to_its_end, went_back
from nimify_tui.controllers.docker.orders import IMAGE_BEFORE, Member, Patience
from nimify_tui.controllers.world import Say

#: How often an engine is asked at most for it, the way back included.
SINGLE_CALLS = 3 * CALLS
#: What the engine itself waits for a container that ends comes on top, seconds.
_MORE_S = 30.0
#: A stop whose answer was lost has an end so long after the container's grace, seconds.
_KILL_S = 5.0


class Single(Looking):
    """The container ``name`` on one engine, under one leave."""

    def __init__(self, connection: Connection, name: str, leave: Leave, clock: Clock, say: Say) -> None:
        super().__init__(connection, name, clock, say, Patience())
        self._leave = leave
        #: Until then a stop that was sent may still be at work: its answer was lost (monotonic seconds; 0: none is).
        self._stops_until_s = 0.0

    async def replace(self, container: str, image: str) -> None:
        """Its successor runs and serves, and it is gone; or, also when it is cancelled, it runs again as before.

        Raises ClusterError for one that cannot be made again, and one that says that it went back.
        """
        old = await self._look(container)
        new = await self._successor(old, image, {IMAGE_BEFORE: old.image}, beside=False)
        made = ""
        try:
            self._say(f"stops {old.name}", 0, 3)
            await self._stop(old)
            await self._rename(old, f"{old.name[:100]}-before-{old.id[:12]}")
            self._say(f"starts {old.name} with the new image", 1, 3)
            made = await start_body(self._connection, old.name, new.body, new.networks, self._leave)
            self._say("waits until it serves", 2, 3)
            await self._steady(made)
        except BaseException as error:
            self._say("goes back to what ran before", 0, 3)
            trouble = await to_its_end(self._go_back(old, made))
            self._say(f"{old.name} runs as before" if trouble is None else trouble.message, 0, 3)
            if not isinstance(error, NimifyError):
                raise
            raise went_back(error, old, "the old container runs", trouble) from error
        with contextlib.suppress(NotThere):
            # Without its volumes: the new one has them.
            await self._change("DELETE", f"/containers/{old.id}", f"removal of {old.name}")

    async def _stop(self, old: Member) -> None:
        told = old.shown["Config"].get("StopTimeout")
        grace_s = GRACE_S if told is None else max(0, int(told))
        self._stops_until_s = self._clock.mono_s() + grace_s + _KILL_S
        await self._change(
            "POST", f"/containers/{old.id}/stop", f"stop of {old.name}", {"t": str(grace_s)},
            deadline_s=grace_s + _MORE_S,
        )  # fmt: skip
        self._stops_until_s = 0.0

    async def _rename(self, old: Member, name: str) -> None:
        await self._change("POST", f"/containers/{old.id}/rename", f"renaming of {old.name}", {"name": name})

    async def _steady(self, made: str) -> None:
        """Healthy; without a health check it has to run for a while."""
        if (await self._healthy(made)).shown["State"].get("Health"):
            return
        end_s = self._clock.mono_s() + self._patience.steady_s

        async def so() -> bool:
            await self._healthy(made)
            return self._clock.mono_s() >= end_s

        await self._until(so, self._patience.healthy_s, f"{self.name} does not go on running")

    async def _go_back(self, old: Member, made: str) -> None:
        if made:
            await remove(self._connection, made, self._leave)
        now = await self._look(old.id)
        while now.running and self._clock.mono_s() < self._stops_until_s:
            await asyncio.sleep(LOOK_S)
            now = await self._look(old.id)
        if now.name != old.name:
            await self._rename(now, old.name)
        if not now.running:
            await self._change("POST", f"/containers/{old.id}/start", f"start of {old.name}")

    async def _change(
        self, method: str, path: str, what: str, query: dict[str, str] | None = None, *, deadline_s: float = _MORE_S
    ) -> None:
        leave = self._leave
        await self._connection.change(
            method, path, query or {}, what=what, permit=leave.permit, plan=leave.plan, verify=leave.verify,
            deadline_s=deadline_s,
        )  # fmt: skip
