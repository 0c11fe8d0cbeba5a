"""Runs of one or several requests: putting rows together, taking answers apart, and one rerun each on failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from nimify_tui.base.errors import InferenceError
from nimify_tui.serving.datatypes import Array, InferRequest
from nimify_tui.serving.model import Model


class Job:
    """One request that waits or is run. Times are monotonic seconds of this process."""

    __slots__ = (
        "asked_mono_s", "batch_rows", "client", "deadline_mono_s", "dropped", "ended_mono_s", "future", "key",
        "request", "result", "rows", "started_mono_s",
    )  # fmt: skip

    def __init__(
        self, request: InferRequest, client: str, deadline_mono_s: float | None, future: asyncio.Future[list[Array]],
        key: Hashable, rows: float, now_mono_s: float,
    ) -> None:  # fmt: skip
        self.request, self.client, self.deadline_mono_s, self.future = (
            request,
            client,
            deadline_mono_s,
            future,
        )
        self.key, self.rows = key, rows
        self.asked_mono_s = now_mono_s
        self.started_mono_s = self.ended_mono_s = 0.0
        #: Items of the run that answered it.
        self.batch_rows = request.batch
        self.dropped = False
        self.result: list[Array] | Exception | None = None


def key_of(request: InferRequest) -> Hashable:
    """What requests of one run have in common; None for a request that is run alone."""
    rows = {array.shape[0] if array.ndim else 0 for array in request.inputs.values()}
    if len(rows) != 1 or rows == {0}:
        return None  # inputs that disagree, or no rows: the model says what it thinks of that, to this client only
    return (
        tuple(sorted((name, array.dtype.str, array.shape[1:]) for name, array in request.inputs.items())),
        tuple(name for name, _ in request.wanted),
    )


class Run:
    """One run on a worker's thread; ``options`` end it early from the loop."""

    def __init__(self, jobs: Sequence[Job], options: Any) -> None:
        self.jobs, self.options = tuple(jobs), options
        self.started_mono_s = self.ended_mono_s = 0.0
        #: (rows, seconds) of each call of the model that came to its end.
        self.took: list[tuple[float, float]] = []
        #: Items of each call of the model, also of those that failed.
        self.sizes: list[int] = []

    @property
    def rows(self) -> float:
        """Rows in units of the measured row."""
        return sum(job.rows for job in self.jobs)

    def end_if_unwanted(self) -> None:
        """End the run when nobody waits for any of it."""
        if all(job.dropped for job in self.jobs):
            self.options.terminate = True

    def carry_out(self, model: Model, mono_s: Callable[[], float] = time.perf_counter) -> None:
        """Fill in each job's result: arrays, or the error of this very request."""
        self.started_mono_s = mono_s()
        for job in self.jobs:
            job.started_mono_s = self.started_mono_s
        if len(self.jobs) > 1:
            results = self._together(model, mono_s)
            if results is not None:
                for job, arrays in zip(self.jobs, results, strict=True):
                    job.result, job.ended_mono_s = arrays, mono_s()
                return
        for job in self.jobs:
            if job.dropped and len(self.jobs) > 1:
                continue
            began = mono_s()
            self.sizes.append(job.request.batch)
            job.batch_rows = job.request.batch
            try:
                job.result = model.run(job.request.inputs, _wanted(job), self.options)
                self.took.append((job.rows, mono_s() - began))
            except Exception as error:  # noqa: BLE001  # goes to the waiting request, whatever it is
                job.result = error
            job.ended_mono_s = mono_s()

    def _together(self, model: Model, mono_s: Callable[[], float]) -> list[list[Array]] | None:
        """Each job's arrays; None when the run failed, for whosever fault."""
        first = self.jobs[0].request
        counts = [next(iter(job.request.inputs.values())).shape[0] for job in self.jobs]
        self.sizes.append(sum(counts))
        began = mono_s()
        try:
            inputs = {
                name: np.concatenate([job.request.inputs[name] for job in self.jobs]) for name in first.inputs
            }
            outputs = model.run(inputs, _wanted(self.jobs[0]), self.options)
            if any(not array.ndim or array.shape[0] != sum(counts) for array in outputs):
                raise InferenceError("the answer does not have one row for each input row")
        except Exception:  # noqa: BLE001  # each request is run again alone, and gets its own words
            return None
        self.took.append((self.rows, mono_s() - began))
        results, at = [], 0
        for job, count in zip(self.jobs, counts, strict=True):
            # Copies: an answer that a cache keeps must not keep its neighbours' rows in memory.
            results.append([array[at : at + count].copy() for array in outputs])
            job.batch_rows = sum(counts)
            at += count
        return results


def _wanted(job: Job) -> list[str]:
    return [name for name, _ in job.request.wanted]
