"""Run a program in a container and read what it says (an exec without a terminal and without input)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import BadAnswer
from nimify_tui.backends.docker.leave import Leave

_HEAD = 8
_STDERR = 2


@dataclass(frozen=True)
class Ran:
    """How a program ended, and what it said."""

    code: int
    out: bytes
    err: bytes


class _Made(msgspec.Struct):
    Id: str = ""


class _Ended(msgspec.Struct):
    ExitCode: int | None = None


async def run_inside(
    connection: Connection,
    container: str,
    argv: Sequence[str],
    leave: Leave,
    *,
    limit_bytes: int = 4 * 1024 * 1024,
) -> Ran:
    """Run ``argv`` in ``container`` to its end; takes two uses of the permit.

    Raises EngineRefused when it cannot be run, BadAnswer when it says more than ``limit_bytes``, and what
    :meth:`Connection.changing` raises.
    """
    what = f"program in {container[:40]}"
    body = {"AttachStdout": True, "AttachStderr": True, "Tty": False, "Cmd": list(argv)}
    reply = await connection.change(
        "POST", f"/containers/{container}/exec", {}, what=what, body=body, permit=leave.permit, plan=leave.plan,
        verify=leave.verify,
    )  # fmt: skip
    made = msgspec.json.decode(reply, type=_Made).Id
    said: dict[bool, bytearray] = {True: bytearray(), False: bytearray()}
    async with connection.changing(
        "POST", f"/exec/{made}/start", {}, what=what, leave=leave, data=b'{"Detach":false,"Tty":false}'
    ) as pieces:
        async for stream, data in demultiplexed(pieces):
            said[stream == _STDERR] += data
            if len(said[True]) + len(said[False]) > limit_bytes:
                raise BadAnswer(f"{what}: it says more than {limit_bytes} bytes")
    ended = await connection.get(f"/exec/{made}/json", _Ended)
    return Ran(-1 if ended.ExitCode is None else ended.ExitCode, bytes(said[False]), bytes(said[True]))


async def demultiplexed(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """(1 for stdout or 2 for stderr, data) of a multiplexed stream, as it comes."""
    rest, stream, left = b"", 0, 0
    async for piece in pieces:
        rest += piece
        while rest:
            if not left:
                if len(rest) < _HEAD:
                    break
                stream, left = rest[0], int.from_bytes(rest[4:_HEAD])
                rest = rest[_HEAD:]
                continue
            data, rest = rest[:left], rest[left:]
            left -= len(data)
            yield stream, data
