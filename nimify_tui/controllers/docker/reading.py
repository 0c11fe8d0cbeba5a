"""Reading containers for a plan: at plan time and while it is carried out, never from idle."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import NotThere
from nimify_tui.backends.docker.groups import group_of, labels_of, passing
from nimify_tui.backends.docker.kinds import Container, Listed, seconds


async def members(line: Connection, uid: str) -> list[Container]:
    """The containers of a service by its group's uid, as the engine has them now, by name. Raises NimifyError."""
    kind, _, name = uid.partition(":")
    if kind == "container":
        found = [one] if (one := await inspected(line, name)) is not None else []
    else:
        found = await labelled(line, *labels_of(uid))
    ours = [each for each in found if not passing(each) and group_of(each).uid == uid]
    return sorted(ours, key=lambda each: each.plain_name)


async def labelled(line: Connection, *labels: str) -> list[Container]:
    """The containers with all of these labels ("name=value"), running or not. Raises NimifyError."""
    filters = json.dumps({"label": list(labels)})
    listed = await line.get("/containers/json", list[Listed], {"all": "true", "filters": filters})
    found = await asyncio.gather(*(inspected(line, each.id) for each in listed))
    return [each for each in found if each is not None]


async def inspected(line: Connection, container_id: str) -> Container | None:
    """A container as it is now; None when it is no more."""
    try:
        return await line.get(f"/containers/{container_id}/json", Container)
    except NotThere:
        return None


def identity(some: Sequence[Container]) -> str:
    """What a plan was made for: exactly these containers."""
    return hashlib.sha256("".join(sorted(each.id for each in some)).encode()).hexdigest()[:32]


def path_of(some: Sequence[Container]) -> str:
    """The containers' ids as a plan keeps them."""
    return ",".join(each.id for each in some)


def newest_start(some: Sequence[Container]) -> float:
    """When the newest of them was started; 0: never."""
    return max((seconds(each.state.started_at) or 0.0 for each in some), default=0.0)


def serves(one: Container) -> bool:
    """Running, and healthy where it has a health check."""
    health = one.state.health
    fit = health is None or health.status in ("", "none", "healthy")
    return one.state.status == "running" and fit
