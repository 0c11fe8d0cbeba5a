"""What the replicas of one service tell, together: looked at when somebody asks, and not with each of them."""

from __future__ import annotations

from collections.abc import ValuesView

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.domain.measures import Histogram, MeasureState, ReplicaSample
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.slos import Slo
from nimify_tui.domain.updates import Sampled
from nimify_tui.fleet.caches import CacheTracks
from nimify_tui.fleet.counters import GAP_INTERVALS, HAS_DURATION, HAS_REQUESTS, observe
from nimify_tui.fleet.series import COLUMN_S
from nimify_tui.fleet.store import Fleet
from nimify_tui.fleet.tracks import HAS_STATUS, RegionTrack, ReplicaTrack, ServiceTrack
from tests.fleet.town import BOUNDS_S, START_AT, Town, replica_fact

KEY = ServiceKey("us-east-1", "embed")
SCRAPE_S = 2.0
#: What revisions may tell: requests with and without their status, and a histogram.
KINDS = (HAS_REQUESTS, HAS_REQUESTS | HAS_STATUS, HAS_DURATION, HAS_REQUESTS | HAS_STATUS | HAS_DURATION, 0)


def told(at: float, kind: int, count: float = 0.0) -> ReplicaSample:
    """A scrape that tells the families of ``kind``."""
    status = "200" if kind & HAS_STATUS else ""
    return ReplicaSample(
        at=at, source="test", requests={status: count} if kind & HAS_REQUESTS else None,
        duration=Histogram(BOUNDS_S, (count,) * (len(BOUNDS_S) + 1), 0.0) if kind & HAS_DURATION else None,
    )  # fmt: skip


def plainly(service: ServiceTrack, at: float) -> int:
    """Which families there are, out of all replicas."""
    masks = [each.mask for each in service.replicas.values() if each.at and at - each.at <= GAP_INTERVALS * SCRAPE_S]
    families = {bit for bit in (HAS_REQUESTS, HAS_DURATION) if any(mask & bit for mask in masks)}
    return sum(families) + (HAS_STATUS if masks and all(mask & HAS_STATUS for mask in masks) else 0)


#: Which replica, what it tells (None: it is gone), seconds since the one before, whether somebody looks.
steps = st.tuples(
    st.integers(0, 5), st.sampled_from((*KINDS, None)), st.sampled_from((0.0, 0.5, 2.0, 9.0, 9.5, 30.0)), st.booleans()
)


@given(st.lists(steps, max_size=40))
@settings(max_examples=300)
def test_what_all_tell_together_is_what_looking_at_all_of_them_gives(
    seen: list[tuple[int, int | None, float, bool]],
) -> None:
    """Seen failing with one that told long ago still among them, and with the last one's families alone."""
    service, at = ServiceTrack(KEY, RegionTrack(KEY.region)), START_AT
    for number, kind, later_s, looks in seen:
        at += later_s
        name = f"embed-{number}"
        if kind is None:
            service.replicas.pop(name, None)
            continue
        track = service.replicas.setdefault(name, ReplicaTrack(replica_fact(ReplicaKey(KEY, name))))
        if track.at < at:
            observe(service, track, told(at, kind), SCRAPE_S, CacheTracks())
            assert not looks or service.mask == plainly(service, at)


def test_of_replicas_that_are_all_gone_it_stays_known_what_they_told() -> None:
    """Seen failing without care for none: no family at all, but failures told."""
    service = ServiceTrack(KEY, RegionTrack(KEY.region))
    for name, kind in (("embed-1", KINDS[0]), ("embed-2", KINDS[1])):
        track = service.replicas[name] = ReplicaTrack(replica_fact(ReplicaKey(KEY, name)))
        observe(service, track, told(START_AT, kind), SCRAPE_S, CacheTracks())
    assert service.mask == HAS_REQUESTS
    observe(service, service.replicas["embed-2"], told(START_AT + 2, KINDS[1]), SCRAPE_S, CacheTracks())
    service.replicas.clear()
    assert service.mask == HAS_REQUESTS


class Counted(dict[str, ReplicaTrack]):
    """Replicas that count how often one of them is looked at among all."""

    looked = 0

    def values(self) -> ValuesView[ReplicaTrack]:  # type: ignore[override]  # dict_values is no type of ours
        self.looked += len(self)
        return super().values()


@pytest.mark.parametrize("slos", [(), (Slo(service="embed", objective=0.99),)])
def test_a_scrape_looks_at_no_other_replicas_while_revisions_differ(slos: tuple[Slo, ...]) -> None:
    """Seen failing with all of them looked at with each scrape: 80,400 looks for 400 scrapes."""
    many, each_s = 400, 2 * SCRAPE_S
    town = Town({"us-east-1": {"embed": many}}, slos=slos)
    fleet: Fleet = town.fleet
    service = fleet._world.services[KEY]
    service.replicas = replicas = Counted(service.replicas)
    for turn in range(6):
        before = replicas.looked
        for number, name in enumerate(list(replicas)):
            at = START_AT + each_s * turn + each_s * number / many
            kind = KINDS[1] if number % 2 else KINDS[3]
            fleet.apply(Sampled(at, ReplicaKey(KEY, name), told(at, kind, 50.0 * turn)))
        # One look at all for each column that closed, for who keeps an error budget.
        assert replicas.looked - before <= (each_s / COLUMN_S + 1) * many * len(slos)
        fleet.publish(START_AT + each_s * (turn + 1))
    assert service.mask == KINDS[3]
    assert fleet.frame.rows["embed"].error_ratio.state is MeasureState.FRESH
