"""Numbers of pods on a real cluster: read through the API server's proxy, counted by its own audit log.

Behind the simulated pods stands one real model server on this machine's own address (an API server's proxy goes to
no loopback).
"""

from __future__ import annotations

import datetime
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.measures import MeasureState
from nimify_tui.domain.plans import ActionState, Progress, Verb
from nimify_tui.domain.services import ServiceState
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.sources.metrics import proxied, turns
from tests import models_factory
from tests.kube.acting import READS, Acting, acting, grant, kubeconfig, workload
from tests.kube.cluster import Cluster
from tests.kube.fixtures import need_simulation
from tests.serving.servers import Server, running, tensor
from tests.support import private_home, wait_for

SPACE = "numbers"
ROW = {"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}
PROXY = {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}


def own_address() -> str:
    """An address of this machine that is not its loopback's; "" without one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            return ""
        found = str(probe.getsockname()[0])
    return "" if found.startswith("127.") else found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(models_factory.mlp((8, 16, 4)), "--host", "0.0.0.0", "--rate-limit-rps", "0") as made:
        yield made


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    need_simulation(cluster)
    assert own_address(), "this machine has no address but its loopback's"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    with private_home():
        yield
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=true")


def served(cluster: Cluster, name: str, port: int, replicas: int = 1, image: str = "registry/nimify:1") -> None:
    """A service of our runtime whose pods are all the one server: ready, at this machine's address."""
    made = workload(name, SPACE, image=image, replicas=replicas)
    made["spec"]["template"]["spec"]["containers"][0]["args"] = ["serve", "/m.onnx", "--admin-port", str(port)]
    cluster.apply(made)
    cluster.kubectl("-n", SPACE, "rollout", "status", f"deployment/{name}", "--timeout=90s")
    at = own_address()
    patch = json.dumps(
        [
            {"op": "replace", "path": "/status/podIP", "value": at},
            {"op": "replace", "path": "/status/podIPs", "value": [{"ip": at}]},
        ]
    )
    pods = cluster.kubectl("-n", SPACE, "get", "pods", "-l", f"app={name}", "-o", "name").split()
    cluster.kubectl("-n", SPACE, "patch", *pods, "--type=json", "--subresource=status", f"--patch={patch}")


def asked(cluster: Cluster, since: int, user: str = "admin") -> list[dict[str, Any]]:
    """The requests for the proxy of a pod since line ``since`` of the server's audit log."""
    return [
        each
        for each in cluster.audited()[since:]
        if each.get("objectRef", {}).get("subresource") == "proxy"
        and each["user"]["username"] == user
        and each["stage"] == "ResponseComplete"
    ]


def row(it: Acting, name: str) -> ServiceRow:
    return it.session.frame.rows[f"{SPACE}/{name}"]


def until(
    it: Acting, name: str, probe: Callable[[ServiceRow], object], why: str, work: Callable[[], object]
) -> ServiceRow:
    """The row once ``probe`` likes it; before each look the ``work`` is done once."""

    def look() -> ServiceRow | None:
        work()
        found = it.session.frame.rows.get(f"{SPACE}/{name}")
        return found if found is not None and probe(found) else None

    found = wait_for(look, 60, why=why)
    assert isinstance(found, ServiceRow)
    return found


def nothing() -> None:
    """No work."""


def test_the_numbers_of_pods_are_in_row_chart_and_detail(cluster: Cluster, server: Server, tmp_path: Path) -> None:
    """Only one path is asked, only with GET, and with nothing else of the pod."""
    served(cluster, "chat", server.admin_port)
    begin = len(cluster.audited())
    with acting(kubeconfig(cluster, tmp_path), "us-east-1", SPACE, numbers=True) as it:

        def ask() -> None:
            for _ in range(5):
                assert server.infer(ROW).status == 200

        found = until(it, "chat", lambda row: row.p95.value is not None and (row.rps.value or 0) > 1, "numbers", ask)
        assert found.state is ServiceState.OK
        assert found.rps.source == "metrics of 1 replica"
        assert found.error_ratio.value == 0.0
        assert found.p50.state in (MeasureState.FRESH, MeasureState.BOUND)
        demand = DetailDemand(found.id)
        it.session.engine.demand(demand)

        def columns() -> int:
            ask()
            detail = it.session.frame.details.get(found.id)
            return sum((each.rps or 0) > 0 for each in detail.history.columns) if detail is not None else 0

        wait_for(lambda: columns() >= 3, 60, why="the chart")
        detail = it.session.frame.details[found.id]
        gaps = [each.at for each in detail.history.columns if each.rps is None]
        assert not gaps, "one scrape fills all the columns that it covers"
        assert detail.replicas[0].rps.value is not None
        assert (detail.replicas[0].rss.value or 0) > 1e6
        lines = {each.name: each.measure for each in detail.metrics}
        assert lines["items per run (batch)"].value == pytest.approx(1.0)
        assert it.session.frame.regions[0].rps.value
    records = asked(cluster, begin)
    assert records
    pods = f"/api/v1/namespaces/{SPACE}/pods/chat-"
    for each in records:
        assert (each["verb"], each["responseStatus"]["code"]) == ("get", 200)
        assert each["requestURI"].startswith(pods)
        assert each["requestURI"].endswith(f":{server.admin_port}/proxy/metrics")


def test_no_more_requests_than_the_cap_whatever_there_is(cluster: Cluster, server: Server, tmp_path: Path) -> None:
    """By the server's audit log. Sabotage seen failing: a cap of 100 a second in the source alone."""
    served(cluster, "many", server.admin_port, replicas=60)
    served(cluster, "more", server.admin_port, replicas=40)
    begin = len(cluster.audited())
    with acting(kubeconfig(cluster, tmp_path), "us-east-1", SPACE, numbers=True) as it:
        found = until(it, "many", lambda row: row.rps.value is not None, "numbers", nothing)
        wait_for(lambda: row(it, "many").rps.source == "metrics of 60 replicas", 40, why="all of them")
        other = row(it, "more")
        assert other.rps.state is MeasureState.ABSENT, "whole or not at all"
        assert "10 requests a second reach for 80 replicas" in other.rps.reason
        it.session.engine.demand(DetailDemand(other.id))
        until(it, "more", lambda row: row.rps.source == "metrics of 40 replicas", "what is looked at", nothing)
        assert found.rps.state is MeasureState.FRESH
    times = sorted(_seconds(each["requestReceivedTimestamp"]) for each in asked(cluster, begin))
    assert len(times) > 100
    most = max(sum(at <= each < at + 5.0 for each in times) for at in times)
    # Two of the burst of one look, one of its rounding, and what was under way while a busy server took nothing in.
    late = 3 + proxied.AT_ONCE
    assert most <= 5.0 * turns.CAP_RPS + late
    assert times[-1] - times[0] > (len(times) - late) / turns.CAP_RPS


def _seconds(stamp: str) -> float:
    return datetime.datetime.fromisoformat(stamp).timestamp()


def test_a_right_that_is_missing_is_the_reason_and_is_asked_for_once(
    cluster: Cluster, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And comes back by itself. Sabotage seen failing: asking each pod as it falls due."""
    monkeypatch.setattr(proxied, "REFUSED_S", 6.0)
    served(cluster, "chat", server.admin_port, replicas=5)
    grant(cluster, SPACE, "viewer", *READS)
    begin = len(cluster.audited())
    with acting(kubeconfig(cluster, tmp_path, "viewer"), "us-east-1", SPACE, numbers=True) as it:
        reason = f"no right to pods/proxy in ns {SPACE}"
        found = until(it, "chat", lambda row: reason in row.rps.reason, "the reason", nothing)
        assert found.rps.state is MeasureState.ABSENT
        assert found.rps.value is None, "not known is not zero"
        wait_for(lambda: len(asked(cluster, begin, "viewer")) >= 2, 40, why="asked again later")
        records = asked(cluster, begin, "viewer")
        assert {each["responseStatus"]["code"] for each in records} == {403}
        first, second = (_seconds(each["requestReceivedTimestamp"]) for each in records[:2])
        assert second - first > 5.0, "not five pods one after the other"
        grant(cluster, SPACE, "viewer", *READS, PROXY)
        until(it, "chat", lambda row: row.rps.value is not None, "numbers", nothing)


def test_what_does_not_answer_says_so_and_is_asked_ever_more_seldom(cluster: Cluster, tmp_path: Path) -> None:
    """Sabotage seen failing: asking it as often as the others."""
    with socket.socket() as free:
        free.bind(("0.0.0.0", 0))
        port = free.getsockname()[1]
    served(cluster, "mute", port)
    with acting(kubeconfig(cluster, tmp_path), "us-east-1", SPACE, numbers=True) as it:
        reason = f"metrics cannot be read: port {port} does not answer (connection refused)"
        begin = len(cluster.audited())
        until(it, "mute", lambda row: row.rps.reason == reason, "the reason", nothing)
        wait_for(lambda: len(asked(cluster, begin)) >= 4, 60, why="asked again")
        times = sorted(_seconds(each["requestReceivedTimestamp"]) for each in asked(cluster, begin))
        assert times[3] - times[0] > 20.0, "not every four seconds"


def test_a_soak_goes_by_the_numbers_that_there_are(cluster: Cluster, tmp_path: Path) -> None:
    """It is well by them, and stops by them; where there are none, tests.kube.test_acting_waves says what happens."""
    x, failing, over = tensor("x", [6], "FP32", [1.0] * 6), threading.Event(), threading.Event()
    with running(models_factory.reshape(), "--host", "0.0.0.0", "--rate-limit-rps", "0") as own:
        served(cluster, "soaked", own.admin_port)

        def ask() -> None:
            while not over.wait(0.05):
                shape = [4, 4] if failing.is_set() else [2, 3]
                own.infer({"inputs": [x, tensor("shape", [2], "INT64", shape)]})

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            with acting(kubeconfig(cluster, tmp_path), "us-east-1", SPACE, numbers=True) as it:
                until(it, "soaked", lambda row: row.error_ratio.value == 0.0, "numbers", nothing)
                plan = it.plan(Verb.SCALE, "soaked", replicas=2, soak_s=10.0)
                result = it.carry_out(plan)
                assert result.state is ActionState.OK, result
                assert "well for 10 s" in result.targets[0].message

                def step(progress: Progress) -> None:
                    if "soaks" in progress.text:
                        failing.set()

                plan = it.plan(Verb.SCALE, "soaked", replicas=3, soak_s=90.0)
                result = it.session.carry_out(plan, "y", step).result(120)
                assert result.state is ActionState.FAILED, result
                assert "its errors rose from 0.0% to " in result.targets[0].message
        finally:
            over.set()
            asking.join()
