"""The one thread that runs what is too long for the event loop, and the bounded queue before it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Any

from nimify_tui.serving.datatypes import Array, InferRequest
from nimify_tui.serving.model import Model


class Job:
    """One run: asked on the loop, done on the thread. Times are monotonic seconds of this process."""

    __slots__ = ("asked_mono_s", "dropped", "ended_mono_s", "future", "options", "request", "started_mono_s")

    def __init__(self, request: InferRequest, future: asyncio.Future[list[Array]], options: Any) -> None:
        self.request, self.future, self.options = request, future, options
        self.asked_mono_s = time.perf_counter()
        self.started_mono_s = self.ended_mono_s = 0.0
        self.dropped = False


class Worker:
    """Runs jobs of one model in the order they came. All methods but the thread's own belong to the loop."""

    def __init__(self, model: Model, max_queue: int) -> None:
        self._model = model
        self._max_queue = max_queue
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[Job | None] = deque()
        self._wake = threading.Condition()
        self._pending = 0
        self._thread = threading.Thread(target=self._work, name="infer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that wait for the thread."""
        return max(0, self._pending - 1)

    @property
    def full(self) -> bool:
        """Whether another job would have to wait longer than the queue is."""
        return self._pending > self._max_queue

    def submit(self, request: InferRequest) -> Job:
        """Queue a run; its future gets arrays, ValidationError or InferenceError."""
        job = Job(request, self._loop.create_future(), self._model.run_options())
        self._pending += 1
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()
        return job

    def drop(self, job: Job) -> None:
        """Nobody wants this any more: it leaves the queue, or its run is ended early."""
        job.dropped = True
        with self._wake:
            try:
                self._jobs.remove(job)
            except ValueError:
                job.options.terminate = True
                return
        self._pending -= 1

    def close(self, timeout_s: float) -> bool:
        """End the thread after what it runs now; whether it ended within ``timeout_s``."""
        with self._wake:
            self._jobs.append(None)
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._jobs:
                    self._wake.wait()
                job = self._jobs.popleft()
            if job is None:
                return
            names = [name for name, _ in job.request.wanted]
            job.started_mono_s = time.perf_counter()
            result: list[Array] | Exception
            try:
                result = self._model.run(job.request.inputs, names, job.options)
            except Exception as error:  # noqa: BLE001  # goes to the waiting request, whatever it is
                result = error
            job.ended_mono_s = time.perf_counter()
            try:
                self._loop.call_soon_threadsafe(self._done, job, result)
            except RuntimeError:  # the loop is closed: the drain's time was over
                return

    def _done(self, job: Job, result: list[Array] | Exception) -> None:
        self._pending -= 1
        if job.future.done():
            return
        if isinstance(result, Exception):
            job.future.set_exception(result)
            if job.dropped:
                job.future.exception()  # nobody will ask: mark it as seen
        else:
            job.future.set_result(result)
