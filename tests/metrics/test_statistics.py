"""Triton's statistics API: what it says is what its metrics would, and it is asked where those are off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.backends.kubernetes.errors import ServerTrouble
from nimify_tui.base.clock import ManualClock, SystemClock
from nimify_tui.base.errors import ValidationError
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica
from nimify_tui.domain.updates import ModelsSeen, Sampled, Update
from nimify_tui.sources.metrics.adapters import Reader
from nimify_tui.sources.metrics.proxied import Answer, ProxiedScrapes
from nimify_tui.sources.metrics.scrape import ScrapeSource
from nimify_tui.sources.metrics.statistics import NO_METRICS, series_of
from tests.fleet.town import replica_fact
from tests.metrics.foreign import TRITON_STATS, TRITON_STATS_CACHED
from tests.metrics.prom import serving
from tests.metrics.test_proxied import Forbidding, Prod, service
from tests.serving.servers import listener


def test_statistics_are_read_as_the_metrics_would_be() -> None:
    found = Reader().statistics(TRITON_STATS, 1.0, "test")
    assert found is not None
    assert (found.requests, found.latency_note) == ({"200": 4.0, "500": 0.0}, NO_METRICS)
    assert found.queue is not None
    assert found.queue.sum_s == pytest.approx(539764e-9)
    assert found.compute is not None
    assert found.compute.sum_s == pytest.approx(14614545e-9)
    assert (found.batch_sum, found.batch_count) == (4.0, 4.0)
    assert (found.queued, found.cache) == (None, None), "not told is not zero"
    assert found.duration is not None
    assert found.duration.bounds_s == (), "a mean, and no percentile"

    cached = Reader().statistics(TRITON_STATS_CACHED, 1.0, "test")
    assert cached is not None
    assert cached.requests == {"200": 10.0, "500": 3.0}
    assert cached.cache == {("l1", "hit"): 6.0, ("l1", "miss"): 4.0}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.sampled_from([b"[]", b"{}", b'{"model_stats": 1}', b"[" * 100_000]))
def test_what_is_no_statistics_is_a_typed_error(body: bytes) -> None:
    with pytest.raises(ValidationError):
        series_of(body)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([b"-4", b"1e308", b"0.5", b"99999999999999999999"]), st.sampled_from([b"count", b"ns"]))
def test_no_odd_number_is_counted_with(value: bytes, key: bytes) -> None:
    body = TRITON_STATS.replace(b'"%s": 4' % key, b'"%s": %s' % (key, value))
    try:
        found = series_of(body)
    except ValidationError:
        return
    assert all(0.0 <= each.value < float("inf") for series in found.values() for each in series)


def test_a_server_whose_metrics_are_off_is_asked_for_its_statistics_and_its_models() -> None:
    key = ReplicaKey(ServiceKey("here", "triton"), "r")
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        asked.append(request.path)
        return 200, TRITON_STATS

    async def go(replica: Replica) -> list[Update]:
        found: list[Update] = []
        came = asyncio.Event()

        def sink(updates: Sequence[Update]) -> None:
            found.extend(updates)
            came.set()

        work = asyncio.create_task(ScrapeSource(lambda: [replica], SystemClock()).run(sink))
        async with asyncio.timeout(30):
            await came.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return found

    with listener() as closed:
        port = closed.getsockname()[1]
    with serving(answer) as stats:
        one = replica_fact(key, admin_url=f"http://127.0.0.1:{port}")
        found = asyncio.run(go(msgspec.structs.replace(one, stats_url=f"http://127.0.0.1:{stats}")))
    (sample,) = [each.sample for each in found if isinstance(each, Sampled)]
    assert sample.source == f"http://127.0.0.1:{stats}/v2/models/stats"
    assert asked == ["/v2/models/stats"]
    assert not any(isinstance(each, ModelsSeen) for each in found), "this one has no list"


class _Body:
    async def read(self) -> bytes:
        return TRITON_STATS


class Off(Forbidding):
    """A region of pods whose port of metrics does not answer, as an API server says it."""

    def __init__(self) -> None:
        super().__init__(allowed=True)
        self.asked: list[str] = []

    @asynccontextmanager
    async def get(self, path: str, **_more: object) -> AsyncIterator[Answer]:
        self.asked.append(path.rpartition(":")[2])
        if not path.endswith("/stats"):
            raise ServerTrouble("error trying to reach service: dial tcp: connection refused", status=503)
        yield _Body()


def test_through_an_api_server_the_same_and_metrics_are_tried_again_once_a_minute() -> None:
    clock, link, told = ManualClock(1_000.0), Off(), list[Update]()
    made, replicas = service("a", 1, at="8002/metrics")
    pair = (made, replicas)

    async def go() -> None:
        scrapes = ProxiedScrapes(Prod(pair), lambda _name: link, lambda: ["use1"], clock)
        for _ in range(100):
            clock.advance(1.0)
            scrapes.step(told.extend)
            for _ in range(8):
                await asyncio.sleep(0)

    pair = (msgspec.structs.replace(made, stats_at="8000/v2/models/stats"), replicas)
    asyncio.run(go())
    assert sum(isinstance(each, Sampled) for each in told) > 15
    assert link.asked.count("8002/proxy/metrics") == 2
    (source,) = {each.sample.source for each in told if isinstance(each, Sampled)}
    assert source == "pod /v2/models/stats"
