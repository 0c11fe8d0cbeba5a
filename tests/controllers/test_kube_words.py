"""Differences of objects in words: what is left out, what is masked, and what is foreign text."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from nimify_tui.backends.kubernetes.errors import Conflict, NotFound
from nimify_tui.backends.kubernetes.rights import Access, Review
from nimify_tui.backends.kubernetes.write import Verify, Writer
from nimify_tui.base.errors import ClusterError
from nimify_tui.base.redact import MASK
from nimify_tui.controllers.kubernetes.aftermath import homeless
from nimify_tui.controllers.kubernetes.circumstances import MAX_GPU_NODES
from nimify_tui.controllers.kubernetes.definitions import check_unused
from nimify_tui.controllers.kubernetes.draining import Leaving, leaving
from nimify_tui.controllers.kubernetes.objects import Live, difference
from nimify_tui.controllers.kubernetes.room import gpu_nodes, places, selects
from nimify_tui.controllers.kubernetes.single import AT_ONCE, _bounded


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


class Lists:
    """A cluster that answers lists by their path, and is asked for nothing else."""

    is_open = True

    def __init__(self, lists: dict[str, list[dict[str, Any]]]) -> None:
        self._lists = lists

    @contextlib.asynccontextmanager
    async def get(self, path: str, query: Mapping[str, str] | None = None, **_: Any) -> AsyncIterator[Lists]:
        if path not in self._lists:
            raise NotFound(f"GET {path}: status 404", "")
        self._body = json.dumps({"items": self._lists[path]}).encode()
        yield self

    async def read(self) -> bytes:
        return self._body

    async def may(self, access: Access) -> Review:
        raise AssertionError(access)

    def writer(self, verify: Verify) -> Writer:
        raise AssertionError(verify)


def test_objects_of_a_kind_are_seen_also_when_the_version_they_are_kept_in_is_not_served() -> None:
    """Seen failing with the list of the kept version asked for: its 404 was taken for "there are none"."""
    versions = [{"name": "v1", "served": False, "storage": True}, {"name": "v2", "served": True, "storage": False}]

    def kind(versions: list[dict[str, Any]]) -> Live:
        return Live({"spec": {"group": "a.b", "names": {"plural": "things"}, "versions": versions}}, "")

    with pytest.raises(Conflict, match="1 of its kind are there"):
        asyncio.run(check_unused(Lists({"/apis/a.b/v2/things": [{"metadata": {"name": "x"}}]}), kind(versions)))
    asyncio.run(check_unused(Lists({"/apis/a.b/v2/things": []}), kind(versions)))
    asyncio.run(check_unused(Lists({}), kind(versions)))
    with pytest.raises(Conflict, match="cannot be seen"):
        asyncio.run(check_unused(Lists({}), kind(versions[:1])))


def test_of_more_nodes_than_are_asked_it_is_said_why_nothing_is_known() -> None:
    """Seen failing with None for too many nodes: the line ended after its colon."""
    status = {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}
    nodes = [
        {"metadata": {"name": f"n{number}"}, "status": status}
        for number in range(MAX_GPU_NODES + 2)
    ]
    pod = Leaving("shop", "web", "u1", gpu="nvidia.com/gpu", gpus=1)
    ((label, words),) = asyncio.run(homeless(Lists({"/api/v1/nodes": nodes}), "n0", [pod]))
    assert (label, words.endswith("too many to count what each has left")) == ("capacity", True), words


def test_after_an_eviction_that_fails_none_is_begun_any_more() -> None:
    """Seen failing with a plain gather: the drain had failed, and the others were evicted behind its back."""
    asked: list[str] = []

    async def evict(pod: Leaving) -> None:
        asked.append(pod.name)
        await asyncio.sleep(0)
        if pod.name == "web-0":
            raise ClusterError("no right to evict")

    async def drained() -> None:
        with pytest.raises(ClusterError, match="no right"):
            await _bounded(evict, [Leaving("shop", f"web-{number}", "") for number in range(50)])
        asked.append("(told)")
        for _ in range(200):
            await asyncio.sleep(0)

    asyncio.run(drained())
    assert asked[-1] == "(told)"
    assert len(asked) <= 2 * AT_ONCE


@pytest.mark.parametrize(
    ("ready", "took_s"), [("00:01:30", 90.0), ("05:00:00", None)], ids=["first", "after-a-moment-hours-later"]
)
def test_a_pod_that_was_unready_for_a_moment_is_not_said_to_have_started_for_hours(
    ready: str, took_s: float | None
) -> None:
    """Seen failing without a longest start: "last start took 18000.0 s"."""
    status = {
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": f"2026-01-01T{ready}Z"}],
        "containerStatuses": [{"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
    }
    ((pod,), _) = leaving([{"status": status}])
    assert pod.took_s == took_s
