"""A scheduler in this process on a real model, and a worker that a test holds still."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nimify_tui.serving.datatypes import Array, InferRequest
from nimify_tui.serving.metrics import BATCH_BOUNDS, BOUNDS_S, Histogram
from nimify_tui.serving.model import Model
from nimify_tui.serving.scheduler import Scheduler, SchedulerSettings


class Numbers:
    """The histograms that a scheduler fills."""

    def __init__(self) -> None:
        self.queue, self.compute = Histogram(BOUNDS_S), Histogram(BOUNDS_S)
        self.batch = Histogram(BATCH_BOUNDS)


class HeldModel(Model):
    """A real model whose runs a test can hold at their beginning; it keeps what was run."""

    def __init__(self, path: Path) -> None:
        self.calls: list[dict[str, Array]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.entered = threading.Semaphore(0)
        super().__init__(path, 1)
        self.calls.clear()
        self.entered = threading.Semaphore(0)

    def run(self, inputs: dict[str, Array], wanted: Sequence[str], options: Any = None) -> list[Array]:
        """Wait until let go, then run."""
        self.calls.append(inputs)
        self.entered.release()
        assert self.hold.wait(30), "nobody let the model go"
        return super().run(inputs, wanted, options)


def load(folder: Path, model: bytes) -> HeldModel:
    """The model, loaded and studied."""
    path = folder / "m.onnx"
    path.write_bytes(model)
    return HeldModel(path)


def request(inputs: dict[str, Array], wanted: Sequence[str] = ("y",)) -> InferRequest:
    """As the decoder makes it."""
    arrays = list(inputs.values())
    return InferRequest(
        "",
        inputs,
        tuple((name, False) for name in wanted),
        arrays[0].shape[0],
        sum(array.size for array in arrays),
    )


def row(value: float, width: int, rows: int = 1) -> InferRequest:
    """A request for input ``x`` full of one value."""
    return request({"x": np.full((rows, width), value, np.float32)})


@asynccontextmanager
async def scheduler(model: Model, **settings: Any) -> AsyncIterator[tuple[Scheduler, Numbers]]:
    """A scheduler that ends with the block."""
    numbers = Numbers()
    made = Scheduler(model, SchedulerSettings(**settings), numbers)
    try:
        yield made, numbers
    finally:
        if isinstance(model, HeldModel):
            model.hold.set()
        made.cut_off()
        assert await asyncio.to_thread(made.close, 10.0)


def never() -> asyncio.Future[object]:
    """A client that stays."""
    return asyncio.get_running_loop().create_future()


def ask(
    made: Scheduler, what: InferRequest, client: str = "a", deadline_mono_s: float | None = None
) -> asyncio.Task[list[Array]]:
    """Ask without waiting for the answer."""
    return asyncio.ensure_future(made.run(what, client, deadline_mono_s, never()))


async def busy(model: HeldModel, made: Scheduler, what: InferRequest) -> asyncio.Task[list[Array]]:
    """Hold the model and let one request be in it: what comes now, waits."""
    model.hold.clear()
    while model.entered.acquire(blocking=False):  # what an earlier test ran
        pass
    first = ask(made, what, "first")
    assert await asyncio.to_thread(model.entered.acquire, True, 10.0), "the run did not begin"
    return first


async def placed(made: Scheduler, waiting: int) -> None:
    """Let the loop place what was asked."""
    for _ in range(1000):
        if made.waiting == waiting:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{made.waiting} wait, not {waiting}")
