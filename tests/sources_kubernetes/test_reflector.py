"""A reflector has what the server has, whatever happens on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.backends.kubernetes.errors import (
    Forbidden,
    Gone,
    NotFound,
    Throttled,
    TooLargeVersion,
    Unreachable,
)
from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import NimifyError
from nimify_tui.sources.kubernetes.kinds import EVENT, POD, Kind
from nimify_tui.sources.kubernetes.pace import CAP_S, FIRST_S, Pace
from nimify_tui.sources.kubernetes.reflector import REFUSED_RETRY_S, KindState, Reflector
from tests.sources_kubernetes.server import Recorder, Server


class Bench:
    """A reflector on a server of its own; sleeping only moves the clock."""

    def __init__(self, seed: int = 1, kind: Kind = POD) -> None:
        self.clock = ManualClock()
        self.rng = random.Random(seed)
        self.slept: list[float] = []
        self.server = Server(self.clock, self.rng)
        self.feed = Recorder()
        self.pace = Pace(self.clock, self.rng, self._sleep)
        self.reflector = Reflector(kind, "", self.server, self.pace, self.feed, self.clock, self.rng)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def until_idle(self) -> None:
        """Run until the server has nothing left to say."""
        self.server.idle = asyncio.Event()
        idle = asyncio.create_task(self.server.idle.wait())
        task = asyncio.create_task(self.reflector.run())
        await asyncio.wait((idle, task), timeout=30, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        assert idle.done(), "the reflector does not come to rest"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def told(self) -> dict[str, str]:
        return {uid: each.metadata.resource_version for uid, each in self.reflector.rows.items()}


def play(bench: Bench, before: Callable[[Server], None] = lambda _: None) -> Bench:
    async def run() -> None:
        before(bench.server)
        await bench.until_idle()

    asyncio.run(run())
    return bench


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 120), chaos=st.sampled_from((0.0, 0.05, 0.3)))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_the_rows_are_those_of_the_server(seed: int, steps: int, chaos: float) -> None:
    """Any order of events, cuts inside a line, 410 at any moment, refusals.

    Sabotage seen failing: not keeping the rest of a line; not moving the version on at a bookmark's
    error; a relist that does not tell what is gone; keeping the version after 410.
    """
    bench = Bench(seed)
    for _ in range(seed % 8):
        bench.server.put()
    bench.server.steps, bench.server.chaos = steps, chaos
    play(bench)
    assert bench.told() == bench.server.truth()
    assert bench.feed.seen == bench.server.truth(), "who only listens has the same picture"


def test_a_list_comes_in_pages_and_the_watch_begins_at_its_version() -> None:
    bench = Bench()
    for _ in range(8):
        bench.server.put()
    play(bench)
    pages = [query for query in bench.server.queries if "limit" in query]
    assert [("continue" in query) for query in pages] == [False, True, True]
    watch = next(query for query in bench.server.queries if "watch" in query)
    assert watch["resourceVersion"] == "18"
    assert watch["allowWatchBookmarks"] == "true"
    assert 300 <= int(watch["timeoutSeconds"]) <= 600
    assert len(bench.told()) == 8


def test_an_outage_is_resumed_without_a_second_list() -> None:
    bench = Bench()
    bench.server.put()
    play(bench)
    bench.server.put()
    bench.server.fail_next = [Unreachable("down")] * 5
    play(bench)
    assert bench.server.lists == 1
    assert bench.told() == bench.server.truth()
    assert len(bench.feed.troubles) == 5


def test_410_lists_again_and_tells_only_what_is_other() -> None:
    """Sabotage seen failing: a relist that tells every row again."""
    bench = Bench()
    keep, drop = bench.server.put(), bench.server.put()
    play(bench)
    bench.feed.touched.clear()
    bench.server.delete(drop)
    new = bench.server.put()
    bench.server.compact()
    play(bench)
    assert bench.server.lists == 2
    assert sorted(bench.feed.touched) == sorted([drop, new])
    assert keep in bench.told()


def test_while_it_is_listed_again_the_old_rows_stay() -> None:
    bench = Bench()
    for _ in range(7):
        bench.server.put()
    play(bench)
    bench.server.compact()
    bench.server.put()
    bench.server.compact()
    held: list[int] = []
    original = bench.server._list

    def watched(query: dict[str, str]) -> object:
        held.append(len(bench.reflector.rows))
        return original(query)

    bench.server._list = watched  # type: ignore[method-assign, assignment]  # what the server sends is looked at
    play(bench)
    assert held == [7, 7, 7]
    assert len(bench.told()) == 8


@pytest.mark.parametrize("error", [TooLargeVersion("behind"), Gone("410")])
def test_a_version_the_server_does_not_take_leads_to_a_list(error: NimifyError) -> None:
    bench = Bench()
    bench.server.put()
    play(bench)
    bench.server.fail_next = [error]
    play(bench)
    assert bench.server.lists == 2


def test_waits_double_up_to_the_cap_and_never_fall_below_the_servers_wish() -> None:
    bench = Bench()
    bench.server.fail_next = [Unreachable("down")] * 9
    play(bench)
    waits = [wait for _, wait in bench.feed.troubles]
    for number, wait in enumerate(waits):
        floor = min(CAP_S, FIRST_S * 2**number)
        assert floor <= wait <= min(CAP_S, 2 * floor)
    bench = Bench()
    bench.server.fail_next = [Throttled("busy", "", 17.0)]
    play(bench)
    assert bench.feed.troubles[0][1] == 17.0
    assert bench.slept[0] == 17.0


def test_410_again_and_again_is_not_a_busy_loop() -> None:
    """Sabotage seen failing: resetting the count of 410 by a list that worked."""
    bench = Bench()
    bench.server.fail_next = [Gone("410")] * 6
    play(bench)
    assert sum(bench.slept) > FIRST_S * (1 + 2 + 4 + 8)


@pytest.mark.parametrize(
    ("error", "state"), [(Forbidden("no"), KindState.FORBIDDEN), (NotFound("none"), KindState.MISSING)]
)
def test_a_kind_that_may_not_be_read_is_asked_for_again_later(error: NimifyError, state: KindState) -> None:
    bench = Bench()
    bench.server.put()
    bench.server.fail_next = [error]
    play(bench)
    assert bench.feed.states[:2] == [str(state), str(KindState.LISTED)]
    assert REFUSED_RETRY_S <= bench.slept[0] <= 1.25 * REFUSED_RETRY_S
    assert bench.feed.troubles == [], "that is no trouble of the region"


def test_the_newest_warnings_are_kept() -> None:
    kept = Kind(EVENT.name, EVENT.api, EVENT.plural, EVENT.decoder, query=EVENT.query, keep=3)
    bench = Bench(kind=kept)
    for _ in range(5):
        bench.server.put()
    play(bench)
    assert len(bench.told()) == 3
    new = [bench.server.put() for _ in range(2)]
    play(bench)
    assert len(bench.told()) == 3
    assert set(new) <= set(bench.told())
    assert bench.feed.seen == bench.told()
    assert all(query["fieldSelector"] == "type!=Normal" for query in bench.server.queries)


def test_an_object_of_another_shape_costs_nobody_else_its_row() -> None:
    bench = Bench()
    good = bench.server.put()
    bad = bench.server.put()
    bench.server.objects[bad]["status"] = {"containerStatuses": "what?"}
    play(bench)
    assert set(bench.told()) == {good}
    assert bench.reflector.unreadable == 1


@pytest.mark.parametrize(("kind", "least_s", "silence_s"), [(POD, 300, 150.0), (EVENT, 3000, 3150.0)])
def test_a_kind_without_bookmarks_is_watched_for_long_and_may_be_silent(
    kind: Kind, least_s: int, silence_s: float
) -> None:
    """Seen on a real server: events that were opened anew every 150 s, and listed when five minutes were over."""
    server = play(Bench(kind=kind)).server
    query, waited_s = next(pair for pair in zip(server.queries, server.waits_s, strict=True) if "watch" in pair[0])
    assert int(query["timeoutSeconds"]) >= least_s
    assert waited_s >= silence_s


def test_kinds_that_are_asked_for_patience_together_are_one_failure() -> None:
    """Twelve answers a few milliseconds apart, each with the same Retry-After.

    Sabotage seen failing: counting each, after which a server that wanted two seconds is left alone for thirty.
    """
    clock = ManualClock()
    pace = Pace(clock, random.Random(1))
    waits = []
    for _ in range(12):
        waits.append(pace.failed(2.0))
        clock.advance(0.005)
    assert waits[0] == 2.0
    assert max(waits) == pytest.approx(2.0)
    clock.advance(3.0)
    assert pace.failed(2.0) < 4 * FIRST_S, "the second failure in a row, and no more"
