"""What a service behind a front is now: its containers by their labels, and whether they are healthy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import said_by
from nimify_tui.backends.docker.groups import FRONT, OURS
from nimify_tui.backends.docker.haproxy import FrontSettings
from nimify_tui.backends.docker.logs import lines_of
from nimify_tui.backends.docker.pulling import find
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, DeadlineError, NetworkError, NimifyError, ValidationError
from nimify_tui.controllers.docker.orders import Member, Patience, by_number, settings_of
from nimify_tui.controllers.docker.replacing import Successor, successor
from nimify_tui.controllers.world import Say

#: So often it is looked whether something is so by now, seconds.
LOOK_S = 0.25


class Looking:
    """Reads the service (or the one container) ``name``; changes nothing."""

    def __init__(self, connection: Connection, name: str, clock: Clock, say: Say, patience: Patience) -> None:
        self.name = name
        self._connection, self._clock, self._say, self._patience = connection, clock, say, patience

    async def _all(self) -> list[Member]:
        found: dict[str, Member] = {}
        for label in (OURS, FRONT):
            filters = msgspec.json.encode({"label": [f"{label}={self.name}"]}).decode()
            listed = await self._connection.get(
                "/containers/json", list[_Id], {"all": "true", "filters": filters}
            )
            for each in listed:
                found[each.Id] = await self._look(each.Id)
        return sorted(found.values(), key=lambda each: by_number(each.name))

    async def _members(self) -> tuple[list[Member], FrontSettings]:
        """The replicas that run, in order, and the front's settings."""
        every = await self._all()
        front = next((each for each in every if FRONT in each.labels and each.running), None)
        members = [each for each in every if FRONT not in each.labels and each.running]
        if front is None:
            raise ClusterError(
                f"{self.name} has no front that runs", "start its container, or make the service anew"
            )
        if not members:
            raise ClusterError(f"{self.name} has no replica that runs", "start one first")
        return members, settings_of(front)

    async def _look(self, container: str) -> Member:
        return Member(await self._connection.get(f"/containers/{container}/json", dict))

    async def _healthy(self, container: str) -> Member:
        """Raises ClusterError with its last words when it ends, is unhealthy, or takes too long."""
        latest: list[Member] = []

        async def so() -> bool:
            now = await self._look(container)
            latest[:] = [now]
            state = now.shown["State"]
            health = (state.get("Health") or {}).get("Status", "healthy")
            wrong = ""
            if now.shown.get("RestartCount"):
                wrong = "ends again and again"
            elif not state.get("Running"):
                wrong = f"ended (exit code {state.get('ExitCode')})"
            elif health == "unhealthy":
                wrong = "does not pass its health check"
            if wrong:
                raise ClusterError(f"{now.name} {wrong}: {await self._last_words(now)}", "look at its log")
            return bool(health == "healthy")

        await self._until(so, self._patience.healthy_s, "a replica does not become healthy")
        return latest[0]

    async def _successor(
        self, old: Member, image: str, labels: Mapping[str, str], *, beside: bool
    ) -> Successor:
        """What ``old`` is with another image. Raises ClusterError for one that cannot be made again."""
        old_image = await self._connection.get(f"/images/{old.image}/json", dict)
        return successor(old.shown, old_image, image, labels, beside=beside)

    async def _last_words(self, one: Member) -> str:
        try:
            query = {"stdout": "1", "stderr": "1", "tail": "3"}
            text = await self._connection.read(f"/containers/{one.id}/logs", query, 64 * 1024)
            lines = lines_of(text, tty=bool(one.shown["Config"].get("Tty")))
        except NimifyError:
            return "its log cannot be read"
        return said_by(lines[-1], 200) if lines else "it said nothing"

    async def _until(
        self, probe: Callable[[], Awaitable[bool]], limit_s: float, why: str, *, asking: bool = False
    ) -> None:
        """Return when it is so. ``asking``: an HAProxy that cannot be asked yet is asked again. Raises ClusterError."""
        end = self._clock.mono_s() + limit_s
        while True:
            try:
                if await probe():
                    return
                late = f"{why} after {limit_s:g} s"
            except ClusterError as error:
                if not asking:
                    raise
                late = error.message
            if self._clock.mono_s() > end:
                raise ClusterError(late, "look at the logs of the front and of the replica")
            await asyncio.sleep(LOOK_S)


async def image_of(connection: Connection, named: str, image_id: str) -> str:
    """A container's image by its name, or by its id where the name means another one by now. Raises NimifyError."""
    with contextlib.suppress(ValidationError):
        found = await find(connection, named)
        if found is not None and found.Id == image_id:
            return named
    return image_id


async def to_its_end(work: Awaitable[None]) -> NimifyError | None:
    """Tidy up, also when whoever waits for us is called off meanwhile; what went wrong with it."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError, NimifyError):
            await asyncio.shield(task)
    error = task.exception()
    if error is not None and not isinstance(error, NimifyError):
        raise error
    return error


def went_back(error: NimifyError, old: Member, what: str, trouble: NimifyError | None) -> NimifyError:
    """``error``, and what runs since: ``what`` ("all replicas run"), or the trouble with going back."""
    image = said_by(old.image_name, 120)
    if trouble is None:
        return ClusterError(f"{error.message}; {what} {image} again", error.remedy)
    words = f"{error.message}; going back to {image} failed, too: {trouble.message}"
    kind = NetworkError if isinstance(trouble, NetworkError | DeadlineError) else ClusterError
    return kind(words, "look at its containers: docker ps --all")


class _Id(msgspec.Struct):
    Id: str = ""
