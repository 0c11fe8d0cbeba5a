"""Build an image: the context goes to the engine piece by piece, its log comes back as events."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import EngineRefused
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.logins import Found, login_for, refused
from nimify_tui.backends.docker.progress import Event, Made, Sent, events
from nimify_tui.backends.docker.references import check_reference

_CHUNK = 256 * 1024
#: A step may be silent for long (pip resolves, a large layer is written), seconds.
SILENCE_S = 900.0


@dataclass(frozen=True, kw_only=True)
class BuildOrder:
    """What is built. ``context`` is a tar archive of ``size_bytes`` with a Dockerfile at its top.

    ``offline``: the steps have no network. ``platform`` "" is the engine's own ("linux/arm64"). ``base`` is the image
    that it is built on, "" for one that the engine has: its registry may want a login.
    """

    tag: str
    context: BinaryIO
    size_bytes: int
    labels: Mapping[str, str]
    arguments: Mapping[str, str]
    offline: bool = False
    platform: str = ""
    base: str = ""


async def build(
    connection: Connection, order: BuildOrder, leave: Leave, *, environ: Mapping[str, str] | None = None
) -> AsyncGenerator[Event]:
    """The events of a build, ``Made`` last. Closing it (or cancelling its task) ends the build and its containers.

    The base image is fetched with what ``docker login`` left on this machine for its registry, as in
    :func:`nimify_tui.backends.docker.pulling.pull`, which says what ``environ`` is.

    Raises ValidationError for a name that is none, LoginRefused when the registry wants another login, EngineRefused
    with the engine's words when a step fails, and what :meth:`Connection.changing` raises.
    """
    tag = check_reference(order.tag)
    what = f"build of {tag}"
    query = {
        "t": tag, "version": "1", "rm": "1", "forcerm": "1", "labels": _json(order.labels),
        "buildargs": _json(order.arguments), **({"networkmode": "none"} if order.offline else {}),
        **({"platform": order.platform} if order.platform else {}),
    }  # fmt: skip
    found = await login_for(order.base, os.environ if environ is None else environ) if order.base else Found("")
    headers = {"X-Registry-Config": found.login.config_header} if found.login is not None else {}
    sent: list[int] = [0]
    made = ""
    told = 0
    try:
        async with connection.changing(
            "POST", "/build", query, what=what, leave=leave, data=_pieces(order.context, sent), headers=headers,
            content_type="application/x-tar", read_timeout_s=SILENCE_S,
        ) as reply:  # fmt: skip
            async for event in events(reply, what):
                if sent[0] != told:
                    told = sent[0]
                    yield Sent(told, order.size_bytes)
                if isinstance(event, Made):
                    made = event.image  # one for each stage; the last is the image
                else:
                    yield event
    except EngineRefused as error:
        if not order.base or (ours := refused(error, order.base, found)) is error:
            raise
        raise ours from error
    if made:
        yield Made(made)
    else:
        raise EngineRefused(f"{what}: the engine ended without an image", "look at the build's log", 500)


async def _pieces(file: BinaryIO, sent: list[int]) -> AsyncIterator[bytes]:
    while data := await asyncio.to_thread(file.read, _CHUNK):
        yield data
        sent[0] += len(data)


def _json(values: Mapping[str, str]) -> str:
    return msgspec.json.encode(dict(values)).decode()
