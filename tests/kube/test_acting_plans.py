"""What a plan says of the world around a workload: GPUs, budgets, autoscalers, and who takes a change back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.domain.plans import ActionState, Plan, Verb
from tests.kube.acting import Acting, acting, fact, kubeconfig, lines, workload
from tests.kube.cluster import Cluster

SPACE = "planned"
GPU = "nvidia.com/gpu"


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


def with_gpus(name: str, replicas: int, gpus: int, **spec: Any) -> dict[str, Any]:
    made = workload(name, SPACE, replicas=replicas, **spec)
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {GPU: str(gpus)}}
    return made


def never_fewer(surge: int) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 0}}


def test_without_a_spare_gpu_stop_then_start_is_offered_and_works(cluster: Cluster, it: Acting) -> None:
    """Two nodes with 8 GPUs each, all of them held: a roll-out that only surges would wait for ever."""
    cluster.apply(with_gpus("llm", 2, 8, strategy=never_fewer(1)))
    it.until_ready("llm", 2)

    stuck = it.plan(Verb.RESTART, "llm")
    assert f"no spare {GPU}: a new pod finds no place; the roll-out would wait for ever" in fact(stuck, "capacity")
    assert "stop-first replaces each pod in its own place instead" in fact(stuck, "warning")

    plan = it.plan(Verb.RESTART, "llm", stop_first=True)
    assert fact(plan, "warning") == ""
    assert "each pod ends before its successor starts; at least 1 of 2 serve meanwhile" in fact(plan, "capacity")
    assert "+ spec.strategy.rollingUpdate.maxUnavailable: 1" in lines(plan)
    assert "its new strategy (maxSurge 0, maxUnavailable 1) stays" in fact(plan, "undo")
    assert it.do(plan).message == "revision 2 runs on 2 of 2"

    cluster.kubectl("patch", "deployment", "llm", "-n", SPACE, "-p", json.dumps({"spec": {"strategy": never_fewer(1)}}))
    it.until(lambda: ":rollback stop-first" in fact(it.plan(Verb.ROLLBACK, "llm"), "warning"), "its own strategy again")
    back = it.plan(Verb.ROLLBACK, "llm", stop_first=True)
    assert "+ spec.strategy.rollingUpdate.maxUnavailable: 1" in lines(back)
    assert it.do(back).message == "revision 3 runs on 2 of 2"

    more = it.plan(Verb.SCALE, "llm", replicas=4)
    assert fact(more, "warning") == f"{GPU}: no room: 2 more pods would wait"


def test_spare_gpus_are_counted_node_by_node(cluster: Cluster, it: Acting) -> None:
    """5 of 8 and 5 of 8 are held: six are free, and no pod of four finds a place."""
    apart = {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "kubernetes.io/hostname"}
    spread = with_gpus("a", 2, 5)
    spread["spec"]["template"]["spec"]["affinity"] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}
    }
    cluster.apply(spread, with_gpus("b", 0, 4), with_gpus("c", 0, 3))
    it.until_ready("a", 2)
    it.until(lambda: it.progress("c") == "", "the others seen")
    assert fact(it.plan(Verb.SCALE, "b", replicas=1), "warning") == f"{GPU}: no room: 1 more pod would wait"
    assert f"{GPU}: room for 2 more such pods" in fact(it.plan(Verb.SCALE, "c", replicas=1), "capacity")
    partly = fact(it.plan(Verb.SCALE, "c", replicas=3), "warning")
    assert partly == f"{GPU}: room for 2 of 3 more pods; the others wait"


def test_budgets_and_autoscalers_are_named(cluster: Cluster, it: Acting) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    meta = {"name": "web", "namespace": SPACE}
    cluster.apply(
        workload("web", SPACE, replicas=3),
        {
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta,
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
        },
        {
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta,
            "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5},
        },
    )  # fmt: skip
    it.until_ready("web", 3)

    def budget() -> str:
        return fact(it.plan(Verb.RESTART, "web"), "disruption")

    it.until(lambda: "allows 1 (3 healthy, 2 wanted)" in budget(), "the budget's own count")
    assert budget().startswith("PDB web allows 1 ")
    assert "a roll-out does not ask it, only evictions do" in budget()
    assert "HPA" not in fact(it.plan(Verb.RESTART, "web"), "owner"), "it does not touch the template"
    inside, above = (fact(it.plan(Verb.SCALE, "web", replicas=n), "owner") for n in (4, 9))
    assert "HPA web (2 to 5) sets the number by itself" in inside
    assert "HPA web (2 to 5) brings the number back into its bounds: change those instead" in above
    assert "leaves it alone while it has 0 replicas" in fact(it.plan(Verb.STOP, "web"), "owner")


OWNED: dict[str, tuple[dict[str, Any], str]] = {
    "Helm": ({"annotations": {"meta.helm.sh/release-name": "llama", "meta.helm.sh/release-namespace": "chat"}},
             "Helm release chat/llama: nobody reverts this change; its next upgrade may"),
    "Argo CD": ({"annotations": {"argocd.argoproj.io/tracking-id": "models:apps/Deployment:planned/web"}},
                "Argo CD application models: takes this back when it heals itself"),
    "Flux": ({"labels": {"kustomize.toolkit.fluxcd.io/name": "models"}},
             "Flux kustomization models: takes this back at its next run"),
    "NIM operator": ({"ownerReferences": [{"apiVersion": "apps.nvidia.com/v1alpha1", "kind": "NIMService",
                      "name": "llama", "uid": "00000000-0000-0000-0000-000000000001", "controller": True}]},
                     "NIMService llama made it and takes this change back: change spec.replicas"),
}  # fmt: skip


def test_who_takes_a_change_back_is_named_with_what_to_change_instead(cluster: Cluster, it: Acting) -> None:
    for number, (meta, _) in enumerate(OWNED.values()):
        made = workload(f"web-{number}", SPACE, replicas=0)
        made["metadata"] |= {key: value for key, value in meta.items() if key != "ownerReferences"}
        cluster.apply(made)
    plans: list[Plan] = []
    for number, (meta, _) in enumerate(OWNED.values()):
        name = f"web-{number}"
        it.until(partial(it.session.service, it.key(name)), f"{name} seen")
        if owners := meta.get("ownerReferences"):
            # The garbage collector takes what an owner that is not there made: planned before it comes round.
            body = json.dumps({"metadata": {"ownerReferences": owners}})
            cluster.kubectl("patch", "deployment", name, "-n", SPACE, "--type=merge", "-p", body)
        plans.append(it.plan(Verb.SCALE, name, replicas=1))
    for plan, (_, words) in zip(plans, OWNED.values(), strict=True):
        assert words in fact(plan, "owner")


def test_a_roll_out_that_does_not_get_on_fails_in_its_own_words(cluster: Cluster, it: Acting) -> None:
    """What is held back and then let go wants more GPUs than a node has: nothing of it can start."""
    cluster.apply(workload("web", SPACE, progressDeadlineSeconds=3))
    it.until_ready("web", 2)
    cluster.kubectl("rollout", "pause", "deployment/web", "-n", SPACE)
    hungry = {"containers": [{"name": "main", "resources": {"limits": {GPU: "9"}}}]}
    patch = json.dumps({"spec": {"template": {"spec": hungry}}})
    cluster.kubectl("patch", "deployment", "web", "-n", SPACE, "-p", patch)
    it.until(lambda: it.progress("web") == "roll-out paused", "the pause seen")
    result = it.carry_out(it.plan(Verb.RESUME, "web"))
    assert result.state is ActionState.FAILED
    assert "the roll-out made no progress within its deadline" in result.message
    assert it.ready("web") == 2, "the old ones serve on"


def test_two_kinds_of_one_name_are_kept_apart(cluster: Cluster, it: Acting) -> None:
    """The second one is shown with its kind behind its name, and that is the one that is changed."""
    cluster.apply(workload("web", SPACE), workload("web", SPACE, "StatefulSet"))
    it.until_ready("web", 2)
    it.until_ready("web.statefulset", 2)
    try:
        plan = it.plan(Verb.SCALE, "web.statefulset", replicas=3)
        assert fact(plan, "objects").startswith(f"StatefulSet {SPACE}/web, 2 pods")
        it.do(plan)
        counts = ("get", "-n", SPACE, "-o", "jsonpath={.spec.replicas}")
        assert cluster.kubectl(*counts, "statefulset/web") == "3"
        assert cluster.kubectl(*counts, "deployment/web") == "2"
    finally:
        cluster.kubectl("delete", "statefulsets", "--all", "-n", SPACE, "--wait=true")
