"""Objects as a real server sent them, with small changes by hand where a simulated kubelet shows nothing.

samples/kubernetes-1.37.2.jsonl: `kubectl get -A -o json` of a kube-apiserver 1.37.2 with its own controllers and
scheduler and kwok 0.8 as kubelet; managed fields, data of revisions and the applied manifests are left out.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, Service
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.kinds import EVENT, POD, Event, Kind, Node, Pod
from nimify_tui.sources.kubernetes.pods import replica_of, seconds
from nimify_tui.sources.kubernetes.table import CUSTOM_KINDS, KINDS
from nimify_tui.sources.kubernetes.workloads import service_of

SAMPLES = Path(__file__).with_name("samples") / "kubernetes-1.37.2.jsonl"
REGION = "us-east-1"
#: Shortly after the samples were taken.
NOW = seconds("2026-11-25T05:17:40Z") or 0.0
KIND_OF: dict[str, Kind] = {kind.plural: kind for kind in (*KINDS, *CUSTOM_KINDS)}


def samples() -> list[tuple[Kind, dict[str, Any]]]:
    """(kind, object) of every recorded object, fresh copies."""
    lines = SAMPLES.read_text(encoding="utf-8").splitlines()
    return [(KIND_OF[made["plural"]], made["object"]) for made in map(json.loads, lines)]


def sample(plural: str, name: str) -> dict[str, Any]:
    """The recorded object whose name begins with ``name``."""
    return next(
        made
        for kind, made in samples()
        if kind.plural == plural and made["metadata"]["name"].startswith(name)
    )


def read(kind: Kind, made: dict[str, Any]) -> Any:
    """As the reflector reads it."""
    return kind.decoder.decode(json.dumps(made).encode())


def cluster(objects: Iterable[tuple[Kind, dict[str, Any]]] | None = None) -> Cluster:
    """A cluster of the recorded (or the given) objects."""
    made = Cluster()
    for kind, each in samples() if objects is None else objects:
        made.apply(kind, (), [read(kind, each)])
    return made


def uid_of(world: Cluster, name: str) -> str:
    """The workload of that name."""
    return next(uid for uid, one in world.workloads.items() if one.metadata.name == name)


def shown(name: str, world: Cluster | None = None) -> tuple[Service, list[Replica]]:
    """The service ``name`` and its replicas."""
    world = world or cluster()
    service, replicas = service_of(world, uid_of(world, name), REGION, NOW)
    return service, list(replicas.values())


def pod(changes: dict[str, Any] | None = None, name: str = "triton", **status: Any) -> Pod:
    """A recorded pod with another ``status`` (keys in JSON's camel case) and other metadata."""
    made = copy.deepcopy(sample("pods", name))
    made["metadata"].update(changes or {})
    made["status"].update(status)
    read_pod: Pod = read(POD, made)
    return read_pod


def container(**fields: Any) -> dict[str, Any]:
    """A container's status."""
    return {"name": "server", "ready": False, "restartCount": 0, "image": "", **fields}


def ended(code: int, at: str = "2026-11-25T05:17:00Z", **fields: Any) -> dict[str, Any]:
    """A run that is over."""
    return {"terminated": {"exitCode": code, "finishedAt": at, **fields}}


def not_ready(at: str = "2026-11-25T05:16:00Z") -> list[dict[str, Any]]:
    """Conditions of a pod that is scheduled and not ready since ``at``."""
    return [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Ready", "status": "False", "lastTransitionTime": at},
    ]


def warning(reason: str, message: str, at: str = "2026-11-25T05:17:00Z") -> Event:
    """A warning about a pod."""
    made = {
        "metadata": {"uid": message},
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
        "type": "Warning",
    }
    event: Event = read(EVENT, made)
    return event


def judged(one: Pod, *warnings: Event, node: Node | None = None) -> Replica:
    """The pod as a replica."""
    return replica_of(
        one, ReplicaKey(ServiceKey(REGION, "s", "ml"), one.metadata.name), 1, warnings, node, NOW
    )
