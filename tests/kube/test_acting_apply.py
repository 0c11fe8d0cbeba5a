"""Manifests applied by a real server: tried first, conflicts by field and owner, watched; files may be hostile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.backends.kubernetes.manifests import read_manifests
from nimify_tui.base.errors import ClusterError, NimifyError, ValidationError
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Plan, Verb
from tests.kube.acting import Acting, acting, asked_rights, fact, kubeconfig, lines, workload, written
from tests.kube.cluster import Cluster
from tests.support import run_cli

SPACE = "applied"


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    cluster.kubectl("delete", "deployments,configmaps,services", "--all", "--namespace", SPACE, "--wait=true")


@pytest.fixture
def it(cluster: Cluster, tmp_path: Path) -> Iterator[Acting]:
    """An admin's session."""
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE) as made:
        yield made


def plan(it: Acting, body: dict[str, Any], name: str = "", **fields: Any) -> Plan:
    key = ServiceKey(it.region, name or body["metadata"]["name"], SPACE)
    manifest = json.dumps(body)
    return it.replan(
        ActionRequest(verb=Verb.APPLY, targets=(key,), kind=body["kind"], manifest=manifest, **fields)
    )


def image(cluster: Cluster) -> str:
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    return cluster.kubectl("get", "deployment", "web", "-n", SPACE, "-o", path)


def test_a_new_object_and_its_next_version(cluster: Cluster, it: Acting) -> None:
    since = len(cluster.audited())
    made = plan(it, workload("web", SPACE))
    assert made.summary == f"Apply Deployment web in {cluster.name}"
    assert fact(made, "objects") == f"Deployment {SPACE}/web, new"
    assert "+ spec.template.spec.containers[main].image: web:1" in lines(made)
    assert "+ spec.progressDeadlineSeconds: 600" in lines(made), "the server's own defaults are shown"
    first = it.do(made)
    assert first.message == "2 of 2 ready"
    newer = plan(it, workload("web", SPACE, image="web:2"))
    assert lines(newer) == [
        "- spec.template.spec.containers[main].image: web:1",
        "+ spec.template.spec.containers[main].image: web:2",
    ]
    it.do(newer)
    assert image(cluster) == "web:2"
    assert written(cluster, since) == ["patch deployments dry-run", "patch deployments"] * 2
    with pytest.raises(ValidationError, match="is like that already"):
        plan(it, workload("web", SPACE, image="web:2"))
    it.until_ready("web", 2)
    it.undo(first)
    assert cluster.kubectl("get", "deployments", "-n", SPACE, "-o", "name") == ""


def test_what_others_have_set_is_named_and_only_taken_over_with_force(cluster: Cluster, it: Acting) -> None:
    cluster.apply(workload("web", SPACE))
    with pytest.raises(ClusterError) as caught:
        plan(it, workload("web", SPACE, image="web:2"))
    assert ".spec.template.spec.containers" in caught.value.message
    assert "kubectl" in caught.value.message
    assert "--force" in caught.value.remedy
    forced = plan(it, workload("web", SPACE, image="web:2"), force=True)
    assert "takes over .spec.template.spec.containers" in fact(forced, "warning")
    assert forced.destructive
    it.do(forced)
    assert image(cluster) == "web:2"


def test_what_changed_or_came_since_the_plan_is_left_alone(cluster: Cluster, it: Acting) -> None:
    early = plan(it, workload("web", SPACE))
    cluster.apply(workload("web", SPACE, image="theirs:1"))
    result = it.carry_out(early)
    assert result.state is ActionState.FAILED
    assert "somebody made it since the plan was made" in result.message
    forced = plan(it, workload("web", SPACE, image="web:2"), force=True)
    cluster.kubectl("scale", "deployment", "web", "--replicas=1", "-n", SPACE)
    result = it.carry_out(forced)
    assert result.state is ActionState.FAILED
    assert "somebody changed it since" in result.message
    assert image(cluster) == "theirs:1"


def test_manifests_that_cannot_be_are_refused_in_words(cluster: Cluster, it: Acting) -> None:
    typo = workload("web", SPACE)
    typo["spec"]["replikas"] = 3
    with pytest.raises(NimifyError, match="replikas"):
        plan(it, typo)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": {"a": "c2VjcmV0"}}
    with pytest.raises(ValidationError, match="secrets are not applied from here"):
        plan(it, secret)
    with pytest.raises(ValidationError, match="this cluster knows no Deploymint in apps/v1"):
        plan(it, {**workload("web", SPACE), "kind": "Deploymint"})
    with pytest.raises(ValidationError, match="another object than the target names"):
        plan(it, workload("web", SPACE), name="other")


def test_of_a_read_only_region_a_manifest_is_only_shown(cluster: Cluster, tmp_path: Path) -> None:
    since = len(cluster.audited())
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE, read_write=False) as it:
        made = plan(it, workload("web", SPACE))
        assert "read-only" in fact(made, "dry run")
        assert "+ spec.replicas: 2" in lines(made)
    assert written(cluster, since) == []
    assert asked_rights(cluster, since) == 0


def test_the_call_applies_each_document_of_a_file(cluster: Cluster, tmp_path: Path) -> None:
    config = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"since": "2026-11-27"}}'
    file = tmp_path / "both.yaml"
    file.write_text(f"{json.dumps(workload('web', SPACE))}\n---\n# a comment\n---\n{config}\n", encoding="utf-8")
    words = ("apply", "-f", str(file), "--kubeconfig", str(kubeconfig(cluster, tmp_path)), "-n", SPACE)
    refused = run_cli(*words, "--confirm", "web", "--context", cluster.name)
    assert refused.returncode == 77
    done = run_cli(*words, "--confirm", "web", "--context", cluster.name, "--read-write")
    assert done.returncode == 0, done.stderr
    assert cluster.kubectl("get", "deployment,configmap", "-n", SPACE, "-o", "name").split()[:1] == [
        "deployment.apps/web"
    ]
    assert cluster.kubectl("get", "configmap", "web", "-n", SPACE, "-o", "jsonpath={.data.since}") == "2026-11-27"


HOSTILE = {
    "a Python object": "!!python/object/apply:os.system ['true']",
    "a bomb": "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(9)),
    "a list": "- 1\n- 2\n",
    "nothing": "---\n---\n",
    "half a document": "{apiVersion: v1, kind: [",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_is_no_manifest_is_refused(what: str) -> None:
    with pytest.raises(NimifyError):
        read_manifests(HOSTILE[what], "file.yaml")


def test_dates_and_lists_are_read_as_kubernetes_reads_them() -> None:
    text = "kind: List\nitems:\n- {kind: A, at: 2026-11-27}\n- {kind: B, on: yes, n: 3}\n"
    assert read_manifests(text, "x") == [{"kind": "A", "at": "2026-11-27"}, {"kind": "B", True: True, "n": 3}]
