"""Thirty days out of a real Prometheus: spikes survive, gaps stay gaps, pods of long ago count, and each is bounded."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import NimifyError
from nimify_tui.config import load
from nimify_tui.domain.demands import HistoryDemand
from nimify_tui.domain.history import ChartMetric, History
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.promql import FAMILIES
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import RegionListed, RegionSeen, Update
from nimify_tui.fleet.quantiles import quantile
from nimify_tui.fleet.store import Fleet
from nimify_tui.monitors import Monitors
from nimify_tui.sources.metrics import past
from nimify_tui.sources.metrics.adapters import ADAPTERS
from nimify_tui.sources.metrics.past import PrometheusPast
from tests.metrics.prom import backfilled, front, prometheus
from tests.metrics.test_prometheus import server_at

KEY = ServiceKey("cluster", "embed", "ai")
DAY_S, STEP_S, SCRAPE_S = 86400, 14400, 120
#: Requests of one scrape, all within 0.1 s but for those of one scrape, which need between 1 and 10 s.
EACH = 60
OLD, NEW = "embed-5d8f7c9b4d-abcde", "embed-7c6b8d9f5c-fghij"
#: Days after the beginning: nothing is known, the pod is another one, one in a hundred fails.
GAP, ROLLED, FAILING = (10, 12), 20, 25


@dataclass
class Past:
    """A server that has thirty days before ``end``."""

    url: str
    end: int

    @property
    def begin(self) -> int:
        return self.end - 30 * DAY_S

    @property
    def spike(self) -> int:
        """The time of the scrape that tells of the slow ones: in the middle of a step."""
        return self.begin + 5 * DAY_S + STEP_S // 2

    def demand(self, metric: ChartMetric = ChartMetric.LATENCY, days: int = 30, step_s: int = STEP_S) -> HistoryDemand:
        return HistoryDemand(KEY, metric, self.end - days * DAY_S, self.end, step_s)


def samples(end: int) -> Iterator[str]:
    """The pages of two pods, one after the other; twice, as two jobs that scrape the same pod make it."""
    begin = end - 30 * DAY_S
    spike = begin + 5 * DAY_S + STEP_S // 2
    of = 'job="{job}",namespace="ai",pod="{pod}",model="m"'
    for name, labels, share in (
        ("nimify_inference_request_duration_seconds_bucket", 'le="0.1"', "first"),
        ("nimify_inference_request_duration_seconds_bucket", 'le="1.0"', "fast"),
        ("nimify_inference_request_duration_seconds_bucket", 'le="10.0"', "all"),
        ("nimify_inference_request_duration_seconds_bucket", 'le="+Inf"', "all"),
        ("nimify_inference_requests_total", 'code="200"', "good"),
        ("nimify_inference_requests_total", 'code="500"', "bad"),
    ):
        if share in ("first", "good"):
            yield f"# TYPE {name} unknown"
        for job, pod in itertools.product(("models", "again"), (OLD, NEW)):
            first, last = (0, ROLLED) if pod == OLD else (ROLLED, 30)
            count = 0.0
            for at in range(begin + first * DAY_S, begin + last * DAY_S, SCRAPE_S):
                failing = at >= begin + FAILING * DAY_S
                count += {
                    "all": EACH,
                    "first": 0 if at == spike else EACH,
                    "fast": 0 if at == spike else EACH,
                    "good": EACH * (0.99 if failing else 1.0),
                    "bad": EACH * (0.01 if failing else 0.0),
                }[share]
                if not GAP[0] * DAY_S <= at - begin < GAP[1] * DAY_S:
                    yield f"{name}{{{of.format(job=job, pod=pod)},{labels}}} {count:.2f} {at}"


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("past")
    end = int(SystemClock().now()) // STEP_S * STEP_S
    backfilled(folder, samples(end))
    with prometheus(folder, [], least=0, flags=("--storage.tsdb.retention.time=60d",)) as made:
        yield Past(made.url, end)


def fleet() -> Fleet:
    """A cluster with the deployment as it is now: one pod, of which nothing is told yet."""
    now, made = SystemClock().now(), Fleet()
    service = Service(
        key=KEY, uid="u", family="", revision=2, desired_replicas=1, generation=1, observed_generation=1,
        created_at=now, changed_at=now, metrics_at="8000/metrics", labels={"kind": "Deployment"},
    )  # fmt: skip
    one = Replica(key=ReplicaKey(KEY, NEW), state=ReplicaState.READY, since=now, revision=2)
    region = Region(name="cluster", kind=RegionKind.KUBERNETES, address="test", short="c", monitor="Prometheus")
    health = RegionHealth(state=RegionState.LIVE, since=now, last_contact_at=now)
    made.apply_many([RegionSeen(now, region, health), RegionListed(now, "cluster", (service,), (one,))])
    return made


def told(url: str, demand: HistoryDemand, **limits: Any) -> History:
    async def go() -> History:
        server = server_at(url, **limits)
        try:
            made = PrometheusPast(fleet(), {"cluster": server}, lambda _: True, SystemClock())
            return await made.read(demand, server)
        finally:
            server.close()

    return asyncio.run(go())


def test_thirty_days_with_their_spike_their_gap_and_the_pods_of_then(there: Past) -> None:
    """Seen failing without the pieces of a step (the spike is no p99 of four hours), and with a plain sum (twice)."""
    found = told(there.url, there.demand())
    assert (found.runtime, found.bounds, found.piece_s, found.note) == ("nimify", (0.1, 1.0, 10.0), 1200.0, "")
    at = {each.at: each for each in found.steps}
    assert all(when % STEP_S == 0 for when in at)
    spiked = at.pop(there.spike + STEP_S // 2)
    whole = quantile(0.99, found.bounds, spiked.counts)
    assert whole is not None
    assert whole.value <= 0.1, "120 s of four hours"
    assert spiked.high[2] > 1.0, "and still there"
    assert max(each.high[2] for each in at.values()) <= 0.1
    known = {*at, there.spike + STEP_S // 2}
    gone = [when for when in range(there.begin + STEP_S, there.end + 1, STEP_S) if when not in known]
    assert gone == list(range(there.begin + GAP[0] * DAY_S + STEP_S, there.begin + GAP[1] * DAY_S + 1, STEP_S))
    early, late = at[there.begin + 2 * DAY_S], at[there.begin + 28 * DAY_S]
    for each in (early, late):  # each pod's time, and once although scraped twice
        assert each.counts[-1] == pytest.approx(EACH / SCRAPE_S, rel=0.05)


def test_requests_and_errors_are_rates_and_a_ratio(there: Past) -> None:
    requests = told(there.url, there.demand(ChartMetric.REQUESTS, 7, 3600))
    assert {round(each.total or 0.0, 2) for each in requests.steps[2:-2]} == {EACH / SCRAPE_S}
    assert requests.steps[10].low == pytest.approx((0.5,), rel=0.1)
    errors = told(there.url, there.demand(ChartMetric.ERRORS, 7, 3600)).steps
    ratio = [(each.errors or 0.0) / (each.total or 1.0) for each in errors]
    assert ratio[10] == 0.0, "none is told although requests are: that is none"
    assert ratio[-10] == pytest.approx(0.01, rel=0.05)


def test_what_is_copied_says_the_same_to_the_server(there: Past) -> None:
    """The expression of p99, asked as anybody would."""
    demand = there.demand(days=1, step_s=900)
    found = told(there.url, demand)
    (name, text) = found.queries[2]
    assert name == "p99"
    assert 'namespace=~"ai",pod=~"embed-[a-z0-9]{1,10}-[a-z0-9]{5}"' in text, "its pods, those of then too"

    async def asked() -> list[float]:
        server = server_at(there.url)
        rows = (await server.past(text, demand.end, demand.end, 900)).rows
        server.close()
        return [value for row in rows for _, value in row.values]

    ours = quantile(0.99, found.bounds, found.steps[-1].counts)
    assert ours is not None
    (theirs,) = asyncio.run(asked())
    assert theirs <= ours.value == 0.1, "in the first bucket: at most that"


def test_trouble_limits_and_a_server_that_finds_peaks_too_much(there: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NimifyError, match="series, more than 2"):
        told(there.url, there.demand(), max_series=2)
    with pytest.raises(NimifyError, match="more than 500 bytes"):
        told(there.url, there.demand(), max_bytes=500)
    with pytest.raises(NimifyError, match="more than 2000 points"):
        told(there.url, there.demand(step_s=600))
    nothing = HistoryDemand(KEY, ChartMetric.LATENCY, there.begin - 9 * DAY_S, there.begin - 2 * DAY_S, STEP_S)
    with pytest.raises(NimifyError, match="has no series of it in this time"):
        told(there.url, nothing)
    with front(there.url) as before:
        too_much = b'{"status":"error","errorType":"execution","error":"query processing would load too many samples"}'
        before.instead = lambda path, _: (422, too_much, 0.0) if "max_over_time" in path else None
        found = told(before.url, there.demand())
        assert found.note.startswith("without peaks: ")
        assert found.steps
        assert not any(each.high for each in found.steps)
        before.instead = lambda path, _: (503, b"", 0.0) if "query_range" in path else None
        with pytest.raises(NimifyError, match="answers 503"):
            told(before.url, there.demand())


def test_a_demand_is_answered_once_cancelled_when_nobody_looks_and_tried_again(
    there: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen failing with the answers not kept (the same question was asked again), and with nothing cancelled (the one
    that hangs was answered after all).
    """
    monkeypatch.setattr(past, "AGAIN_S", 0.05)

    trouble: list[bool] = []
    hang: list[bool] = []
    hangs = threading.Event()

    async def go(url: str, asked: list[Any]) -> None:
        looks, server, came = fleet(), server_at(url), asyncio.Event()

        def sink(updates: Sequence[Update]) -> None:
            looks.apply_many(updates)
            came.set()

        async def answered(demand: HistoryDemand, *, error: bool = False) -> History:
            while True:
                found = looks.publish(SystemClock().now()).histories.get(demand)
                if found is not None and bool(found.error) is error:
                    return found
                came.clear()
                await came.wait()

        work = asyncio.create_task(PrometheusPast(looks, {"cluster": server}, lambda _: True, SystemClock()).run(sink))
        try:
            async with asyncio.timeout(60):
                week, month = there.demand(days=7, step_s=3600), there.demand()
                trouble.append(True)
                looks.demand(week)
                failed = await answered(week, error=True)
                assert "answers 503" in failed.error
                trouble.clear()
                assert (await answered(week)).steps
                first = len(asked)
                looks.release(week)
                looks.demand(month)
                await answered(month)
                looks.release(month)
                then = len(asked)
                assert then > first
                came.clear()
                looks.demand(week)
                await came.wait()
                assert len(asked) == then, "the same question is not asked twice"
                trouble.append(True)
                hanging = there.demand(days=2, step_s=900)
                hang.append(True)
                looks.demand(hanging)
                assert await asyncio.to_thread(hangs.wait, 30.0)
                looks.release(hanging)
                trouble.clear()
                hang.clear()
                day = there.demand(days=1, step_s=900)
                looks.demand(day)
                assert (await answered(day)).steps, "who looked away holds up nobody"
                assert hanging not in looks.frame.histories
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            server.close()

    with front(there.url) as before:
        def instead(path: str, _: dict[str, str]) -> tuple[int, bytes, float] | None:
            if not trouble or "query_range" not in path:
                return None
            if hang:
                hangs.set()
            return 503, b"", 120.0 if hang else 0.0

        before.instead = instead
        asyncio.run(go(before.url, before.asked))


