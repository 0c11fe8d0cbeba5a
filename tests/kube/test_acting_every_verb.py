"""Every verb held against the same points: what its plan says, one write only though its answer is lost, its record."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.controllers.desk import CONTACT_LOST_S
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Plan, Verb
from tests.kube.acting import Acting, acting, fact, kubeconfig, proxied, workload, written
from tests.kube.cluster import Cluster
from tests.kube.custom import custom, known
from tests.kube.faults import Fault, FaultProxy, drop, swallow

SPACE = "every"
HPA = {
    "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "namespace": SPACE},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"},
        "minReplicas": 1, "maxReplicas": 5,
    },
}  # fmt: skip
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": SPACE}, "data": {"a": "1"}}


@dataclass
class Case:
    """A verb, on what, the one request that it writes, and words that its plan has to hold.

    A drain writes evictions after that one: which of its requests is lost is the one whose path begins with ``lost``.
    """

    verb: Verb
    writes: str
    fields: dict[str, Any] = field(default_factory=dict)
    name: str = "web"
    space: str = SPACE
    says: tuple[tuple[str, str], ...] = ()
    lost: str = ""

    def request(self, it: Acting) -> ActionRequest:
        name = next(each.key.replica for each in it.replicas("web")) if self.name == "POD" else self.name
        key = ServiceKey(it.region, name, self.space)
        return ActionRequest(verb=self.verb, targets=(key,), **self.fields)


PATCH = "patch deployments"
EVICTIONS = f"/api/v1/namespaces/{SPACE}/pods"
CASES = (
    Case(Verb.SCALE, "patch deployments/scale", {"replicas": 3},
         says=(("capacity", "serve go on"), ("start", "start"), ("owner", "nobody is"), ("undo", "back to 2"))),
    Case(Verb.RESTART, PATCH, says=(("capacity", "at least"), ("disruption", "PDB"), ("undo", "none needed"))),
    Case(Verb.SET_IMAGE, PATCH, {"image": "web:2"}, says=(("capacity", "at least"), ("undo", "back to web:1"))),
    Case(Verb.ROLLBACK, PATCH, says=(("change", "revision"), ("undo", "roll back to revision"))),
    Case(Verb.PAUSE, PATCH, says=(("capacity", "serve on"), ("undo", "resume it"))),
    Case(Verb.RESUME, PATCH, says=(("undo", "pause it again"),)),
    Case(Verb.STOP, PATCH, says=(("capacity", "nothing serves afterwards"), ("undo", "start it again with 3"))),
    Case(Verb.START, PATCH, says=(("change", "replicas 0 → 3"), ("undo", "stop it again"))),
    Case(Verb.SET_BOUNDS, "patch horizontalpodautoscalers", {"kind": "HorizontalPodAutoscaler", "most": 7},
         says=(("change", "1 to 5 replicas → 1 to 7"), ("undo", "back to 1 to 5"))),
    Case(Verb.CORDON, "patch nodes", {"kind": "Node"}, "node-1", "", (("undo", "uncordon it"),)),
    Case(Verb.UNCORDON, "patch nodes", {"kind": "Node"}, "node-1", "", (("undo", "cordon it"),)),
    Case(Verb.DRAIN, "patch nodes", {"kind": "Node", "force": True}, "node-1", "",
         (("capacity", "one after the other"), ("capacity", "ready ones of every/web-"), ("start", "last start took"),
          ("disruption", "every budget allows"), ("undo", "uncordon it"))),
    Case(Verb.UNCORDON, "patch nodes", {"kind": "Node"}, "node-1", "", (("undo", "cordon it"),)),
    Case(Verb.DRAIN, "patch nodes", {"kind": "Node", "force": True}, "node-0", "",
         (("undo", "uncordon it"),), EVICTIONS),
    Case(Verb.UNCORDON, "patch nodes", {"kind": "Node"}, "node-0", "", (("undo", "cordon it"),)),
    Case(Verb.SCALE, "patch nimservices", {"kind": "NIMService", "replicas": 3}, "llama",
         says=(("change", "its operator makes it so"), ("undo", "back to 1"))),
    Case(Verb.DELETE, "delete pods", {"kind": "Pod"}, "POD",
         says=(("capacity", "serve meanwhile"), ("disruption", "PDB"), ("start", "last start took"),
               ("undo", "makes another one"))),
    Case(Verb.APPLY, "patch configmaps", {"kind": "ConfigMap", "manifest": json.dumps(CONFIG)},
         says=(("objects", "new"), ("undo", "delete it again"))),
    Case(Verb.DELETE, "delete configmaps", {"kind": "ConfigMap", "manifest": json.dumps(CONFIG)},
         says=(("undo", "apply it as it is now"),)),
    Case(Verb.DELETE, "delete deployments", says=(("capacity", "nothing serves"), ("undo", "apply it as it is now"))),
)  # fmt: skip


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own, and the kind of the NIM operator, who says nothing here."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    cluster.apply(workload("web", SPACE), HPA)
    with known(cluster, "nimservices"):
        cluster.apply(custom("nimservices", "llama", {"replicas": 1}, {}, SPACE))
        yield
    cluster.kubectl("uncordon", "node-0", "node-1")
    cluster.kubectl("delete", "deployments,hpa,configmaps", "--all", "--namespace", SPACE, "--wait=true")


@contextlib.contextmanager
def once(proxy: FaultProxy, path: str, fault: Fault) -> Iterator[list[str]]:
    """``fault`` befalls the first change at ``path``; yields what that was."""
    befallen: list[str] = []

    async def losing(one: Any) -> None:
        if one.method == "GET" or befallen:
            await one.forward()
            return
        befallen.append(one.method)
        await fault(one)

    proxy.faults[path] = losing
    try:
        yield befallen
    finally:
        proxy.faults.clear()


def told(plan: Plan, case: Case) -> None:
    """What the plan of every verb says."""
    what = f"{case.verb} {case.writes}"
    assert "yes (asked " in fact(plan, "rights"), what
    assert fact(plan, "dry run").startswith("done by the server"), what
    for label, words in case.says:
        assert words in fact(plan, label), (what, label, fact(plan, label))
    [before] = plan.preconditions
    assert before.uid or case.verb is Verb.APPLY, what


def wanted(plan: Plan, case: Case) -> list[str]:
    """The writes of a plan: one, and for a drain the eviction of each pod that its diff names."""
    evicted = sum(line.text.startswith("pod ") for line in plan.diff) if case.verb is Verb.DRAIN else 0
    return [case.writes, *["create pods/eviction"] * evicted]


def test_each_verb_says_what_it_does_and_is_written_once_though_its_answer_is_lost(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The proxy hands each change on and drops the server's answer: what was done is looked up, never sent again.

    Sabotage seen failing: a drain that takes the lost answer to its cordon for the end (its pods stayed), and one
    that evicts without a look after a lost answer.
    """
    with (
        proxied(cluster, tmp_path, {}) as proxy,
        acting(kubeconfig(cluster, tmp_path, proxy=proxy), cluster.name, SPACE) as it,
    ):
        it.until_ready("web", 2)
        for case in CASES:
            what = f"{case.verb} {case.writes} {case.lost}"
            plan = it.replan(case.request(it))
            told(plan, case)
            since, begun = len(cluster.audited()), len(it.trail())
            with once(proxy, case.lost or plan.preconditions[0].path, swallow) as lost:
                result = it.carry_out(plan, it.session.review(plan).expected)
            assert lost, what
            assert result.state is ActionState.OK, (what, result)
            assert written(cluster, since) == wanted(plan, case), what
            ended = [each for each in it.trail()[begun:] if each["type"].startswith("action.")]
            assert [each["type"] for each in ended] == ["action.begin", "action.end"], what
            assert ended[1]["state"] == "OK", what
            if (case.verb is not Verb.DELETE or case.name == "POD") and case.verb is not Verb.PAUSE:
                it.until_ready("web", 0 if case.verb is Verb.STOP else 3)


