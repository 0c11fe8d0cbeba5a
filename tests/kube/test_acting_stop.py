"""Stopping an action on a real server: its own audit log says what was still asked for after the stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.clock import SystemClock
from nimify_tui.controllers.kubernetes.manifests import apply_request
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Plan, Progress, Verb
from tests.kube.acting import Acting, acting, kubeconfig, workload, written
from tests.kube.cluster import Cluster
from tests.support import PYTHON, REPO, Home, run_cli, wait_for
from tests.tui import PtyRun

SPACE = "stopped"


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own; nodes are open again afterwards."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    cluster.kubectl("uncordon", "node-0", "node-1")
    cluster.kubectl("delete", "deployments,pdb", "--all", "--namespace", SPACE, "--wait=true")


@pytest.fixture
def it(cluster: Cluster, tmp_path: Path) -> Iterator[Acting]:
    """An admin's session."""
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE) as made:
        yield made


def stuck(name: str) -> dict[str, Any]:
    """A deployment that is never rolled out: its pods want more GPUs than a node has."""
    made = workload(name, SPACE, replicas=1)
    limits = {"limits": {"nvidia.com/gpu": "99"}}
    made["spec"]["template"]["spec"]["containers"][0]["resources"] = limits
    return made


class Running:
    """An action that is carried out while the test goes on."""

    def __init__(self, it: Acting, plan: Plan) -> None:
        self.it, self.plan = it, plan
        self.steps: list[Progress] = []
        answer = it.session.review(plan).expected
        self.future: Future[ActionResult] = it.session.carry_out(plan, answer, self.steps.append)

    def until(self, words: str) -> None:
        wait_for(lambda: any(words in each.text for each in self.steps), 40, why=words)

    def stop(self, *, now: bool) -> ActionResult:
        assert self.it.session.stop(self.plan, now=now).result(10) is True
        return self.future.result(60)


def restart(it: Acting, *names: str) -> Plan:
    return it.replan(ActionRequest(verb=Verb.RESTART, targets=tuple(it.key(name) for name in names)))


def test_stopped_now_the_region_goes_on_and_nothing_more_is_asked_for(cluster: Cluster, it: Acting) -> None:
    cluster.apply(stuck("web"), workload("other", SPACE))
    it.until_ready("other", 2)
    it.until(lambda: len(it.replicas("web")) == 1, "the pod that waits")
    since = len(cluster.audited())
    running = Running(it, restart(it, "web", "other"))
    it.until(lambda: any("asking the region" not in each.text for each in running.steps), "its answer")
    result = running.stop(now=True)
    first, second = result.targets
    assert (first.state, second.state) == (ActionState.UNKNOWN, ActionState.PLANNED), result
    assert "accepted, and the region goes on with it" in first.message
    assert second.message == "not touched: stopped by the operator"
    assert written(cluster, since).count("patch deployments") == 1
    notes = "jsonpath={.spec.template.metadata.annotations}"
    assert "restartedAt" in cluster.kubectl("get", "deployment", "web", "-n", SPACE, "-o", notes)
    assert "restartedAt" not in cluster.kubectl("get", "deployment", "other", "-n", SPACE, "-o", notes)
    last = it.trail()[-1]
    assert (last["type"], last["state"]) == ("action.end", "UNKNOWN")
    assert [each["state"] for each in last["targets"]] == ["UNKNOWN", "PLANNED"]
    assert list(it.session.unfinished().result(20)) == []
    assert it.session.stop(running.plan, now=True).result(10) is False


def test_stopped_before_the_next_object_of_a_file(cluster: Cluster, it: Acting) -> None:
    """The deployment is watched to its end, the object behind it is not made, and what was made can be taken back."""
    after = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after", "namespace": SPACE}}
    text = f"{json.dumps(workload('web', SPACE))}\n---\n{json.dumps(after)}\n"
    running = Running(it, it.replan(apply_request(text, "two.yaml", [it.region])))
    running.until("asking the region")
    result = running.stop(now=False)
    assert [each.state for each in result.targets] == [ActionState.OK, ActionState.PLANNED], result
    assert result.state is ActionState.FAILED
    assert cluster.kubectl("get", "configmap", "-n", SPACE, "--field-selector=metadata.name=after", "-o", "name") == ""
    assert result.undo is not None
    it.until_ready("web", 2)
    it.do(it.replan(result.undo))


