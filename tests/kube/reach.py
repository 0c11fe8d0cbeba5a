"""Ways to a cluster for tests: places as a kubeconfig gives them, opened connections, typed errors out of a call."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nimify_tui.backends.kubernetes.connection import Connection
from nimify_tui.backends.kubernetes.kubeconfig import load
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from tests.kube.cluster import Cluster
from tests.kube.faults import FaultProxy

T = TypeVar("T")


def place_of(
    cluster: Cluster,
    folder: Path,
    *,
    user: str = "admin",
    user_fields: Mapping[str, Any] | None = None,
    cluster_fields: Mapping[str, Any] | None = None,
) -> ClusterPlace:
    """The place that our own reading of a kubeconfig in ``folder`` gives; the fields replace single ones of it."""
    config = cluster.kubeconfig(user, user_fields)
    fields = config["clusters"][0]["cluster"] | dict(cluster_fields or {})
    config["clusters"][0]["cluster"] = {key: value for key, value in fields.items() if value is not None}
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config), encoding="utf-8")
    return load({}, str(file)).place()


def behind(proxy: FaultProxy, cluster: Cluster, folder: Path, **more: Any) -> ClusterPlace:
    """The same cluster through a fault proxy."""
    place = place_of(cluster, folder, **more)
    return dataclasses.replace(place, server=proxy.address, ca_pem=proxy.pair.pem())


@contextlib.asynccontextmanager
async def opened(
    place: ClusterPlace, *, clock: Clock | None = None, connect_timeout_s: float = 5.0
) -> AsyncIterator[Connection]:
    """An open connection, closed at the end."""
    connection = Connection(place, clock=clock, connect_timeout_s=connect_timeout_s)
    await connection.open()
    try:
        yield connection
    finally:
        await connection.close()


async def read(
    connection: Connection, path: str, query: Mapping[str, str] | None = None, **more: Any
) -> bytes:
    """The whole body of one GET."""
    async with connection.get(path, query or {}, **more) as answer:
        return await answer.read()


async def names(connection: Connection, path: str) -> list[str]:
    """The names in a list."""
    items = msgspec.json.decode(await read(connection, path))["items"]
    return sorted(item["metadata"]["name"] for item in items)


async def failure(call: Coroutine[Any, Any, object]) -> NimifyError:
    """The typed error that a call ends with; AssertionError when it does not."""
    try:
        result = await call
    except NimifyError as error:
        return error
    raise AssertionError(f"it gave {result!r}")


def run(call: Coroutine[Any, Any, T], deadline_s: float = 60.0) -> T:
    """Run a test's coroutine within a deadline."""

    async def bounded() -> T:
        async with asyncio.timeout(deadline_s):
            return await call

    return asyncio.run(bounded())


class OtherLoop:
    """A loop in a thread of its own, for proxies beside a session that has another one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open = contextlib.AsyncExitStack()

    def __enter__(self) -> OtherLoop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def enter(self, context: contextlib.AbstractAsyncContextManager[T]) -> T:
        """Enter it on this loop; it is left when this loop ends."""
        return self.run(self._open.enter_async_context(context))

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives on this loop."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(20)


async def let_pass(seconds: float) -> None:
    """How a source waits when it is given another pace than its own."""
    woken = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, woken.set)
    await woken.wait()
