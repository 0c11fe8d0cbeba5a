"""Shells and port-forwards: allowed by the gate like every change, open until they are ended.

Their begin is on the audit trail before anything is opened and their end when they are over, with how long
they were open. What is typed or transferred is never recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NetworkError, NimifyError, ValidationError
from nimify_tui.controllers.entering import Command, Door
from nimify_tui.controllers.live_words import live_summary, pod_path
from nimify_tui.controllers.world import World
from nimify_tui.domain.live import Forward
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.plans import (
    ActionRequest,
    ActionResult,
    ActionState,
    Permit,
    Plan,
    TargetResult,
    UnfinishedAction,
    Verb,
)
from nimify_tui.domain.regions import RegionKind, RegionState
from nimify_tui.gate.gate import Gate

if TYPE_CHECKING:  # it comes with an HTTP client that no first frame needs
    from nimify_tui.backends.kubernetes.sockets import PodPort, PodSockets, PodStream

#: The verbs of this desk.
LIVE = frozenset({Verb.SHELL, Verb.FORWARD, Verb.DEBUG})
#: Connections at once through one forward; more are turned away.
MOST_CONNECTIONS = 64
#: Forwards of one session.
MOST_FORWARDS = 20
#: How often it is looked whether the terminal has another size, seconds.
RESIZE_S = 0.5
#: An answer may still come so long after its question has ended, seconds.
LINGER_S = 10.0
_PIECE = 64 * 1024
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}\Z")


class Terminal(Protocol):
    """The operator's terminal while the screen is suspended."""

    def size(self) -> tuple[int, int]:
        """(columns, rows)."""
        ...

    async def keys(self) -> bytes:
        """What was typed; b"" when the operator leaves."""
        ...

    async def write(self, data: bytes) -> None:
        """What the command writes."""
        ...


class _Open:
    """A forward that is open."""

    def __init__(self, fact: Forward, plan: Plan, permit: Permit, port: PodPort) -> None:
        self.fact, self.plan, self.permit, self.port = fact, plan, permit, port
        self.server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    def change(self, **fields: object) -> None:
        """Another state of it."""
        self.fact = msgspec.structs.replace(self.fact, **fields)


