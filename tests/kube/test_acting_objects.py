"""Nodes, pods, autoscalers and custom resources, changed their whole way on a real cluster; drains as budgets allow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.base.errors import GateRefused, ValidationError
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Plan, Progress, Verb
from tests.kube.acting import (
    READS,
    Acting,
    acting,
    asked_rights,
    fact,
    grant,
    kubeconfig,
    lines,
    workload,
    written,
)
from tests.kube.cluster import Cluster
from tests.support import run_cli

SPACE = "objects"
NODE, OTHER = "node-0", "node-1"


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own; nodes are open again afterwards."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    cluster.kubectl("uncordon", NODE, OTHER)
    kinds = "deployments,daemonsets,hpa,pdb,roles,rolebindings"
    cluster.kubectl("delete", kinds, "--all", "--namespace", SPACE, "--wait=true")
    cluster.kubectl("delete", "pods", "--all", "--namespace", SPACE, "--wait=true", "--grace-period=0")


@pytest.fixture
def it(cluster: Cluster, tmp_path: Path) -> Iterator[Acting]:
    """An admin's session."""
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE) as made:
        yield made


def plan(it: Acting, verb: Verb, kind: str, name: str, **fields: Any) -> Plan:
    key = ServiceKey(it.region, name, "" if kind == "Node" else SPACE)
    return it.replan(ActionRequest(verb=verb, targets=(key,), kind=kind, **fields))


def act(it: Acting, verb: Verb, kind: str, name: str, **fields: Any) -> ActionResult:
    return it.do(plan(it, verb, kind, name, **fields))


def held(cluster: Cluster, node: str = NODE) -> bool:
    return cluster.kubectl("get", "node", node, "-o", "jsonpath={.spec.unschedulable}") == "true"


def pods_on(cluster: Cluster, node: str) -> list[str]:
    fields = f"--field-selector=spec.nodeName={node}"
    return cluster.kubectl("get", "pods", "-n", SPACE, fields, "-o", "name").split()


def spread(name: str, replicas: int = 2) -> dict[str, Any]:
    """A deployment with its pods on different nodes as far as that goes."""
    made = workload(name, SPACE, replicas=replicas)
    made["spec"]["template"]["spec"]["topologySpreadConstraints"] = [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
         "labelSelector": {"matchLabels": {"app": name}}}
    ]  # fmt: skip
    return made


def budget(cluster: Cluster, name: str, least: int) -> None:
    cluster.apply(
        {
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": SPACE},
            "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": name}}},
        }
    )  # fmt: skip


def counted(cluster: Cluster, field: str) -> str:
    """A field of the budget's status."""
    return cluster.kubectl("get", "pdb", "web", "-n", SPACE, "-o", f"jsonpath={{.status.{field}}}")


def test_a_node_is_cordoned_and_opened_again(cluster: Cluster, it: Acting) -> None:
    made = plan(it, Verb.CORDON, "Node", NODE)
    assert made.summary == f"Cordon Node {NODE} in {cluster.name}"
    assert "+ spec.unschedulable: true" in lines(made)
    assert fact(made, "rights").startswith("patch nodes: yes")
    result = it.do(made)
    assert result.message == "it is cordoned"
    assert held(cluster)
    with pytest.raises(ValidationError, match="is cordoned already"):
        plan(it, Verb.CORDON, "Node", NODE)
    it.undo(result)
    assert not held(cluster)


