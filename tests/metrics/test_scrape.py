"""Scraping over real sockets: each replica on its own time, and what cannot be read is told in plain words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, ReplicaState
from nimify_tui.domain.updates import Sampled, SampleFailed, Update
from nimify_tui.serving.metrics import Metrics
from nimify_tui.sources.metrics.scrape import ScrapeSource

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
KEY = ServiceKey("local", "embed")


def page() -> bytes:
    metrics = Metrics("1")
    metrics.model("embed", "1").answered(200)
    return metrics.page()


def answering(body: bytes, status: str = "200 OK", wait: asyncio.Event | None = None) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if wait is not None:
                    await wait.wait()
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        writer.close()

    return answer


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


def replica(name: str, url: str, state: ReplicaState = ReplicaState.READY) -> Replica:
    return Replica(key=ReplicaKey(KEY, name), state=state, since=1.0, revision=1, admin_url=url)


async def scraped(replicas: list[Replica], until: Callable[[list[Update]], bool], **options: float) -> list[Update]:
    """What is told until it is enough."""
    found: list[Update] = []
    enough = asyncio.Event()

    def sink(updates: Sequence[Update]) -> None:
        found.extend(updates)
        if until(found):
            enough.set()

    source = ScrapeSource(lambda: replicas, SystemClock(), **options)  # type: ignore[arg-type]  # fields of several types
    task = asyncio.create_task(source.run(sink))
    try:
        await asyncio.wait_for(enough.wait(), 15.0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return found


def names(updates: list[Update], kind: type) -> list[str]:
    return [each.key.replica for each in updates if isinstance(each, kind) and isinstance(each, Sampled | SampleFailed)]


def test_one_that_does_not_answer_delays_nobody_and_says_so() -> None:
    async def run() -> list[Update]:
        never = asyncio.Event()
        async with serving(answering(page())) as well, serving(answering(b"", wait=never)) as silent:
            replicas = [replica("silent", silent), *(replica(f"r{n}", well) for n in range(5))]
            replicas += [replica("hung", well, ReplicaState.HUNG), replica("gone", well, ReplicaState.BACKOFF)]
            replicas += [replica("nowhere", "")]
            return await scraped(
                replicas,
                lambda found: names(found, Sampled).count("r0") >= 4 and "silent" in names(found, SampleFailed),
                interval_s=0.2, timeout_s=0.6,
            )  # fmt: skip

    found = asyncio.run(run())
    told = names(found, Sampled)
    assert set(told) == {"r0", "r1", "r2", "r3", "r4", "hung"}
    counts = [told.count(f"r{n}") for n in range(5)]
    assert min(counts) >= max(counts) - 2
    failed = next(each for each in found if isinstance(each, SampleFailed))
    assert failed.reason == "no answer within 0.6 s"
    sample = next(each for each in found if isinstance(each, Sampled)).sample
    assert sample.requests == {"200": 1.0}
    assert sample.source.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", "503 Service Unavailable", "/metrics answered 503"),
        (b"up 1\n", "200 OK", "a runtime that is not known"),
        (b"nimify_inference_queue_requests{ 1\n", "200 OK", "not Prometheus' text format"),
        (b"x" * 3_000_000, "200 OK", "larger than"),
    ],
)
def test_what_cannot_be_read_is_told_in_words(body: bytes, status: str, words: str) -> None:
    async def run() -> list[Update]:
        async with serving(answering(body, status)) as url:
            return await scraped([replica("r1", url)], bool)

    failed = asyncio.run(run())[0]
    assert isinstance(failed, SampleFailed)
    assert words in failed.reason


def test_nobody_there_is_told_in_words() -> None:
    async def run() -> list[Update]:
        async with serving(answering(b"")) as url:
            pass
        return await scraped([replica("r1", url)], bool)

    failed = asyncio.run(run())[0]
    assert isinstance(failed, SampleFailed)
    assert "refused" in failed.reason


def test_at_most_so_many_are_asked_at_once() -> None:
    async def run() -> int:
        never, seen = asyncio.Event(), [0, 0]

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen[0] += 1
            seen[1] = max(seen[1], seen[0])
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await reader.read()
            seen[0] -= 1
            writer.close()

        del never
        async with serving(answer) as url:
            replicas = [replica(f"r{n}", url) for n in range(20)]
            await scraped(replicas, lambda found: len(set(names(found, SampleFailed))) == 20, timeout_s=0.2, at_once=4)
        return seen[1]

    assert asyncio.run(run()) <= 4 + 1  # one may still be closing
