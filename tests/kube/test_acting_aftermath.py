"""What the plans for nodes, autoscalers and NIMServices say of those who serve, and who takes the change back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Plan, Verb
from tests.kube.acting import Acting, acting, fact, kubeconfig, workload
from tests.kube.cluster import Cluster
from tests.kube.custom import custom, known

SPACE = "aftermath"
GPU = "nvidia.com/gpu"
NODE = "node-0"


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own; what is in it goes with each test."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    cluster.kubectl("delete", "deployments,hpa,pdb", "--all", "--namespace", SPACE, "--wait=true")
    cluster.kubectl("wait", "pods", "--all", "--for=delete", "--namespace", SPACE, "--timeout=30s")


@pytest.fixture
def it(cluster: Cluster, tmp_path: Path) -> Iterator[Acting]:
    """An admin's session."""
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE) as made:
        yield made


def plan(it: Acting, verb: Verb, kind: str, name: str, **fields: Any) -> Plan:
    key = ServiceKey(it.region, name, "" if kind == "Node" else SPACE)
    return it.replan(ActionRequest(verb=verb, targets=(key,), kind=kind, **fields))


def with_gpus(name: str, replicas: int, gpus: int, **spec: Any) -> dict[str, Any]:
    made = workload(name, SPACE, replicas=replicas, **spec)
    made["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {GPU: str(gpus)}}
    return made


def on(node: str, made: dict[str, Any]) -> dict[str, Any]:
    made["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
    return made


def budget(name: str, least: int) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": SPACE},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": name}}},
    }  # fmt: skip


def autoscaler(name: str, **meta: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": SPACE, **meta},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3},
    }  # fmt: skip


def test_a_drain_says_who_serves_on_and_how_long_a_start_took(cluster: Cluster, it: Acting) -> None:
    cluster.apply(on(NODE, workload("web", SPACE, replicas=2)))
    it.until_ready("web", 2)
    told = plan(it, Verb.DRAIN, "Node", NODE)
    assert "at least 0 of 2 ready ones of aftermath/web-" in fact(told, "capacity")
    assert fact(told, "start").startswith("last start took ")
    assert fact(told, "owner") == "", "nobody is known to open this node again"


MARKS: dict[str, tuple[dict[str, Any], str]] = {
    "a driver upgrade": (
        {"labels": {"nvidia.com/gpu-driver-upgrade-state": "drain-required"}},
        "NVIDIA driver upgrade (drain-required): opens the node again when it is through"),
    "a driver upgrade of a node that was cordoned before": (
        {"labels": {"nvidia.com/gpu-driver-upgrade-state": "drain-required"},
         "annotations": {"nvidia.com/gpu-driver-upgrade.node-initial-state.unschedulable": "true"}}, ""),
    "a driver that is upgraded": ({"labels": {"nvidia.com/gpu-driver-upgrade-state": "upgrade-done"}}, ""),
    "kured": ({"annotations": {"weave.works/kured-reboot-in-progress": "2026-11-27T10:00:00Z"}},
              "kured reboots it now: it opens the node again afterwards"),
    "Karpenter": ({"labels": {"karpenter.sh/nodepool": "gpus"}},
                  "Karpenter (node pool gpus): may take an empty node away"),
    "Karpenter, told not to": ({"labels": {"karpenter.sh/nodepool": "gpus"},
                                "annotations": {"karpenter.sh/do-not-disrupt": "true"}}, ""),
}  # fmt: skip


def test_who_opens_a_node_again_or_takes_it_away_is_named(cluster: Cluster, it: Acting) -> None:
    """Marks on a real node object, as their tools set them; no mark, no line.

    Sabotage seen failing: every state of an upgrade taken for one under way.
    """
    for what, (marks, words) in MARKS.items():
        cluster.kubectl("patch", "node", NODE, "--type=merge", "-p", json.dumps({"metadata": marks}))
        try:
            for verb in (Verb.CORDON, Verb.DRAIN):
                told = fact(plan(it, verb, "Node", NODE), "owner")
                assert told.startswith(words) if words else told == "", (what, told)
        finally:
            gone = {each: dict.fromkeys(marks[each]) for each in marks}
            cluster.kubectl("patch", "node", NODE, "--type=merge", "-p", json.dumps({"metadata": gone}))
    taint = "DeletionCandidateOfClusterAutoscaler=1:PreferNoSchedule"
    cluster.kubectl("taint", "node", NODE, taint)
    try:
        told = fact(plan(it, Verb.DRAIN, "Node", NODE), "owner")
        assert told.startswith("Cluster Autoscaler: wants to take the node away")
    finally:
        cluster.kubectl("taint", "node", NODE, f"{taint}-")