def test_a_node_is_drained_as_budgets_allow_and_daemons_stay(
    cluster: Cluster, it: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget allows none at first; it is raised when the drain has said what holds it."""
    monkeypatch.setattr("nimify_tui.controllers.kubernetes.single.BLOCKED_S", 0.3)
    cluster.apply(workload("daemon", SPACE, "DaemonSet"), spread("web", 3))
    budget(cluster, "web", 3)
    it.until_ready("web", 3)
    it.until_ready("daemon", 2)
    it.until(lambda: counted(cluster, "currentHealthy") == "3", "the budget's own count")
    node = max((NODE, OTHER), key=lambda each: len(pods_on(cluster, each)))
    made = plan(it, Verb.DRAIN, "Node", node)
    assert "2 pods leave it one after the other; 1 of DaemonSets and of the node itself stay" in fact(made, "capacity")
    assert fact(made, "disruption").count("may not leave now") == 2
    assert sum(line.startswith("- pod objects/web-") for line in lines(made)) == 2
    since = len(cluster.audited())
    held_by: list[str] = []

    def raise_it(step: Progress) -> None:
        if "held by budgets" in step.text and not held_by:
            held_by.append(step.text)
            budget(cluster, "web", 1)

    result = it.session.carry_out(made, "y", raise_it).result(90)
    assert result.state is ActionState.OK, result
    assert "2 held by budgets: objects/web-" in held_by[0]
    assert result.message == "cordoned and empty"
    assert held(cluster, node)
    [daemon] = pods_on(cluster, node)
    assert "daemon" in daemon
    wrote = written(cluster, since)
    assert wrote[0] == "patch nodes"
    assert set(wrote[1:]) == {"create pods/eviction"}
    it.until_ready("web", 3)
    it.undo(result)
    assert not held(cluster, node)


def test_what_a_budget_holds_is_told_before_and_what_is_lost_needs_force(cluster: Cluster, it: Acting) -> None:
    cluster.apply(spread("web"))
    budget(cluster, "web", 2)
    it.until_ready("web", 2)
    it.until(lambda: counted(cluster, "currentHealthy") == "2", "the budget's own count")
    [pod] = pods_on(cluster, NODE)
    told = fact(plan(it, Verb.DRAIN, "Node", NODE), "disruption")
    assert told.startswith(f"{SPACE}/{pod.removeprefix('pod/')} may not leave now")
    assert "disruption budget" in told

    alone = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "namespace": SPACE},
        "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "x:1"}],
                 "volumes": [{"name": "shm", "emptyDir": {}}]},
    }  # fmt: skip
    cluster.apply(alone)
    with pytest.raises(ValidationError) as caught:
        plan(it, Verb.DRAIN, "Node", NODE)
    assert f"nobody makes again: {SPACE}/alone" in caught.value.message
    assert "--force" in caught.value.remedy
    forced = plan(it, Verb.DRAIN, "Node", NODE, force=True)
    assert "lose the data they keep on the node" in fact(forced, "warning")
    assert not held(cluster), "plans change nothing"


def test_a_drain_says_whose_gpus_find_no_place_elsewhere(cluster: Cluster, it: Acting) -> None:
    """Both nodes have 8: what holds all 8 of one has nowhere to go while the other holds one, a pod of four has."""
    gpu = "nvidia.com/gpu"
    for name, count, node in (("large", 8, NODE), ("small", 1, OTHER)):
        made = workload(name, SPACE, replicas=1)
        pod = made["spec"]["template"]["spec"]
        pod["nodeSelector"] = {"kubernetes.io/hostname": node}
        pod["containers"][0]["resources"] = {"limits": {gpu: str(count)}}
        cluster.apply(made)
        it.until_ready(name, 1)
    told = plan(it, Verb.DRAIN, "Node", NODE)
    words = f"{gpu}: 1 of 1 pods that leave find no place on another node; their successors would wait"
    assert fact(told, "warning") == words
    cluster.kubectl("delete", "deployment", "large", "-n", SPACE, "--wait=true")
    it.until(lambda: not pods_on(cluster, NODE), "the node is empty")
    assert f"{gpu}: the 1 that leave find room on other nodes" in fact(plan(it, Verb.DRAIN, "Node", OTHER), "capacity")


def test_a_pod_is_deleted_and_its_successor_is_not(cluster: Cluster, it: Acting) -> None:
    cluster.apply(workload("web", SPACE, replicas=1))
    it.until_ready("web", 1)
    [name] = [each.key.replica for each in it.replicas("web")]
    made = plan(it, Verb.DELETE, "Pod", name)
    assert "makes another one" in fact(made, "capacity")
    assert "0 of 1 ready ones of web-" in fact(made, "capacity")
    assert fact(made, "disruption") == "no PDB covers it"
    budget(cluster, "web", 1)
    it.until(lambda: counted(cluster, "currentHealthy") == "1", "the budget's own count")
    held_by = fact(plan(it, Verb.DELETE, "Pod", name), "disruption")
    assert held_by == "PDB web allows 0 (1 healthy, 1 wanted); a delete does not ask it"
    assert made.destructive
    assert it.do(made).message == "it is gone"
    it.until(lambda: it.ready("web") == 1 and name not in str(it.replicas("web")), "its successor")
    with pytest.raises(ValidationError, match="there is no Pod"):
        plan(it, Verb.DELETE, "Pod", name)


def test_an_autoscaler_gets_other_bounds(cluster: Cluster, it: Acting) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    cluster.apply(
        {
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": SPACE,
                         "annotations": {"argocd.argoproj.io/tracking-id": "models:autoscaling/HPA:web"}},
            "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5},
        }
    )  # fmt: skip
    kind = "HorizontalPodAutoscaler"
    made = plan(it, Verb.SET_BOUNDS, kind, "web", most=9)
    assert fact(made, "change") == "2 to 5 replicas → 2 to 9"
    assert "Argo CD application models: takes this back when it heals itself" in fact(made, "owner")
    assert lines(made) == ["- spec.maxReplicas: 5", "+ spec.maxReplicas: 9"]
    result = it.do(made)
    stored = json.loads(cluster.kubectl("get", "hpa", "web", "-n", SPACE, "-o", "json"))["spec"]
    assert (stored["minReplicas"], stored["maxReplicas"]) == (2, 9)
    it.undo(result)
    with pytest.raises(ValidationError, match="from 7 to 5 replicas cannot be"):
        plan(it, Verb.SET_BOUNDS, kind, "web", least=7)
    early = plan(it, Verb.SET_BOUNDS, kind, "web", least=3)
    cluster.kubectl("patch", "hpa", "web", "-n", SPACE, "-p", '{"spec": {"maxReplicas": 6}}')
    refused = it.carry_out(early)
    assert refused.state is ActionState.FAILED, "somebody changed it in between"
    stored = json.loads(cluster.kubectl("get", "hpa", "web", "-n", SPACE, "-o", "json"))["spec"]
    assert (stored["minReplicas"], stored["maxReplicas"]) == (2, 6)


def test_a_nim_service_is_scaled_by_its_own_field(cluster: Cluster, it: Acting) -> None:
    """The operator is played by kubectl: it writes the status that a real one writes."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }  # fmt: skip
    names = {"kind": "NIMService", "plural": "nimservices", "singular": "nimservice"}
    cluster.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "nimservices.apps.nvidia.com"},
            "spec": {"group": "apps.nvidia.com", "scope": "Namespaced", "names": names, "versions": [version]},
        }
    )  # fmt: skip
    cluster.kubectl("wait", "crd/nimservices.apps.nvidia.com", "--for=condition=Established", "--timeout=20s")
    meta = {"name": "llama", "namespace": SPACE}
    api = "apps.nvidia.com/v1alpha1"
    cluster.apply({"apiVersion": api, "kind": "NIMService", "metadata": meta, "spec": {"replicas": 1}})
    ready = ("patch", "nimservice", "llama", "-n", SPACE, "--subresource=status", "--type=merge", "-p")
    cluster.kubectl(*ready, '{"status": {"state": "Ready", "availableReplicas": 3}}')
    made = plan(it, Verb.SCALE, "NIMService", "llama", replicas=3)
    assert lines(made) == ["- spec.replicas: 1", "+ spec.replicas: 3"]
    result = it.do(made)
    assert result.message == "3 of 3 available"
    assert cluster.kubectl("get", "nimservice", "llama", "-n", SPACE, "-o", "jsonpath={.spec.replicas}") == "3"
    cluster.kubectl(*ready, '{"status": {"availableReplicas": 1}}')
    it.undo(result)
    scaled = {"spec": {"scale": {"enabled": True}}}
    cluster.kubectl("patch", "nimservice", "llama", "-n", SPACE, "--type=merge", "-p", json.dumps(scaled))
    with pytest.raises(ValidationError, match="lets an autoscaler set the number"):
        plan(it, Verb.SCALE, "NIMService", "llama", replicas=2)
    cluster.kubectl("delete", "crd", "nimservices.apps.nvidia.com", "--wait=true")


