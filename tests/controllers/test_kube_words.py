"""Differences of objects in words: what is left out, what is masked, and what is foreign text."""

from __future__ import annotations

from typing import Any

from nimify_tui.base.redact import MASK
from nimify_tui.controllers.kubernetes.objects import difference
from nimify_tui.controllers.kubernetes.room import gpu_nodes, places, selects


def said(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [f"{line.mark} {line.text}" for line in difference(before, after)]


def test_what_the_server_fills_in_is_left_out() -> None:
    before, after = (
        {"metadata": {"resourceVersion": each, "generation": 1, "managedFields": [{"time": each}]}, "status": each}
        for each in ("1", "2")
    )
    assert said(before, after) == []


def test_lists_are_told_by_the_names_in_them() -> None:
    before = {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}], "args": ["x"]}}
    after = {"spec": {"containers": [{"name": "b", "image": "b:2"}, {"name": "a", "image": "a:1"}], "args": ["x", "y"]}}
    assert said(before, after) == [
        "- spec.containers[b].image: b:1",
        "+ spec.containers[b].image: b:2",
        "+ spec.args[1]: y",
    ]


def test_secrets_are_masked_and_still_seen_to_change() -> None:
    secret = {"kind": "Secret", "data": {"key": "b2xk", "same": "eA=="}}
    changed = {"kind": "Secret", "data": {"key": "bmV3", "same": "eA=="}}
    assert said(secret, changed) == [f"- data.key: {MASK} (before)", f"+ data.key: {MASK} (after)"]
    env = {"env": [{"name": "NGC_API_KEY", "value": "nvapi-old-old-old"}]}
    other = {"env": [{"name": "NGC_API_KEY", "value": "plain"}]}
    lines = said(env, other)
    assert lines == [f"- env[NGC_API_KEY].value: {MASK} (before)", f"+ env[NGC_API_KEY].value: {MASK} (after)"]
    arguments = said({"args": []}, {"args": ["--token=abcdef123456"]})
    assert "abcdef" not in "".join(arguments)


def test_foreign_text_is_one_inert_line() -> None:
    [line] = said({}, {"metadata": {"annotations": {"x\x1b[2J": "a\nb\x1b]0;t\x07[red]"}}})
    assert "\x1b" not in line
    assert "\n" not in line


def test_long_values_that_differ_at_their_end_are_seen_to_differ() -> None:
    old, new = {"a": "x" * 500 + "1"}, {"a": "x" * 500 + "2"}
    assert len(said(old, new)) == 2


def test_a_pod_fits_only_where_one_node_has_all_its_gpus() -> None:
    assert places({"a": 8, "b": 8}, {"a": 5, "b": 5}, 4) == 0
    assert places({"a": 8, "b": 8}, {"a": 4, "b": 7}, 2) == 2
    assert places({"a": 2}, {"a": 9}, 1) == 0, "more is held than there is"
    ready = [{"type": "Ready", "status": "True"}]
    node = {"metadata": {"name": "a"}, "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": ready}}
    assert gpu_nodes([node], "nvidia.com/gpu") == {"a": 8}
    assert gpu_nodes([{**node, "spec": {"unschedulable": True}}], "nvidia.com/gpu") == {}
    silent = {**node, "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": None}}
    assert gpu_nodes([silent], "nvidia.com/gpu") == {}


def test_selectors_as_the_api_reads_them() -> None:
    labels = {"app": "web", "tier": "gold"}
    assert selects({}, labels), "an empty selector is everything"
    assert selects({"matchLabels": {"app": "web"}}, labels)
    assert not selects({"matchLabels": {"app": "other"}}, labels)

    def by(operator: str, key: str, *values: str) -> bool:
        return selects({"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}, labels)

    assert by("In", "tier", "gold", "silver")
    assert not by("In", "none", "x")
    assert by("NotIn", "none", "x"), "a label that is not there is not in"
    assert not by("NotIn", "tier", "gold")
    assert by("Exists", "app")
    assert not by("Exists", "none")
    assert by("DoesNotExist", "none")
    assert not by("DoesNotExist", "app")
