"""Natural batching: who shares a run, that answers stay the same, and that nobody spoils another's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.base.errors import ValidationError
from nimify_tui.serving.batching import key_of
from nimify_tui.serving.datatypes import Array, InferRequest
from nimify_tui.serving.timing import RunTime, choose
from tests import models_factory
from tests.serving.scheduling import HeldModel, ask, busy, load, placed, request, row, scheduler

WIDTH = 64


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> HeldModel:
    return load(tmp_path_factory.mktemp("heavy"), models_factory.heavy_weights(1024, 3))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> HeldModel:
    return paying(load(tmp_path_factory.mktemp("tokens"), models_factory.embedding(50)))


def paying(model: HeldModel) -> HeldModel:
    """So small a model gains nothing by batches here; as if it did, so that its requests share runs."""
    model.run_time = RunTime()
    model.run_time.add(1, 0.010)
    model.run_time.add(32, 0.011)
    return model


async def rows_of_runs(model: HeldModel, sizes: list[int], **more: int) -> list[int]:
    """Rows of each run after one that was held, with so many requests of so many rows waiting."""
    async with scheduler(model, **more) as (made, _):
        first = await busy(model, made, row(0.0, WIDTH))
        asked = [ask(made, row(0.1 * at, WIDTH, size)) for at, size in enumerate(sizes)]
        await placed(made, len(sizes))
        model.calls.clear()
        model.hold.set()
        await asyncio.gather(first, *asked)
        return [call["x"].shape[0] for call in model.calls]


def test_what_queued_while_the_model_ran_shares_the_next_run(heavy: HeldModel) -> None:
    paying(heavy)
    assert asyncio.run(rows_of_runs(heavy, [1] * 10)) == [10]


def test_a_run_is_never_larger_than_chosen(heavy: HeldModel) -> None:
    paying(heavy)
    assert asyncio.run(rows_of_runs(heavy, [3] * 5, max_batch=8)) == [6, 6, 3]
    assert asyncio.run(rows_of_runs(heavy, [20, 1, 1], max_batch=8)) == [20, 2]


def test_a_free_worker_waits_for_nobody(heavy: HeldModel) -> None:
    """Sabotage: a `_work` that waits until two requests are queued never answers this one."""
    paying(heavy)

    async def alone() -> list[int]:
        async with scheduler(heavy) as (made, _):
            heavy.calls.clear()
            for at in range(3):
                await asyncio.wait_for(ask(made, row(at, WIDTH)), 10)
            return [call["x"].shape[0] for call in heavy.calls]

    assert asyncio.run(alone()) == [1, 1, 1]


def test_a_model_without_a_batch_axis_runs_one_request_at_a_time(tmp_path: Path) -> None:
    """Sabotage: `_choose` without its look at the verdict gives one run of 5 rows and wrong sums."""
    model = paying(load(tmp_path, models_factory.cumulative_sum()))

    async def ask_all() -> tuple[list[list[Array]], str]:
        async with scheduler(model) as (made, _):
            first = await busy(model, made, row(1.0, 4))
            asked = [ask(made, row(at, 4)) for at in range(5)]
            await placed(made, 5)
            model.hold.set()
            await first
            return list(await asyncio.gather(*asked)), made.batch_words

    answers, words = asyncio.run(ask_all())
    assert [float(answer[0][0, 0]) for answer in answers] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [call["x"].shape[0] for call in model.calls] == [1] * 6
    assert "changes with the other rows" in words


def test_a_broken_request_fails_alone(tokens: HeldModel) -> None:
    """Token 999 is not in the table: the run of all fails, and each is run again alone."""

    async def ask_all() -> list[list[Array] | BaseException]:
        async with scheduler(tokens) as (made, _):
            first = await busy(tokens, made, ids([[0, 0]]))
            asked = [ask(made, ids([[at, 999 if at == 2 else at]])) for at in range(5)]
            await placed(made, 5)
            tokens.hold.set()
            await first
            return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(ask_all())
    for at, answer in enumerate(answers):
        if at == 2:
            assert isinstance(answer, ValidationError), answer
        else:
            assert not isinstance(answer, BaseException), answer
            np.testing.assert_array_equal(answer[0], single(tokens, [[at, at]]))


def ids(values: list[list[int]]) -> InferRequest:
    return request({"ids": np.array(values, np.int64)}, ("vectors",))


def single(model: HeldModel, values: list[list[int]]) -> Array:
    return model.run({"ids": np.array(values, np.int64)}, ["vectors"])[0]


def some_ids(length: int) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(st.lists(st.integers(0, 49), min_size=length, max_size=length), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(
    mix=st.lists(st.integers(1, 3).flatmap(some_ids), min_size=1, max_size=12),
    workers=st.integers(1, 3),
)  # fmt: skip
def test_any_mix_of_requests_gets_the_answers_of_single_runs(
    tokens: HeldModel, mix: list[list[list[int]]], workers: int
) -> None:
    """Lengths 1 to 3 may not share a run; rows 1 to 4 of one length may."""

    async def ask_all() -> list[list[Array]]:
        async with scheduler(tokens, sessions=workers, max_batch=8) as (made, _):
            return list(
                await asyncio.gather(*(ask(made, ids(values), f"c{at % 3}") for at, values in enumerate(mix)))
            )

    for answer, values in zip(asyncio.run(ask_all()), mix, strict=True):
        np.testing.assert_allclose(answer[0], single(tokens, values), rtol=1e-5, atol=1e-6)


def test_the_choice_follows_objective_and_measurements() -> None:
    time = RunTime()
    for rows in (1, 2, 4, 8, 16, 32):
        time.add(rows, 0.010 + 0.001 * rows)
    assert (round(time.a_s, 6), round(time.b_s, 6)) == (0.010, 0.001)
    assert choose(time, 32, None).rows == 32
    within = choose(time, 32, 0.040)
    assert within.rows == 10
    assert "objective of 40 ms" in within.words
    assert choose(time, 32, 0.015).rows == 1
    linear = RunTime()
    for rows in (1, 32):
        linear.add(rows, 0.010 * rows)
    assert choose(linear, 32, None).rows == 1
    assert "save nothing" in choose(linear, 32, None).words


def test_a_machine_that_became_slower_is_noticed_from_runs_of_one_size() -> None:
    time = RunTime()
    for rows in (1, 8, 32):
        time.add(rows, 0.010 + 0.001 * rows)
    for _ in range(300):
        time.add(8, 2 * 0.018)
    assert time.of(8) == pytest.approx(0.036, rel=0.02)
    assert time.a_s > 0
    assert time.b_s > 0


def test_requests_for_other_outputs_do_not_share_a_run(heavy: HeldModel) -> None:
    one = row(1.0, WIDTH)
    assert key_of(one) == key_of(row(2.0, WIDTH, 3))
    assert key_of(one) != key_of(one._replace(wanted=(("other", False),)))
    assert key_of(row(1.0, WIDTH, 0)) is None
