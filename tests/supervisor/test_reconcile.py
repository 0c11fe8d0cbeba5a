"""The pure step function: it always arrives, never serves with fewer than it may, never overshoots."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from nimify_tui.domain.services import ReplicaState
from nimify_tui.supervisor.reconcile import Seen, next_steps

STATES = [ReplicaState.STARTING, ReplicaState.READY, ReplicaState.BACKOFF, ReplicaState.HUNG, ReplicaState.NOT_READY]
seen_ones = st.lists(
    st.builds(
        Seen,
        name=st.uuids().map(str),
        revision=st.integers(1, 3),
        epoch=st.integers(0, 1),
        state=st.sampled_from(STATES),
        leaving=st.booleans(),
        age=st.integers(0, 9),
    ),
    max_size=6,
)


def ready(seen: list[Seen]) -> int:
    """How many serve and stay."""
    return sum(one.state is ReplicaState.READY and not one.leaving for one in seen)


@given(seen_ones, st.integers(0, 4))
def test_a_world_that_obeys_arrives(seen: list[Seen], wanted: int) -> None:
    """Starts become ready, drains end: after some steps exactly the wanted replicas of the wanted revision run."""
    names = itertools.count()
    for _ in range(60):
        steps = next_steps(2, 1, wanted, seen)
        if steps.settled:
            break
        seen = [
            one._replace(state=ReplicaState.READY) for one in seen if not one.leaving and one.name not in steps.drain
        ]
        seen += [
            Seen(f"new-{next(names)}", 2, 1, ReplicaState.STARTING, leaving=False, age=100)
            for _ in range(steps.start)
        ]
    assert [(one.revision, one.epoch, one.state) for one in seen] == [(2, 1, ReplicaState.READY)] * wanted


@given(seen_ones, st.integers(1, 4))
@example(
    [
        Seen("old", 1, 0, ReplicaState.READY, leaving=False),
        Seen("new-1", 2, 1, ReplicaState.STARTING, leaving=False),
        Seen("new-2", 2, 1, ReplicaState.STARTING, leaving=False),
    ],
    1,
)
def test_it_drains_a_ready_one_only_when_enough_others_are_ready(seen: list[Seen], wanted: int) -> None:
    steps = next_steps(2, 1, wanted, seen)
    after = [one for one in seen if one.name not in steps.drain]
    assert ready(after) >= min(ready(seen), wanted)


@given(seen_ones, st.integers(0, 4))
def test_it_never_runs_more_than_one_above_what_is_wanted(seen: list[Seen], wanted: int) -> None:
    steps = next_steps(2, 1, wanted, seen)
    staying = [one for one in seen if not one.leaving]
    assert steps.start == 0 or len(staying) + steps.start <= wanted + 1


@given(seen_ones, st.integers(0, 4))
def test_it_starts_and_drains_nothing_twice_and_settles_only_when_true(seen: list[Seen], wanted: int) -> None:
    steps = next_steps(2, 1, wanted, seen)
    leaving = {one.name for one in seen if one.leaving}
    assert not leaving & set(steps.drain)
    assert len(set(steps.drain)) == len(steps.drain)
    if steps.settled:
        assert (steps.start, steps.drain, steps.progress) == (0, (), "")
        assert ready(seen) == len(seen) == wanted


def test_a_new_one_that_does_not_become_ready_holds_the_old_ones_in_place() -> None:
    old = [Seen(f"old-{number}", 1, 0, ReplicaState.READY, leaving=False, age=number) for number in range(2)]
    bad = Seen("new", 2, 0, ReplicaState.BACKOFF, leaving=False, age=5)
    steps = next_steps(2, 0, 2, [*old, bad])
    assert (steps.start, steps.drain, steps.settled) == (0, (), False)
    assert steps.progress == "0 of 2 replaced"


def test_sabotage_a_step_that_drains_first_is_caught() -> None:
    """The property above sees a step function that would drain every old replica at once."""
    old = [Seen(f"old-{number}", 1, 0, ReplicaState.READY, leaving=False, age=number) for number in range(2)]
    drained_first = [one for one in old if one.name not in {"old-0", "old-1"}]
    assert not ready(drained_first) >= min(ready(old), 2)