def test_read_only_and_without_rights_nothing_is_tried(cluster: Cluster, tmp_path: Path) -> None:
    since = len(cluster.audited())
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE, read_write=False) as it:
        made = plan(it, Verb.DRAIN, "Node", NODE, force=True)
        with pytest.raises(GateRefused):
            it.carry_out(made)
    assert asked_rights(cluster, since) == 0
    grant(cluster, SPACE, "viewer", *READS)
    api = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list"]}
    cluster.apply(
        {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": "sees-nodes"}, "rules": [rule]},
        {
            "apiVersion": f"{api}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "sees-nodes"},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "sees-nodes"},
            "subjects": [{"kind": "User", "name": "viewer", "apiGroup": api}],
        },
    )  # fmt: skip
    with acting(kubeconfig(cluster, tmp_path, "viewer"), cluster.name, SPACE) as it:
        with pytest.raises(GateRefused, match="may not patch nodes in us-east-1"):
            plan(it, Verb.CORDON, "Node", NODE)
        with pytest.raises(GateRefused, match="may not"):
            plan(it, Verb.DRAIN, "Node", NODE, force=True)
    cluster.kubectl("delete", "clusterrolebinding,clusterrole", "sees-nodes")
    assert written(cluster, since) == []
    assert not held(cluster)


def test_the_calls_know_nodes_pods_and_autoscalers(cluster: Cluster, tmp_path: Path) -> None:
    file = kubeconfig(cluster, tmp_path)
    common = ("--kubeconfig", str(file), "--context", cluster.name, "--read-write")
    done = run_cli("cordon", NODE, *common, "--confirm", NODE)
    assert done.returncode == 0, done.stderr
    assert held(cluster)
    done = run_cli("uncordon", f"{NODE}@{cluster.name}", *common, "--confirm", NODE)
    assert done.returncode == 0, done.stderr
    pod = {"name": "alone", "namespace": SPACE}
    spec = {"nodeName": NODE, "containers": [{"name": "main", "image": "x:1"}]}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": pod, "spec": spec})
    unclear = run_cli("delete", "pod/alone", *common, "--confirm", "alone")
    assert unclear.returncode == 64
    assert "in which namespace" in unclear.stderr
    done = run_cli("delete", "pod/alone", *common, "-n", SPACE, "--confirm", "alone")
    assert done.returncode == 0, done.stderr
    assert "nobody makes it again" in done.stderr
    assert cluster.kubectl("get", "pods", "-n", SPACE, "-o", "name") == ""
