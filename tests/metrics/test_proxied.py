"""Who is read through an API server, and how often: a pure plan. What goes over the wire: tests.kube.test_metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nimify_tui.backends.kubernetes.errors import Forbidden, Throttled, Unauthorized
from nimify_tui.backends.kubernetes.rights import Access, Review
from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.demands import Demand, DetailDemand, NumbersDemand
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import SampleFailed, Update
from nimify_tui.sources.metrics import turns
from nimify_tui.sources.metrics.proxied import Answer, ProxiedScrapes
from nimify_tui.sources.metrics.turns import CAP_RPS, LONGEST_S, SHORTEST_S, planned, spots_of
from tests.fleet.town import replica_fact, service_fact

Pair = tuple[Service, list[Replica]]


def service(name: str, count: int, space: str = "prod", at: str = "8000/metrics") -> Pair:
    key = ServiceKey("use1", name, space)
    replicas = [replica_fact(ReplicaKey(key, f"{name}-{number}"), admin_url="") for number in range(count)]
    return service_fact(key, count, metrics_at=at), replicas


def read(*pairs: Pair, looked_at: tuple[DetailDemand | NumbersDemand, ...] = ()) -> set[str]:
    return {each.key.service.name for each in planned(pairs, looked_at).spots}


def test_few_are_read_often_and_many_as_often_as_the_cap_lets() -> None:
    few = planned([service("a", 3)], ())
    assert (len(few.spots), few.every_s) == (3, SHORTEST_S)
    many = planned([service("a", 30), service("b", 30)], ())
    assert many.every_s == 60 / CAP_RPS
    assert len(many.spots) / many.every_s <= CAP_RPS


def test_what_is_looked_at_comes_first_and_is_read_whole_or_not_at_all() -> None:
    a, b, c = service("a", 50), service("b", 40), service("c", 30)
    assert read(a, b, c) == {"a", "c"}
    shown, detail = NumbersDemand(b[0].key), DetailDemand(c[0].key.fold_id)
    assert read(a, b, c, looked_at=(shown,)) == {"b", "c"}
    assert read(a, b, c, looked_at=(NumbersDemand(a[0].key), detail)) == {"a", "c"}
    found = planned([a, b, c], (shown,))
    assert {key.service.name for key, _ in found.left_out} == {"a"}
    assert len(found.left_out) == 50
    assert "what is looked at is read" in found.left_out[0][1]


def test_who_is_left_out_costs_no_more_than_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out every two seconds. Seen failing with all their paths made: a hundredth of a core."""
    made: list[str] = []
    path = turns.pod_path

    def counted(space: str, pod: str, place: str) -> str:
        made.append(pod)
        return path(space, pod, place)

    monkeypatch.setattr(turns, "pod_path", counted)
    found = planned([service(f"d{number:02}", 50) for number in range(100)], ())
    assert (len(found.spots), len(found.left_out)) == (50, 4_950)
    assert len(made) <= 2 * 50 + 2 * 100


def test_one_that_is_too_large_says_so_and_takes_nothing_from_others() -> None:
    large = service("a", int(CAP_RPS * LONGEST_S) + 1)
    found = planned([large, service("b", 2)], (DetailDemand(large[0].key.row_id),))
    assert {each.key.service.name for each in found.spots} == {"b"}
    assert found.left_out[0][1] == "its 81 replicas are more than the 80 that are read by 10 requests a second"


def test_a_namespace_without_the_right_is_not_asked() -> None:
    found = planned([service("a", 2), service("b", 1, "dev")], (), ("prod",))
    assert [each.key.service.name for each in found.spots] == ["b"]
    assert {why for _, why in found.left_out} == {"no right to pods/proxy in ns prod"}


def test_only_pods_that_run_are_asked_by_a_path_that_leads_nowhere_else() -> None:
    made, replicas = service("a", 3, at="https:8443/v1/metrics")
    replicas[0] = replica_fact(replicas[0].key, ReplicaState.BACKOFF)
    replicas[1] = replica_fact(ReplicaKey(made.key, "../../secrets"))
    [spot] = spots_of(made, replicas)
    assert spot.path == "/api/v1/namespaces/prod/pods/https:a-2:8443/proxy/v1/metrics"
    assert spot.place == "8443/v1/metrics"


