"""What becomes of pods that lose their place: who serves meanwhile, and whether there is room for their successors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nimify_tui.base.errors import ClusterError, NimifyError
from nimify_tui.controllers.drafts import start_text, took_text
from nimify_tui.controllers.kubernetes.circumstances import MAX_GPU_NODES, look_around, told
from nimify_tui.controllers.kubernetes.draining import Leaving, is_ready, took_s
from nimify_tui.controllers.kubernetes.facts import workload_facts
from nimify_tui.controllers.kubernetes.nodes import node_keepers
from nimify_tui.controllers.kubernetes.objects import (
    DEPLOYMENT,
    KINDS,
    Json,
    Live,
    WorkloadKind,
    as_map,
    made_by,
    number,
    text_of,
)
from nimify_tui.controllers.kubernetes.others import bounds_of, wanted_bounds
from nimify_tui.controllers.kubernetes.owners import number_keepers
from nimify_tui.controllers.kubernetes.reading import Line, read_list, read_object, segment
from nimify_tui.controllers.kubernetes.room import budgets_for, fits, gpu_nodes, gpus_held
from nimify_tui.controllers.world import World
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb

Fact = tuple[str, str]
_PLURALS = {"ReplicaSet": "replicasets", **{name: kind.plural for name, kind in KINDS.items()}}
#: What a change of a number means for those who serve, of a workload's own plan.
_EFFECTS = ("capacity", "warning", "disruption", "start")
#: Of more owners of pods on one node it is not asked how many of theirs serve on.
_OWNERS = 12


async def effects(part: ActionRequest, live: Live, key: ServiceKey, line: Line, world: World) -> list[Fact]:
    """What a change of a pod, an autoscaler or a NIMService means for those who serve, and who takes it back."""
    match part.kind:
        case "Pod":
            return await _pod_facts(line, live, key.namespace)
        case "HorizontalPodAutoscaler":
            return [*await _bounds_facts(part, live, key, line, world), *number_keepers(live)]
        case "NIMService":
            return [*await _operated_facts(part, live, key, line, world), *number_keepers(live)]
        case "Node" if part.verb is not Verb.UNCORDON:
            return node_keepers(live)
        case _:
            return []


async def _pod_facts(line: Line, live: Live, namespace: str) -> list[Fact]:
    """What its budgets allow now (which a delete does not ask), how many of its like serve on, how long it took."""
    (budgets, unknown), serving = await asyncio.gather(
        told(read_list(line, f"/apis/policy/v1/namespaces/{segment(namespace)}/poddisruptionbudgets"), "budgets"),
        _serving(line, live, namespace),
    )
    allows = budgets_for(budgets or [], live.labels)
    words = f"not known: {unknown}" if unknown else "; ".join(allows) or "no PDB covers it"
    facts = [*serving, ("disruption", f"{words}; a delete does not ask it" if allows else words)]
    if made_by(live):
        own = took_s(live)
        facts.append(("start", took_text([] if own is None else [own], at_most=True)))
    return facts


async def _serving(line: Line, live: Live, namespace: str) -> list[Fact]:
    ready = await _ready_of(line, namespace, made_by(live))
    if ready is None:
        return []
    name = made_by(live).partition(" ")[2]
    return [("capacity", f"{max(0, ready - is_ready(live))} of {ready} ready ones of {name} serve meanwhile")]


async def _ready_of(line: Line, namespace: str, owner: str) -> int | None:
    """How many pods of ``owner`` ("ReplicaSet web-5d8") are ready; None: it keeps no count, or cannot be read."""
    kind, _, name = owner.partition(" ")
    if (plural_name := _PLURALS.get(kind)) is None:
        return None
    try:
        found = await read_object(
            line, f"/apis/apps/v1/namespaces/{segment(namespace)}/{plural_name}/{segment(name)}"
        )
    except NimifyError:
        return None
    return number(found.status.get("readyReplicas", found.status.get("numberReady")))


async def _bounds_facts(part: ActionRequest, live: Live, key: ServiceKey, line: Line, world: World) -> list[Fact]:
    """What other bounds of an autoscaler mean for the workload that it scales."""
    target = as_map(live.spec.get("scaleTargetRef"))
    kind, name = KINDS.get(str(target.get("kind"))), str(target.get("name"))
    if kind is None:
        return []
    owned, unknown = await told(read_object(line, kind.path(segment(key.namespace), segment(name))), "target")
    if owned is None:
        return [("capacity", f"what it means for {kind.name} {text_of(name)} is not known: {unknown}")]
    if owned.replicas == 0:
        return [("capacity", f"{kind.name} {text_of(name)} has 0 replicas: the autoscaler leaves it alone")]
    low, high = wanted_bounds(part, live)
    facts = await _scaled_facts(min(max(owned.replicas, low), high), owned, kind, key, name, (line, world))
    more = high - owned.replicas
    if more > 0 and high > bounds_of(live)[1]:
        around = await look_around(line, owned, kind, key.namespace, name)
        if around.spare_pods is not None and around.spare_pods < more:
            fits_words = f"room for {around.spare_pods}" if around.spare_pods else "no room"
            words = f"{around.gpu}: {fits_words} of the {more} more that it may ask for; the others would wait"
            facts.append(("warning", words))
        if not any(label == "start" for label, _ in facts):
            facts.append(("start", start_text(world.replicas(ServiceKey(key.region, name, key.namespace)))))
    return facts


async def _operated_facts(part: ActionRequest, live: Live, key: ServiceKey, line: Line, world: World) -> list[Fact]:
    """What another number means for the Deployment that the operator keeps for a NIMService (it has its name)."""
    name = str(live.meta.get("name"))
    owned, _ = await told(read_object(line, DEPLOYMENT.path(segment(key.namespace), segment(name))), "Deployment")
    if owned is None or made_by(owned) != f"NIMService {text_of(name)}":
        there = live.status.get("availableReplicas")
        known = f"{number(there)} of {live.replicas} available now" if there is not None else (
            "how many serve now is not known: its operator has told nothing"
        )  # fmt: skip
        return [("capacity", known), ("start", start_text(world.replicas(key)))]
    return await _scaled_facts(number(part.replicas), owned, DEPLOYMENT, key, name, (line, world))


async def _scaled_facts(
    wanted: int, owned: Live, kind: WorkloadKind, key: ServiceKey, name: str, seen: tuple[Line, World]
) -> list[Fact]:
    """The lines of a scale of ``owned`` to ``wanted``, but for those about the object itself."""
    line, world = seen
    if wanted == owned.replicas:
        return []
    of = ServiceKey(key.region, name, key.namespace)
    same = ActionRequest(verb=Verb.SCALE, targets=(of,), replicas=wanted)
    around = await look_around(line, owned, kind, key.namespace, name)
    lines = workload_facts(same, owned, kind, around, world.replicas(of), (None, None))
    return [each for each in lines if each[0] in _EFFECTS]


async def leaving_facts(line: Line, pods: Sequence[Leaving]) -> list[Fact]:
    """How many of their like serve on while these pods leave, and how long their successors may take."""
    owners: dict[tuple[str, str], int] = {}
    for each in pods:
        if each.owner:
            at = (each.namespace, each.owner)
            owners[at] = owners.get(at, 0) + each.ready
    asked = list(owners)[:_OWNERS]
    found = await asyncio.gather(*(_ready_of(line, *at) for at in asked))
    facts: list[Fact] = []
    for at, ready in zip(asked, found, strict=True):
        if ready is not None and owners[at]:
            name = f"{text_of(at[0])}/{at[1].partition(' ')[2]}"
            facts.append(("capacity", f"at least {max(0, ready - owners[at])} of {ready} ready ones of {name} serve"))
    if len(owners) > len(asked):
        facts.append(("capacity", f"{len(owners) - len(asked)} more owners of pods were not asked"))
    if owners:
        facts.append(("start", took_text([each.took_s for each in pods if each.took_s is not None], at_most=True)))
    return facts


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


async def _free(line: Line, node: str, resource: str) -> list[int]:
    """How many GPUs each of the other nodes has left. Raises ClusterError for too many nodes to ask."""
    has = gpu_nodes(await read_list(line, "/api/v1/nodes"), resource)
    has.pop(node, None)
    if len(has) > MAX_GPU_NODES:
        raise ClusterError(f"{len(has)} nodes have GPUs, too many to count what each has left")
    held: list[list[Json]] = await asyncio.gather(
        *(
            read_list(
                line, "/api/v1/pods", {"fieldSelector": f"spec.nodeName={name}", "resourceVersion": "0"}
            )
            for name in has
        )
    )
    return [max(0, has[name] - gpus_held(pods, resource)) for name, pods in zip(has, held, strict=True)]