class LiveDesk:
    """Plans, opens and ends what stays open. Lives on the engine's loop; :meth:`forwards` may be called anywhere.

    ``doors`` lead into the replicas of a kind of region; ``sockets`` gives the way to the ports of a region's pods,
    None while there is no contact.
    """

    def __init__(
        self,
        gate: Gate,
        world: World,
        doors: Mapping[RegionKind, Callable[[], Door]],
        sockets: Callable[[str], PodSockets | None],
        clock: Clock,
    ) -> None:
        self._gate, self._world, self._doors = gate, world, doors
        self._sockets, self._clock = sockets, clock
        self._open: dict[str, _Open] = {}

    # -- plans ---------------------------------------------------------------------------
    async def plan(self, request: ActionRequest) -> Plan:
        """A plan for a shell or a forward; opens nothing.

        Raises ValidationError for what makes no sense, NetworkError when the region is not seen.
        """
        if len(request.targets) != 1 or not request.replica:
            raise ValidationError("one replica at a time", "choose a replica")
        [key] = request.targets
        found = self._world.region(key.region)
        if found is None or found[0].kind not in self._doors:
            raise ValidationError(
                "only a pod of a cluster or a container of a Docker host can be entered",
                "this service runs on this machine",
            )
        region, health = found
        if health.state not in (RegionState.LIVE, RegionState.THROTTLED):
            raise NetworkError(f"region {key.region} is {health.state}: {health.cause}", health.remedy)
        service = self._world.service(key)
        known = {each.key.replica for each in self._world.replicas(key)}
        if service is None or request.replica not in known:
            raise ValidationError(f"{request.replica} is not there (any more)", "choose another replica")
        if request.verb is Verb.DEBUG and not _IMAGE.match(request.image):
            raise ValidationError(f"{request.image[:80]!r} is no image", "for example busybox:1.37")
        if request.verb is Verb.FORWARD and not 0 < (request.port or 0) < 65536:
            raise ValidationError(f"{request.port} is no port", "give one between 1 and 65535")
        entry = await self._doors[region.kind]().entry(request, key, service)
        now = self._clock.now()
        return Plan(
            id=secrets.token_hex(8), request=request, summary=live_summary(request, key), facts=entry.facts, diff=(),
            preconditions=(entry.precondition,), production=region.production, created_at=now,
            expires_at=now + self._gate.policy.plan_ttl_s, calls=entry.calls,
        )  # fmt: skip

    def _door(self, key: ServiceKey) -> Door:
        found = self._world.region(key.region)
        if found is None or found[0].kind not in self._doors:
            raise NetworkError(f"no contact with {key.region}", "wait until the region is LIVE")
        return self._doors[found[0].kind]()

    async def _begin(self, plan: Plan, answer: str) -> tuple[Permit, Door]:
        [key] = plan.request.targets
        door = self._door(key)
        door.ready(key.region)
        return await asyncio.to_thread(self._gate.authorise, plan, answer), door

    async def _end(self, plan: Plan, permit: Permit, state: ActionState, message: str) -> ActionResult:
        [key] = plan.request.targets
        target = TargetResult(key=key, state=state, message=message)
        result = ActionResult(
            plan_id=plan.id, state=state, message=message, targets=(target,), ended_at=self._clock.now()
        )
        try:
            await asyncio.shield(asyncio.to_thread(self._gate.finish, plan, permit, result))
        except (NimifyError, OSError) as error:
            text = f"{message}; its end could not be recorded: {error}"
            return msgspec.structs.replace(result, message=text)
        return result

    # -- shell ---------------------------------------------------------------------------
    async def shell(self, plan: Plan, answer: str, terminal: Terminal) -> ActionResult:
        """Run a shell on ``terminal`` until it ends, for DEBUG in a container of its own.

        Raises GateRefused (nothing was opened).
        """
        permit, door = await self._begin(plan, answer)
        begun_s = self._clock.mono_s()
        try:
            command = await door.command(plan, permit)
        except NimifyError as error:
            state = ActionState.UNKNOWN if door.may_be_open(plan, error) else ActionState.FAILED
            remedy = f" ({error.remedy})" if error.remedy else ""
            return await self._end(plan, permit, state, f"no shell: {error.message}{remedy}")
        except BaseException:
            await self._end(plan, permit, ActionState.UNKNOWN, "this console was ended while it was opened")
            raise
        told = "left"
        try:
            told = await _converse(command, terminal)
        except NimifyError as error:
            told = error.message
        finally:
            before = command.trouble
            await command.close()
            more = f"; {command.trouble}" if command.trouble != before else ""
            text = f"{told} after {self._clock.mono_s() - begun_s:.0f} s{more}"
            result = await self._end(plan, permit, ActionState.OK, text)
        return result

    # -- forwards ------------------------------------------------------------------------
    async def forward(self, plan: Plan, answer: str) -> ActionResult:
        """Open a port-forward and return; it stays open. Raises GateRefused (nothing was opened)."""
        if sum(not each.fact.ended for each in self._open.values()) >= MOST_FORWARDS:
            raise ValidationError(f"{MOST_FORWARDS} port-forwards are open", "end one first")
        permit, _ = await self._begin(plan, answer)
        request, [key] = plan.request, plan.request.targets
        assert request.port is not None
        try:
            if (sockets := self._sockets(key.region)) is None:
                raise NetworkError(f"no contact with {key.region}", "wait until the region is LIVE")
            port = sockets.ports(pod_path(request), request.port, permit=permit, plan=plan)
            async with port.connected():
                pass  # whether it can be reached at all is known before it is said to be open
            fact = Forward(
                id=plan.id, key=ReplicaKey(key, request.replica), pod_port=request.port, local_port=0,
                opened_at=self._clock.now(),
            )  # fmt: skip
            one = _Open(fact, plan, permit, port)
            one.server = await self._listen(one)
        except (NimifyError, OSError) as error:
            words = error.message if isinstance(error, NimifyError) else str(error)
            return await self._end(plan, permit, ActionState.FAILED, f"not opened: {words}")
        except BaseException:
            await self._end(plan, permit, ActionState.UNKNOWN, "this console was ended while it was opened")
            raise
        one.change(local_port=one.server.sockets[0].getsockname()[1])
        self._open[plan.id] = one
        where = f"127.0.0.1:{one.fact.local_port} reaches {request.replica}:{request.port}"
        target = TargetResult(key=key, state=ActionState.OK, message=where)
        return ActionResult(
            plan_id=plan.id, state=ActionState.OK, message=where, targets=(target,), ended_at=self._clock.now()
        )

    async def _listen(self, one: _Open) -> asyncio.Server:
        """On the pod's own port where it is free here, else on any."""

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._connection(one, reader, writer))
            one.tasks.add(task)
            task.add_done_callback(one.tasks.discard)

        with contextlib.suppress(OSError):
            return await asyncio.start_server(serve, "127.0.0.1", one.fact.pod_port)
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    async def _connection(
        self, one: _Open, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if one.fact.open_now >= MOST_CONNECTIONS:
            one.change(trouble=f"more than {MOST_CONNECTIONS} connections at once are turned away")
            writer.close()
            return
        one.change(connections=one.fact.connections + 1, open_now=one.fact.open_now + 1)
        try:
            async with one.port.connected() as stream:
                pumps = [
                    asyncio.create_task(_upward(one, reader, stream)),
                    asyncio.create_task(_downward(one, stream, writer)),
                ]
                try:
                    done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                    if pumps[1] not in done:
                        # Who asked has sent all; whether it still listens nobody tells: the answer gets its time.
                        done, _ = await asyncio.wait(pumps, timeout=LINGER_S, return_when=asyncio.ALL_COMPLETED)
                    for pump in done:
                        pump.result()
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
        except NimifyError as error:
            one.change(trouble=error.message)
        except (ConnectionError, OSError):
            pass  # who asked has gone
        finally:
            one.change(open_now=one.fact.open_now - 1)
            writer.close()

    def standing(self, unfinished: UnfinishedAction) -> UnfinishedAction:
        """What became of a shell or a forward whose end is not on the trail."""
        text = "it ended with the console that opened it; what was done in it is not known"
        with contextlib.suppress(NimifyError):  # of a region that is not seen any more
            text = self._door(unfinished.plan.request.targets[0]).left_open(unfinished.plan)
        return msgspec.structs.replace(unfinished, state=ActionState.OK, reality=text)

    def forwards(self) -> tuple[Forward, ...]:
        """The forwards of this session, the newest last; ended ones with how they ended."""
        return tuple(each.fact for each in list(self._open.values()))

    async def end(self, forward_id: str, how: str = "ended by the operator") -> None:
        """End a forward with all its connections; one that is over stays as it is."""
        one = self._open.get(forward_id)
        if one is None or one.fact.ended:
            return
        one.change(ended=how)
        if one.server is not None:
            one.server.close()
        for task in list(one.tasks):
            task.cancel()
        await asyncio.gather(*one.tasks, return_exceptions=True)
        open_s = self._clock.now() - one.fact.opened_at
        text = f"{how}; open for {open_s:.0f} s, {one.fact.connections} connections"
        await self._end(one.plan, one.permit, ActionState.OK, text)

    async def run(self) -> None:
        """Wait until cancelled, then end all forwards: none outlives its console."""
        try:
            await asyncio.Event().wait()
        finally:
            for each in list(self._open):
                await self.end(each, "ended with the console")


async def _converse(command: Command, terminal: Terminal) -> str:
    """Carry keys there and output here; returns how it ended."""
    loop = asyncio.get_running_loop()
    sized = asyncio.Event()

    async def keys() -> None:
        await sized.wait()  # what is typed ahead starts in a terminal of the size that it has here
        while typed := await terminal.keys():
            await command.type(typed)

    async def resize() -> None:
        size = (0, 0)
        while True:
            if (now := terminal.size()) != size:
                size = now
                await command.resize(*size)
            sized.set()
            await asyncio.sleep(RESIZE_S)

    async def output() -> None:
        async for data in command.output():
            await terminal.write(data)

    typing, showing, sizing = (loop.create_task(each()) for each in (keys, output, resize))
    tasks = (typing, showing, sizing)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if command.exit_code is not None:
        return f"ended with exit code {command.exit_code}"
    return command.trouble or "left by the operator"


async def _upward(one: _Open, reader: asyncio.StreamReader, stream: PodStream) -> None:
    while data := await reader.read(_PIECE):
        await stream.send(data)
        one.change(sent_bytes=one.fact.sent_bytes + len(data))


async def _downward(one: _Open, stream: PodStream, writer: asyncio.StreamWriter) -> None:
    async for data in stream.received():
        writer.write(data)
        await writer.drain()
        one.change(received_bytes=one.fact.received_bytes + len(data))
