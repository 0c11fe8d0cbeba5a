"""Shells and port-forwards into pods of a real cluster: allowed by the gate, on the trail, ended with the console."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.backends.kubernetes.sockets import PodSockets
from nimify_tui.backends.prometheus.errors import ServerGone
from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Forwarded
from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import GateRefused, NimifyError, ValidationError
from nimify_tui.controllers.kubernetes.entering import PodDoor
from nimify_tui.controllers.live import LiveDesk
from nimify_tui.controllers.mirror import Mirror
from nimify_tui.domain.plans import ActionRequest, ActionState, Plan, Verb
from nimify_tui.domain.regions import Region, RegionKind
from nimify_tui.gate.gate import Gate
from nimify_tui.gate.journal import Journal
from nimify_tui.gate.policy import GatePolicy
from tests.kube import pki
from tests.kube.acting import READS, grant
from tests.kube.cluster import Cluster, free_port
from tests.kube.faults import FaultProxy, answer
from tests.kube.fixtures import need_simulation
from tests.kube.following import REGION, SPACE, Following, deployment, key, tick
from tests.kube.reach import behind, failure, place_of, run
from tests.metrics.prom import prometheus
from tests.terminals import Typing

OPENED = Region(name=REGION.name, kind=REGION.kind, address="", short="use1", read_write=True, production=True)


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    need_simulation(cluster)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, deployment("live"))
    yield
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


class House:
    """A session's gate, trail and desk on a followed region."""

    def __init__(self, following: Following, folder: Path, policy: GatePolicy | None = None) -> None:
        self.following, self.mirror = following, Mirror()
        places = AuditPlaces(folder / "audit", folder / "key", folder / "anchor")
        self.audit = AuditLog(places, following.clock)
        self.journal = Journal(self.audit, following.clock)
        self.gate = Gate(
            policy or GatePolicy(), lambda name: OPENED if name == REGION.name else None, self.journal,
            following.clock, "ops@host",
        )  # fmt: skip
        def sockets(_: str) -> PodSockets | None:
            return following.link.sockets(self.gate.verify) if following.link else None

        door = PodDoor(self.gate, sockets, lambda _: following.link, following.clock)
        self.desk = LiveDesk(
            self.gate, self.mirror, {RegionKind.KUBERNETES: lambda: door}, sockets, following.clock
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        following = self.following
        following.listeners.append(self.mirror.apply)
        async with following.running():
            work = asyncio.create_task(self.desk.run())
            await following.until(lambda: following.ready("live") == 1 and self.mirror.replicas(key("live")), "a pod")
            try:
                yield
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    def request(self, verb: Verb, **more: Any) -> ActionRequest:
        [pod] = self.following.pods("live")
        return ActionRequest(verb=verb, targets=(key("live"),), replica=pod, **more)

    async def plan(self, verb: Verb, **more: Any) -> Plan:
        return await self.desk.plan(self.request(verb, **more))

    def trail(self) -> list[tuple[str, str]]:
        """(what, how it ended) of each record, oldest first."""
        records = [each for each in self.audit.records() if each["type"].startswith("action.")]
        return [(each["type"], str(each.get("message", ""))) for each in records]


@contextlib.asynccontextmanager
async def upstream(port: int) -> AsyncGenerator[None]:
    """What stands behind the pod's port: it says what it was told, then ends."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data.upper())
                await writer.drain()
        writer.close()

    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(talk(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask(port: int, data: bytes) -> bytes:
    """Say something to a local port and hear as much again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        return await asyncio.wait_for(reader.readexactly(len(data)), 20)
    finally:
        writer.close()


def test_a_forward_carries_both_ways_is_listed_and_is_ended(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        house = House(Following(place_of(cluster, tmp_path)), tmp_path)
        port = free_port()
        async with upstream(cluster.upstream_port), house.running():
            plan = await house.plan(Verb.FORWARD, port=port)
            assert house.gate.review(plan).expected == "live", "production is typed"
            assert isinstance(await failure(house.desk.forward(plan, "y")), GateRefused)
            plan = await house.plan(Verb.FORWARD, port=port)
            result = await house.desk.forward(plan, "live")
            assert result.state is ActionState.OK, result.message
            [forward] = house.desk.forwards()
            assert (forward.local_port, forward.pod_port, forward.ended) == (port, port, "")
            large = b"abc" * 200_000
            assert await ask(port, b"hello") == b"HELLO"
            assert await asyncio.gather(*(ask(port, large) for _ in range(3))) == [large.upper()] * 3
            [forward] = house.desk.forwards()
            assert (forward.connections, forward.trouble) == (4, "")
            assert forward.received_bytes >= 3 * len(large)
            await house.desk.end(forward.id)
            with pytest.raises(OSError, match="Connect call failed"):
                await asyncio.open_connection("127.0.0.1", port)
            assert house.desk.forwards()[0].ended == "ended by the operator"
            [_, end] = [each for each in house.trail() if each[0] in ("action.begin", "action.end")]
            assert end[1].startswith("ended by the operator; open for ")
            assert end[1].endswith("4 connections")

    run(go())


def test_a_prometheus_is_read_through_an_open_forward_and_says_so_without_one(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Behind the pod's port stands a real Prometheus that watches itself."""

    async def go() -> None:
        house = House(Following(place_of(cluster, tmp_path)), tmp_path)
        place = ServerPlace(f"forward://{SPACE}/live:9090")
        server = PrometheusServer(Forwarded(place, REGION.name, house.desk.forwards), SystemClock())
        names, now = ["prometheus_build_info"], SystemClock().now()
        async with house.running():
            error = await failure(server.discover(names, now, 300.0))
            assert error.message == f"Prometheus {SPACE}/live:9090: no port-forward to it is open"
            assert error.remedy == f"open it: F on a pod of live in {SPACE}, port 9090"
            await house.desk.forward(await house.plan(Verb.FORWARD, port=9090), "live")
            assert (await server.discover(names, now, 300.0)).names == set(names)
            [forward] = house.desk.forwards()
            assert forward.connections >= 1
            await house.desk.end(forward.id)
            assert isinstance(await failure(server.discover(names, now, 300.0)), ServerGone)
        server.close()

    with prometheus(tmp_path, [(f"127.0.0.1:{cluster.upstream_port}", {})], port=cluster.upstream_port):
        run(go())


def test_a_taken_port_gives_another_and_forwards_end_with_the_console(cluster: Cluster, tmp_path: Path) -> None:
    """Sabotage seen failing: forwards that nobody ends when the engine stops."""

    async def go() -> None:
        house = House(Following(place_of(cluster, tmp_path)), tmp_path)
        async with upstream(cluster.upstream_port):
            async with house.running():
                plan = await house.plan(Verb.FORWARD, port=cluster.upstream_port)
                await house.desk.forward(plan, "live")
                [forward] = house.desk.forwards()
                assert forward.local_port != cluster.upstream_port
                assert await ask(forward.local_port, b"x") == b"X"
            with pytest.raises(OSError, match="Connect call failed"):
                await asyncio.open_connection("127.0.0.1", forward.local_port)
            assert house.trail()[-1][1].startswith("ended with the console")
            assert house.gate.unfinished() == []

    run(go())


def test_a_shell_runs_on_the_terminal_and_its_end_is_told(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        house = House(Following(place_of(cluster, tmp_path)), tmp_path)
        async with house.running():
            terminal = Typing(b"stty size; echo sum-$((40+2)); secret=sesame\n")
            task = asyncio.create_task(house.desk.shell(await house.plan(Verb.SHELL), "live", terminal))
            await house.following.until(lambda: b"sum-42" in terminal.shown, "its answer")
            assert b"33 91" in terminal.shown
            terminal.columns = 70
            await tick(1.0)
            terminal.type(b"stty size\n")
            await house.following.until(lambda: b"33 70" in terminal.shown, "another size")
            terminal.type(b"exit\n")
            result = await asyncio.wait_for(task, 20)
            assert result.state is ActionState.OK
            assert result.message.startswith("ended with exit code 0 after ")
            leaving = Typing(b"")
            plan = await house.plan(Verb.SHELL)
            left = await asyncio.wait_for(house.desk.shell(plan, "live", leaving), 20)
            assert left.message.startswith("left by the operator after ")
            assert "sesame" not in str(house.trail())
            assert [each[0] for each in house.trail()] == ["action.begin", "action.end"] * 2

    run(go())


def test_a_debug_container_is_put_into_the_pod_and_entered(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        house = House(Following(place_of(cluster, tmp_path)), tmp_path)
        async with house.running():
            wrong = house.plan(Verb.DEBUG, image="--rm evil")
            assert isinstance(await failure(wrong), ValidationError)
            terminal = Typing(b"echo sum-$((40+2))\n")
            plan = await house.plan(Verb.DEBUG, image="busybox:1.37", container="main")
            assert any("nobody can take it out" in text for _, text in plan.facts)
            task = asyncio.create_task(house.desk.shell(plan, "live", terminal))
            await house.following.until(lambda: b"sum-42" in terminal.shown, "a shell in it", 40)
            terminal.type(b"exit\n")
            result = await asyncio.wait_for(task, 20)
            assert result.state is ActionState.OK
            [pod] = house.following.pods("live")
            path = "jsonpath={.spec.ephemeralContainers[*]['name','image','targetContainerName']}"
            found = cluster.kubectl("-n", SPACE, "get", "pod", pod, "-o", path)
            assert found == f"nimify-debug-{plan.id[:6]} busybox:1.37 main"
            assert [each[0] for each in house.trail()] == ["action.begin", "action.end"]

    run(go())


def test_nothing_is_opened_without_the_gate(cluster: Cluster, tmp_path: Path) -> None:
    """By what the server was asked. Sabotage seen failing: sockets that do not ask for a permit."""

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy")) as proxy:
            following = Following(behind(proxy, cluster, tmp_path))
            house = House(following, tmp_path, GatePolicy(read_only=True))
            async with house.running():
                forward, shell = await house.plan(Verb.FORWARD, port=8000), await house.plan(Verb.SHELL)
                debug = await house.plan(Verb.DEBUG, image="busybox:1.37")
                assert all(("rights", "not asked: this console is read-only") in each.facts for each in (shell, debug))
                errors = [
                    await failure(house.desk.forward(forward, "live")),
                    await failure(house.desk.shell(shell, "live", Typing(b"id\n"))),
                    await failure(house.desk.shell(debug, "live", Typing(b"id\n"))),
                ]
                assert all(isinstance(each, GateRefused) for each in errors), errors
                assert following.link is not None
                sockets = following.link.sockets(house.gate.verify)
                permit = House(following, tmp_path / "other").gate.authorise(forward, "live")
                path = "/api/v1/namespaces/logged/pods/x"
                with pytest.raises(GateRefused):
                    sockets.ports(path, 80, permit=permit, plan=forward)
                stolen = failure(sockets.command(path, "", ["id"], permit=permit, plan=shell))
                assert isinstance(await stolen, GateRefused)
            ways = ("/exec", "/portforward", "/ephemeralcontainers", "selfsubjectaccessreviews")
            assert not [each for each in proxy.asked if any(way in each for way in ways)]

    run(go())


def test_who_may_not_enter_a_pod_is_told_before_anything_is_opened(cluster: Cluster, tmp_path: Path) -> None:
    """Who may get pods/exec but not create it could have run commands before 1.35: it is no right to a shell."""
    half = {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}
    grant(cluster, SPACE, "viewer", *READS, half)

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy")) as proxy:
            house = House(Following(behind(proxy, cluster, tmp_path, user="viewer")), tmp_path)
            async with house.running():
                for verb, missing in (
                    (Verb.SHELL, "create pods/exec"),
                    (Verb.DEBUG, "patch pods/ephemeralcontainers"),
                    (Verb.FORWARD, "get pods/portforward"),
                ):
                    error = await failure(house.plan(verb, port=8000, image="busybox:1.37"))
                    assert isinstance(error, GateRefused), error
                    assert f"these credentials may not {missing} in {SPACE}" in error.message
            assert not [each for each in proxy.asked if "/exec" in each or "/portforward" in each]

    try:
        run(go())
    finally:
        cluster.kubectl("delete", "roles,rolebindings", "viewer", "-n", SPACE)


def test_what_could_not_be_asked_is_said_and_offered(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy")) as proxy:
            house = House(Following(behind(proxy, cluster, tmp_path)), tmp_path)
            async with house.running():
                asked = await house.plan(Verb.SHELL)
                assert [text.partition(" (")[0] for label, text in asked.facts if label == "rights"] == [
                    "get pods/exec: yes", "create pods/exec: yes",
                ]  # fmt: skip
                proxy.faults["/apis/authorization.k8s.io"] = answer("503 Service Unavailable")
                plan = await house.plan(Verb.FORWARD, port=8000)
                told = [text for label, text in plan.facts if label == "rights"]
                assert len(told) == 2
                assert all("could not be asked" in text for text in told)
                assert house.gate.review(plan).allowed

    run(go())


def test_what_cannot_be_opened_says_why_and_is_on_the_trail(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> list[NimifyError]:
        house = House(Following(place_of(cluster, tmp_path)), tmp_path)
        async with house.running():
            wrong = [
                await failure(house.desk.plan(ActionRequest(verb=Verb.SHELL, targets=(key("live"),)))),
                await failure(house.plan(Verb.FORWARD, port=70_000)),
                await failure(house.desk.plan(ActionRequest(verb=Verb.SHELL, targets=(key("live"),), replica="no"))),
            ]
            plan = await house.plan(Verb.SHELL, container="nowhere")
            result = await house.desk.shell(plan, "live", Typing())
            assert result.state is ActionState.FAILED
            assert result.message.startswith("no shell: ")
            assert house.trail()[-1][1].startswith("no shell: ")
            return wrong

    assert all(isinstance(each, ValidationError) for each in run(go()))
