"""Manifests applied by a real server: tried first, conflicts by field and owner, watched; files may be hostile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.backends.kubernetes.manifests import read_file, read_manifests
from nimify_tui.base.errors import GateRefused, NimifyError, ValidationError
from nimify_tui.controllers.kubernetes.manifests import apply_request
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
    it.until(lambda: cluster.kubectl("get", "deployments", "-n", SPACE, "-o", "name") == "", "it is gone")


def test_what_others_have_set_is_named_and_only_taken_over_with_force(cluster: Cluster, it: Acting) -> None:
    """The plan can be read, with its diff, and cannot be carried out."""
    cluster.apply(workload("web", SPACE))
    since = len(cluster.audited())
    made = plan(it, workload("web", SPACE, image="web:2"))
    assert ".spec.template.spec.containers" in fact(made, "conflict")
    assert "kubectl" in fact(made, "conflict")
    assert "+ spec.template.spec.containers[main].image: web:2" in lines(made)
    verdict = it.session.review(made)
    assert not verdict.allowed
    assert "others have set" in verdict.reason
    assert "--force" in verdict.remedy
    with pytest.raises(GateRefused, match="others have set"):
        it.carry_out(made)
    assert written(cluster, since) == ["patch deployments dry-run"] * 2
    forced = plan(it, workload("web", SPACE, image="web:2"), force=True)
    assert "takes over .spec.template.spec.containers" in fact(forced, "warning")
    assert forced.destructive
    done = it.do(forced)
    assert image(cluster) == "web:2"
    it.until_ready("web", 2)
    assert "who has set a field before is not put back" in fact(forced, "undo")
    it.undo(done)
    assert image(cluster) == "web:1"


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": SPACE}, "data": data}


def data(cluster: Cluster, name: str) -> Any:
    return json.loads(cluster.kubectl("get", "configmap", name, "-n", SPACE, "-o", "json"))["data"]


def file_of(it: Acting, *bodies: dict[str, Any]) -> Plan:
    """One plan of a file with these documents."""
    return it.replan(apply_request("\n---\n".join(map(json.dumps, bodies)), "x.yaml", [it.region], SPACE))


def test_a_file_is_one_plan_with_a_result_for_each_object_and_one_way_back(cluster: Cluster, it: Acting) -> None:
    """Two objects share a name; one of three is new; the way back deletes that one and puts the others back."""
    first = file_of(it, config("web", mode="plain", greeting="hello"), workload("web", SPACE))
    assert first.summary == f"Apply 2 objects in {cluster.name}"
    assert it.session.review(first).reason == ""
    it.do(first)
    it.until_ready("web", 2)
    cluster.kubectl("label", "configmap", "web", "theirs=kept", "-n", SPACE)

    newer = [config("web", loud="yes", greeting="hello"), config("more", a="b"), workload("web", SPACE, image="web:2")]
    made = file_of(it, *newer)
    assert [line for line in lines(made) if line[0] in "-+" and line[4:].startswith("data.")] == [
        "-   data.mode: plain", "+   data.loud: yes", "+   data.a: b",
    ]  # fmt: skip
    assert "delete it again (it is new)" in fact(made, "undo")
    assert "at least" in fact(made, "capacity"), "what a new template means for what serves"
    done = it.do(made)
    assert [(each.key.name, each.state, each.message) for each in done.targets] == [
        ("configmap/web", ActionState.OK, "it is stored"),
        ("configmap/more", ActionState.OK, "it is stored"),
        ("deployment/web", ActionState.OK, "2 of 2 ready"),
    ]
    assert data(cluster, "web") == {"loud": "yes", "greeting": "hello"}
    assert image(cluster) == "web:2"
    it.until_ready("web", 2)
    back = it.undo(done)
    assert [each.key.name for each in back.targets] == ["deployment/web", "configmap/more", "configmap/web"]
    assert data(cluster, "web") == {"mode": "plain", "greeting": "hello"}
    assert image(cluster) == "web:1"
    labels = json.loads(cluster.kubectl("get", "configmap", "web", "-n", SPACE, "-o", "json"))["metadata"]["labels"]
    assert labels == {"theirs": "kept"}, "what others have set since stays"
    names = cluster.kubectl("get", "configmaps", "-n", SPACE, "-o", "name").split()
    assert "configmap/more" not in names
    assert it.trail()[-1]["type"] == "action.undone"


def test_the_first_object_that_is_refused_ends_it_and_the_others_are_not_touched(cluster: Cluster, it: Acting) -> None:
    made = file_of(it, config("one", a="1"), config("two", a="1"), config("three", a="1"))
    cluster.apply(config("two", a="theirs"))
    result = it.carry_out(made, it.session.review(made).expected)
    assert [each.state for each in result.targets] == [ActionState.OK, ActionState.FAILED, ActionState.PLANNED]
    assert "somebody made it since the plan was made" in result.message
    assert result.undo is not None, "what was made can be taken back"
    it.do(it.replan(result.undo))
    names = cluster.kubectl("get", "configmaps", "-n", SPACE, "-o", "name").split()
    assert "configmap/one" not in names
    assert "configmap/three" not in names


def test_a_namespace_and_what_is_in_it_are_one_plan(cluster: Cluster, it: Acting) -> None:
    """The server cannot try what lies in a namespace that is not there yet: the plan says so, and makes both."""
    space = f"{SPACE}-new"
    there = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
    inside = config("web", a="1")
    inside["metadata"]["namespace"] = space
    with pytest.raises(NimifyError, match="not found"):
        file_of(it, inside)
    made = file_of(it, there, inside)
    assert f"ConfigMap {space}/web: not tried, Namespace {space} is made first" in fact(made, "dry run")
    assert "all that is in it goes with it" in fact(made, "undo")
    it.do(made)
    assert cluster.kubectl("get", "configmap", "web", "-n", space, "-o", "jsonpath={.data.a}") == "1"
    cluster.kubectl("delete", "namespace", space, "--wait=false")


@pytest.mark.parametrize("sabotage", [False, True], ids=["version", "sabotage: nobody looks at the version"])
def test_an_object_without_a_generation_that_was_changed_meanwhile_is_left_alone(
    sabotage: bool, cluster: Cluster, it: Acting
) -> None:
    it.do(file_of(it, config("web", a="1")))
    made = file_of(it, config("web", a="2"))
    if sabotage:
        made = msgspec.structs.replace(
            made, preconditions=tuple(msgspec.structs.replace(each, version="") for each in made.preconditions)
        )
    cluster.kubectl("label", "configmap", "web", "theirs=kept", "-n", SPACE)
    result = it.carry_out(made, it.session.review(made).expected)
    assert result.state is (ActionState.OK if sabotage else ActionState.FAILED), result
    assert data(cluster, "web") == {"a": "2" if sabotage else "1"}


def test_what_was_deleted_is_made_again_from_its_kept_manifest(cluster: Cluster, it: Acting) -> None:
    """A workload, and a pod that nobody looks after; of a pod that is looked after the plan says who makes another.

    Sabotage seen failing: a kept pod with the labels of the zone in which it was placed, made again in another one.
    """
    cluster.apply(workload("web", SPACE, image="web:7"))
    alone = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "namespace": SPACE, "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "main", "image": "x:1"}]},
    }  # fmt: skip
    cluster.apply(alone)
    it.until_ready("web", 2)
    gone = it.act(Verb.DELETE, "web")
    assert it.session.service(it.key("web")) is None
    it.undo(gone)
    assert image(cluster) == "web:7"
    it.until_ready("web", 2)

    one = next(each.key.replica for each in it.replicas("web"))
    kept = it.plan(Verb.DELETE, one, kind="Pod")
    assert kept.undo is None
    assert "makes another one" in fact(kept, "undo")
    uid = ("get", "pod", "alone", "-n", SPACE, "-o", "jsonpath={.metadata.uid}")
    before = cluster.kubectl(*uid)
    cluster.kubectl("wait", "pod/alone", "-n", SPACE, "--for=condition=Ready", "--timeout=60s")
    node = cluster.kubectl("get", "pod", "alone", "-n", SPACE, "-o", "jsonpath={.spec.nodeName}")
    lost = it.plan(Verb.DELETE, "alone", kind="Pod")
    assert "nobody makes it again" in fact(lost, "warning")
    assert "as another pod" in fact(lost, "undo")
    done = it.do(lost)
    cluster.kubectl("cordon", node)
    try:
        again = it.undo(done)
    finally:
        cluster.kubectl("uncordon", node)
    assert again.message == "the pod is ready"
    assert cluster.kubectl(*uid) != before
    assert cluster.kubectl("get", "pod", "alone", "-n", SPACE, "-o", "jsonpath={.metadata.labels.a}") == "b"
    cluster.kubectl("delete", "pod", "alone", "-n", SPACE, "--wait=false")


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
    with pytest.raises(ValidationError, match="a Secret has to come from a file"):
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


def test_the_call_applies_all_documents_of_a_file_in_one_plan(cluster: Cluster, tmp_path: Path) -> None:
    config = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"since": "2026-11-27"}}'
    file = tmp_path / "both.yaml"
    file.write_text(f"{json.dumps(workload('web', SPACE))}\n---\n# a comment\n---\n{config}\n", encoding="utf-8")
    words = ["apply", "-f", str(file), "--kubeconfig", str(kubeconfig(cluster, tmp_path)), "-n", SPACE]
    words += ["--confirm", "2 objects", "--context", cluster.name]
    assert run_cli(*words).returncode == 77
    done = run_cli(*words, "--read-write")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [
        [f"{SPACE}/deployment/web@{cluster.name}", "OK"], [f"{SPACE}/configmap/web@{cluster.name}", "OK"],
    ]  # fmt: skip
    assert data(cluster, "web") == {"since": "2026-11-27"}
    cluster.kubectl("set", "image", "deployment/web", "main=web:9", "-n", SPACE)
    refused = run_cli(*words, "--read-write")
    assert refused.returncode == 1
    assert "others have set 1 field that it would set" in refused.stderr
    assert "--force" in refused.stderr


TWICE = '{"kind": "ConfigMap", "metadata": {"name": "a"}}\n---\n{"kind": "ConfigMap", "metadata": {"name": "a"}}'


@pytest.mark.parametrize(
    ("text", "words"),
    [("{kind: ConfigMap}", "says no kind and metadata.name"), (TWICE, "is twice in x.yaml")],
)
def test_what_cannot_be_one_plan_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        apply_request(text, "x.yaml", ["here"])


def test_where_each_object_of_a_file_goes() -> None:
    """By its own word, else by the caller's; a kind of the whole cluster has none; region by region."""
    text = "\n---\n".join(
        json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", **meta}})
        for kind, meta in (("Namespace", {}), ("ConfigMap", {"namespace": "own"}), ("Service", {}))
    )
    keys = apply_request(text, "x.yaml", ["a", "b"], "given").targets
    assert [(key.region, key.namespace, key.name) for key in keys[:4]] == [
        ("a", "", "namespace/x"), ("a", "own", "configmap/x"), ("a", "given", "service/x"), ("b", "", "namespace/x"),
    ]  # fmt: skip
    assert apply_request(text, "x.yaml", ["a"]).targets[2].namespace == "default"


def test_a_pipe_is_no_manifest_file(tmp_path: Path) -> None:
    """Reading one would wait for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValidationError, match="no regular file"):
        read_file(str(pipe))


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
