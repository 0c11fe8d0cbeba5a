"""A wave stops at the first region that is worse, or of which it cannot be told; those after it are not touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from nimify_tui.controllers.waves import Vitals
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ReplicaState
from tests.controllers.world import KEY, OTHER, Bench, fact, run, service

WELL = Vitals(error_ratio=0.001, p95_s=0.1)


class Wave:
    """Two services on a bench, restarted one after the other with a soak of ten seconds each."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.bench.world.add(service(KEY))
        self.bench.world.add(service(OTHER))
        self.vitals = WELL
        self.bench.desk._measure = lambda _key: self.vitals
        self.said: list[str] = []

    def go(self, meanwhile: Callable[[], object] | None = None, **fields: object) -> ActionResult:
        """``meanwhile`` happens once while the first one soaks."""
        request = ActionRequest(verb=Verb.RESTART, targets=(KEY, OTHER), soak_s=10.0, **fields)  # type: ignore[arg-type]  # each test names real fields
        plan = run(self.bench.desk.plan(request))
        assert "each has to be well for 10 s" in fact(plan, "order")

        def step(progress: object) -> None:
            text = str(getattr(progress, "text", ""))
            self.said.append(text)
            if meanwhile is not None and "soaks 3 of 10 s" in text and KEY.name in text:
                meanwhile()

        result = run(self.bench.desk.carry_out(plan, "2 services", step))
        assert isinstance(result, ActionResult)
        return result

    def only_the_first(self, result: ActionResult, state: ActionState, words: str) -> None:
        first, second = result.targets
        assert (first.state, second.state) == (state, ActionState.PLANNED)
        assert words in first.message
        assert self.bench.backend.calls == [f"restart {KEY.name}"]
        assert result.state is state


@pytest.fixture
def wave(tmp_path: Path) -> Wave:
    return Wave(tmp_path)


def test_the_next_one_waits_until_the_first_has_been_well(wave: Wave) -> None:
    begun = wave.bench.clock.mono_s()
    result = wave.go()
    assert result.state is ActionState.OK
    assert wave.bench.backend.calls == [f"restart {KEY.name}", f"restart {OTHER.name}"]
    assert all("well for 10 s" in target.message for target in result.targets)
    assert wave.bench.clock.mono_s() - begun >= 20.0
    assert sum("soaks" in text for text in wave.said) == 20


def test_a_restart_stops_it(wave: Wave) -> None:
    def crash() -> None:
        running = wave.bench.world.running[KEY]
        running[0] = msgspec.structs.replace(running[0], run=2, reason="killed by signal 9")

    result = wave.go(crash)
    wave.only_the_first(result, ActionState.FAILED, "restarted while it soaked: killed by signal 9")


def test_a_replica_that_is_not_ready_stops_it(wave: Wave) -> None:
    def unready() -> None:
        running = wave.bench.world.running[KEY]
        running[0] = msgspec.structs.replace(running[0], state=ReplicaState.NOT_READY, reason="probe failed")

    result = wave.go(unready)
    wave.only_the_first(result, ActionState.FAILED, "only 1 of 2 ready while it soaked: probe failed")


@pytest.mark.parametrize(
    ("vitals", "words"),
    [
        (Vitals(error_ratio=0.05, p95_s=0.1), "its errors rose from 0.1% to 5.0%"),
        (Vitals(error_ratio=0.001, p95_s=0.2), "its p95 rose from 100 to 200 ms"),
    ],
)
def test_worse_numbers_stop_it(wave: Wave, vitals: Vitals, words: str) -> None:
    wave.only_the_first(wave.go(lambda: setattr(wave, "vitals", vitals)), ActionState.FAILED, words)


def test_the_noise_of_small_numbers_does_not(wave: Wave) -> None:
    result = wave.go(lambda: setattr(wave, "vitals", Vitals(error_ratio=0.009, p95_s=0.14)))
    assert result.state is ActionState.OK


def test_what_cannot_be_measured_stops_it_unless_it_goes_without(wave: Wave) -> None:
    wave.vitals = Vitals(why="no requests come")
    result = wave.go()
    wave.only_the_first(result, ActionState.UNKNOWN, "how it does cannot be measured: no requests come")


def test_without_numbers_readiness_alone_counts(wave: Wave) -> None:
    wave.vitals = Vitals(why="no requests come")
    assert wave.go(unmeasured=True).state is ActionState.OK


def test_a_region_that_is_not_seen_any_more_stops_it(wave: Wave) -> None:
    result = wave.go(lambda: wave.bench.world.state.update({KEY.region: RegionState.DOWN}))
    wave.only_the_first(result, ActionState.UNKNOWN, "no contact with the region while it soaked")
