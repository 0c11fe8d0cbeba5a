"""What a plan says of the world around a workload: budgets, autoscalers, GPUs, rights. Read at plan time only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

from nimify_tui.backends.kubernetes.errors import Forbidden, NotFound
from nimify_tui.base.errors import ClusterError, NimifyError
from nimify_tui.controllers.kubernetes.objects import Json, Live, WorkloadKind, as_map
from nimify_tui.controllers.kubernetes.owners import Hpa, hpas_for
from nimify_tui.controllers.kubernetes.reading import Line, read_list
from nimify_tui.controllers.kubernetes.room import budgets_for, gpu_nodes, gpus_held, gpus_wanted, places

T = TypeVar("T")
#: Of more nodes with GPUs the spare ones are not counted: each is one request.
MAX_GPU_NODES = 64


@dataclass(frozen=True)
class Around:
    """What was found; each ``_unknown`` says why something was not ("" when it was)."""

    budgets: tuple[str, ...] = ()
    budgets_unknown: str = ""
    hpas: tuple[Hpa, ...] = ()
    hpas_unknown: str = ""
    #: The kind of GPU that a pod needs, how many, and how many more pods of it would fit; None: not known.
    gpu: str = ""
    gpus_each: int = 0
    spare_pods: int | None = None
    gpus_unknown: str = field(default="")


async def look_around(line: Line, live: Live, kind: WorkloadKind, namespace: str, name: str) -> Around:
    """Ask for all of it at once; what cannot be read is said, and hinders nothing."""
    resource, need = gpus_wanted(live)
    budgets, hpas, room = await asyncio.gather(
        told(read_list(line, f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"), "budgets"),
        told(
            read_list(line, f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"),
            "autoscalers",
        ),
        told(_spare(line, resource, need), "nodes or pods"),
    )
    labels = as_map(as_map(live.template.get("metadata")).get("labels"))
    return Around(
        budgets=tuple(budgets_for(budgets[0] or [], labels)),
        budgets_unknown=budgets[1],
        hpas=tuple(hpas_for(hpas[0] or [], kind.name, name)),
        hpas_unknown=hpas[1],
        gpu=resource,
        gpus_each=need,
        spare_pods=room[0],
        gpus_unknown=room[1],
    )


async def told(asked: Awaitable[T], what: str) -> tuple[T | None, str]:
    """(what was read, why it was not): nothing that is missing hinders a plan."""
    try:
        return await asked, ""
    except Forbidden:
        return None, f"the {what} may not be read with these rights"
    except NotFound:
        return None, f"this cluster does not know of {what}"
    except NimifyError as error:
        return None, f"the {what} could not be read: {error.message}"


async def _spare(line: Line, resource: str, need: int) -> int | None:
    """How many more pods fit; None for pods without GPUs (other resources are not counted)."""
    if not need:
        return None
    has = gpu_nodes(await read_list(line, "/api/v1/nodes"), resource)
    if len(has) > MAX_GPU_NODES:
        raise ClusterError(f"{len(has)} nodes have GPUs, too many to count what each has left")
    names = list(has)
    pods: list[list[Json]] = await asyncio.gather(
        *(
            # From the server's own cache, where pods are indexed by node.
            read_list(
                line, "/api/v1/pods", {"fieldSelector": f"spec.nodeName={name}", "resourceVersion": "0"}
            )
            for name in names
        )
    )
    held = {name: gpus_held(found, resource) for name, found in zip(names, pods, strict=True)}
    return places(has, held, need)