def test_a_region_of_the_configuration_is_answered_beside_its_rows(there: Past, tmp_path: Path) -> None:
    """The wiring: from the configuration to the frame that a screen takes."""
    file = tmp_path / "config.toml"
    file.write_text(
        f'[[region]]\nname = "cluster"\nkind = "kubernetes"\ncontext = "none"\nprometheus = "{there.url}"\n'
    )
    config = load([file], {})
    assert config.regions[0].monitor == f"Prometheus {there.url.removeprefix('http://')}"
    (work,) = Monitors(config, (), lambda _: None, SystemClock()).fleet_work(numbers=True)

    async def go() -> History:
        looks, came = fleet(), asyncio.Event()

        def sink(updates: Sequence[Update]) -> None:
            looks.apply_many(updates)
            came.set()

        task = asyncio.create_task(work(looks, sink))
        looks.demand(there.demand())
        try:
            async with asyncio.timeout(60):
                while not (found := looks.publish(SystemClock().now()).histories):
                    came.clear()
                    await came.wait()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return found[there.demand()]

    assert len(asyncio.run(go()).steps) > 100


def test_replicas_without_a_pattern_are_named_up_to_a_limit(there: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen failing with the limit left out: a part of the service was told as all of it."""
    looks = fleet()
    service, (one,) = looks.metered()[0]
    custom = msgspec.structs.replace(service, labels={"kind": "Rollout"})
    looks.apply(RegionListed(SystemClock().now(), "cluster", (custom,), (one,)))

    async def go() -> History:
        server = server_at(there.url)
        try:
            made = PrometheusPast(looks, {"cluster": server}, lambda _: True, SystemClock())
            return await made.read(there.demand(), server)
        finally:
            server.close()

    found = asyncio.run(go())
    assert f'pod=~"{NEW}"' in found.queries[0][1]
    assert found.steps[0].at > there.begin + ROLLED * DAY_S, "the pods of before are nobody's by name"
    monkeypatch.setattr(past, "MOST_NAMES", 0)
    with pytest.raises(NimifyError, match="its 1 replicas are more than the 0"):
        asyncio.run(go())


def test_the_names_of_the_table_are_those_that_the_adapters_read() -> None:
    read = {name for make in ADAPTERS for name in make().wanted}
    for family in FAMILIES:
        assert {family.bucket.name, *(each.name for each in family.total)} <= read, family.runtime