@pytest.mark.parametrize("sabotage", [False, True], ids=["stopped", "sabotage: the stop ends only the watching"])
def test_a_stopped_drain_evicts_nothing_more(
    sabotage: bool, cluster: Cluster, it: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget holds a pod and the drain asks again and again; after the stop, by the server's log, no more."""
    monkeypatch.setattr("nimify_tui.controllers.kubernetes.single.BLOCKED_S", 0.3)
    made = workload("web", SPACE, replicas=1)
    made["spec"]["template"]["spec"]["nodeName"] = "node-0"
    pdb = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": SPACE},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }  # fmt: skip
    cluster.apply(made, pdb)
    it.until_ready("web", 1)
    healthy = ("get", "pdb", "web", "-n", SPACE, "-o", "jsonpath={.status.currentHealthy}")
    it.until(lambda: cluster.kubectl(*healthy) == "1", "the budget's own count")
    key = ServiceKey(it.region, "node-0")
    plan = it.replan(ActionRequest(verb=Verb.DRAIN, targets=(key,), kind="Node", force=True))
    running = Running(it, plan)
    running.until("held by budgets")
    if sabotage:
        monkeypatch.setattr("nimify_tui.controllers.running.Run.stop", lambda *_, **__: None)
        it.session.stop(plan, now=True).result(10)
    else:
        result = running.stop(now=True)
        assert result.state is ActionState.UNKNOWN, result
        assert "stopped it while the region was asked" in result.message
        assert "held by budgets" in result.message
    before = written(cluster, 0).count("create pods/eviction")
    cluster.kubectl("annotate", "namespace", SPACE, "turn=1", "--overwrite")

    def more() -> bool:
        return written(cluster, 0).count("create pods/eviction") > before

    if sabotage:
        wait_for(more, 20, why="the drain goes on")
        monkeypatch.undo()
        it.session.stop(plan, now=True).result(10)
        running.future.result(30)
        return
    for turn in range(4):  # as many of our own requests later
        it.session.plan(ActionRequest(verb=Verb.UNCORDON, targets=(key,), kind="Node")).result(30)
        assert not more(), turn


def test_an_interrupted_call_says_what_is_so_and_leaves_its_end_on_the_trail(cluster: Cluster, tmp_path: Path) -> None:
    cluster.apply(stuck("web"))
    words = [PYTHON, "-m", "nimify_tui", "restart", "web", "--kubeconfig", str(kubeconfig(cluster, tmp_path))]
    words += ["--context", cluster.name, "-n", SPACE, "--read-write", "--confirm", "web"]
    since = len(cluster.audited())
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True) as call:
        try:
            wait_for(lambda: written(cluster, since).count("patch deployments") == 1, 60, why="the restart")
            call.send_signal(signal.SIGINT)
            out, errors = call.communicate(timeout=40)
        finally:
            call.kill()
    assert call.returncode == 130, errors
    assert out.splitlines()[1].split()[:2] == [f"{SPACE}/web@{cluster.name}", "UNKNOWN"]
    assert "the region goes on with what it accepted" in errors
    last = list(AuditLog(AuditPlaces.default(), SystemClock()).records())[-1]
    assert (last["type"], last["state"]) == ("action.end", "UNKNOWN")


@pytest.mark.e2e
def test_the_console_stops_by_a_key_and_says_what_is_so(cluster: Cluster, home: Home, tmp_path: Path) -> None:
    cluster.apply(stuck("web"))
    words = [sys.executable, "-m", "nimify_tui", "--kubeconfig", str(kubeconfig(cluster, tmp_path)), "-n", SPACE]
    since = len(cluster.audited())
    with PtyRun([*words, "--context", cluster.name, "--read-write"], width=120, height=40, env=home.env) as tty:
        tty.wait(lambda text: "us-east-1 ✕" in text, 40, "the workload, in a region that is LIVE")
        tty.send(":restart soak 5m unmeasured\r")
        tty.wait_text("each has to be well for 300 s", 20)
        tty.send("web\r")
        tty.wait_text("X stops it", 30)
        wait_for(lambda: written(cluster, since).count("patch deployments") == 1, 20, why="the restart")
        tty.press("X")
        tty.wait_text("nothing more is asked for", 15)
        tty.send("y")
        tty.wait_text("the operator stopped", 20)
        tty.press("U")
        tty.wait(lambda text: "UNKNOWN" in text and "restart" in text, 15, "the list of actions")
    assert written(cluster, since) == ["patch deployments dry-run", "patch deployments"]
    shown = run_cli("audit", "show", "-o", "json")
    assert '"UNKNOWN"' in shown.stdout
    assert run_cli("audit", "verify").returncode == 0
