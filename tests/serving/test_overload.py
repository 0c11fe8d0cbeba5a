"""More than can be done: who is refused, when, and what is never computed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from nimify_tui.serving.admission import AdaptiveLimit
from nimify_tui.serving.replies import Refusal
from nimify_tui.serving.scheduler import ClientGone
from nimify_tui.serving.timing import RunTime
from tests import models_factory
from tests.serving.scheduling import HeldModel, ask, busy, load, placed, row, scheduler
from tests.support import wait_for


@pytest.fixture
def model(tmp_path: Path) -> HeldModel:
    made = load(tmp_path, models_factory.mlp((8, 16, 4), batch=1))
    made.run_time = RunTime()
    made.run_time.add(1, 1.0)  # as if a run took a second: estimates are then plain numbers
    return made


def test_a_deadline_that_cannot_be_met_is_refused_before_it_waits(model: HeldModel) -> None:
    """Sabotage: `_victim` without its comparison with `left_s` queues the request."""

    async def too_late() -> tuple[Refusal, int, int]:
        async with scheduler(model) as (made, _):
            await busy(model, made, row(0, 8))
            for _ in range(4):
                ask(made, row(1, 8), "greedy").add_done_callback(lambda task: task.exception())
            await placed(made, 4)
            now = time.perf_counter()
            made.admit("greedy", now + 60)
            with pytest.raises(Refusal) as refused:
                made.admit("greedy", now + 3)
            made.admit("other", now + 4)  # by turns it waits for one of them only
            return refused.value, made.waiting, len(model.calls)

    refusal, waiting, calls = asyncio.run(too_late())
    assert (refusal.status, refusal.reason) == (503, "deadline")
    assert int(dict(refusal.headers)[b"retry-after"]) >= 4
    assert (waiting, calls) == (4, 1)


def test_a_worker_that_has_not_woken_up_yet_counts_as_a_place(model: HeldModel) -> None:
    """Sabotage: `_victim` without `free` refuses the third of a burst although only two wait."""

    async def burst() -> int:
        async with scheduler(model, max_queue=2) as (made, _):
            with made._wake:  # the worker cannot take the first
                asked = [ask(made, row(at, 8)) for at in range(3)]
                await placed(made, 3)
            return len(await asyncio.gather(*asked))

    assert asyncio.run(burst()) == 3


def test_an_objective_that_cannot_be_met_is_refused_too(model: HeldModel) -> None:
    async def too_late() -> None:
        async with scheduler(model, objective_s=2.5) as (made, _):
            first = await busy(model, made, row(0, 8))
            second = ask(made, row(1, 8))
            await placed(made, 1)
            with pytest.raises(Refusal, match="would take"):
                made.admit("a", None)
            model.hold.set()
            await asyncio.gather(first, second)

    asyncio.run(too_late())


def test_a_free_worker_takes_what_the_estimate_calls_too_long(model: HeldModel) -> None:
    """Else one wrong measurement would refuse everybody for ever."""

    async def alone() -> int:
        async with scheduler(model) as (made, _):
            return len(await made.run(row(0, 8), "a", time.perf_counter() + 0.5, asyncio.Future()))

    assert asyncio.run(alone()) == 1


def test_who_left_or_is_late_is_never_computed(model: HeldModel) -> None:
    """Sabotage: `_drop` without `_take_out` computes them all."""

    async def leave() -> tuple[list[object], list[float]]:
        async with scheduler(model) as (made, _):
            first = await busy(model, made, row(0, 8))
            gone: asyncio.Future[object] = asyncio.Future()
            left = asyncio.ensure_future(made.run(row(1, 8), "a", None, gone))
            stays = ask(made, row(2, 8))
            cancelled = ask(made, row(3, 8))
            await placed(made, 3)
            gone.set_result(None)
            cancelled.cancel()
            await placed(made, 1)
            model.hold.set()
            ends = await asyncio.gather(first, left, stays, cancelled, return_exceptions=True)
            return list(ends), [float(call["x"][0, 0]) for call in model.calls]

    ends, computed = asyncio.run(leave())
    assert [type(end) for end in ends] == [list, ClientGone, list, asyncio.CancelledError]
    assert computed == [0.0, 2.0]


def test_a_run_that_nobody_waits_for_is_ended_early(tmp_path: Path) -> None:
    """Sabotage: `end_if_unwanted` that does nothing lets the run come to its end."""
    long = load(tmp_path, models_factory.slow(4000, 256))

    async def leave() -> list[object]:
        async with scheduler(long) as (made, _):
            gone: asyncio.Future[object] = asyncio.Future()
            left = asyncio.ensure_future(made.run(row(1, 256), "a", None, gone))
            assert await asyncio.to_thread(long.entered.acquire, True, 10.0)
            gone.set_result(None)
            ends = await asyncio.gather(left, return_exceptions=True)
            await asyncio.to_thread(wait_for, lambda: made.idle, 30.0)
            return list(ends)

    long.run_time = RunTime()
    assert [type(end) for end in asyncio.run(leave())] == [ClientGone]
    assert long.run_time.of(1.0) == 0.0  # only a run that came to its end is counted


def test_the_drains_end_answers_everybody(model: HeldModel) -> None:
    async def drain() -> list[object]:
        async with scheduler(model) as (made, _):
            asked = [await busy(model, made, row(0, 8)), ask(made, row(1, 8)), ask(made, row(2, 8))]
            await placed(made, 2)
            made.cut_off()
            return list(await asyncio.gather(*asked, return_exceptions=True))

    ends = asyncio.run(drain())
    assert [isinstance(end, Refusal) and end.reason for end in ends] == ["draining"] * 3


def test_the_limit_falls_once_for_each_window_and_grows_only_when_used() -> None:
    limit = AdaptiveLimit(4, 100, objective_s=1.0)
    for _ in range(50):  # all let in before the first cut: one overload, one cut
        limit.answered(0.0, 1.05, 90)
    assert limit.limit == 90
    limit.answered(2.5, 3.55, 80)
    assert limit.limit == 81
    for _ in range(1000):
        limit.answered(5.0, 5.1, 3)
    assert limit.limit == 81
    for _ in range(1000):
        limit.answered(5.0, 5.1, 80)
    assert 85 < limit.limit <= 100
    before = limit.limit
    limit.answered(6.0, 26.0, 80)  # twenty times too late: as far as one answer may cut
    assert limit.limit == before // 2
    for at in range(30, 400, 2):
        limit.answered(at, at + 1.5, 80)
    assert limit.limit == 4


def simulated(
    service_s: Callable[[float], float], seconds: float, *, adaptive: bool = True
) -> list[tuple[float, float, int]]:
    """(when, seconds in the house, limit) of each answer of one worker at twice what it can do at first; no clock."""
    limit = AdaptiveLimit(2, 200, objective_s=0.08)  # of 0.1 s, as the scheduler asks for
    house: deque[float] = deque()
    answers, now, asked, free_at = [], 0.0, 0.0, 0.0
    while now < seconds:
        now = max(free_at, asked)
        while asked <= now:  # 200 a second
            if len(house) < limit.limit:
                house.append(asked)
            asked += 0.005
        if house:
            free_at = now + service_s(now)
            came = house.popleft()
            if adaptive:
                limit.answered(came, free_at, len(house) + 1)
            answers.append((free_at, free_at - came, limit.limit))
    return answers


def late(answers: list[tuple[float, float, int]], from_s: float, to_s: float) -> float:
    """The share of answers after the objective."""
    took = [took_s for when, took_s, _ in answers if from_s <= when < to_s]
    return sum(each > 0.1 for each in took) / len(took)


def test_the_limit_follows_a_model_that_becomes_slower_and_quicker_again() -> None:
    """Estimates play no part here. Sabotage below: a limit that stays leaves everybody late."""
    answers = simulated(lambda now: 0.02 if 40 <= now < 80 else 0.01, 120)
    limits = {at: next(limit for when, _, limit in answers if when >= at) for at in (39, 79, 119)}
    assert 6 <= limits[39] <= 9  # 0.08 s hold eight runs of 0.01 s
    assert 3 <= limits[79] <= 5
    assert 6 <= limits[119] <= 9
    for from_s, to_s in ((10, 40), (50, 80), (90, 120)):
        assert late(answers, from_s, to_s) < 0.05
    assert len([when for when, _, _ in answers if 20 <= when < 40]) >= 0.98 * 2000  # the worker never starves


def test_sabotage_a_limit_that_stays_leaves_everybody_late() -> None:
    assert late(simulated(lambda _: 0.01, 40, adaptive=False), 20, 40) == 1.0
