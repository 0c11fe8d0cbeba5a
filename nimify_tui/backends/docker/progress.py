"""What an engine tells while it builds or pulls: one JSON object after the other, as typed events.

https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image ; Podman sends the same with fewer fields.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import msgspec

from nimify_tui.backends.docker.errors import from_status, said_by
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.text import clean_line

#: One line of an engine; a build step's output comes line by line, too.
_MAX_LINE_BYTES = 1024 * 1024
_MAX_WORDS = 400
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)", re.DOTALL)


class Sent(msgspec.Struct, frozen=True):
    """So much of the context is on its way to the engine, bytes."""

    done_bytes: int
    total_bytes: int


class Step(msgspec.Struct, frozen=True):
    """The engine begins a step of the Dockerfile."""

    number: int
    total: int
    text: str


class Said(msgspec.Struct, frozen=True):
    """A line of the engine's log, or of what it runs."""

    text: str


class Layer(msgspec.Struct, frozen=True):
    """How far a layer is; ``total_bytes`` 0: not known (or there is nothing to count)."""

    id: str
    status: str
    done_bytes: int = 0
    total_bytes: int = 0


class Made(msgspec.Struct, frozen=True):
    """The image's id: the end of a build."""

    image: str


Event = Sent | Step | Said | Layer | Made


class _Detail(msgspec.Struct):
    current: int = 0
    total: int = 0


class _Aux(msgspec.Struct):
    ID: str = ""


class _Line(msgspec.Struct):
    stream: str = ""
    status: str = ""
    id: str = ""
    error: str = ""
    detail: _Detail | None = msgspec.field(default=None, name="progressDetail")
    aux: _Aux | None = None


_DECODE = msgspec.json.Decoder(_Line).decode


async def events(pieces: AsyncIterator[bytes], what: str) -> AsyncIterator[Event]:
    """The events in an engine's answer; ``what`` says in words what is being made, for errors.

    Raises EngineRefused when the engine says that it failed: a 200 stands at its begin all the same.
    """
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            for event in _events(line, what):
                yield event
        if len(rest) > _MAX_LINE_BYTES:
            rest = b""  # no engine's line is so long: nothing that could be shown is lost
    for event in _events(rest, what):
        yield event


def _events(text: bytes, what: str) -> list[Event]:
    if not text.strip():
        return []
    try:
        line = _DECODE(text)
    except msgspec.DecodeError:
        return [Said(said_by(text.decode("utf-8", "replace"), _MAX_WORDS))]
    if line.error:
        raise _refused(line.error, what)
    if line.aux is not None and line.aux.ID:
        return [Made(clean_line(line.aux.ID, 80))]
    if line.status:
        detail = line.detail or _Detail()
        return [
            Layer(
                clean_line(line.id, 80),
                said_by(line.status, 120),
                max(0, detail.current),
                max(0, detail.total),
            )
        ]
    if step := _STEP.match(line.stream):
        return [Step(int(step[1]), int(step[2]), said_by(step[3].strip(), _MAX_WORDS))]
    return [Said(words) for each in line.stream.splitlines() if (words := said_by(each.rstrip(), _MAX_WORDS))]


def _refused(words: str, what: str) -> NimifyError:
    return from_status(500, msgspec.json.encode({"message": words}), what)
