"""A kind's definition and objects of that kind, in one manifest: one plan, in order, checked late, taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.base.errors import ValidationError
from nimify_tui.controllers.kubernetes.manifests import apply_request
from nimify_tui.domain.plans import ActionState, Plan
from tests.kube.acting import Acting, acting, fact, kubeconfig, lines, written
from tests.kube.cluster import Cluster
from tests.support import run_cli

SPACE = "defined"
API = "shop.example.com/v1"
NAME = "widgets.shop.example.com"


def definition(**more: Any) -> dict[str, Any]:
    """A kind of its own, whose objects must say a size."""
    size = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": size}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": NAME},
        "spec": {
            "group": "shop.example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
            **more,
        },
    }  # fmt: skip


def widget(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API, "kind": "Widget", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own; the kind is gone afterwards."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    cluster.kubectl("delete", "crd", NAME, "--ignore-not-found", "--wait=true")


@pytest.fixture
def it(cluster: Cluster, tmp_path: Path) -> Iterator[Acting]:
    """An admin's session."""
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE) as made:
        yield made


def text(*bodies: dict[str, Any]) -> str:
    return "\n---\n".join(map(json.dumps, bodies))


def file_of(it: Acting, *bodies: dict[str, Any]) -> Plan:
    """One plan of a file with these documents."""
    return it.replan(apply_request(text(*bodies), "x.yaml", [it.region], SPACE))


def widgets(cluster: Cluster) -> list[str]:
    return cluster.kubectl("get", "widgets", "-n", SPACE, "-o", "name").split()


def known(cluster: Cluster) -> bool:
    return bool(cluster.kubectl("get", "crd", NAME, "--ignore-not-found", "-o", "name"))


def test_a_kind_and_its_objects_are_one_plan_there_and_back(cluster: Cluster, it: Acting) -> None:
    """The objects stand first in the file; back they go before their kind, and forth again after it."""
    made = file_of(it, widget("one", {"size": 1}), widget("two", {"size": 2}), definition())
    told = fact(made, "dry run")
    assert f"Widget {SPACE}/one: cannot be tried yet, CustomResourceDefinition {NAME} is made first" in told
    assert "checked when its kind is there" in told
    assert "done by the server" in told, "the definition itself was tried"
    assert "+   spec.size: 1" in lines(made)
    assert not known(cluster), "a plan stores nothing"
    since = len(cluster.audited())
    done = it.do(made)
    assert [(each.key.name, each.message) for each in done.targets] == [
        (f"customresourcedefinition/{NAME}", "its kind is known"),
        ("widget/one", "it is stored"), ("widget/two", "it is stored"),
    ]  # fmt: skip
    assert written(cluster, since) == [
        "patch customresourcedefinitions",
        *["patch widgets dry-run", "patch widgets"] * 2,
    ]
    assert widgets(cluster) == ["widget.shop.example.com/one", "widget.shop.example.com/two"]
    back = it.undo(done)
    assert [each.key.name for each in back.targets] == [
        "widget/two", "widget/one", f"customresourcedefinition/{NAME}",
    ]  # fmt: skip
    assert not known(cluster)
    it.undo(back)
    assert len(widgets(cluster)) == 2


def test_what_the_kind_does_not_allow_is_refused_before_it_is_stored(cluster: Cluster, it: Acting) -> None:
    """The server tries each object once its kind is there; what was made until then can be taken back."""
    since = len(cluster.audited())
    made = file_of(it, definition(), widget("one", {"size": 1}), widget("bad", {"size": "many"}))
    result = it.carry_out(made, it.session.review(made).expected)
    assert [each.state for each in result.targets] == [ActionState.OK, ActionState.OK, ActionState.FAILED]
    assert "spec.size" in result.targets[2].message
    assert widgets(cluster) == ["widget.shop.example.com/one"]
    assert written(cluster, since)[-1] == "patch widgets dry-run"
    it.undo(result)
    assert not known(cluster)


def test_a_kind_whose_names_are_taken_ends_it_and_its_objects_are_not_touched(cluster: Cluster, it: Acting) -> None:
    """Another definition has the plural's group and kind already: this one is never established."""
    other = definition(names={"plural": "gadgets", "singular": "gadget", "kind": "Widget"})
    other["metadata"]["name"] = "gadgets.shop.example.com"
    cluster.apply(other)
    cluster.kubectl("wait", "crd/gadgets.shop.example.com", "--for=condition=Established", "--timeout=20s")
    try:
        versioned = definition()
        versioned["spec"]["versions"][0]["name"] = "v2"
        newer = widget("one", {"size": 1}) | {"apiVersion": "shop.example.com/v2"}
        made = file_of(it, versioned, newer)
        result = it.carry_out(made, it.session.review(made).expected)
        assert [each.state for each in result.targets] == [ActionState.FAILED, ActionState.PLANNED], result
        assert "its names are taken" in result.message
    finally:
        cluster.kubectl("delete", "crd", "gadgets.shop.example.com", "--wait=true")


def test_a_kind_goes_only_while_it_has_no_objects(cluster: Cluster, it: Acting) -> None:
    """Somebody else's object would go with it. Sabotage seen failing: nobody looks for objects of the kind."""
    done = it.do(file_of(it, definition(), widget("one", {"size": 1})))
    theirs = widget("theirs", {"size": 3})
    theirs["metadata"]["namespace"] = SPACE
    cluster.apply(theirs)
    assert done.undo is not None
    plan = it.replan(done.undo)
    assert "only while there are no objects of its kind" in fact(plan, "change")
    result = it.carry_out(plan, it.session.review(plan).expected)
    assert [each.state for each in result.targets] == [ActionState.OK, ActionState.FAILED]
    assert "1 of its kind are there (theirs) and would go with it" in result.message
    assert widgets(cluster) == ["widget.shop.example.com/theirs"]


def test_an_object_of_a_kind_that_nobody_makes_is_refused(it: Acting) -> None:
    with pytest.raises(ValidationError, match="this cluster does not know"):
        file_of(it, widget("one", {"size": 1}))


def test_a_kind_of_the_cluster_has_no_namespace() -> None:
    wide = widget("one", {"size": 1})
    request = apply_request(text(wide, definition(scope="Cluster")), "x.yaml", ["r"], "elsewhere")
    assert [each.namespace for each in request.targets] == ["", ""]
    assert [(each.plural, each.made_first) for each in request.parts] == [
        ("", ""), ("widgets", f"CustomResourceDefinition {NAME}"),
    ]  # fmt: skip


def test_the_call_makes_both_and_says_so(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text(text(definition(), widget("one", {"size": 1})), encoding="utf-8")
    config = kubeconfig(cluster, tmp_path)
    common = ("--kubeconfig", str(config), "--context", cluster.name, "--namespace", SPACE, "--read-write")
    done = run_cli("apply", "-f", str(file), *common, "--confirm", "2 objects")
    assert done.returncode == 0, done.stderr
    assert "checked when its kind is there" in done.stdout + done.stderr
    assert widgets(cluster) == ["widget.shop.example.com/one"]
