"""Shells and port-forwards: allowed by the gate like every change, open until they are ended.

Their begin is on the audit trail before anything is opened and their end when they are over, with how long
they were open. What is typed or transferred is never recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NetworkError, NimifyError, ValidationError
from nimify_tui.controllers.live_words import live_facts, live_summary, pod_path
from nimify_tui.controllers.world import World
from nimify_tui.domain.live import Forward
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.plans import (
    ActionRequest,
    ActionResult,
    ActionState,
    Permit,
    Plan,
    Precondition,
    TargetResult,
    UnfinishedAction,
    Verb,
)
from nimify_tui.domain.regions import RegionKind, RegionState
from nimify_tui.gate.gate import Gate

if TYPE_CHECKING:  # it comes with an HTTP client that no first frame needs
    from nimify_tui.backends.kubernetes.sockets import PodCommand, PodPort, PodSockets, PodStream
    from nimify_tui.controllers.kubernetes.reading import Line

#: The verbs of this desk.
LIVE = frozenset({Verb.SHELL, Verb.FORWARD, Verb.DEBUG})
#: What is run for a shell: bash where there is one.
SHELL = ["sh", "-c", "command -v bash >/dev/null && exec bash || exec sh"]
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

    ``sockets`` gives the way into a region's pods, ``line`` its connection; both None while there is no contact.
    """

    def __init__(
        self,
        gate: Gate,
        world: World,
        sockets: Callable[[str], PodSockets | None],
        line: Callable[[str], Line | None],
        clock: Clock,
    ) -> None:
        self._gate, self._world, self._sockets, self._clock = gate, world, sockets, clock
        self._line = line
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
        if found is None or found[0].kind is not RegionKind.KUBERNETES:
            raise ValidationError("only a pod of a cluster can be entered", "this service runs on this machine")
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
        rights = await self._rights(request, key)
        now = self._clock.now()
        return Plan(
            id=secrets.token_hex(8), request=request,
            summary=live_summary(request, key), facts=(*live_facts(request), *rights), diff=(),
            preconditions=(Precondition(key, service.uid, service.generation),),
            production=region.production, created_at=now, expires_at=now + self._gate.policy.plan_ttl_s,
        )  # fmt: skip

    async def _rights(self, request: ActionRequest, key: ServiceKey) -> list[tuple[str, str]]:
        """The plan's lines about the rights that it takes. Raises GateRefused when one is missing."""
        from nimify_tui.backends.kubernetes.rights import needed_on_pods
        from nimify_tui.controllers.kubernetes.trying import ask_rights, why_untried

        if why := why_untried(self._gate, request, key.region):
            return [("rights", why)]
        line = self._line(key.region)
        if line is None:
            raise NetworkError(f"no contact with {key.region}", "wait until the region is LIVE")
        wanted = needed_on_pods(request.verb, key.namespace)
        return [await ask_rights(line, self._clock, access, key.region) for access in wanted]

    async def _begin(self, plan: Plan, answer: str) -> tuple[Permit, PodSockets]:
        [key] = plan.request.targets
        sockets = self._sockets(key.region)
        if sockets is None:
            raise NetworkError(f"no contact with {key.region}", "wait until the region is LIVE")
        return await asyncio.to_thread(self._gate.authorise, plan, answer), sockets

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
        permit, sockets = await self._begin(plan, answer)
        begun_s = self._clock.mono_s()
        request = plan.request
        try:
            pod = pod_path(request)
            if request.verb is Verb.DEBUG:
                name = f"nimify-debug-{plan.id[:6]}"
                command = await sockets.debug(
                    pod, name, request.image, request.container, SHELL, permit=permit, plan=plan
                )
            else:
                command = await sockets.command(pod, request.container, SHELL, permit=permit, plan=plan)
        except NimifyError as error:
            state = ActionState.FAILED
            if request.verb is Verb.DEBUG and (isinstance(error, NetworkError) or getattr(error, "status", 0) >= 500):
                state = ActionState.UNKNOWN  # the container may have been added, and the answer lost
            return await self._end(plan, permit, state, f"no shell: {error.message}")
        except BaseException:
            await self._end(plan, permit, ActionState.UNKNOWN, "this console was ended while it was opened")
            raise
        told = "left"
        try:
            told = await _converse(command, terminal)
        except NimifyError as error:
            told = error.message
        finally:
            await command.close()
            text = f"{told} after {self._clock.mono_s() - begun_s:.0f} s"
            result = await self._end(plan, permit, ActionState.OK, text)
        return result

    # -- forwards ------------------------------------------------------------------------
    async def forward(self, plan: Plan, answer: str) -> ActionResult:
        """Open a port-forward and return; it stays open. Raises GateRefused (nothing was opened)."""
        if sum(not each.fact.ended for each in self._open.values()) >= MOST_FORWARDS:
            raise ValidationError(f"{MOST_FORWARDS} port-forwards are open", "end one first")
        permit, sockets = await self._begin(plan, answer)
        request, [key] = plan.request, plan.request.targets
        assert request.port is not None
        try:
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

    @staticmethod
    def standing(unfinished: UnfinishedAction) -> UnfinishedAction:
        """What became of a shell or a forward whose end is not on the trail."""
        text = "it ended with the console that opened it; what was done in it is not known"
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


async def _converse(command: PodCommand, terminal: Terminal) -> str:
    """Carry keys there and output here; returns how it ended."""
    loop = asyncio.get_running_loop()

    async def keys() -> None:
        while typed := await terminal.keys():
            await command.type(typed)

    async def resize() -> None:
        size = (0, 0)
        while True:
            if (now := terminal.size()) != size:
                size = now
                await command.resize(*size)
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
