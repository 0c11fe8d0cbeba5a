"""A program in a container with a terminal of its own (an exec): keys in, its screen out. Takes a permit.

The engine gives the connection away for it (an upgrade to "tcp"): what follows the head of its answer is the terminal,
both ways (https://docs.docker.com/reference/api/engine/version/v1.47/#tag/Exec). It does not end what runs there when
the connection does, so the program says its process id first, by which it is hung up.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence

import httptools
import msgspec

from nimify_tui import __version__
from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import (
    BadAnswer,
    EngineRefused,
    from_status,
    said_by,
    unknown_outcome,
)
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.running import run_inside
from nimify_tui.base.errors import ClusterError, GateRefused, NimifyError
from nimify_tui.domain.plans import Permit, Plan

#: How often the engine is asked under the permit: make it, start it. What belongs to it afterwards (its size, its
#: hang-up) was allowed with it and has no time limit of its own.
CALLS = 2
#: The engine starts a program within this time, seconds; the one that was ended is seen as such within that.
OPEN_S, ENDED_S = 30.0, 10.0
_LOOK_S = 0.1
_PIECE = 64 * 1024
_FIRST_BYTES, _ERROR_BYTES = 16 * 1024, 64 * 1024
#: What the program says first, and nobody sees: its process id in the container.
_MARK = "nimify-shell"
_TOLD = re.compile(rb"nimify-shell ([0-9]{1,10})\r?\n")
#: How the engine and its runtime say that a container has no such program.
_NO_PROGRAM = re.compile(r"executable file .*not found", re.IGNORECASE)


class NoShell(ClusterError):
    """The container has no shell to run."""


class _Made(msgspec.Struct):
    Id: str = ""


class _Shown(msgspec.Struct):
    Running: bool = False
    ExitCode: int | None = None


class ContainerCommand:
    """A program that runs in a container, with a terminal."""

    def __init__(
        self, connection: Connection, container: str, name: str, exec_id: str, leave: Leave, line: _Line
    ) -> None:
        self._connection, self._container, self._name, self._id = connection, container, name, exec_id
        self._leave = Leave(leave.permit, leave.plan, self._allowed)
        self._line = line
        self._pid = ""
        self._first = b""
        #: How it ended: the exit code, None while it runs, and when that was not told (``trouble`` says why).
        self.exit_code: int | None = None
        self.trouble = ""

    def _allowed(self, permit: Permit, plan: Plan) -> None:
        """What belongs to a program that was allowed is allowed as long as it runs."""
        if permit is not self._leave.permit or plan is not self._leave.plan:
            raise GateRefused("the permit was made for another program")

    async def begin(self) -> None:
        """Wait until it runs. Raises NoShell, ClusterError with what the engine says instead."""
        said = b""
        while (told := _TOLD.search(said)) is None:
            piece = await self._line.read()
            said += piece
            if not piece or len(said) > _FIRST_BYTES:
                raise self._not_there(said)
        self._pid = told[1].decode("ascii")
        self._first = said[told.end() :]

    def _not_there(self, said: bytes) -> ClusterError:
        text = said.decode("utf-8", "replace")
        if _NO_PROGRAM.search(text):
            return _no_shell(self._name)
        words = said_by(text) or "it ended at once"
        return ClusterError(f"no shell in {self._name}: {words}", "look at the engine's log")

    async def output(self) -> AsyncIterator[bytes]:
        """What it writes, until it ends; then ``exit_code`` or ``trouble`` is set. Raises NimifyError."""
        if self._first:
            yield self._first
        while piece := await self._line.read():
            yield piece
        await self._ended()

    async def type(self, data: bytes) -> None:
        """Keys for it. Raises NimifyError when the line is broken."""
        await self._line.write(data)

    async def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size. Raises NimifyError; of a program that just ends nothing is said here."""
        with contextlib.suppress(EngineRefused):
            await self._change(f"/exec/{self._id}/resize", {"w": str(columns), "h": str(rows)}, "size of its terminal")

    async def close(self) -> None:
        """Leave; what still runs there is hung up. Sets ``trouble`` when that could not be done."""
        await self._line.close()
        if self.exit_code is not None or not self._pid:
            return
        try:
            if (await self._shown()).Running:
                await run_inside(
                    self._connection, self._container, ["sh", "-c", 'kill -s HUP "$1"', "sh", self._pid], self._leave
                )
        except EngineRefused:
            return  # it, or its container, has ended meanwhile
        except NimifyError as error:
            self.trouble = f"it may still run in {self._name}: {error.message}"

    async def _ended(self) -> None:
        try:
            async with asyncio.timeout(ENDED_S):
                # Its screen closes a moment before it counts as ended.
                while (shown := await self._shown()).Running:  # noqa: ASYNC110 - the engine is asked, it tells nobody
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            self.trouble = "the connection ended before the command did"
        except NimifyError as error:
            self.trouble = f"how it ended is not known: {error.message}"
        else:
            self.exit_code = shown.ExitCode

    async def _shown(self) -> _Shown:
        return await self._connection.get(f"/exec/{self._id}/json", _Shown)

    async def _change(self, path: str, query: dict[str, str], what: str) -> None:
        leave = self._leave
        await self._connection.change(
            "POST", path, query, what=what, permit=leave.permit, plan=leave.plan, verify=leave.verify
        )


