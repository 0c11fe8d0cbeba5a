"""Get an image: from its registry with progress, and only one that this engine's machine can run."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import EngineRefused, NotThere
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.logins import login_for, refused
from nimify_tui.backends.docker.progress import Event, events
from nimify_tui.backends.docker.references import check_reference, is_id, parse
from nimify_tui.base.text import clean_line

#: A registry that says nothing for so long is not there, seconds.
SILENCE_S = 120.0
#: What engines and images call the same machines.
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "i386": "386"}


class Image(msgspec.Struct, frozen=True):
    """What an engine has. ``architecture`` as in Go ("amd64")."""

    Id: str = ""
    Architecture: str = ""
    Os: str = ""
    Size: int = 0


class _Info(msgspec.Struct):
    Architecture: str = ""
    OSType: str = "linux"


async def pull(
    connection: Connection,
    reference: str,
    leave: Leave,
    *,
    platform: str = "",
    environ: Mapping[str, str] | None = None,
) -> AsyncGenerator[Event]:
    """The events of a pull. Closing it (or cancelling its task) ends the pull; layers that are there are kept.

    The engine asks the registry with what ``docker login`` left on this machine for it; ``environ`` says where that is,
    None: this process' own.

    Raises ValidationError for a name that is none, LoginRefused when the registry wants another login, EngineRefused
    when there is no such image, none for this machine, no room or no right, and what :meth:`Connection.changing`
    raises.
    """
    name, tag, digest = parse(reference)
    query = {
        "fromImage": name,
        "tag": digest or tag or "latest",
        **({"platform": platform} if platform else {}),
    }
    what = f"pull of {reference}"
    found = await login_for(reference, os.environ if environ is None else environ)
    headers = {"X-Registry-Auth": found.login.header} if found.login is not None else {}
    try:
        async with connection.changing(
            "POST", "/images/create", query, what=what, leave=leave, headers=headers, read_timeout_s=SILENCE_S
        ) as reply:
            async for event in events(reply, what):
                yield event
    except EngineRefused as error:
        if (told := refused(error, reference, found)) is error:
            raise
        raise told from error


async def find(connection: Connection, reference: str) -> Image | None:
    """The image as the engine has it, None when it has none of this name. Raises ValidationError as :func:`pull`."""
    if not is_id(reference):
        check_reference(reference)
    try:
        return await connection.get(f"/images/{reference}/json", Image)
    except NotThere:
        return None


async def runnable(connection: Connection, reference: str) -> Image:
    """The image, if this engine's machine can run it.

    Raises EngineRefused: a start would say "exec format error" and leave a container behind.
    """
    image = await find(connection, reference)
    if image is None:
        shown = clean_line(reference, 120)
        raise NotThere(
            f"the engine at {connection.address} has no image {shown}", "pull or build it first", 404
        )
    engine = await connection.get("/info", _Info)
    machine = _MACHINES.get(engine.Architecture, engine.Architecture)
    if image.Architecture and machine and image.Architecture != machine:
        raise EngineRefused(
            f"{clean_line(reference, 120)} is for {clean_line(image.Architecture, 20)}, and the engine's machine is"
            f" {clean_line(machine, 20)}",
            f"build or pull it for linux/{machine}",
            409,
        )
    return image
