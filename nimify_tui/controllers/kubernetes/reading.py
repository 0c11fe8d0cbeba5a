"""Reading single objects and short lists for a plan: bounded, at plan time only, never from idle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from nimify_tui.backends.kubernetes.errors import BadAnswer
from nimify_tui.backends.kubernetes.rights import Access, Review
from nimify_tui.backends.kubernetes.write import Verify, Writer
from nimify_tui.controllers.kubernetes.objects import Json, Live, as_map, maps

#: One object; etcd keeps at most 1.5 MB.
OBJECT_BYTES = 8 * 1024 * 1024
#: A page of a list.
PAGE = 500
_PAGES = 4


class Answering(Protocol):
    """An answer that is still to be read."""

    async def read(self) -> bytes:
        """All of it."""
        ...


class Line(Protocol):
    """What a controller needs of ``backends.kubernetes.connection.Connection``."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        ...

    def get(
        self, path: str, query: Mapping[str, str] | None = None, *, read_timeout_s: float = 30.0,
        limit_bytes: int = OBJECT_BYTES,
    ) -> AbstractAsyncContextManager[Answering]:  # fmt: skip
        """Ask; only a good answer gets inside."""
        ...

    async def may(self, access: Access) -> Review:
        """Ask for a right."""
        ...

    def writer(self, verify: Verify) -> Writer:
        """The way to change something."""
        ...


async def read_object(line: Line, path: str) -> Live:
    """The object at ``path``. Raises NotFound, Forbidden and what else the backend raises."""
    async with line.get(path, read_timeout_s=10.0, limit_bytes=OBJECT_BYTES) as answer:
        return Live(_json(await answer.read(), path), path)


async def read_list(line: Line, path: str, query: Mapping[str, str] | None = None) -> list[Json]:
    """The objects of a list, at most 2,000 of them. Raises as :func:`read_object` does."""
    found: list[Json] = []
    async for page in _pages(line, path, dict(query or {})):
        found += page
    return found


async def _pages(line: Line, path: str, query: dict[str, str]) -> AsyncIterator[list[Json]]:
    for _ in range(_PAGES):
        async with line.get(
            path, {**query, "limit": str(PAGE)}, read_timeout_s=10.0, limit_bytes=64 * OBJECT_BYTES // 8
        ) as answer:
            body = _json(await answer.read(), path)
        yield maps(body.get("items"))
        query["continue"] = str(as_map(body.get("metadata")).get("continue") or "")
        if not query["continue"]:
            return


def selector(labels: Mapping[str, Any]) -> str:
    """``matchLabels`` as a query."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def segment(name: str) -> str:
    """A name as a part of a path; a name from outside cannot leave its place."""
    return quote(name, safe="")


def _json(body: bytes, path: str) -> Json:
    try:
        return as_map(msgspec.json.decode(body))
    except msgspec.MsgspecError as error:
        raise BadAnswer(f"GET {path}: the answer is no JSON") from error
