"""Lookups of caches by step: told out of order, seldom, in parts, and of one server by several regions."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import cast

import pytest

from nimify_tui.domain.caches import PREFIX, STEP_S, STEPS, CacheKey, CacheTold
from nimify_tui.domain.measures import MeasureState, ReplicaSample, TokenSample
from nimify_tui.fleet.caches import CacheTracks, Steps
from nimify_tui.fleet.cachestats import stats
from nimify_tui.fleet.frames import CacheStat
from nimify_tui.fleet.judges import Look, Memory, cache
from nimify_tui.fleet.shared import SharedCaches


class One:
    """A replica."""

    cached: array[float] | None = None


def prefix(at: float, hits: float | None, every_s: float | None = None, kv: float = 0.5) -> ReplicaSample:
    """Half of the lookups are hits."""
    tokens = TokenSample(prefix_hits=hits, prefix_queries=None if hits is None else 2.0 * hits, kv_ratio=kv)
    return ReplicaSample(at=at, source="t", started_at=1.0, every_s=every_s, tokens=tokens)


def test_lookups_told_out_of_order_are_all_counted_in_their_steps() -> None:
    """A region told of at once, and one told of 45 s later, in turn. Seen failing with an entry for each change of the
    step: of 24 steps five were left.
    """
    steps, at = Steps(), 0.0
    for turn in range(120):
        at = 1000.0 + 4 * turn
        steps.add(at, 1.0, 10.0)
        steps.add(at - 45.0, 9.0, 10.0)
    sums = steps.sums(at)
    assert len(steps.steps) == len(sums) == STEPS
    whole = {step: sums[step] for step in sorted(sums)[1:-3]}  # both told of the whole of these
    assert set(whole.values()) == {(50.0, 100.0)}
    steps.add(at - STEPS * STEP_S, 7.0, 7.0)  # of no step that is kept
    assert steps.sums(at) == sums
    tracks = CacheTracks()
    for when, ratio in ((1000.0, 0.5), (1030.0, 0.7), (1001.0, 0.9)):
        tracks.fill(when, ratio)
    assert tracks.kv_steps(1030.0) == {50: 0.9, 51: 0.7}


def test_a_tier_that_one_scrape_lacks_does_not_bring_its_whole_life_with_it() -> None:
    """Seen failing with 0 for a counter that is absent: two million lookups in one step."""
    tracks, whole, one = CacheTracks(), CacheTracks(), One()
    for at, hits in ((1000.0, 1e6), (1002.0, None), (1004.0, 1e6 + 5), (1006.0, 1e6 + 9)):
        tracks.observe(one, prefix(at, hits), whole)
    assert tracks.sums(PREFIX, 1006.0) == whole.sums(PREFIX, 1006.0) == {50: (4.0, 8.0)}
    with_l1 = ReplicaSample(at=1008.0, source="t", started_at=1.0, cache={("l1", "hit"): 5e5})
    tracks.observe(one, with_l1, whole)  # a tier that was never told of before
    assert tracks.sums("l1", 1008.0) == {}
    tracks.observe(One(), prefix(990.0, 1.0), whole)
    assert tracks.at == whole.at == 1008.0


@pytest.mark.parametrize("every_s", [15.0, 30.0, 60.0])
def test_a_region_that_is_read_seldom_keeps_its_ratio_and_its_kv_cache(every_s: float) -> None:
    """Beside one that is read each 2 s and tells no more since 1,300. Seen failing with 40 s and 30 s for all of them:
    known half of the time at 30 s, never at 60 s.
    """
    far, near, whole, one, other = CacheTracks(), CacheTracks(), CacheTracks(), One(), One()
    for second in range(600):
        at = 1000.0 + second
        if second % every_s == 0:  # the newest scrape is half an interval old
            then = at - every_s / 2
            far.observe(one, prefix(then, 8.0 * then, every_s), whole)
        if second % 2 == 0 and second < 300:
            near.observe(other, prefix(at, 8.0 * at, kv=0.9), whole)
        if second >= 200:
            found = {each.tier: each for each in stats([whole], at, "m", (), [far, near])}
            kv = found["KV"].use
            assert kv is not None
            assert (found["prefix"].hit_ratio.value, found["prefix"].hit_ratio.state) == (0.5, MeasureState.FRESH)
            assert kv.value == (0.9 if second < 328 else 0.5)
            look = SimpleNamespace(track=SimpleNamespace(caches=far), memory=Memory(), at=at, limit=0.5)
            verdict = cache(cast("Look", look))
            assert verdict is not None
            assert verdict.text == "what is usual is not known yet"
    late = {each.tier: each for each in stats([far], 1600.0 + 4 * every_s + 40.0, "m")}
    assert late["prefix"].hit_ratio.value is None
    assert late["KV"].use is not None
    assert late["KV"].use.reason == f"not told for {max(30.0, 3 * every_s):.0f} s"


def test_a_server_that_several_regions_name_is_counted_once() -> None:
    """Asked by us, or told of by each region's exporter. Seen failing without: 24 GB of one Redis of 8 GB."""

    def l2(exported: bool, began: dict[str, float]) -> CacheStat:
        caches = SharedCaches()
        for turn in range(3):
            for region, since in began.items():
                key = CacheKey(region, "l2", "Redis global:6379")
                told = CacheTold(
                    key=key, source=f"Prometheus {region}, redis_exporter" if exported else key.name, every_s=5.0,
                    began=since, hits=100.0 * turn, misses=100.0 * turn, evictions=50.0 * turn,
                    size_bytes=8e9, limit_bytes=1e10,
                )  # fmt: skip
                caches.observe(1000.0 + 5 * turn, told)
        caches.fail(1010.0, CacheKey("lost", "l2", "Redis global:6379"), "not there")
        return next(each for each in stats([], 1011.0, "m", caches.of()) if each.tier == "redis L2")

    near = {"us": 100.0, "eu": 104.0, "ap": 100.0}
    for found in (l2(False, near), l2(True, near), l2(False, {"us": 100.0, "eu": 900.0})):
        assert (found.size.value, found.limit and found.limit.value) == (8e9, 1e10)
        assert found.evictions is not None
        assert found.evictions.value == 10.0
        assert found.note == "1 of 2: not there"  # of which nothing is known: it may be another one
    found = l2(True, {"us": 100.0, "eu": 900.0})  # each region's own, of one name
    assert found.size.value == 16e9


def test_what_a_cache_held_that_nobody_tells_of_any_more_is_not_held_now() -> None:
    """Seen failing: the answers of a region that was gone for minutes were in the size of all, and fresh."""
    whole, here, gone = CacheTracks(), CacheTracks(), CacheTracks()
    replicas = {here: One(), gone: One()}

    def tell(track: CacheTracks, at: float) -> None:
        told = ReplicaSample(
            at=at, source="t", started_at=1.0, cache={("l1", "hit"): at, ("l1", "miss"): at}, cache_bytes={"l1": 100.0}
        )
        track.observe(replicas[track], told, whole)

    def size(at: float) -> tuple[float | None, MeasureState, str]:
        found = next(each for each in stats([whole], at, "metrics", (), [here, gone]) if each.tier == "response L1")
        return found.size.value, found.size.state, found.size.reason

    for at in (1000.0, 1010.0):
        tell(here, at)
        tell(gone, at)
    assert size(1011.0) == (200.0, MeasureState.FRESH, "")
    for at in (1020.0, 1050.0, 1080.0):
        tell(here, at)
    assert size(1081.0) == (100.0, MeasureState.BOUND, "at least: 1 of 2 services tell it")
    assert size(1200.0) == (200.0, MeasureState.STALE, "as told last")
