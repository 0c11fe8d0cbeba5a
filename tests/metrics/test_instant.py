"""Instant queries by prometheus-api-client, through our own way: the value, its labels, and what the library drops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from nimify_tui.backends.prometheus.errors import BadAnswer, QueryRefused, ServerGone
from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.server import Instant, PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct
from nimify_tui.base.clock import SystemClock
from tests.metrics.prom import Prometheus, front, prometheus, serving

PAGE = b"# TYPE asked counter\nasked_total{path=\"/v2\"} 7\nasked_total{path=\"/v1\"} 3\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with serving(lambda _: (200, PAGE)) as page:
        targets = [(f"127.0.0.1:{page}", {"pod": "a"})]
        with prometheus(tmp_path_factory.mktemp("instant"), targets, least=2) as running:
            yield running


def asked(url: str, expression: str) -> Instant:
    """With one shared thread, which the way to the server needs. Seen failing where the library took it: no answer."""

    async def go() -> Instant:
        clock = SystemClock()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        server = PrometheusServer(Direct(ServerPlace(url), clock=clock), clock)
        try:
            return await server.instant(expression, clock.now())
        finally:
            server.close()

    return asyncio.run(go())


def test_the_values_come_with_their_labels_and_no_warning(server: Prometheus) -> None:
    found = asked(server.url, "sum by (path) (asked_total)")
    assert (sorted(found.values, key=lambda each: each[1]), found.warning) == (
        [({"path": "/v1"}, 3.0), ({"path": "/v2"}, 7.0)], "",
    )  # fmt: skip
    assert asked(server.url, "nobody_has_it").values == []


def test_what_the_library_drops_is_told(server: Prometheus) -> None:
    """A partial answer, as Thanos and Mimir say it. The library's call returns the result alone."""
    with front(server.url) as before:
        said = ["one store \x1b[31mis away"]
        before.change = lambda body: json.dumps({**json.loads(body), "warnings": said}).encode()
        found = asked(before.url, "sum(asked_total)")
    assert (found.values, found.warning) == ([({}, 10.0)], "one store is away")


def test_what_is_wrong_is_said_by_the_servers_words(server: Prometheus) -> None:
    with pytest.raises(QueryRefused, match="parse error"):
        asked(server.url, "sum(")
    with pytest.raises(BadAnswer, match="something else than a value"):
        asked(server.url, "1 + 1")  # a scalar has no labels
    with front(server.url) as before:
        before.change = lambda _: b"<html>"
        with pytest.raises(BadAnswer, match="no Prometheus"):
            asked(before.url, "up")
    with pytest.raises(ServerGone):
        asked("http://127.0.0.1:1", "up")
