"""Every verb held against the same points: what its plan says, one write only though its answer is lost, its record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Verb
from tests.kube.acting import Acting, acting, fact, kubeconfig, proxied, workload, written
from tests.kube.cluster import Cluster
from tests.kube.faults import swallow

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
    """A verb, on what, the one request that it writes, and words that its plan has to hold."""

    verb: Verb
    writes: str
    fields: dict[str, Any] = field(default_factory=dict)
    name: str = "web"
    space: str = SPACE
    says: tuple[tuple[str, str], ...] = ()

    def request(self, it: Acting) -> ActionRequest:
        name = next(each.key.replica for each in it.replicas("web")) if self.name == "POD" else self.name
        key = ServiceKey(it.region, name, self.space)
        return ActionRequest(verb=self.verb, targets=(key,), **self.fields)


PATCH = "patch deployments"
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
    Case(Verb.DELETE, "delete pods", {"kind": "Pod"}, "POD",
         says=(("capacity", "serve meanwhile"), ("disruption", "PDB"), ("undo", "makes another one"))),
    Case(Verb.APPLY, "patch configmaps", {"kind": "ConfigMap", "manifest": json.dumps(CONFIG)},
         says=(("objects", "new"), ("undo", "delete it again"))),
    Case(Verb.DELETE, "delete configmaps", {"kind": "ConfigMap", "manifest": json.dumps(CONFIG)},
         says=(("undo", "apply it as it is now"),)),
    Case(Verb.DELETE, "delete deployments", says=(("capacity", "nothing serves"), ("undo", "apply it as it is now"))),
)  # fmt: skip


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    cluster.apply(workload("web", SPACE), HPA)
    yield
    cluster.kubectl("uncordon", "node-1")
    cluster.kubectl("delete", "deployments,hpa,configmaps", "--all", "--namespace", SPACE, "--wait=true")


def test_each_verb_says_what_it_does_and_is_written_once_though_its_answer_is_lost(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The proxy hands each change on and drops the server's answer: what was done is looked up, never sent again."""
    with (
        proxied(cluster, tmp_path, {}) as proxy,
        acting(kubeconfig(cluster, tmp_path, proxy=proxy), cluster.name, SPACE) as it,
    ):
        it.until_ready("web", 2)
        for case in CASES:
            what = f"{case.verb} {case.writes}"
            plan = it.replan(case.request(it))
            assert "yes (asked " in fact(plan, "rights"), what
            assert fact(plan, "dry run").startswith("done by the server"), what
            for label, words in case.says:
                assert words in fact(plan, label), (what, label, fact(plan, label))
            [before] = plan.preconditions
            assert before.uid or case.verb is Verb.APPLY, what
            lost: list[str] = []

            async def losing(one: Any, lost: list[str] = lost) -> None:
                if one.method == "GET" or lost:
                    await one.forward()
                    return
                lost.append(one.method)
                await swallow(one)

            proxy.faults[before.path] = losing
            since, begun = len(cluster.audited()), len(it.trail())
            result = it.carry_out(plan, it.session.review(plan).expected)
            proxy.faults.clear()
            assert lost, what
            assert result.state is ActionState.OK, (what, result)
            assert written(cluster, since) == [case.writes], what
            told = [each for each in it.trail()[begun:] if each["type"].startswith("action.")]
            assert [each["type"] for each in told] == ["action.begin", "action.end"], what
            assert told[1]["state"] == "OK", what
            if (case.verb is not Verb.DELETE or case.name == "POD") and case.verb is not Verb.PAUSE:
                it.until_ready("web", 0 if case.verb is Verb.STOP else 3)
