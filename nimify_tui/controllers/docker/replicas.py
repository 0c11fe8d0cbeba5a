"""A service of several replicas behind one address: made, scaled, and given another image without losing a request.

An HAProxy of the project's configuration is the address (see backends/docker/haproxy.py). Everything is read from the
engine's labels each time: another console, or this one after its end, goes on from what is there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.creating import remove, start_body, start_new
from nimify_tui.backends.docker.errors import NotThere
from nimify_tui.backends.docker.haproxy import FOLDER, Front, FrontSettings, archive
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.pulling import runnable
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, NimifyError, ValidationError
from nimify_tui.controllers.checks import check_replicas
from nimify_tui.controllers.docker.looking import Looking, image_of, to_its_end, went_back
from nimify_tui.controllers.docker.orders import (
    IMAGE_BEFORE,
    REVISION,
    Member,
    Patience,
    ServiceOrder,
    free_name,
    front_of,
    front_spec,
    labels_of,
    network_of,
    replica_of,
    settings_of,
)
from nimify_tui.controllers.docker.replacing import Json, Successor
from nimify_tui.controllers.world import Say, quiet
from nimify_tui.domain.names import check_name

_NETWORK_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/managed-by", REVISION)


class Replicas(Looking):
    """The service ``name`` on one engine, under one leave."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        leave: Leave,
        clock: Clock,
        say: Say = quiet,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(connection, check_name(name, "service name"), clock, say, patience or Patience())
        self._leave = leave
        self._network = network_of(name)
        self._front = Front(connection, front_of(name), leave)

    # -- what can be done ---------------------------------------------------------------------------------------

    async def create(self, order: ServiceOrder) -> None:
        """Make it: its network, its replicas, and the front once all of them are healthy.

        Raises what the engine says; then, and when it is cancelled, nothing of it is left.
        """
        if check_replicas(order.replicas) < 1:
            raise ValidationError("a new service has at least one replica", "use a number from 1 on")
        if await self._all():
            raise ValidationError(
                f"there is a service {self.name!r} already", "choose another name, or replace it"
            )
        await runnable(self._connection, order.front_image)  # before anything is made
        made: list[str] = []
        try:
            await self._own_network(labels_of(order))
            for number in range(1, order.replicas + 1):
                self._say(f"starts replica {number} of {order.replicas}", number - 1, order.replicas)
                made.append(
                    await start_new(self._connection, replica_of(order, number, self._patience), self._leave)
                )
            members = [await self._healthy(each) for each in made]
            self._say("starts the front", order.replicas, order.replicas)
            servers = [each.server(self._network) for each in members]
            made.append(await start_new(self._connection, front_spec(order, servers), self._leave))
            await self._until_up([each.name for each in members])
        except BaseException:
            await to_its_end(self._unmake(made))
            raise

    async def bring_back(self, replicas: Sequence[tuple[str, Successor]], was: Member, front: Successor) -> None:
        """Make it again as it was: ``replicas`` by name, and its front. Raises, and leaves, as :meth:`create`."""
        if await self._all():
            raise ValidationError(f"there is a service {self.name!r} again", "delete that first")
        made: list[str] = []
        try:
            await self._own_network({each: was.labels.get(each, "") for each in _NETWORK_LABELS})
            for number, (name, one) in enumerate(replicas):
                self._say(f"starts {name}", number, len(replicas))
                made.append(await start_body(self._connection, name, one.body, one.networks, self._leave))
            members = [await self._healthy(each) for each in made]
            self._say("starts the front", len(replicas), len(replicas))
            files = {FOLDER: archive(settings_of(was), [each.server(self._network) for each in members])}
            made.append(
                await start_body(self._connection, was.name, front.body, front.networks, self._leave, files)
            )
            await self._until_up([each.name for each in members])
        except BaseException:
            await to_its_end(self._unmake(made))
            raise

    async def scale(self, replicas: int) -> None:
        """Add healthy replicas, or drain and remove the last ones. A failure on the way up removes the new ones."""
        wanted = check_replicas(replicas)
        if wanted < 1:
            raise ValidationError("a service behind a front has at least one replica", "stop it instead")
        members, settings = await self._members()
        await self._fewer(members, wanted, settings)
        taken = {each.name for each in await self._all()}
        new: list[Member] = []
        try:
            for number in range(len(members), wanted):
                self._say(f"starts replica {number + 1} of {wanted}", number, wanted)
                pattern = members[0]
                name = free_name(self.name, pattern.labels.get(REVISION, "1"), taken)
                taken.add(name)
                image = await image_of(self._connection, pattern.image_name, pattern.image)
                one = await self._like(pattern, image, name, {}, beside=True)
                new.append(one)
                await self._admit(one, settings)
        except BaseException:
            await to_its_end(self._withdraw(new, settings))
            self._say(f"goes on with the {len(members)} that served before", len(members), wanted)
            raise

    async def _fewer(self, members: Sequence[Member], wanted: int, settings: FrontSettings) -> None:
        """Drain and remove the last ones; a drained one that is not removed serves again."""
        going = list(reversed(members[wanted:]))
        for number, one in enumerate(going):
            try:
                await self._retire(one, settings)
                await remove(self._connection, one.id, self._leave)
            except BaseException as error:
                trouble = await to_its_end(self._take_back(one, settings))
                self._say(f"{one.name} serves again" if trouble is None else trouble.message, number, len(going))
                if isinstance(error, NimifyError):
                    error.message += f"; {number} of {len(going)} were removed before"
                raise

    async def restart(self) -> None:
        """Drain and restart one after the other, each has to serve again before the next.

        Raises ClusterError at the first that does not; the front asks it again as soon as it is healthy.
        """
        members, settings = await self._members()
        for number, one in enumerate(members):
            self._say(f"restarts {one.name}", number, len(members))
            try:
                await self._retire(one, settings)
            finally:
                trouble = await to_its_end(self._take_back(one, settings))
            if trouble is not None:
                raise trouble
            try:
                await self._healthy(one.id)
                await self._until_up([one.name])
            except ClusterError as error:
                error.message += f"; the other {len(members) - number - 1} were not touched"
                raise

    async def replace(self, image: str, revision: int, *, stop_first: bool = False) -> None:
        """Give every replica another image, one after the other; each has to be healthy before an old one goes.

        ``stop_first``: each old one ends before its successor starts, where there is no room for both. When a new one
        does not get healthy, or it is cancelled, all go back to what ran before: the old containers themselves, which
        are kept until the last new one serves. Raises ClusterError that says so.
        """
        found = await runnable(self._connection, image)
        old, settings = await self._members()
        taken = {each.name for each in await self._all()}
        done: list[tuple[Member, Member]] = []
        started: list[Member] = []
        ended: list[Member] = []
        try:
            for number, one in enumerate(old):
                self._say(f"replaces {one.name}", number, len(old))
                name = free_name(self.name, str(revision), taken)
                taken.add(name)
                if stop_first:
                    ended.append(one)
                    await self._retire(one, settings)
                labels = {REVISION: str(revision), IMAGE_BEFORE: one.image}
                new = await self._like(one, image, name, labels, beside=not stop_first)
                started.append(new)
                await self._admit(new, settings)
                done.append((one, new))
                if not stop_first:
                    await self._retire(one, settings)
        except BaseException as error:
            self._say("goes back to what ran before", len(done), len(old))
            back = self._swap_back(ended, started, settings) if stop_first else self._go_back(done, started, settings)
            trouble = await to_its_end(back)
            if not isinstance(error, NimifyError):
                raise
            raise went_back(error, old[0], "all replicas run", trouble) from error
        for one in old:
            await remove(self._connection, one.id, self._leave)
        self._say(f"all run {found.Id[:19]}", len(old), len(old))

    async def delete(self) -> None:
        """Let the replicas end, which answer what they have; then remove them, the front and the network."""
        every = await self._all()
        for number, one in enumerate(every):
            self._say(f"ends {one.name}", number, len(every))
            await self._stop(one)
        self._say("removes what is left", len(every), len(every))
        await self._unmake([each.id for each in every])

    async def refresh(self) -> None:
        """Tell the front of replicas that came or went, or came back with another address, without our doing."""
        members, settings = await self._members()
        running = {each.name: each.server(self._network) for each in members}
        known = {each.name: each.address for each in await self._front.stats()}
        for name, address in known.items():
            if name not in running or (address and address != running[name].place):
                await self._forget(name)
        for name, server in running.items():
            if known.get(name) not in ("", server.place):
                await self._front.add(server)
        await self._front.save(settings, list(running.values()))

    # -- steps --------------------------------------------------------------------------------------------------

    async def _admit(self, one: Member, settings: FrontSettings) -> None:
        """It is healthy, and the front sends requests to it."""
        now = await self._healthy(one.id)
        await self._front.add(now.server(self._network))
        await self._until_up([now.name])
        await self._save_serving(settings)

    async def _retire(self, one: Member, settings: FrontSettings) -> None:
        """No new requests for it, those it has are answered, and then it stops; the container is kept."""
        self._say(f"drains {one.name}", 0, 0)
        await self._drained(one.name)
        await self._forget(one.name)
        await self._save_serving(settings)
        await self._stop(one)

    async def _stop(self, one: Member) -> None:
        query = {"t": str(self._patience.stop_s)}
        await self._change("POST", f"/containers/{one.id}/stop", f"stop of {one.name}", query=query)

    async def _drained(self, name: str) -> None:
        await self._front.drain(name)

        async def empty() -> bool:
            now = next((each for each in await self._front.stats() if each.name == name), None)
            return now is None or (now.sessions == 0 and now.queued == 0)

        # Past its time it ends with requests in it: the operator asked for the change, and was told how long it waits.
        with contextlib.suppress(ClusterError):
            await self._until(empty, self._patience.drain_s, f"{name} still has requests")

    async def _forget(self, name: str) -> None:
        await self._until(
            lambda: self._front.remove(name), self._patience.drain_s, f"the front still holds {name}"
        )

    async def _go_back(
        self, done: Sequence[tuple[Member, Member]], started: Sequence[Member], settings: FrontSettings
    ) -> None:
        for old, new in reversed(done):
            await self._take_back(old, settings)
            await self._healthy(old.id)
            await self._until_up([old.name])
            await self._withdraw([new], settings)
        await self._withdraw([each for each in started if each not in [new for _, new in done]], settings)

    async def _swap_back(
        self, ended: Sequence[Member], started: Sequence[Member], settings: FrontSettings
    ) -> None:
        """Where there is no room for both: each new one goes before its old one runs again."""
        for number in reversed(range(len(ended))):
            await self._withdraw(started[number : number + 1], settings)
            await self._take_back(ended[number], settings)
            await self._healthy(ended[number].id)
            await self._until_up([ended[number].name])

    async def _take_back(self, one: Member, settings: FrontSettings) -> None:
        """It runs, and the front asks it as soon as its check says yes."""
        if not (await self._look(one.id)).running:
            await self._change("POST", f"/containers/{one.id}/start", f"start of {one.name}")
        server = (await self._look(one.id)).server(self._network)
        known = {each.name: each for each in await self._front.stats()}.get(one.name)
        if known is not None and known.address in ("", server.place):
            await self._front.undrain(one.name)
        else:
            if known is not None:
                await self._forget(one.name)
            await self._front.add(server)
        await self._save_serving(settings)

    async def _withdraw(self, some: Sequence[Member], settings: FrontSettings) -> None:
        """Out of the front, and away."""
        serving = {each.name for each in await self._front.stats()}
        for one in some:
            if one.name in serving:
                await self._drained(one.name)
                await self._forget(one.name)
                await self._save_serving(settings)
            await remove(self._connection, one.id, self._leave)

    async def _unmake(self, containers: Sequence[str]) -> None:
        for each in reversed(containers):
            await remove(self._connection, each, self._leave)
        with contextlib.suppress(NimifyError):  # it was not made yet, or somebody else is in it
            await self._change("DELETE", f"/networks/{self._network}", f"removal of network {self._network}")

    async def _own_network(self, labels: Mapping[str, str]) -> None:
        """Make it, unless it is there from an earlier time. Raises ClusterError when it is somebody else's."""
        try:
            found = await self._connection.get(f"/networks/{self._network}", _Network)
        except NotThere:
            body = {"Name": self._network, "CheckDuplicate": True, "Labels": dict(labels)}
            await self._change("POST", "/networks/create", f"network of {self.name}", body)
            return
        if (found.Labels or {}).get("app.kubernetes.io/managed-by") != "nimify-tui":
            raise ClusterError(f"there is a network {self._network} that is not ours", "choose another name")

    async def _like(self, one: Member, image: str, name: str, labels: dict[str, str], *, beside: bool) -> Member:
        new = await self._successor(one, image, labels, beside=beside)
        made = await start_body(self._connection, name, new.body, new.networks, self._leave)
        return await self._look(made)

    async def _until_up(self, names: Sequence[str]) -> None:
        async def so() -> bool:
            up = {
                each.name for each in await self._front.stats() if each.up and each.check.startswith("L7OK")
            }
            return set(names) <= up

        await self._until(so, self._patience.healthy_s, "the front does not reach the replica", asking=True)

    async def _save_serving(self, settings: FrontSettings) -> None:
        serving = {each.name for each in await self._front.stats() if each.status not in ("DRAIN", "MAINT")}
        await self._save(settings, [each for each in await self._all() if each.name in serving])

    async def _save(self, settings: FrontSettings, members: Sequence[Member]) -> None:
        await self._front.save(settings, [each.server(self._network) for each in members])

    async def _change(
        self, method: str, path: str, what: str, body: Json | None = None, query: dict[str, str] | None = None
    ) -> None:
        leave = self._leave
        await self._connection.change(
            method, path, query or {}, what=what, body=body, permit=leave.permit, plan=leave.plan, verify=leave.verify,
            deadline_s=self._patience.stop_s + 30.0,
        )  # fmt: skip


class _Network(msgspec.Struct):
    Labels: dict[str, str] | None = None
