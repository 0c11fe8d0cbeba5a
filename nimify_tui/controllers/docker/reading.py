"""Reading containers for a plan: at plan time and while it is carried out, never from idle."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from nimify_tui.backends.docker.connection import Verify
from nimify_tui.backends.docker.errors import NotThere
from nimify_tui.backends.docker.groups import group_of, labels_of, passing
from nimify_tui.backends.docker.kinds import Container, Listed, seconds
from nimify_tui.backends.docker.place import EnginePlace
from nimify_tui.domain.plans import Permit, Plan

T = TypeVar("T")


class Line(Protocol):
    """What a controller needs of ``backends.docker.connection.Connection``."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        ...

    @property
    def place(self) -> EnginePlace:
        """Where the engine is."""
        ...

    async def get(self, path: str, kind: type[T], query: Mapping[str, str] | None = None) -> T:
        """Ask."""
        ...

    async def change(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        what: str,
        permit: Permit,
        plan: Plan,
        verify: Verify,
        body: Mapping[str, Any] | None = None,
        deadline_s: float = 30.0,
    ) -> bytes:
        """Change something, once."""
        ...


async def members(line: Line, uid: str) -> list[Container]:
    """The containers of a service by its group's uid, as the engine has them now, by name. Raises NimifyError."""
    kind, _, name = uid.partition(":")
    if kind == "container":
        ids = [name]
    else:
        filters = json.dumps({"label": list(labels_of(uid))})
        listed = await line.get("/containers/json", list[Listed], {"all": "true", "filters": filters})
        ids = [each.id for each in listed]
    found = await asyncio.gather(*(inspected(line, each) for each in ids))
    ours = [each for each in found if each is not None and not passing(each) and group_of(each).uid == uid]
    return sorted(ours, key=lambda each: each.plain_name)


async def inspected(line: Line, container_id: str) -> Container | None:
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
