"""What becomes of pods that lose their place: who serves meanwhile, and whether there is room for their successors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nimify_tui.backends.kubernetes.errors import NotFound
from nimify_tui.base.errors import NimifyError
from nimify_tui.controllers.kubernetes.circumstances import MAX_GPU_NODES, told
from nimify_tui.controllers.kubernetes.draining import Leaving
from nimify_tui.controllers.kubernetes.objects import KINDS, Json, Live, maps, number, text_of
from nimify_tui.controllers.kubernetes.reading import Line, read_list, read_object, segment
from nimify_tui.controllers.kubernetes.room import budgets_for, fits, gpu_nodes, gpus_held

Fact = tuple[str, str]
_PLURALS = {"ReplicaSet": "replicasets", **{name: kind.plural for name, kind in KINDS.items()}}


async def pod_facts(line: Line, live: Live, namespace: str) -> list[Fact]:
    """What its budgets allow now (which a delete does not ask), and how many of its like serve on."""
    (budgets, unknown), serving = await asyncio.gather(
        told(read_list(line, f"/apis/policy/v1/namespaces/{segment(namespace)}/poddisruptionbudgets"), "budgets"),
        _serving(line, live, namespace),
    )
    allows = budgets_for(budgets or [], live.labels)
    words = f"not known: {unknown}" if unknown else "; ".join(allows) or "no PDB covers it"
    return [*serving, ("disruption", f"{words}; a delete does not ask it" if allows else words)]


async def _serving(line: Line, live: Live, namespace: str) -> list[Fact]:
    for each in maps(live.meta.get("ownerReferences")):
        plural = _PLURALS.get(str(each.get("kind"))) if each.get("controller") else None
        if plural is None:
            continue
        name = str(each.get("name"))
        try:
            owner = await read_object(
                line, f"/apis/apps/v1/namespaces/{segment(namespace)}/{plural}/{segment(name)}"
            )
        except (NotFound, NimifyError):
            return []
        ready = number(owner.status.get("readyReplicas", owner.status.get("numberReady")))
        own = live.condition.get("Ready", {}).get("status") == "True"
        return [("capacity", f"{max(0, ready - own)} of {ready} ready ones of {text_of(name)} serve meanwhile")]
    return []


async def homeless(line: Line, node: str, pods: Sequence[Leaving]) -> list[Fact]:
    """Of the pods with GPUs that leave ``node``, how many find room on the others. One line for each kind of GPU."""
    facts: list[Fact] = []
    for resource in sorted({each.gpu for each in pods if each.gpu}):
        needs = [each.gpus for each in pods if each.gpu == resource]
        free, unknown = await told(_free(line, node, resource), "nodes or pods")
        if free is None:
            facts.append(("capacity", f"whether {resource} is left elsewhere is not known: {unknown}"))
            continue
        without = len(needs) - fits(needs, free)
        if without:
            words = f"{resource}: {without} of {len(needs)} pods that leave find no place on another node"
            facts.append(("warning", f"{words}; their successors would wait"))
        else:
            facts.append(("capacity", f"{resource}: the {len(needs)} that leave find room on other nodes"))
    return facts


async def _free(line: Line, node: str, resource: str) -> list[int] | None:
    """How many GPUs each of the other nodes has left."""
    has = gpu_nodes(await read_list(line, "/api/v1/nodes"), resource)
    has.pop(node, None)
    if len(has) > MAX_GPU_NODES:
        return None
    held: list[list[Json]] = await asyncio.gather(
        *(
            read_list(
                line, "/api/v1/pods", {"fieldSelector": f"spec.nodeName={name}", "resourceVersion": "0"}
            )
            for name in has
        )
    )
    return [max(0, has[name] - gpus_held(pods, resource)) for name, pods in zip(has, held, strict=True)]