@pytest.mark.parametrize("at", ["", "8000", "8000/../x", "8000/a?b=1", "8000/a#b", "x/metrics", "8000/a b", "http://h/"])
def test_a_place_that_is_none_is_not_asked(at: str) -> None:
    assert spots_of(*service("a", 1, at=at)) == []


class NoAnswer:
    """A body that nobody reads."""

    async def read(self) -> bytes:
        return b""


class Forbidding:
    """A region whose pods answer 403 themselves; it counts the pages asked for and the reviews of the right."""

    is_open = True

    def __init__(self, *, allowed: bool) -> None:
        self.allowed, self.pages, self.reviews = allowed, 0, 0

    @asynccontextmanager
    async def get(self, path: str, **_more: object) -> AsyncIterator[Answer]:
        self.pages += 1
        if path:
            raise Forbidden("no", status=403, reason="Forbidden")
        yield NoAnswer()

    async def may(self, _access: Access) -> Review:
        self.reviews += 1
        return Review(allowed=self.allowed)


class Prod:
    """A fleet of one service."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def metered(self) -> list[Pair]:
        return [self.pair]

    def demands(self) -> frozenset[Demand]:
        return frozenset()


@pytest.mark.parametrize(("allowed", "pages", "why"), [(True, 20, "8000/metrics answers 403"), (False, 5, "no right")])
def test_the_right_is_reviewed_once_however_often_pods_refuse(allowed: bool, pages: int, why: str) -> None:
    """Ten quiet minutes cost no review. Seen failing without the memory of what the server said."""
    clock, link = ManualClock(1_000.0), Forbidding(allowed=allowed)
    told: list[Update] = []

    async def go() -> None:
        scrapes = ProxiedScrapes(Prod(service("a", 5)), lambda _name: link, lambda: ["use1"], clock)
        for _ in range(600):
            clock.advance(1.0)
            scrapes.step(told.extend)
            for _ in range(5):
                await asyncio.sleep(0)

    asyncio.run(go())
    assert link.reviews == 1
    assert link.pages >= pages
    assert any(isinstance(each, SampleFailed) and why in each.reason for each in told)


class Mixed(Forbidding):
    """A region of which the pods ``bad-…`` answer ``error``; the server itself does so unless it is ``fine``."""

    def __init__(self, error: NimifyError, *, fine: bool) -> None:
        super().__init__(allowed=True)
        self.error, self.fine, self.asked = error, fine, dict.fromkeys(("bad", "good"), 0)

    @asynccontextmanager
    async def get(self, path: str, **_more: object) -> AsyncIterator[Answer]:
        bad = "/bad-" in path
        self.asked["bad" if bad else "good"] += 1
        if bad:
            raise self.error
        yield NoAnswer()

    async def may(self, access: Access) -> Review:
        if not self.fine:
            self.reviews += 1
            raise self.error
        return await super().may(access)


class Two(Prod):
    """A fleet of a bad service and a good one."""

    def metered(self) -> list[Pair]:
        return [self.pair, service("good", 2)]


@pytest.mark.parametrize(
    ("error", "fine", "good", "why"),
    [
        (Throttled("busy", "", 300.0), True, 20, "answers that it is asked too often"),
        (Unauthorized("no", status=401), True, 20, "answers 401"),
        (Throttled("busy", "", 300.0), False, 0, "busy"),
    ],
    ids=["pod-429", "pod-401", "server-429"],
)
def test_a_pod_that_asks_for_patience_does_not_stop_its_region(
    error: NimifyError, fine: bool, good: int, why: str
) -> None:
    """Seen failing with a pod's Retry-After taken for the server's: a minute without any numbers of the region."""
    clock, link = ManualClock(1_000.0), Mixed(error, fine=fine)
    told: list[Update] = []

    async def go() -> None:
        scrapes = ProxiedScrapes(Two(service("bad", 2)), lambda _name: link, lambda: ["use1"], clock)
        for _ in range(600):
            clock.advance(0.1)
            scrapes.step(told.extend)
            for _ in range(5):
                await asyncio.sleep(0)

    asyncio.run(go())
    assert link.reviews <= 2
    assert why in {each.reason.partition("8000/metrics ")[2] or each.reason for each in told
                   if isinstance(each, SampleFailed) and each.key.service.name == "bad"}  # fmt: skip
    # What is answered here says nothing that is known: asked again after a minute, so the good ones are asked once.
    assert (link.asked["good"] > 0) is bool(good)
