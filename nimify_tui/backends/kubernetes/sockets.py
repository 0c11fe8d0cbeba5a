"""Ways into a pod: a command with its terminal, and TCP to one of its ports. Both take a permit.

Web sockets with channels, as the API server has had them since 1.30 (KEP-4006): each message begins with the
number of its channel. A command speaks ``v5.channel.k8s.io`` (0 stdin, 1 stdout, 2 stderr, 3 the end's Status,
4 the terminal's size, 255 closes a channel), a port-forward ``v4.channel.k8s.io`` (0 data, 1 error, the first
message of both is the port).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING

import msgspec

from nimify_tui.backends.kubernetes.caller import Caller, translated
from nimify_tui.backends.kubernetes.errors import BadAnswer, Unreachable, said_by
from nimify_tui.base.errors import ClusterError
from nimify_tui.domain.plans import Permit, Plan

if TYPE_CHECKING:
    import aiohttp

_STDIN, _STDOUT, _STDERR, _STATUS, _SIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_DATA, _ERROR = 0, 1
#: A debug container is up within this time (its image may have to be pulled), and ends by itself; seconds.
DEBUG_S = 90.0
DEBUG_LIFE_S = 3600
#: What is sent at once.
_PIECE = 32 * 1024

Verify = Callable[[Permit, Plan], None]


class _Cause(msgspec.Struct):
    reason: str | None = None
    message: str | None = None


class _Details(msgspec.Struct):
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct):
    status: str | None = None
    message: str | None = None
    reason: str | None = None
    details: _Details | None = None


_DECODE = msgspec.json.Decoder(_Status).decode


class _EphemeralState(msgspec.Struct):
    waiting: _Cause | None = None
    running: object | None = None
    terminated: _Cause | None = None


class _EphemeralStatus(msgspec.Struct):
    name: str = ""
    state: _EphemeralState | None = None


class _PodStatus(msgspec.Struct, rename="camel"):
    ephemeral_container_statuses: list[_EphemeralStatus] | None = None


class _Pod(msgspec.Struct):
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


_POD = msgspec.json.Decoder(_Pod).decode


class PodSockets:
    """Shells and port-forwards of one region. ``verify`` is the gate's check of a permit; each use asks it first."""

    def __init__(self, caller: Caller, verify: Verify) -> None:
        self._caller = caller
        self._verify = verify

    async def command(
        self, pod: str, container: str, words: list[str], *, permit: Permit, plan: Plan
    ) -> PodCommand:
        """Run ``words`` with a terminal in the pod at the path ``pod``; ``container`` "" is its only one.

        Raises GateRefused without a fitting permit, and the errors of the way there.
        """
        self._verify(permit, plan)
        return await self._command(pod, container, words)

    async def debug(
        self, pod: str, name: str, image: str, target: str, words: list[str], *, permit: Permit, plan: Plan
    ) -> PodCommand:
        """Put a debug container of ``image`` into the pod (it stays until the pod ends), and run ``words`` in it.

        With ``target`` it sees the processes of that container. Raises like :meth:`command`, and ClusterError
        when the container does not come up within ``DEBUG_S``.
        """
        self._verify(permit, plan)
        container: dict[str, object] = {
            "name": name, "image": image, "stdin": True, "tty": True, "command": ["sleep", str(DEBUG_LIFE_S)],
        }  # fmt: skip
        if target:
            container["targetContainerName"] = target
        body = msgspec.json.encode({"spec": {"ephemeralContainers": [container]}})
        headers = {"Accept": "application/json", "Content-Type": "application/strategic-merge-patch+json"}
        query = {"fieldManager": "nimify-tui"}
        reply = await self._caller.request("PATCH", f"{pod}/ephemeralcontainers", query, headers, body=body)
        reply.close()
        try:
            async with asyncio.timeout(DEBUG_S):
                while not await self._is_up(pod, name):  # noqa: ASYNC110 - the server is asked, nobody announces it
                    await asyncio.sleep(1.0)
        except TimeoutError as error:
            words_ = f"the debug container is not up after {DEBUG_S:g} s"
            raise ClusterError(words_, f"look at the pod's events; does {image} exist?") from error
        return await self._command(pod, name, words)

    async def _is_up(self, pod: str, name: str) -> bool:
        reply = await self._caller.request("GET", pod, {}, {"Accept": "application/json"})
        try:
            statuses = _POD(await reply.read()).status.ephemeral_container_statuses or ()
        except msgspec.DecodeError as error:
            raise BadAnswer(f"{self._caller.place.server} answers with something that is no pod") from error
        finally:
            reply.close()
        state = next((each.state for each in statuses if each.name == name), None)
        if state is not None and state.terminated is not None:
            ended = state.terminated
            raise ClusterError(f"the debug container ended: {said_by(ended.message or ended.reason or '')}")
        return state is not None and state.running is not None

    async def _command(self, pod: str, container: str, words: list[str]) -> PodCommand:
        query = [("command", word) for word in words]
        query += [("stdin", "true"), ("stdout", "true"), ("tty", "true")]
        query += [("container", container)] if container else []
        return PodCommand(
            await self._caller.websocket(f"{pod}/exec", query, "v5.channel.k8s.io"), self._caller.place.server
        )

    def ports(self, pod: str, port: int, *, permit: Permit, plan: Plan) -> PodPort:
        """TCP to ``port`` of the pod at the path ``pod``, as often as wanted. Raises GateRefused without a permit."""
        self._verify(permit, plan)
        return PodPort(self._caller, pod, port)


