"""Each verb its whole way on a real cluster: plan, the server's dry run, gate, write, watched, undone, on the trail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.base.audit import AuditPlaces
from nimify_tui.base.audit_check import verify
from nimify_tui.domain.plans import Verb
from tests.kube.acting import Acting, acting, fact, kubeconfig, lines, workload, written
from tests.kube.cluster import Cluster

SPACE = "acted"


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own; what is in it goes with each test."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    kinds = "deployments,statefulsets,daemonsets,hpa,pdb,rolebindings"
    cluster.kubectl("delete", kinds, "--all", "--namespace", SPACE, "--wait=true")


@pytest.fixture
def it(cluster: Cluster, tmp_path: Path) -> Iterator[Acting]:
    """An admin's session."""
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE) as made:
        yield made


def stored(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    """What kubectl sees."""
    found: dict[str, Any] = json.loads(cluster.kubectl("get", kind, name, "-n", SPACE, "-o", "json"))
    return found


def image(cluster: Cluster, kind: str, name: str) -> str:
    return str(stored(cluster, kind, name)["spec"]["template"]["spec"]["containers"][0]["image"])


def pods(cluster: Cluster) -> set[str]:
    """The uids of the pods."""
    return set(cluster.kubectl("get", "pods", "-n", SPACE, "-o", "jsonpath={.items[*].metadata.uid}").split())


def test_scale_stop_and_start_and_their_undos(cluster: Cluster, it: Acting) -> None:
    cluster.apply(workload("web", SPACE))
    it.until_ready("web", 2)
    since = len(cluster.audited())

    plan = it.plan(Verb.SCALE, "web", replicas=4)
    assert fact(plan, "objects") == f"Deployment {SPACE}/web, 2 pods, 2 ready, revision 1"
    assert fact(plan, "change") == "replicas 2 → 4"
    assert "the 2 that serve go on; 2 more start beside" in fact(plan, "capacity")
    assert fact(plan, "rights").startswith("patch deployments/scale.apps: yes (asked ")
    assert fact(plan, "dry run").startswith("done by the server (")
    assert fact(plan, "owner") == "nobody is known to take this change back"
    assert "kubectl" in fact(plan, "field")
    assert fact(plan, "disruption") == "no PDB covers its pods"
    assert lines(plan) == ["- spec.replicas: 2", "+ spec.replicas: 4"]
    scaled = it.do(plan)
    assert scaled.message == "revision 1 runs on 4 of 4"
    assert stored(cluster, "deployment", "web")["spec"]["replicas"] == 4
    assert it.ready("web") == 4
    it.undo(scaled)
    assert stored(cluster, "deployment", "web")["spec"]["replicas"] == 2

    stopped = it.act(Verb.STOP, "web")
    assert stopped.message == "no replica runs"
    assert it.replicas("web") == []
    started = it.undo(stopped)
    assert started.message == "revision 1 runs on 2 of 2"
    it.act(Verb.STOP, "web")
    assert it.act(Verb.START, "web").message == "revision 1 runs on 2 of 2", "how many there were is remembered"
    assert "nimify.dev/replicas-before-stop" not in stored(cluster, "deployment", "web")["metadata"]["annotations"]

    once = ["patch deployments/scale dry-run", "patch deployments/scale"]
    patched = ["patch deployments dry-run", "patch deployments"]
    assert written(cluster, since) == once * 2 + patched * 4, "each tried once and written once"
    kinds = [record["type"] for record in it.trail()]
    assert kinds.count("action.begin") == kinds.count("action.end") == 6
    assert kinds.count("action.undone") == 2
    assert verify(AuditPlaces.default()).intact


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_restart_image_and_rollback_of_each_kind(kind: str, cluster: Cluster, it: Acting) -> None:
    cluster.apply(workload("web", SPACE, kind))
    it.until_ready("web", 2)  # two nodes
    before = pods(cluster)

    plan = it.plan(Verb.RESTART, "web")
    [added] = lines(plan)
    assert added.startswith("+ spec.template.metadata.annotations[kubectl.kubernetes.io/restartedAt]: ")
    assert "none needed: the template's content is the same" in fact(plan, "undo")
    it.do(plan)
    assert len(pods(cluster)) == 2
    assert pods(cluster).isdisjoint(before), "every pod was replaced"

    moved = it.plan(Verb.SET_IMAGE, "web", image="web:2")
    assert "- spec.template.spec.containers[main].image: web:1" in lines(moved)
    assert "+ spec.template.spec.containers[main].image: web:2" in lines(moved)
    done = it.do(moved)
    assert done.message == "revision 3 runs on 2 of 2"
    assert image(cluster, kind, "web") == "web:2"
    it.undo(done)
    assert image(cluster, kind, "web") == "web:1"

    back = it.plan(Verb.ROLLBACK, "web", revision=3)
    assert "+ spec.template.spec.containers[main].image: web:2" in lines(back)
    rolled = it.do(back)
    assert image(cluster, kind, "web") == "web:2"
    status = cluster.kubectl("rollout", "status", f"{kind.lower()}/web", "-n", SPACE, "--timeout=5s")
    assert "successful" in status or "complete" in status
    it.undo(rolled)
    assert image(cluster, kind, "web") == "web:1"
    it.act(Verb.ROLLBACK, "web")  # without a number: the one before
    assert image(cluster, kind, "web") == "web:2"


def test_pause_resume_and_delete(cluster: Cluster, it: Acting) -> None:
    cluster.apply(workload("web", SPACE))
    it.until_ready("web", 2)
    paused = it.act(Verb.PAUSE, "web")
    assert stored(cluster, "deployment", "web")["spec"]["paused"] is True
    cluster.kubectl("set", "image", "deployment/web", "main=web:2", "-n", SPACE)
    it.undo(paused)
    assert "paused" not in stored(cluster, "deployment", "web")["spec"]
    assert {each.revision for each in it.replicas("web")} == {2}

    plan = it.plan(Verb.DELETE, "web")
    assert plan.destructive
    assert plan.undo is not None
    assert plan.undo.verb is Verb.APPLY, "made again from its kept manifest"
    assert lines(plan)[0] == "- kind: Deployment"
    assert it.do(plan).message == "it is gone"
    assert it.session.service(it.key("web")) is None
    assert "NotFound" in _failed(cluster, "get", "deployment", "web", "-n", SPACE)


def _failed(cluster: Cluster, *words: str) -> str:
    with pytest.raises(AssertionError) as caught:
        cluster.kubectl(*words)
    return str(caught.value)
