"""The queue, the workers and the limits of one loaded model version.

Batches are natural: while a worker runs, requests queue, and when it is free it takes what may share a run.
No timer ever lets a free worker wait.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from nimify_tui.serving.admission import AdaptiveLimit
from nimify_tui.serving.batching import Job, Run, key_of
from nimify_tui.serving.datatypes import Array, InferRequest
from nimify_tui.serving.fairness import FairQueue
from nimify_tui.serving.model import MAX_BATCH, Model
from nimify_tui.serving.replies import Refusal, retry_after
from nimify_tui.serving.timing import BatchChoice, choose

#: After so many runs the size of batches is chosen anew from what they took.
_CHOOSE_EVERY = 50


#: Of an objective, what waiting and running may take by the estimate; the rest is for the loop and for noise.
_KEPT = 0.8


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Counts(Protocol):
    """A histogram of the metrics."""

    def observe(self, value: float) -> None:
        """Count one value."""


class SchedulerMetrics(Protocol):
    """What the scheduler counts: seconds waited, seconds in the model, items of each run."""

    @property
    def queue(self) -> Counts:
        """Seconds waited for the model."""

    @property
    def compute(self) -> Counts:
        """Seconds in the model."""

    @property
    def batch(self) -> Counts:
        """Items of one run."""


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """``objective_s``: what an answer may take, None: no objective. ``max_batch`` and
    ``sessions`` 0: by measurement.
    """

    max_queue: int = 256
    request_timeout_s: float = 30.0
    objective_s: float | None = None
    max_batch: int = 0
    sessions: int = 0


class Scheduler:
    """Runs requests on worker threads. All methods but the threads' own belong to the loop."""

    def __init__(
        self, model: Model, settings: SchedulerSettings, metrics: SchedulerMetrics,
        mono_s: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self._model, self._settings, self._metrics, self._mono_s = model, settings, metrics, mono_s
        self._loop = asyncio.get_running_loop()
        self._queue: FairQueue[Job] = FairQueue()
        self._runs: set[Run] = set()
        self._wake = threading.Condition()
        self._ending = False
        self._jobs: set[Job] = set()
        self._time = model.run_time
        self._since_choice = 0
        self._choice = self._choose()
        self.sessions = settings.sessions or model.sessions.count
        #: Why so many workers, for the health page.
        self.session_words = (
            f"{settings.sessions} workers: as set" if settings.sessions else model.sessions.words
        )
        # Below one whole run a worker, the limit would cut what batches gain instead of the queue.
        high = settings.max_queue + self.sessions * max(1, self._choice.rows)
        objective_s = _KEPT * (settings.objective_s or settings.request_timeout_s)
        self._limit = AdaptiveLimit(max(2, self.sessions * self._choice.rows), high, objective_s)
        self._threads = [
            threading.Thread(target=self._work, name=f"infer-{number}", daemon=True)
            for number in range(self.sessions)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Requests in the model now."""
        return len(self._jobs) - len(self._queue)

    @property
    def limit(self) -> int:
        """How many may wait and run together now."""
        return self._limit.limit

    @property
    def idle(self) -> bool:
        """Whether a request would be run at once."""
        return len(self._runs) + len(self._queue) < self.sessions

    @property
    def batch_rows(self) -> int:
        """The most rows of one run."""
        return self._choice.rows

    @property
    def batch_words(self) -> str:
        """Why runs have so many rows, in words for the health page."""
        return self._choice.words

    @property
    def estimate_s(self) -> float:
        """Seconds that a new request of a new client would wait, about; 0 while nothing was measured."""
        return self._wait_s("")

    def admit(self, client: str, deadline_mono_s: float | None) -> None:
        """Raises Refusal (503 with Retry-After) at once for a request that has no place or would come too late."""
        self._victim(client, deadline_mono_s)

    async def run(
        self, request: InferRequest, client: str, deadline_mono_s: float | None, gone: asyncio.Future[Any]
    ) -> list[Array]:
        """The answer's arrays. ``gone`` is done when the client left.

        Raises Refusal (too late, displaced, draining), ClientGone, ValidationError or InferenceError.
        """
        asked = self._mono_s()
        if deadline_mono_s is None:
            deadline_mono_s = asked + self._settings.request_timeout_s
        victim = self._victim(client, deadline_mono_s)
        if victim is not None and self._take_out(victim):
            self._fail(victim, _full(self.waiting, self._wait_s(victim.client)))
        key = key_of(request) if self._choice.rows > 1 else None
        rows = max(1.0, request.elements / self._model.row_elements)
        job = Job(request, client, deadline_mono_s, self._loop.create_future(), key, rows, asked)

        def left(_: object) -> None:
            self._drop(job, ClientGone())

        timer = self._loop.call_later(max(0.0, deadline_mono_s - asked), self._expire, job)
        gone.add_done_callback(left)
        self._jobs.add(job)
        with self._wake:
            self._queue.push(job)
            self._wake.notify()
        try:
            return await job.future
        finally:
            timer.cancel()
            gone.remove_done_callback(left)
            if not job.future.done() or job.future.cancelled():
                self._drop(job, ClientGone())
            self._count(job)

    def cut_off(self) -> None:
        """The drain's time is over: whoever still waits gets a 503 now."""
        for job in list(self._jobs):
            words = "this server went away before the model answered"
            self._drop(job, Refusal(503, words, "draining", retry_after(1)))

    def close(self, timeout_s: float) -> bool:
        """End the workers after what they run now; whether they ended within ``timeout_s``."""
        with self._wake:
            self._ending = True
            self._wake.notify_all()
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _victim(self, client: str, deadline_mono_s: float | None) -> Job | None:
        """Whose place a request takes when there is none free. Raises Refusal."""
        with self._wake:
            if self.idle:
                # A free worker tries: an estimate that is too high would otherwise never be measured again.
                return None
            wait_s = self._wait_s(client)
            # Its own run counts as well, with whom it will share that: the answer is needed by then.
            needed_s = wait_s + self._time.of(min(self._queue.rows + 1.0, max(1, self._choice.rows)))
            left_s = deadline_mono_s - self._mono_s() if deadline_mono_s is not None else float("inf")
            objective_s = _KEPT * (self._settings.objective_s or float("inf"))
            if needed_s > min(left_s, objective_s):
                words = f"the answer would take {needed_s:.2g} s: {len(self._queue)} requests wait already"
                raise Refusal(503, words, "deadline", retry_after(wait_s))
            # A free worker that has not woken up yet is about to take from the queue: that much more room.
            free = self.sessions - len(self._runs)
            if min(self._settings.max_queue + free - len(self._queue), self.limit - len(self._jobs)) > 0:
                return None
            victim = self._queue.displaceable(client)
            if victim is None:
                raise _full(len(self._queue), wait_s)
            return victim

    def _wait_s(self, client: str) -> float:
        """Seconds until a new request of this client would be run. The line before it by the round robin."""
        now = self._mono_s()
        runs = list(self._runs)
        if len(runs) < self.sessions:
            remains_s = 0.0
        else:
            # A run that takes longer than expected may end at any moment.
            remains_s = min(max(0.0, self._time.of(run.rows) - (now - run.started_mono_s)) for run in runs)
        count, rows = self._queue.ahead(client)
        if self._choice.rows > 1:
            ahead = rows / self._choice.rows
            each_s = self._time.of(self._choice.rows)
        else:
            ahead = float(count)
            each_s = self._time.of(rows / count if count else 1.0)
        return remains_s + ahead * each_s / self.sessions

    def _choose(self) -> BatchChoice:
        if not self._model.batch_axis.verified:
            return BatchChoice(1, f"one request a run: {self._model.batch_axis.words}")
        return choose(self._time, self._settings.max_batch or MAX_BATCH, self._settings.objective_s)

    def _expire(self, job: Job) -> None:
        assert job.deadline_mono_s is not None
        if not job.future.done():
            self._limit.answered(job.asked_mono_s, self._mono_s(), len(self._jobs))
        self._drop(job, _late(job))

    def _drop(self, job: Job, why: Exception) -> None:
        """Nobody wants this any more: it leaves the queue, or its run is ended early if no one else is in it."""
        job.dropped = True
        if not self._take_out(job):
            for run in list(self._runs):
                if job in run.jobs:
                    run.end_if_unwanted()
        self._fail(job, why)

    def _take_out(self, job: Job) -> bool:
        with self._wake:
            return self._queue.remove(job)

    def _fail(self, job: Job, why: Exception) -> None:
        if not job.future.done():
            job.future.set_exception(why)

    def _count(self, job: Job) -> None:
        self._jobs.discard(job)
        now = self._mono_s()
        self._metrics.queue.observe((job.started_mono_s or now) - job.asked_mono_s)
        if job.started_mono_s:
            self._metrics.compute.observe((job.ended_mono_s or now) - job.started_mono_s)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not len(self._queue) and not self._ending:
                    self._wake.wait()
                if self._ending:
                    return
                now = self._mono_s()
                jobs = []
                for job in self._queue.take(self._choice.rows):
                    # The loop's timer answers it; a busy loop must not make the model work for nobody.
                    if job.dropped or (job.deadline_mono_s is not None and job.deadline_mono_s <= now):
                        continue
                    jobs.append(job)
                if not jobs:
                    continue
                run = Run(jobs, self._model.run_options())
                run.started_mono_s = now
                self._runs.add(run)
            run.carry_out(self._model, self._mono_s)
            run.ended_mono_s = self._mono_s()
            with self._wake:
                self._runs.discard(run)
            try:
                self._loop.call_soon_threadsafe(self._done, run)
            except RuntimeError:  # the loop is closed: the drain's time was over
                return

    def _done(self, run: Run) -> None:
        now = self._mono_s()
        # What the answers waited for the loop, the requests waited too before it read them, and nobody saw it.
        unseen_s = now - run.ended_mono_s
        for size in run.sizes:
            self._metrics.batch.observe(size)
        for rows, took_s in run.took:
            self._time.add(rows, took_s)
            self._since_choice += 1
        if self._since_choice >= _CHOOSE_EVERY:
            self._choice, self._since_choice = self._choose(), 0
        for job in run.jobs:
            if job.future.done():
                continue
            self._limit.answered(job.asked_mono_s - unseen_s, now, len(self._jobs))
            if isinstance(job.result, Exception):
                job.future.set_exception(job.result)
            elif job.result is not None:
                job.future.set_result(job.result)


def _full(waiting: int, wait_s: float) -> Refusal:
    return Refusal(503, f"{waiting} requests wait already", "queue_full", retry_after(wait_s))


def _late(job: Job) -> Refusal:
    assert job.deadline_mono_s is not None
    limit_s = job.deadline_mono_s - job.asked_mono_s
    words = f"{round(limit_s, 2) or limit_s:g} s"
    if not job.started_mono_s:
        return Refusal(503, f"the model was busy with others for {words}", "deadline", retry_after(1))
    return Refusal(504, f"the model did not answer within {words}", "deadline")
