"""A real cluster as a region: its services, what is wrong with them, what happened, and the line to it cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ReplicaState, ServiceState
from nimify_tui.domain.updates import RegionListed, RegionSeen
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.sources.kubernetes import reflector
from tests.kube import pki
from tests.kube.cluster import Cluster
from tests.kube.faults import Fault, FaultProxy, answer, cut, cuts, first
from tests.kube.fixtures import need_simulation
from tests.kube.reach import behind, place_of, run
from tests.kube.watching import SPACE, TRITON, Watching, agrees, deployment


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own; what is in it goes with each test."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


def test_services_and_their_troubles_are_rows(cluster: Cluster, tmp_path: Path) -> None:
    need_simulation(cluster)
    cluster.apply(
        deployment("triton", TRITON, 2),
        deployment("big", "vllm/vllm-openai:v0.11.0", resources={"limits": {"nvidia.com/gpu": "99"}}),
        deployment("oom", "vllm/vllm-openai:v0.11.0", fault="oom", resources={"limits": {"memory": "2Gi"}}),
    )

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path))
        async with watching.running():
            await watching.until_state(RegionState.LIVE)
            row = await watching.until(lambda: watching.row("triton", ServiceState.OK), "triton well")
            assert (row.family, row.ready, row.desired, row.production) == ("triton", 2, 2, True)
            row = await watching.until(lambda: watching.row("big", ServiceState.DOWN), "no room")
            assert "needs 99 GPUs, no node of 2 has more than 8" in row.reason
            row = await watching.until(lambda: watching.row("oom", ServiceState.DOWN), "out of memory")
            assert "out of memory, killed at its limit of 2Gi" in row.reason
            await watching.until(lambda: watching.changes(ChangeKind.CRASH), "the crash as a change")

    run(go())


def test_what_is_done_to_it_is_told(cluster: Cluster, tmp_path: Path) -> None:
    need_simulation(cluster)
    cluster.apply(deployment("triton", TRITON, 2))

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path))
        async with watching.running():
            await watching.until(lambda: watching.row("triton", ServiceState.OK), "triton well")
            await asyncio.to_thread(
                cluster.kubectl,
                "-n",
                SPACE,
                "set",
                "image",
                "deploy/triton",
                f"main={TRITON.replace('09', '10')}",
            )
            await asyncio.to_thread(cluster.kubectl, "-n", SPACE, "scale", "deploy/triton", "--replicas=3")

            def three() -> ServiceRow | None:
                row = watching.row("triton", ServiceState.OK)
                return row if row is not None and row.ready == row.desired == 3 else None

            await watching.until(three, "three ready")
            await watching.until(lambda: watching.changes(ChangeKind.ROLLOUT), "the roll-out")
            assert watching.changes(ChangeKind.ROLLOUT) == [
                "image nvcr.io/nvidia/tritonserver 26.09-py3 -> 26.10-py3"
            ]
            assert watching.changes(ChangeKind.SCALE) == ["scaled from 2 to 3"]
            await agrees(watching, cluster)
            await asyncio.to_thread(cluster.kubectl, "-n", SPACE, "delete", "deploy", "triton")
            await watching.until(lambda: "triton" not in watching.rows, "triton gone")
            assert watching.changes(ChangeKind.DELETE) == ["Deployment deleted"]

    run(go())


def test_a_line_that_is_cut_again_and_again_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """Sabotage seen failing: going on after a cut with the half of a line that was there."""
    cluster.apply(deployment("a", TRITON, 3))

    async def go() -> None:
        proxy = FaultProxy(cluster.port, pki.own(tmp_path, "proxy"))
        async with proxy:
            pods = f"/api/v1/namespaces/{SPACE}/pods"
            proxy.faults[f"{pods}?watch"] = cuts(3000, 5000, 3000, 9000, 4000)
            proxy.faults[f"/apis/apps/v1/namespaces/{SPACE}/deployments"] = first(
                2, answer("503 Service Unavailable")
            )
            proxy.faults[f"/apis/apps/v1/namespaces/{SPACE}/replicasets"] = first(
                1, answer("429 Too Many Requests", headers="Retry-After: 1\r\n")
            )
            watching = Watching(behind(proxy, cluster, tmp_path))
            async with watching.running():
                await watching.until(lambda: "a" in watching.rows, "the row")
                for number in (5, 2, 6):
                    await asyncio.to_thread(
                        cluster.kubectl, "-n", SPACE, "scale", "deploy/a", f"--replicas={number}"
                    )
                await watching.until(lambda: watching.rows["a"].desired == 6, "six wanted")
                await agrees(watching, cluster)
            lists = [each for each in proxy.asked if each.startswith(f"GET {pods}?") and "limit=" in each]
            assert len(lists) == 1, "a cut is resumed, not listed again"

    run(go())


def test_a_server_that_falls_silent_is_down_in_time_and_resumed_without_a_list(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Its connections stay open, nothing comes any more. Sabotage seen failing: no heartbeat."""
    cluster.apply(deployment("a", TRITON))

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path))
        async with watching.running():
            await watching.until(lambda: "a" in watching.rows, "the row")
            await watching.until_state(RegionState.LIVE)
            cluster.freeze()
            try:
                await watching.until_state(RegionState.DOWN)
                row = watching.rows["a"]
                assert row.state is ServiceState.UNKNOWN
                assert row.reason.startswith("no contact")
            finally:
                cluster.thaw()
            await watching.until_state(RegionState.LIVE)
            await asyncio.to_thread(cluster.kubectl, "-n", SPACE, "scale", "deploy/a", "--replicas=4")
            await watching.until(lambda: watching.rows["a"].desired == 4, "four wanted")
            assert len([each for each in watching.updates if isinstance(each, RegionListed)]) == 1

    run(go(), 90)