def _no_shell(name: str) -> NoShell:
    """The error for a container without a program sh."""
    beside = f"docker run --rm -it --pid container:{name} --network container:{name} busybox"
    return NoShell(f"{name} has no shell (no program sh)", f"look at it from beside: `{beside}`")


async def command_in(
    connection: Connection, container: str, name: str, script: str, leave: Leave
) -> ContainerCommand:
    """Run ``script`` (of sh) with a terminal in the container with this id; takes ``CALLS`` uses of the permit.

    ``name`` is its name for people. Raises GateRefused without a fitting permit, NoShell, EngineRefused when the engine
    said no, OutcomeUnknown when it broke off or said nothing after it was asked to start it, and the errors of the way.
    """
    what = f"shell in {name}"
    body = {
        "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Tty": True,
        "Cmd": ["sh", "-c", f'echo "{_MARK} $$"; {script}'],
    }  # fmt: skip
    reply = await connection.change(
        "POST", f"/containers/{container}/exec", {}, what=what, body=body, permit=leave.permit, plan=leave.plan,
        verify=leave.verify,
    )  # fmt: skip
    made = msgspec.json.decode(reply, type=_Made).Id
    leave.verify(leave.permit, leave.plan)
    try:
        line = await _given(connection, f"/exec/{made}/start", b'{"Detach":false,"Tty":true}', what)
    except EngineRefused as error:
        if _NO_PROGRAM.search(error.message) is None:
            raise
        raise _no_shell(name) from error
    command = ContainerCommand(connection, container, name, made, leave, line)
    try:
        async with asyncio.timeout(OPEN_S):
            await command.begin()
    except TimeoutError as error:
        await command.close()
        late = ClusterError(f"nothing came from it within {OPEN_S:g} s", "is its host overloaded?")
        raise unknown_outcome(late, what) from error
    except BaseException:
        await command.close()
        raise
    return command


async def _given(connection: Connection, path: str, body: bytes, what: str) -> _Line:
    """The connection that the engine gives away for a POST."""
    try:
        async with asyncio.timeout(OPEN_S):
            reader, writer = await connection.dial()
    except BaseException as error:
        if (found := connection.typed(error, OPEN_S)) is None:
            raise
        raise found from error
    line = _Line(connection, reader, writer)
    try:
        async with asyncio.timeout(OPEN_S):
            await line.write(_head(connection.target(path), body) + body)
            await line.upgraded(what)
    except TimeoutError as error:
        await line.close()
        raise unknown_outcome(connection.typed(error, OPEN_S) or BadAnswer(what), what) from error
    except BaseException as error:
        await line.close()
        if isinstance(error, NimifyError) and not isinstance(error, EngineRefused):
            raise unknown_outcome(error, what) from error
        raise
    return line


class _Line:
    """The connection that was given away."""

    def __init__(
        self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._connection, self._reader, self._writer = connection, reader, writer

    async def upgraded(self, what: str) -> None:
        """Read the answer's head. Raises what the engine says no with, BadAnswer for what is no such answer."""
        with self._words():
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                raise ConnectionResetError from error
            except asyncio.LimitOverrunError as error:
                raise BadAnswer(f"{what}: the head of the answer is too large") from error
        seen = _Head()
        parser = httptools.HttpResponseParser(seen)
        try:
            with contextlib.suppress(httptools.HttpParserUpgrade):
                parser.feed_data(head)
        except httptools.HttpParserError as error:
            raise BadAnswer(f"what answers at {self._connection.address} is no Docker engine") from error
        status = int(parser.get_status_code())
        if status not in (101, 200):
            raise from_status(status, await self._rest(seen), what)
        if seen.headers.get("transfer-encoding"):
            raise BadAnswer(
                f"{what}: {self._connection.address} does not give its connection away",
                "a proxy in between does not pass on an upgrade to tcp",
            )

    async def _rest(self, seen: _Head) -> bytes:
        """The body of a refusal."""
        length = seen.headers.get("content-length", "")
        size = min(int(length), _ERROR_BYTES) if length.isascii() and length.isdigit() else 0
        try:
            return await self._reader.readexactly(size) if size else await self._reader.read(_ERROR_BYTES)
        except asyncio.IncompleteReadError as error:
            return error.partial
        except OSError:
            return b""

    async def read(self) -> bytes:
        """What comes; b"" at its end. Raises NimifyError."""
        with self._words():
            return await self._reader.read(_PIECE)

    async def write(self, data: bytes) -> None:
        """Send it. Raises NimifyError."""
        with self._words():
            self._writer.write(data)
            await self._writer.drain()

    async def close(self) -> None:
        """End it, whatever is still on its way."""
        self._writer.transport.abort()

    @contextlib.contextmanager
    def _words(self) -> Iterator[None]:
        """Typed errors for what the system raises."""
        try:
            yield
        except BaseException as error:
            if (found := self._connection.typed(error, OPEN_S)) is None:
                raise
            raise found from error


class _Head:
    """Callbacks of httptools."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1").lower()


def _head(target: str, body: bytes) -> bytes:
    lines: Sequence[str] = (
        f"POST {target} HTTP/1.1", "Host: engine", f"User-Agent: nimify-tui/{__version__}",
        "Content-Type: application/json", "Connection: Upgrade", "Upgrade: tcp", f"Content-Length: {len(body)}",
    )  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
