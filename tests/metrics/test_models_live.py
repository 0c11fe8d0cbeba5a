"""Several models on a real server: what it announces and counts by model arrives at the rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import ValidationError
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.served import ModelState
from nimify_tui.domain.services import Replica, ReplicaState, Service, ServiceState
from nimify_tui.domain.updates import RegionListed, RegionSeen, Update
from nimify_tui.fleet.frames import ModelRow
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.metrics import scrape
from nimify_tui.sources.metrics.announced import read
from nimify_tui.sources.metrics.scrape import ScrapeSource
from tests import models_factory
from tests.serving.servers import running, tensor

KEY = ServiceKey("here", "bundle")
ROW = json.dumps({"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}).encode()


def put(root: Path) -> Path:
    """Two versions of one model, one that is busy, one that is broken."""
    model = models_factory.mlp((8, 16, 4))
    for name, data in (("idle/1", model), ("idle/2", model), ("busy/1", model), ("bad/1", b"no model")):
        (root / name).mkdir(parents=True)
        (root / name / "model.onnx").write_bytes(data)
    return root


def fleet_on(url: str) -> Fleet:
    """A fleet that has one service with one replica."""
    clock, fleet = SystemClock(), Fleet(scrape_s=0.2)
    now = clock.now()
    region = Region(name="here", kind=RegionKind.EMBEDDED, address="test", short="here")
    service = Service(key=KEY, uid="u", family="ours", revision=1, desired_replicas=1, generation=1,
                      observed_generation=1, created_at=now, changed_at=now)  # fmt: skip
    replica = Replica(key=ReplicaKey(KEY, "r"), state=ReplicaState.NOT_READY, since=now, revision=1, admin_url=url)
    health = RegionHealth(state=RegionState.LIVE, since=now, last_contact_at=now)
    fleet.apply_many([RegionSeen(now, region, health), RegionListed(now, "here", (service,), (replica,))])
    return fleet


def test_states_and_numbers_by_model_of_a_real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "MODELS_S", 0.2)
    clock = SystemClock()
    with running(put(tmp_path / "models"), "--rate-limit-rps", "0") as server:
        fleet = fleet_on(f"http://127.0.0.1:{server.admin_port}")

        came = asyncio.Event()

        def sink(updates: Sequence[Update]) -> None:
            fleet.apply_many(updates)
            came.set()

        async def until(
            probe: Callable[[dict[str, ModelRow]], bool], work: Callable[[], object] = lambda: None
        ) -> dict[str, ModelRow]:
            """Asked at each update; before each look the ``work`` is done once."""
            async with asyncio.timeout(30):
                while True:
                    rows = {each.name: each for each in fleet.publish(clock.now()).models.get("bundle", ())}
                    if probe(rows):
                        return rows
                    await asyncio.to_thread(work)
                    came.clear()
                    await came.wait()

        async def go() -> None:
            source = ScrapeSource(fleet.targets, clock, interval_s=0.2)
            task = asyncio.create_task(source.run(sink))
            try:
                rows = await until(lambda rows: len(rows) == 3)
                assert (rows["bad"].state, rows["bad"].ready) == (ServiceState.DOWN, 0)
                assert "model" in rows["bad"].reason
                assert rows["idle"].versions == ("1", "2")
                assert [*rows] == ["bad", "busy", "idle"], "the unwell first"
                ask = partial(server.ask, "POST", "/v2/models/busy/infer", ROW)
                rows = await until(lambda rows: (rows["busy"].rps.value or 0.0) > 0.0, ask)
                rows = await until(lambda rows: rows["busy"].p95.value is not None, ask)
                assert rows["idle"].rps.value == 0.0
                assert rows["idle"].p95.value is None, "no requests, no latency"
                server.ask("POST", "/v2/repository/models/busy/unload", b"{}", admin=True)
                rows = await until(lambda rows: rows["busy"].state is ServiceState.STOPPED)
                assert rows["busy"].reason == "unloaded"
                server.ask("POST", "/v2/repository/models/busy/load", b"{}", admin=True)
                await until(lambda rows: rows["busy"].state is ServiceState.OK)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(go())


def test_an_index_of_triton_is_read_and_lies_are_bounded() -> None:
    """Rows as Triton 2.x answers them: states, a reason, and a model that was never asked for has neither."""
    rows = [
        {"name": "a", "version": "1", "state": "READY"},
        {"name": "b", "version": "1", "state": "UNAVAILABLE", "reason": "failed to load"},
        {"name": "c"},
        {"name": "d", "version": "3", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "e", "version": "1", "state": "LOADING", "reason": ""},
        {"name": "\x1b[2Jf", "version": "1", "state": "SOMETHING"},
    ]
    found = read(json.dumps(rows).encode())
    assert [each.state for each in found] == [
        ModelState.READY, ModelState.FAILED, ModelState.UNLOADED, ModelState.UNLOADED, ModelState.LOADING,
        ModelState.UNKNOWN,
    ]  # fmt: skip
    assert "\x1b" not in found[-1].name
    assert len(read(json.dumps([{"name": str(number)} for number in range(5000)]).encode())) == 1000
    for body in (b"{}", b"[1]", b"<html>", b'[{"version": "1"}]', b"[" * 5000):
        with pytest.raises(ValidationError):
            read(body)
