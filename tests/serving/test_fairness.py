"""A greedy client only ever waits for itself."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.serving.fairness import FairQueue
from nimify_tui.serving.replies import Refusal
from tests import models_factory
from tests.serving.scheduling import HeldModel, ask, busy, load, placed, row, scheduler
from tests.serving.servers import HOST, Server, read_answer, running, tensor, until
from tests.serving.test_limits import request, slow_model


@dataclass(eq=False)
class Item:
    client: str
    key: Hashable = None
    rows: float = 1.0


def test_clients_take_turns_however_many_one_has_queued() -> None:
    """Sabotage: `_next` without its move_to_end serves all of the greedy client first."""
    queue: FairQueue[Item] = FairQueue()
    for client in ["greedy"] * 50 + ["b"] * 3 + ["c"] * 3:
        queue.push(Item(client))
    order = [queue.take(1)[0].client for _ in range(9)]
    assert Counter(order) == {"greedy": 3, "b": 3, "c": 3}


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from([None, "k", "l"]), st.integers(1, 5)), max_size=60
    ),
    st.integers(1, 12),
)
def test_everything_comes_out_once_and_each_run_is_of_one_kind_and_fits(
    what: list[tuple[str, str | None, int]], most: int
) -> None:
    queue: FairQueue[Item] = FairQueue()
    items = [Item(client, key, float(rows)) for client, key, rows in what]
    for item in items:
        queue.push(item)
    seen: list[Item] = []
    while run := queue.take(most):
        assert len({item.key for item in run}) == 1
        assert len(run) == 1 or (run[0].key is not None and sum(item.rows for item in run) <= most)
        seen += run
    assert {id(item) for item in seen} == {id(item) for item in items}
    assert len(seen) == len(items)
    assert (len(queue), queue.rows, queue.clients) == (0, 0.0, 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HeldModel:
    return load(tmp_path_factory.mktemp("fixed"), models_factory.mlp((8, 16, 4), batch=1))


def test_a_full_queue_makes_room_for_another_client(model: HeldModel) -> None:
    """Sabotage: `displaceable` that always says None refuses the second client."""

    async def crowd() -> tuple[list[object], list[object]]:
        async with scheduler(model, max_queue=6) as (made, _):
            first = await busy(model, made, row(0, 8))
            greedy = [ask(made, row(1, 8), "greedy") for _ in range(20)]
            await placed(made, 6)
            other = [ask(made, row(2, 8), "other") for _ in range(3)]
            for _ in range(20):
                await asyncio.sleep(0)
            assert made.waiting == 6
            model.hold.set()
            await first
            ends = [await asyncio.gather(*asked, return_exceptions=True) for asked in (greedy, other)]
            return list(ends[0]), list(ends[1])

    greedy, other = asyncio.run(crowd())
    assert [isinstance(answer, list) for answer in other] == [True, True, True]
    assert sum(isinstance(answer, list) for answer in greedy) == 3
    refused = [answer for answer in greedy if isinstance(answer, Refusal)]
    assert {(refusal.status, refusal.reason) for refusal in refused} == {(503, "queue_full")}
    assert len(refused) == 17
    assert all(name == b"retry-after" for refusal in refused for name, _ in refusal.headers)


#: Sabotage: everybody is the same client.
NOBODY = """
from nimify_tui.serving.fairness import FairQueue
before = FairQueue.push
def push(self, item):
    item.client = ""
    before(self, item)
FairQueue.push = push
"""


def polite_share(code: str = "") -> float:
    """What one client with one connection waits, of what each of 24 connections of another address waits."""
    body = json.dumps({"inputs": [tensor("x", [1, 256], "FP32", [0.5] * 256)]}).encode()
    raw = request(body)
    with running(slow_model(15), "--max-batch", "1", "--max-queue", "100", code=code) as server:
        stop, greedy_s = threading.Event(), []

        def greedy() -> None:
            with from_address(server, "127.0.0.2") as connection:
                while not stop.is_set():
                    greedy_s.append(asked(connection, raw))

        threads = [threading.Thread(target=greedy) for _ in range(24)]
        for thread in threads:
            thread.start()
        until(lambda: server.metric("nimify_inference_queue_requests") >= 20, why="the greedy one fills the queue")
        with from_address(server, "127.0.0.3") as connection:
            polite_s = [asked(connection, raw) for _ in range(12)]
        stop.set()
        for thread in threads:
            thread.join(30)
    return median(polite_s) / median(greedy_s)


def from_address(server: Server, address: str) -> socket.socket:
    """A connection of another client: all of 127/8 is this machine."""
    return socket.create_connection((HOST, server.port), 30, (address, 0))


def asked(connection: socket.socket, raw: bytes) -> float:
    """Seconds until the answer."""
    began = time.perf_counter()
    connection.sendall(raw)
    assert read_answer(connection).status == 200
    return time.perf_counter() - began


def test_a_polite_client_does_not_wait_for_a_greedy_one() -> None:
    assert polite_share() < 0.3  # about two runs of 24


def test_sabotage_as_one_client_it_waits_for_all_of_them() -> None:
    assert polite_share(NOBODY) > 0.6