def test_each_verb_that_never_arrived_was_not_done_and_is_not_sent_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The line breaks before the server has it. Only an eviction is asked for again, after a look at its pod.

    Sabotage seen failing: a change that is sent again when the first was dropped.
    """
    with (
        proxied(cluster, tmp_path, {}) as proxy,
        acting(kubeconfig(cluster, tmp_path, proxy=proxy), cluster.name, SPACE) as it,
    ):
        it.until_ready("web", 2)
        for case in CASES:
            what = f"{case.verb} {case.writes} {case.lost}"
            plan = it.replan(case.request(it))
            since = len(cluster.audited())
            it.session._desk._contact_lost_s = 0.5
            with once(proxy, case.lost or plan.preconditions[0].path, drop) as lost:
                result = it.carry_out(plan, it.session.review(plan).expected)
            it.session._desk._contact_lost_s = CONTACT_LOST_S
            assert lost, what
            if case.lost:
                assert result.state is ActionState.OK, (what, result)
                assert written(cluster, since) == wanted(plan, case), what
                continue
            assert result.state is ActionState.FAILED, (what, result)
            assert "it was not done" in result.message, (what, result)
            assert written(cluster, since) == [], what
            it.do(it.replan(case.request(it)))


def test_a_drain_whose_cordon_cannot_be_looked_up_is_unknown_and_says_what_is_so(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Nothing is evicted on a guess. Sabotage seen failing: pods that nobody evicts taken for pods that end."""
    with (
        proxied(cluster, tmp_path, {}) as proxy,
        acting(kubeconfig(cluster, tmp_path, proxy=proxy), cluster.name, SPACE) as it,
    ):
        it.until_ready("web", 2)
        node = next(
            each for each in ("node-0", "node-1")
            if cluster.kubectl("get", "pods", "-n", SPACE, f"--field-selector=spec.nodeName={each}", "-o", "name")
        )  # fmt: skip
        key = ServiceKey(it.region, node, "")
        plan = it.replan(ActionRequest(verb=Verb.DRAIN, targets=(key,), kind="Node", force=True))
        since, met = len(cluster.audited()), [0]

        async def lost(one: Any) -> None:
            """The cordon's answer, and the look after it, however often it is tried."""
            if one.method != "GET":
                met[0] += 1
                await swallow(one)
            elif met[0] and not any("no answer" in each for each in it.said):
                await drop(one)
            else:
                await one.forward()

        proxy.faults[plan.preconditions[0].path] = lost
        it.session._desk._contact_lost_s = 2.0
        result = it.carry_out(plan, it.session.review(plan).expected)
        assert result.state is ActionState.UNKNOWN, result
        assert "check before trying again" in result.message
        assert any("cordoned, and " in each and "done in part" in each for each in it.said), it.said
        assert written(cluster, since) == ["patch nodes"]
