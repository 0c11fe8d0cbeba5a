"""Changes against a real API server: only with a permit, only once, and never a guess about how they ended."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.backends.kubernetes.errors import (
    Cause,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unreachable,
)
from nimify_tui.backends.kubernetes.write import PatchKind, Writer
from nimify_tui.base.errors import GateRefused, NimifyError, ValidationError
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Permit, Plan, Verb
from tests.kube import pki
from tests.kube.cluster import Cluster, free_port
from tests.kube.faults import Exchange, FaultProxy, answer, cut, drop, hang, swallow
from tests.kube.reach import behind, failure, opened, place_of, run

PERMIT = Permit(
    id="permit-1", plan_id="plan-1", plan_digest="", actor="ops@test", issued_at=0.0, expires_at=9e9, seal=""
)
PLAN = Plan(
    id="plan-1", request=ActionRequest(verb=Verb.SCALE, targets=(ServiceKey("us-east-1", "web"),)), summary="",
    facts=(), diff=(), preconditions=(), production=False, created_at=0.0, expires_at=9e9,
)  # fmt: skip
WEB = "/apis/apps/v1/namespaces/writes/deployments/web"
POD = {"containers": [{"name": "main", "image": "web:1"}, {"name": "sidecar", "image": "side:1"}]}


def allow(_permit: Permit, _plan: Plan) -> None:
    """A gate that lets everything through."""


def refuse(_permit: Permit, _plan: Plan) -> None:
    """A gate that lets nothing through."""
    raise GateRefused("the permit is used up")


@pytest.fixture(autouse=True)
def web(cluster: Cluster) -> Iterator[None]:
    """A deployment of two replicas, new for each test."""
    spec = {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": POD},
    }  # fmt: skip
    meta = {"name": "web", "namespace": "writes"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "writes"}})
    cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    yield
    cluster.kubectl("delete", "deployment", "web", "-n", "writes", "--ignore-not-found", "--wait=true")


def stored(cluster: Cluster) -> dict[str, Any]:
    """The deployment as the server has it."""
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "--raw", WEB))
    return found


@asynccontextmanager
async def writing(cluster: Cluster, folder: Path, user: str = "admin") -> AsyncIterator[Writer]:
    """A writer straight to the server, through a gate that allows."""
    async with opened(place_of(cluster, folder, user=user)) as connection:
        yield connection.writer(allow)


def test_without_a_permit_nothing_is_sent(cluster: Cluster, tmp_path: Path) -> None:
    """Fails when the call of verify is taken out of any of the three."""

    async def go() -> None:
        proxy = FaultProxy(cluster.port, pki.own(tmp_path, "proxy"))
        async with proxy, opened(behind(proxy, cluster, tmp_path)) as connection:
            writer = connection.writer(refuse)
            calls = (
                writer.scale(WEB, 1, permit=PERMIT, plan=PLAN),
                writer.scale(WEB, 1, permit=PERMIT, plan=PLAN, dry_run=True),
                writer.patch(WEB, {}, kind=PatchKind.MERGE, permit=PERMIT, plan=PLAN),
                writer.delete(WEB, uid="x", permit=PERMIT, plan=PLAN),
            )
            for call in calls:
                assert isinstance(await failure(call), GateRefused)
            simulation = msgspec.structs.replace(PLAN, simulation=True)
            error = await failure(connection.writer(allow).scale(WEB, 1, permit=PERMIT, plan=simulation))
            assert isinstance(error, GateRefused), "a simulation's permit does not change anything"
            assert proxy.asked == []

    run(go())


def test_scale_in_its_own_name_and_dry_run(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with writing(cluster, tmp_path) as writer:
            dry = await writer.scale(WEB, 7, permit=PERMIT, plan=PLAN, dry_run=True)
            assert json.loads(dry.body)["spec"]["replicas"] == 7
            before = stored(cluster)
            assert before["spec"]["replicas"] == 2, "a dry run changes nothing"
            done = await writer.scale(WEB, 3, permit=PERMIT, plan=PLAN)
            assert done.metadata.uid == before["metadata"]["uid"]
            now = stored(cluster)
            assert now["spec"]["replicas"] == 3
            managers = {each["manager"] for each in now["metadata"]["managedFields"]}
            assert "nimify-tui" in managers
            stale = before["metadata"]["resourceVersion"]
            error = await failure(writer.scale(WEB, 4, permit=PERMIT, plan=PLAN, resource_version=stale))
            assert isinstance(error, Conflict), "somebody changed it since"
            assert isinstance(await failure(writer.scale(WEB, -1, permit=PERMIT, plan=PLAN)), ValidationError)
            assert stored(cluster)["spec"]["replicas"] == 3

    run(go())


def test_patches_of_all_three_kinds(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with writing(cluster, tmp_path) as writer:
            template = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "web:2"}]}}}}
            await writer.patch(WEB, template, kind=PatchKind.STRATEGIC, permit=PERMIT, plan=PLAN)
            containers = stored(cluster)["spec"]["template"]["spec"]["containers"]
            assert [(each["name"], each["image"]) for each in containers] == [
                ("main", "web:2"),
                ("sidecar", "side:1"),
            ]
            uid = stored(cluster)["metadata"]["uid"]
            labels = {"metadata": {"labels": {"a": "b"}}}
            await writer.patch(WEB, labels, kind=PatchKind.MERGE, permit=PERMIT, plan=PLAN, uid=uid)
            assert stored(cluster)["metadata"]["labels"]["a"] == "b"
            steps = [{"op": "replace", "path": "/spec/replicas", "value": 5}]
            version = stored(cluster)["metadata"]["resourceVersion"]
            await writer.patch(
                WEB, steps, kind=PatchKind.JSON, permit=PERMIT, plan=PLAN, uid=uid, resource_version=version
            )
            assert stored(cluster)["spec"]["replicas"] == 5
            stale = writer.patch(
                WEB, steps, kind=PatchKind.JSON, permit=PERMIT, plan=PLAN, resource_version=version
            )
            assert isinstance(await failure(stale), Conflict)

    run(go())


def test_another_object_of_the_same_name_is_spared(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with writing(cluster, tmp_path) as writer:
            strange = "00000000-0000-0000-0000-000000000000"
            labels = {"metadata": {"labels": {"a": "b"}}}
            error = await failure(
                writer.patch(WEB, labels, kind=PatchKind.MERGE, permit=PERMIT, plan=PLAN, uid=strange)
            )
            assert isinstance(error, Conflict)
            steps = [{"op": "replace", "path": "/spec/replicas", "value": 5}]
            error = await failure(
                writer.patch(WEB, steps, kind=PatchKind.JSON, permit=PERMIT, plan=PLAN, uid=strange)
            )
            assert isinstance(error, Conflict), error
            error = await failure(writer.delete(WEB, uid=strange, permit=PERMIT, plan=PLAN))
            assert isinstance(error, Conflict)
            assert isinstance(
                await failure(writer.delete(WEB, uid="", permit=PERMIT, plan=PLAN)), ValidationError
            )
            found = stored(cluster)
            assert found["spec"]["replicas"] == 2
            assert "a" not in found["metadata"].get("labels", {})

    run(go())


def test_delete_dry_and_real(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with writing(cluster, tmp_path) as writer:
            uid = stored(cluster)["metadata"]["uid"]
            await writer.delete(WEB, uid=uid, permit=PERMIT, plan=PLAN, dry_run=True)
            assert stored(cluster)["metadata"]["uid"] == uid, "a dry run deletes nothing"
            await writer.delete(WEB, uid=uid, permit=PERMIT, plan=PLAN, grace_s=0)
            assert isinstance(await failure(writer.delete(WEB, uid=uid, permit=PERMIT, plan=PLAN)), NotFound)

    run(go())


def test_what_the_server_refuses_is_told_field_by_field(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with writing(cluster, tmp_path) as writer:
            bad = {"spec": {"replicas": -3}}
            error = await failure(writer.patch(WEB, bad, kind=PatchKind.MERGE, permit=PERMIT, plan=PLAN))
            assert isinstance(error, Invalid)
            assert any(cause.startswith("spec.replicas:") for cause in error.causes)
            typo = {"spec": {"replikas": 3}}
            error = await failure(writer.patch(WEB, typo, kind=PatchKind.MERGE, permit=PERMIT, plan=PLAN))
            assert isinstance(error, Refused)
            assert "replikas" in error.message
        async with writing(cluster, tmp_path, user="viewer") as writer:
            assert isinstance(await failure(writer.scale(WEB, 1, permit=PERMIT, plan=PLAN)), Forbidden)

    run(go())


def test_a_refusal_that_comes_in_pieces_is_read_to_its_end(cluster: Cluster, tmp_path: Path) -> None:
    """Fails with one read of the body: that gives what has come so far, and half a Status is no JSON."""
    told = {"kind": "Status", "reason": "Invalid", "message": "spec.replicas: must not be negative", "code": 422}
    body = json.dumps({**told, "details": {"causes": [{"field": "spec.replicas", "message": "no"}]}}).encode()
    halves = body[:40], body[40:]

    async def in_pieces(one: Exchange) -> None:
        head = f"HTTP/1.1 422 Unprocessable Entity\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        await one.say(head.encode() + b"\r\n\r\n" + halves[0])
        later = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, later.set)
        await later.wait()
        await one.say(halves[1])

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy"), {WEB: in_pieces}) as proxy:
            error = await scaled_through(proxy, cluster, tmp_path)
            assert isinstance(error, Invalid)
            assert error.causes == ("spec.replicas: no",)
            assert "must not be negative" in error.message

    run(go())


def test_the_wrong_kind_of_body_is_our_own_mistake(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with writing(cluster, tmp_path) as writer:
            for body, kind in (({}, PatchKind.JSON), ([], PatchKind.MERGE)):
                error = await failure(writer.patch(WEB, body, kind=kind, permit=PERMIT, plan=PLAN))
                assert isinstance(error, ValidationError)

    run(go())


async def scaled_through(proxy: FaultProxy, cluster: Cluster, folder: Path, **more: Any) -> NimifyError:
    """How a scaling to 4 through the proxy fails."""
    async with opened(behind(proxy, cluster, folder)) as connection:
        return await failure(connection.writer(allow).scale(WEB, 4, permit=PERMIT, plan=PLAN, **more))


LOST = {
    "done, and the answer lost": (swallow, 4),
    "done, and the answer cut": (cut(300), 4),
    "dropped before it was done": (drop, 2),
    "a balancer's 504": (answer("504 Gateway Timeout", b"<html>", kind="text/html"), 2),
    "a balancer's page": (answer("200 OK", b"<html>", kind="text/html"), 2),
}


@pytest.mark.parametrize("what", LOST)
def test_what_was_sent_and_not_answered_is_unknown_and_never_sent_again(
    what: str, cluster: Cluster, tmp_path: Path
) -> None:
    """Nobody can tell these five apart from here; both replicas' numbers show why."""
    fault, replicas = LOST[what]

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy"), {WEB: fault}) as proxy:
            error = await scaled_through(proxy, cluster, tmp_path)
            assert isinstance(error, OutcomeUnknown)
            assert "look at what is so now" in error.remedy
            assert proxy.asked == [f"PATCH {WEB}/scale?fieldManager=nimify-tui"]

    run(go())
    assert stored(cluster)["spec"]["replicas"] == replicas


