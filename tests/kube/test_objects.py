"""Objects of a real cluster, read for who looks at them: once, whole, without credentials, with their events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nimify_tui.domain.demands import ObjectDemand
from nimify_tui.domain.objects import ObjectText
from tests.kube import pki
from tests.kube.cluster import Cluster
from tests.kube.faults import FaultProxy, answer, silent
from tests.kube.fixtures import need_simulation
from tests.kube.following import SPACE, Following, deployment, key
from tests.kube.reach import behind, place_of, run


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    need_simulation(cluster)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


async def read(following: Following, demand: ObjectDemand) -> ObjectText:
    """Look at it, as a screen does, and look away again."""
    following.fleet.demand(demand)
    try:
        return await following.until(
            lambda: following.fleet.publish(following.clock.now()).objects.get(demand), "an answer"
        )
    finally:
        following.fleet.release(demand)


def without_status(made: dict[str, object]) -> dict[str, object]:
    """What does not change while it is read, and is not folded."""
    metadata = made["metadata"]
    assert isinstance(metadata, dict)
    kept = {name: metadata[name] for name in ("name", "namespace", "uid", "creationTimestamp")}
    return {"spec": made["spec"], "kind": made["kind"], "apiVersion": made["apiVersion"], "metadata": kept}


def test_a_workload_and_a_pod_are_what_kubectl_says(cluster: Cluster, tmp_path: Path) -> None:
    made = deployment("shown", 1)
    [container] = made["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "NGC_API_KEY", "value": "sesame"}, {"name": "MODEL", "value": "chat: on"}]
    cluster.apply(made)

    async def go() -> None:
        following = Following(place_of(cluster, tmp_path))
        async with following.running():
            await following.until(lambda: following.ready("shown") == 1, "a ready pod")
            [pod] = following.pods("shown")
            for demand, names in (
                (ObjectDemand(key("shown")), ("deployment", "shown")),
                (ObjectDemand(key("shown"), pod), ("pod", pod)),
            ):
                found = await read(following, demand)
                assert found.error == ""
                assert found.kind.lower() == names[0]
                shown = yaml.safe_load("\n".join(found.yaml))
                truth = json.loads(cluster.kubectl("-n", SPACE, "get", *names, "--output=json"))
                told = json.dumps(without_status(truth)).replace("sesame", "•••")
                assert without_status(shown) == json.loads(told.encode())
                assert "sesame" not in str(found)
                assert "folded)" in str(found.yaml)
                assert ("  env", "MODEL = chat: on") in found.words
            found = await read(following, ObjectDemand(key("shown"), pod))
            assert "Scheduled" in {each.reason for each in found.events}
            assert all(each.at is not None for each in found.events)

    run(go())


def test_it_is_read_once_and_again_only_when_asked(cluster: Cluster, tmp_path: Path) -> None:
    """Sabotage seen failing: a reader that forgets what it has answered."""
    cluster.apply(deployment("once"))
    path = f"GET /apis/apps/v1/namespaces/{SPACE}/deployments/once"

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy")) as proxy:
            following = Following(behind(proxy, cluster, tmp_path))
            async with following.running():
                await following.until(lambda: following.ready("once") == 1, "a ready pod")
                assert not [each for each in proxy.asked if each.startswith(path)]
                demand = ObjectDemand(key("once"))
                following.fleet.demand(demand)
                for turn in (1, 2):
                    await read(following, ObjectDemand(key("once"), "", turn))
                assert [each for each in proxy.asked if each.startswith(path)] == [path] * 3

    run(go())


def test_what_cannot_be_read_says_why(cluster: Cluster, tmp_path: Path) -> None:
    cluster.apply(deployment("not-read"))
    base = f"/apis/apps/v1/namespaces/{SPACE}/deployments/not-read"

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy")) as proxy:
            following = Following(behind(proxy, cluster, tmp_path))
            assert "no contact" in (await early(following)).error
            async with following.running():
                await following.until(lambda: following.ready("not-read") == 1, "a ready pod")
                gone = await read(following, ObjectDemand(key("nowhere")))
                assert gone.error == "nowhere is not there (any more)"
                forbidden = b'{"kind":"Status","message":"deployments is forbidden","code":403,"reason":"Forbidden"}'
                said = {}
                garbled, page = answer("200 OK", b'{"a": [}'), answer("200 OK", b"<p>", kind="text/html")
                for turn, fault in enumerate((answer("403 Forbidden", forbidden), garbled, page)):
                    proxy.faults[base] = fault
                    said[turn] = (await read(following, ObjectDemand(key("not-read"), "", turn))).error
                assert "deployments is forbidden" in said[0]
                assert "no JSON" in said[1]
                assert "text/html" in said[2]
                del proxy.faults[base]
                proxy.faults[f"/api/v1/namespaces/{SPACE}/events?fieldSelector=involved"] = answer(
                    "403 Forbidden", forbidden
                )
                found = await read(following, ObjectDemand(key("not-read"), "", 9))
                assert (found.error, found.events) == ("", ())
                assert "forbidden" in found.events_error
                proxy.faults[base] = silent()
                waiting = ObjectDemand(key("not-read"), "", 10)
                following.fleet.demand(waiting)
                await following.until(lambda: proxy.streams(base), "asked")
                following.fleet.release(waiting)
                await following.until(lambda: not proxy.streams(base), "given up with the demand")

    run(go())


async def early(following: Following) -> ObjectText:
    """An answer before the region has been reached."""
    task = asyncio.create_task(following.objects.run(following._sink))
    try:
        return await read(following, ObjectDemand(key("not-read"), "", 100))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
