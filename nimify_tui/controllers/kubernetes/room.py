"""Room for more pods: GPUs that nodes still have, and what a disruption budget allows. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nimify_tui.controllers.kubernetes.objects import Json, Live, as_map, maps, number, text_of

_OVER = ("Succeeded", "Failed")


def gpus_wanted(live: Live) -> tuple[str, int]:
    """(resource, how many one pod of a workload needs), ("", 0) for a pod without GPUs."""
    return gpus_of(live.containers)


def gpus_of(containers: Sequence[Json]) -> tuple[str, int]:
    """The same of a pod's containers."""
    total: dict[str, int] = {}
    for each in containers:
        for name, count in _gpus(as_map(each.get("resources"))).items():
            total[name] = total.get(name, 0) + count
    return max(total.items(), key=lambda each: each[1], default=("", 0))


def gpu_nodes(nodes: Sequence[Json], resource: str) -> dict[str, int]:
    """How many GPUs each node has to give that takes new pods."""
    found = {}
    for node in nodes:
        spec, status = as_map(node.get("spec")), as_map(node.get("status"))
        ready = any(
            each.get("type") == "Ready" and each.get("status") == "True"
            for each in maps(status.get("conditions"))
        )
        count = _count(as_map(status.get("allocatable")).get(resource))
        if count and ready and not spec.get("unschedulable"):
            found[str(as_map(node.get("metadata")).get("name"))] = count
    return found


def gpus_held(pods: Sequence[Json], resource: str) -> int:
    """How many GPUs the pods of a node hold."""
    held = 0
    for pod in pods:
        if as_map(pod.get("status")).get("phase") in _OVER:
            continue
        for each in maps(as_map(pod.get("spec")).get("containers")):
            held += _gpus(as_map(each.get("resources"))).get(resource, 0)
    return held


def places(has: Mapping[str, int], held: Mapping[str, int], need: int) -> int:
    """How many more pods fit by their GPUs: a pod's must be on one node."""
    return sum(max(0, count - held.get(name, 0)) // need for name, count in has.items()) if need else 0


def fits(needs: Sequence[int], free: Sequence[int]) -> int:
    """How many of these pods find room by their GPUs, the largest first, each on the node that it fills most."""
    left, placed = list(free), 0
    for need in sorted(needs, reverse=True):
        at = min((n for n, room in enumerate(left) if room >= need), key=left.__getitem__, default=None)
        if at is not None:
            left[at] -= need
            placed += 1
    return placed


def budgets_for(items: Sequence[Json], labels: Mapping[str, object]) -> list[str]:
    """What each PodDisruptionBudget of these pods allows now, in words."""
    found = []
    for each in items:
        selector = as_map(each.get("spec")).get("selector")
        if selector is None or not selects(as_map(selector), labels):
            continue
        status, name = as_map(each.get("status")), text_of(as_map(each.get("metadata")).get("name"))
        allowed = number(status.get("disruptionsAllowed"))
        healthy = (
            f"{number(status.get('currentHealthy'))} healthy, {number(status.get('desiredHealthy'))} wanted"
        )
        found.append(f"PDB {name} allows {allowed} ({healthy})")
    return found


def selects(selector: Json, labels: Mapping[str, object]) -> bool:
    """Whether a label selector matches (meta/v1 LabelSelector; an empty one matches all)."""
    for name, value in as_map(selector.get("matchLabels")).items():
        if labels.get(name) != value:
            return False
    for each in maps(selector.get("matchExpressions")):
        name, values = str(each.get("key")), each.get("values") or []
        match each.get("operator"):
            case "In" if labels.get(name) not in values:
                return False
            case "NotIn" if name in labels and labels[name] in values:
                return False
            case "Exists" if name not in labels:
                return False
            case "DoesNotExist" if name in labels:
                return False
            case _:
                continue
    return True


def _gpus(resources: Json) -> dict[str, int]:
    wanted = {**as_map(resources.get("requests")), **as_map(resources.get("limits"))}
    return {
        name: _count(value)
        for name, value in wanted.items()
        if "/" in name and ("gpu" in name or "/mig-" in name) and _count(value)
    }


def _count(value: object) -> int:
    words = str(value if value is not None else "")
    return int(words) if words.isascii() and words.isdigit() and len(words) < 10 else 0