def test_a_delete_is_never_sent_again(cluster: Cluster, tmp_path: Path) -> None:
    """Fails without the middleware of the caller: aiohttp repeats a DELETE whose connection breaks."""

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy"), {WEB: drop}) as proxy:
            async with opened(behind(proxy, cluster, tmp_path)) as connection:
                call = connection.writer(allow).delete(WEB, uid="x", permit=PERMIT, plan=PLAN)
                assert isinstance(await failure(call), OutcomeUnknown)
            assert proxy.asked == [f"DELETE {WEB}"]

    run(go())


def test_a_silent_server_is_unknown_after_the_deadline(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy"), {WEB: hang()}) as proxy:
            error = await scaled_through(proxy, cluster, tmp_path, deadline_s=0.5)
            assert isinstance(error, OutcomeUnknown)
            assert len(proxy.asked) == 1

    run(go())


def test_what_was_never_sent_is_known(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        nobody = dataclasses.replace(place_of(cluster, tmp_path), server=f"https://127.0.0.1:{free_port()}")
        async with opened(nobody) as connection:
            error = await failure(connection.writer(allow).scale(WEB, 4, permit=PERMIT, plan=PLAN))
            assert isinstance(error, Unreachable)
            assert error.cause is Cause.REFUSED
        patience = answer("429 Too Many Requests", headers="Retry-After: 3\r\n")
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy"), {WEB: patience}) as proxy:
            error = await scaled_through(proxy, cluster, tmp_path)
            assert isinstance(error, Throttled)
            assert error.retry_after_s == 3.0
            assert len(proxy.asked) == 1
        assert stored(cluster)["spec"]["replicas"] == 2

    run(go())


def test_a_cancelled_change_is_not_turned_into_an_error(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        asked = asyncio.Event()

        async def notice(_one: Exchange) -> None:
            asked.set()
            await asyncio.Event().wait()

        proxy = FaultProxy(cluster.port, pki.own(tmp_path, "proxy"), {WEB: notice})
        async with proxy, opened(behind(proxy, cluster, tmp_path)) as connection:
            call = connection.writer(allow).scale(WEB, 4, permit=PERMIT, plan=PLAN)
            task = asyncio.create_task(call)
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(go())