def test_other_bounds_say_what_they_mean_for_the_workload(cluster: Cluster, it: Acting) -> None:
    """Of the 16 GPUs of both nodes 8 are held: a third pod of 4 finds room, a fourth too, a fifth would wait."""
    kind = "HorizontalPodAutoscaler"
    keda = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "llm", "uid": "u-1"}
    owned = autoscaler("llm", ownerReferences=[keda | {"controller": True}])
    cluster.apply(with_gpus("llm", 2, 4), budget("llm", 1), owned)
    it.until_ready("llm", 2)
    more = plan(it, Verb.SET_BOUNDS, kind, "llm", most=5)
    assert fact(more, "warning") == f"{GPU}: room for 2 of the 3 more that it may ask for; the others would wait"
    assert fact(more, "start").startswith("last start took ")
    assert "ScaledObject llm made it and takes this change back: change spec.minReplicaCount" in fact(more, "owner")
    raised = plan(it, Verb.SET_BOUNDS, kind, "llm", least=3)
    assert "the 2 that serve go on; 1 more starts beside" in fact(raised, "capacity")
    assert f"{GPU}: room for 2 more such pods" in fact(raised, "capacity")
    lowered = plan(it, Verb.SET_BOUNDS, kind, "llm", least=1, most=1)
    assert "1 end; 1 of 1 serve on" in fact(lowered, "capacity")
    assert fact(lowered, "disruption").startswith("PDB llm allows ")
    cluster.kubectl("scale", "deployment", "llm", "-n", SPACE, "--replicas=0")
    it.until(lambda: it.ready("llm") == 0, "scaled to none")
    idle = plan(it, Verb.SET_BOUNDS, kind, "llm", most=5)
    assert "has 0 replicas: the autoscaler leaves it alone" in fact(idle, "capacity")


def test_a_nim_service_says_what_its_deployments_plan_would_say(cluster: Cluster, it: Acting) -> None:
    with known(cluster, "nimservices"):
        pipeline = {"apiVersion": "apps.nvidia.com/v1alpha1", "kind": "NIMPipeline", "name": "rag", "uid": "u-2"}
        made = custom("nimservices", "llm", {"replicas": 2}, {}, SPACE)
        made["metadata"]["ownerReferences"] = [pipeline | {"controller": True}]
        cluster.apply(made)
        alone = plan(it, Verb.SCALE, "NIMService", "llm", replicas=4)
        assert "how many serve now is not known" in fact(alone, "capacity")
        assert "how long a start takes is not known" in fact(alone, "start")
        uid = cluster.kubectl("get", "nimservice", "llm", "-n", SPACE, "-o", "jsonpath={.metadata.uid}")
        kept = with_gpus("llm", 2, 5)
        owner = {"apiVersion": "apps.nvidia.com/v1alpha1", "kind": "NIMService", "name": "llm", "uid": uid}
        kept["metadata"]["ownerReferences"] = [owner | {"controller": True}]
        cluster.apply(kept, budget("llm", 1))
        it.until_ready("llm", 2)
        told = plan(it, Verb.SCALE, "NIMService", "llm", replicas=4)
        assert "the 2 that serve go on; 2 more start beside" in fact(told, "capacity")
        assert fact(told, "warning") == f"{GPU}: no room: 2 more pods would wait"
        assert fact(told, "disruption").startswith("PDB llm allows ")
        assert fact(told, "start").startswith("last start took ")
        words = "NIMPipeline rag made it and takes this change back: change spec.services of it instead"
        assert fact(told, "owner") == words
        cluster.kubectl("delete", "deployment", "llm", "-n", SPACE, "--wait=true")
