"""What replicas that start say they are at, on a real cluster: read while somebody looks, bounded, and taken back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.domain.demands import StartDemand
from nimify_tui.domain.services import ServiceState
from nimify_tui.sources.kubernetes import starting
from tests.kube import following
from tests.kube.acting import grant
from tests.kube.cluster import Cluster
from tests.kube.custom import CUSTOM, known
from tests.kube.fixtures import need_simulation
from tests.kube.following import SPACE, Following, key, write
from tests.kube.reach import place_of, run

SHARD = "Loading safetensors checkpoint shards: {}% Completed | 2/5 [00:02<00:00,  1.25it/s]"
GENERAL = "loads, its startup probe has not passed yet"


@pytest.fixture(autouse=True)
def space(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A namespace of these tests' own, and nothing in the log from the test before."""
    need_simulation(cluster)
    monkeypatch.setattr(starting, "EVERY_S", 0.5)
    monkeypatch.setattr(starting, "LATER_S", 0.5)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    for file in (cluster.container_log, cluster.previous_log, cluster.beside_log):
        file.write_bytes(b"")
    yield
    cluster.kubectl("delete", "deployments,pods", "--all", "--namespace", SPACE, "--wait=false")


def log_reads(cluster: Cluster, begin: int, user: str = "admin") -> int:
    """How many logs were read since line ``begin`` of the server's own audit log."""
    return sum(
        each.get("objectRef", {}).get("subresource") == "log"
        and each["user"]["username"] == user
        and each["stage"] == "ResponseComplete"
        for each in cluster.audited()[begin:]
    )


def reason(it: Following, name: str) -> str:
    row = it.fleet.publish(it.clock.now()).rows.get(f"{SPACE}/{name}")
    return row.reason if row is not None and row.state is ServiceState.STARTING else ""


async def patched(cluster: Cluster, pod: str, status: dict[str, Any]) -> None:
    patch = f"--patch={json.dumps({'status': status})}"
    await asyncio.to_thread(cluster.kubectl, "--namespace", SPACE, "patch", "pod", pod, "--subresource=status", patch)


def test_the_phase_is_in_the_row_while_it_is_looked_at(cluster: Cluster, tmp_path: Path) -> None:
    """Nothing is read before somebody looks and after nobody does; six replicas are asked by four of them."""
    cluster.apply(following.deployment("llm", 6, "loading"))
    write(cluster.container_log, SHARD.format(40))

    async def go() -> None:
        it, demand = Following(place_of(cluster, tmp_path)), StartDemand(key("llm"))
        async with it.running():
            await it.until(lambda: len(it.pods("llm")) == 6 and reason(it, "llm") == GENERAL, "six that load")
            begin = len(cluster.audited())
            await following.tick(1.5)
            assert log_reads(cluster, begin) == 0, "nobody looks"
            it.fleet.demand(demand)
            await it.until(lambda: reason(it, "llm") == "loading weights 40 %", "its phase")
            write(cluster.container_log, SHARD.format(60), "INFO torch.compile takes 3.27 s in total")
            await it.until(lambda: reason(it, "llm") == "compiling", "the next phase")
            asked = {uid for _, uid in it.starts._asked}
            assert len(asked) == starting.MOST_PODS
            ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
            for pod in it.pods("llm"):
                await patched(cluster, pod, {"conditions": ready})
            await it.until(lambda: not it.starts._asked, "none that starts is left")
            begin = len(cluster.audited())
            await following.tick(1.5)
            assert log_reads(cluster, begin) == 0, "they are ready"

    run(go(), 120)


def test_what_was_said_is_taken_back_when_nobody_looks(cluster: Cluster, tmp_path: Path) -> None:
    cluster.apply(following.deployment("llm", 1, "loading"))
    write(cluster.container_log, SHARD.format(40), at=1_795_428_000.0)

    async def go() -> None:
        it, demand = Following(place_of(cluster, tmp_path)), StartDemand(key("llm"))
        async with it.running():
            it.fleet.demand(demand)
            await it.until(lambda: reason(it, "llm").startswith("loading weights 40 %"), "its phase")
            it.fleet.release(demand)
            await it.until(lambda: reason(it, "llm") == GENERAL, "nothing old is left")

    run(go(), 120)


def test_who_may_not_read_logs_sees_what_the_pod_itself_says(cluster: Cluster, tmp_path: Path) -> None:
    """And asks once. Sabotage seen failing: asking again each half second."""
    cluster.apply(following.deployment("llm", 2, "loading"))
    grant(
        cluster, SPACE, "viewer",
        {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    )  # fmt: skip

    async def go() -> None:
        it = Following(place_of(cluster, tmp_path, user="viewer"))
        async with it.running():
            begin = len(cluster.audited())
            it.fleet.demand(StartDemand(key("llm")))
            await it.until(lambda: log_reads(cluster, begin, "viewer"), "asked")
            await following.tick(2.0)
            assert log_reads(cluster, begin, "viewer") <= 2, "each of two pods at most once"
            assert reason(it, "llm") == GENERAL

    run(go(), 120)


def test_a_caches_job_tells_how_far_its_download_is(cluster: Cluster, tmp_path: Path) -> None:
    with known(cluster, "nimservices", "nimcaches"):
        meta: dict[str, Any] = {"namespace": SPACE}
        nim = {"apiVersion": f"{CUSTOM['nimservices'][1]}/v1alpha1"}
        cluster.apply(
            nim | {"kind": "NIMCache", "metadata": meta | {"name": "weights"}, "spec": {},
                   "status": {"state": "InProgress"}},
            nim | {"kind": "NIMService", "metadata": meta | {"name": "llm"},
                   "spec": {"storage": {"nimCache": {"name": "weights"}}}, "status": {"state": "NotReady"}},
            {"apiVersion": "v1", "kind": "Pod",
             "metadata": meta | {"name": "weights-job-x7k2p", "labels": {"lab/fault": "loading"}},
             "spec": {"containers": [{"name": "pull", "image": "nvcr.io/nim/meta/llama:1"}]}},
        )  # fmt: skip
        write(cluster.container_log, "Fetching 12 files:  83%|████▎   | 10/12 [00:01<00:00,  9.45it/s]")

        async def go() -> None:
            it = Following(place_of(cluster, tmp_path))
            async with it.running():
                await it.until(lambda: "NIMCache weights InProgress" in reason(it, "llm"), "its state", 60)
                it.fleet.demand(StartDemand(key("llm")))
                await it.until(lambda: "NIMCache weights InProgress: downloading 83 %" in reason(it, "llm"), "how far")

        run(go(), 120)