class PodCommand:
    """A command that runs in a pod, with a terminal."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, address: str) -> None:
        self._socket = socket
        self._address = address
        #: How it ended: the exit code, None while it runs, and when that was not told (``trouble`` says why).
        self.exit_code: int | None = None
        self.trouble = ""

    async def output(self) -> AsyncIterator[bytes]:
        """What it writes, until it ends; then ``exit_code`` or ``trouble`` is set."""
        async for message in _messages(self._socket, self._address):
            if message[0] in (_STDOUT, _STDERR) and len(message) > 1:
                yield message[1:]
            elif message[0] == _STATUS:
                self._ended(message[1:])
                return
        self.trouble = self.trouble or "the connection ended before the command did"

    async def type(self, data: bytes) -> None:
        """Keys for it. Raises Unreachable when the line is broken."""
        for begin in range(0, len(data), _PIECE):
            await self._send(_STDIN, data[begin : begin + _PIECE])

    async def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size."""
        await self._send(_SIZE, msgspec.json.encode({"Width": columns, "Height": rows}))

    async def close(self) -> None:
        """Leave; what runs there is hung up."""
        await self._socket.close()

    async def _send(self, channel: int, data: bytes) -> None:
        await _send(self._socket, channel, data, self._address)

    def _ended(self, body: bytes) -> None:
        try:
            status = _DECODE(body)
        except msgspec.DecodeError:
            self.trouble = "its end was told in words that cannot be read"
            return
        if status.status == "Success":
            self.exit_code = 0
            return
        causes = (status.details.causes if status.details else None) or []
        for cause in causes:
            text = cause.message or ""
            if cause.reason == "ExitCode" and text.isascii() and text.isdigit():
                self.exit_code = int(text)
                return
        self.trouble = said_by(status.message or status.reason or "it failed")


class PodPort:
    """A port of a pod."""

    def __init__(self, caller: Caller, pod: str, port: int) -> None:
        self._caller, self._pod, self._port = caller, pod, port

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncGenerator[PodStream]:
        """One connection, closed at the end. Raises the errors of the way there."""
        query = [("ports", str(self._port))]
        socket = await self._caller.websocket(f"{self._pod}/portforward", query, "v4.channel.k8s.io")
        try:
            yield PodStream(socket, self._caller.place.server)
        finally:
            await socket.close()


class PodStream:
    """One TCP connection into a pod."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, address: str) -> None:
        self._socket = socket
        self._address = address
        self._begun = {_DATA: False, _ERROR: False}

    async def received(self) -> AsyncIterator[bytes]:
        """What the pod sends, until it ends. Raises ClusterError with the node's words when it cannot be reached."""
        async for message in _messages(self._socket, self._address):
            channel, data = message[0], message[1:]
            if channel not in self._begun:
                raise BadAnswer(f"{self._address} speaks on a channel that there is not")
            if not self._begun[channel]:
                self._begun[channel] = True  # the port's number
            elif channel == _DATA:
                yield data
            elif data:
                raise ClusterError(said_by(data.decode("utf-8", "replace")))

    async def send(self, data: bytes) -> None:
        """Bytes for the pod. Raises Unreachable when the line is broken."""
        for begin in range(0, len(data), _PIECE):
            await _send(self._socket, _DATA, data[begin : begin + _PIECE], self._address)


async def _messages(socket: aiohttp.ClientWebSocketResponse, address: str) -> AsyncIterator[bytes]:
    """Messages with their channel; ends with the socket."""
    import aiohttp

    while True:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY and message.data:
            yield bytes(message.data)
        elif message.type is aiohttp.WSMsgType.ERROR:
            error = socket.exception()
            known = translated(error, address) if error is not None else None
            raise known or Unreachable(f"{address} broke off the connection")
        elif message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
            return


async def _send(
    socket: aiohttp.ClientWebSocketResponse, channel: int, data: bytes, address: str
) -> None:
    try:
        await socket.send_bytes(bytes((channel,)) + data)
    except (ConnectionError, RuntimeError) as error:
        raise Unreachable(f"{address} broke off the connection") from error
