"""Make a container and start it: it runs, or nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import EngineRefused, NotThere
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.pulling import runnable
from nimify_tui.backends.docker.specs import ContainerSpec
from nimify_tui.base.errors import NimifyError

#: A start waits for volumes, devices and networks, seconds.
START_S = 60.0
#: How often a start can ask: make, join networks (8), start, remove.
CALLS = 11


class _Created(msgspec.Struct):
    Id: str = ""


async def start_new(connection: Connection, spec: ContainerSpec, leave: Leave) -> str:
    """Make and start a container of ``spec``; its id.

    Raises ValidationError for a spec that cannot be, EngineRefused when the engine said no (no such image, one for
    another machine, the name or a port is taken, no GPU, no room ...), and what :meth:`Connection.change` raises.
    When it raises, or its task is cancelled, no container is left; if even that fails, the error's remedy names it.
    """
    spec.check()
    await runnable(connection, spec.image)
    return await start_body(
        connection, spec.name, spec.body(), spec.further_networks(), leave, spec.archives()
    )


async def start_body(
    connection: Connection,
    name: str,
    body: Mapping[str, Any],
    networks: Mapping[str, Mapping[str, Any]],
    leave: Leave,
    archives: Mapping[str, bytes] | None = None,
) -> str:
    """The same of the engine's own words: ``body`` for its create call, and ``networks`` to join before the start.

    ``archives`` are tar archives by the folder (in a volume) that they are unpacked into.
    """
    what = f"start of {name}"
    asked = asyncio.ensure_future(_create(connection, name, body, leave))
    try:
        made = await asyncio.shield(asked)
    except asyncio.CancelledError:
        with contextlib.suppress(NimifyError):
            await _removed(connection, await asked, name, leave)
        raise
    try:
        for network, settings in networks.items():
            joined = {"Container": made, "EndpointConfig": settings}
            await connection.change(
                "POST",
                f"/networks/{network}/connect",
                {},
                what=f"{what}: network {network}",
                body=joined,
                **_of(leave),
            )
        for folder, archive in (archives or {}).items():
            async with connection.changing(
                "PUT", f"/containers/{made}/archive", {"path": folder}, what=f"{what}: files for {folder}", leave=leave,
                data=archive, content_type="application/x-tar",
            ) as pieces:  # fmt: skip
                async for _ in pieces:
                    pass
        await connection.change(
            "POST", f"/containers/{made}/start", {}, what=what, deadline_s=START_S, **_of(leave)
        )
    except BaseException as error:
        # Shielded: whoever cancels us wants nothing left behind, either.
        gone = await asyncio.shield(asyncio.ensure_future(_removed(connection, made, name, leave)))
        if not gone and isinstance(error, NimifyError):
            error.remedy = f"{error.remedy}; remove what is left: docker rm --force {name}".lstrip("; ")
        raise
    return made


async def remove(connection: Connection, container: str, leave: Leave) -> None:
    """Remove a container by force with its volumes without a name; one that is gone is no error."""
    with contextlib.suppress(NotThere):
        await connection.change(
            "DELETE",
            f"/containers/{container}",
            {"force": "1", "v": "1"},
            what=f"removal of {container[:40]}",
            **_of(leave),
        )


async def _create(connection: Connection, name: str, body: Mapping[str, Any], leave: Leave) -> str:
    reply = await connection.change(
        "POST", "/containers/create", {"name": name}, what=f"start of {name}", body=body, deadline_s=START_S,
        **_of(leave),
    )  # fmt: skip
    return msgspec.json.decode(reply, type=_Created).Id


async def _removed(connection: Connection, container: str, name: str, leave: Leave) -> bool:
    try:
        await remove(connection, container, leave)
    except EngineRefused as error:
        return error.status == 409 and "in progress" in error.message
    except NimifyError:
        return False
    return True


def _of(leave: Leave) -> dict[str, Any]:
    return {"permit": leave.permit, "plan": leave.plan, "verify": leave.verify}