def test_who_may_read_nothing_is_told_so(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path, user="viewer"))
        async with watching.running():
            await watching.until_state(RegionState.AUTH)
            stranger = Watching(place_of(cluster, tmp_path, user_fields={"token": "wrong"}))
            async with stranger.running():
                await stranger.until_state(RegionState.AUTH)

    run(go())


def test_one_namespace_of_a_user_who_may_read_only_that(cluster: Cluster, tmp_path: Path) -> None:
    """Nodes are not to be seen then, and the services are."""
    cluster.apply(
        deployment("a", TRITON),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "view", "namespace": SPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "name": "viewer", "apiGroup": "rbac.authorization.k8s.io"}],
        },
    )  # fmt: skip

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path, user="viewer"))
        async with watching.running():
            await watching.until(lambda: "a" in watching.rows, "the row")
            await watching.until_state(RegionState.LIVE)
            health = [each.health for each in watching.updates if isinstance(each, RegionSeen)][-1]
            assert "nodes (forbidden)" in health.cause

    run(go())


def test_restarting_replicas_end_as_ready(cluster: Cluster, tmp_path: Path) -> None:
    need_simulation(cluster)
    cluster.apply(deployment("a", TRITON, 2))

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path))
        async with watching.running():
            await watching.until(lambda: watching.row("a", ServiceState.OK), "well")
            await asyncio.to_thread(cluster.kubectl, "-n", SPACE, "rollout", "restart", "deploy/a")
            await watching.until(lambda: watching.changes(ChangeKind.RESTART), "the restart")
            key = ServiceKey("us-east-1", "a", SPACE)

            def replaced() -> bool:
                found = [each for each in watching.fleet.targets() if each.key.service == key]
                return len(found) == 2 and all(
                    each.revision == 2 and each.state is ReplicaState.READY for each in found
                )

            await watching.until(replaced, "two ready ones of revision 2")

    run(go())


PODS = f"/api/v1/namespaces/{SPACE}/pods"
#: What is sent instead of the pods, and what the region says of it: (fault, words of the cause, words of the remedy).
INSTEAD: dict[str, tuple[Fault, str, str]] = {
    "a page in HTML": (
        answer("200 OK", b"<html>Sign in</html>", kind="text/html"),
        "answers text/html where JSON was asked for",
        "login page",
    ),
    "no list": (answer("200 OK", b'{"kind":"Alien","items":7}'), "the list of pods is no list of objects", ""),
    "no version": (answer("200 OK", b'{"items":null}'), "the list of pods names no version", ""),
    "half a list": (cut(900), "broke off", ""),
    "far too much": (answer("200 OK", b" " * 300_000), "the list of pods is too large", "namespaces ="),
    "nothing but errors": (answer("500 Internal Server Error", b"{}"), "500", "log"),
}


@pytest.mark.parametrize("what", INSTEAD)
def test_what_is_no_list_is_one_line_with_a_remedy_and_the_rest_is_there(
    what: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "PAGE_BYTES", 200_000)
    cluster.apply(deployment("a", TRITON))
    fault, said, remedy = INSTEAD[what]

    async def go() -> None:
        proxy = FaultProxy(cluster.port, pki.own(tmp_path, "proxy"))
        async with proxy:
            proxy.faults[f"{PODS}?limit"] = fault
            watching = Watching(behind(proxy, cluster, tmp_path))
            async with watching.running():
                await watching.until_state(RegionState.STALE)
                health = watching.health
                assert said in health.cause
                assert "\n" not in health.cause
                assert remedy in health.remedy
                await watching.until(lambda: "a" in watching.rows, "the name of the service")
                assert len(proxy.asked) < 100, "nobody asks again and again"
                proxy.faults.clear()
                await watching.until_state(RegionState.LIVE)
                await watching.until(lambda: watching.rows["a"].ready is not None, "the row")

    run(go())


def test_nulls_and_strangers_among_pods_cost_only_themselves(cluster: Cluster, tmp_path: Path) -> None:
    """Sabotage seen failing: a page that is given up for one object in it."""
    cluster.apply(deployment("a", TRITON))
    strange = [None, {}, {"metadata": None}, {"metadata": {"uid": "u", "labels": None}, "spec": None}, 7, {"kind": "X"}]
    body = json.dumps({"metadata": {"resourceVersion": "1"}, "items": strange}).encode()

    async def go() -> None:
        proxy = FaultProxy(cluster.port, pki.own(tmp_path, "proxy"))
        async with proxy:
            proxy.faults[f"{PODS}?limit"] = answer("200 OK", body)
            watching = Watching(behind(proxy, cluster, tmp_path))
            async with watching.running():
                await watching.until_state(RegionState.LIVE)
                assert "pods (unreadable)" in watching.health.cause
                assert "a" in watching.rows

    run(go())
