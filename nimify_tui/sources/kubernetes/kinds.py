"""What is read of a cluster: the kinds, and of each kind only the fields that are used.

Field names and meanings: Kubernetes API reference (core/v1, apps/v1). See :mod:`nimify_tui.sources.kubernetes.parts`
for what holds for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern
from typing import Any, Protocol

import msgspec

from nimify_tui.sources.kubernetes.containers import Container, PodContainer
from nimify_tui.sources.kubernetes.parts import (
    Condition,
    Meta,
    NodeMeta,
    ObjectMeta,
    Part,
    PodCondition,
    PodMeta,
)


class PodSpec(Part, frozen=True):
    """What a pod shall run."""

    node_name: str = ""
    containers: list[PodContainer] | None = None
    init_containers: list[PodContainer] | None = None


class TemplateSpec(Part, frozen=True):
    """What the pods of a workload shall run."""

    containers: list[Container] | None = None


class Waiting(Part, frozen=True):
    """A container that waits."""

    reason: str = ""
    message: str = ""


class Running(Part, frozen=True):
    """A container that runs."""

    started_at: str | None = None


class Terminated(Part, frozen=True):
    """A run of a container that is over. ``message`` is what it left (its last words)."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class ContainerState(Part, frozen=True):
    """One of three."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


_NO_STATE = ContainerState()


class ContainerStatus(Part, frozen=True):
    """How a container is; ``last_state`` is the run before."""

    name: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState | None = None
    last_state: ContainerState | None = None


class PodStatus(Part, frozen=True):
    """How a pod is."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[PodCondition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class Object(Part, frozen=True):
    """What all kinds have."""

    metadata: ObjectMeta = ObjectMeta()

    def packed(self, shared: dict[str, Any]) -> Any:
        """The same in less memory; ``shared`` holds what objects of one kind have in common."""
        del shared
        return self


class Labelled(Object, frozen=True):
    """Kinds of which labels, annotations or the generation are looked at."""

    metadata: Meta = Meta()


class Pod(Object, frozen=True):
    """core/v1 Pod."""

    metadata: PodMeta = PodMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def packed(self, shared: dict[str, Any]) -> Pod:
        """Siblings share what is the same for them, and of the conditions only those that tell something are kept."""
        meta, spec, status = self.metadata, self.spec, self.status
        owner = meta.owner
        alike = (spec.containers, spec.init_containers, meta.owner_references, meta.labels)
        known = shared.get(owner.uid) if owner is not None else None
        if known != alike:
            known = alike
            if owner is not None:
                shared[owner.uid] = alike
        containers, inits, owners, labels = known
        conditions = [
            PodCondition(
                intern(each.type), intern(each.status), each.message, intern(each.last_transition_time or "")
            )
            for each in status.conditions or ()
            if each.type == "Ready" or (each.type == "PodScheduled" and each.status != "True")
        ]  # fmt: skip
        return Pod(
            PodMeta(
                meta.name, intern(meta.namespace), meta.uid, meta.resource_version,
                intern(meta.creation_timestamp or ""),
                meta.deletion_timestamp, owners, labels,
            ),
            PodSpec(intern(spec.node_name), containers, inits),
            PodStatus(
                intern(status.phase), status.reason, status.message, conditions, _packed(status.container_statuses),
                _packed(status.init_container_statuses),
            ),
        )  # fmt: skip


def _packed(statuses: list[ContainerStatus] | None) -> list[ContainerStatus] | None:
    """Names are the same everywhere, and most containers have no run before."""
    if not statuses:
        return None
    return [
        ContainerStatus(
            intern(each.name), each.ready, each.started, each.restart_count, each.state,
            None if each.last_state == _NO_STATE else each.last_state,
        )
        for each in statuses
    ]  # fmt: skip


class Template(Part, frozen=True):
    """A pod template."""

    metadata: Meta = Meta()
    spec: TemplateSpec = TemplateSpec()


class WorkloadSpec(Part, frozen=True):
    """What a Deployment, StatefulSet, DaemonSet or ReplicaSet shall keep; ``replicas`` None: the kind has none."""

    replicas: int | None = None
    paused: bool = False
    template: Template = Template()


class WorkloadStatus(Part, frozen=True):
    """How far it is; the fields of all four kinds together."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0
    current_revision: str = ""
    update_revision: str = ""
    conditions: list[Condition] | None = None
    #: Argo Rollouts say in words how they are.
    phase: str = ""
    message: str = ""


class Workload(Labelled, frozen=True):
    """apps/v1 Deployment, StatefulSet, DaemonSet, ReplicaSet."""

    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()

    def packed(self, shared: dict[str, Any]) -> Workload:
        """Without the variables of its containers that tell nothing here."""
        del shared
        template = self.spec.template
        if not any(each.env for each in template.spec.containers or ()):
            return self
        inside = TemplateSpec(containers=[each.packed() for each in template.spec.containers or ()])
        spec = msgspec.structs.replace(self.spec, template=Template(metadata=template.metadata, spec=inside))
        return msgspec.structs.replace(self, spec=spec)


class ControllerRevision(Labelled, frozen=True):
    """apps/v1 ControllerRevision: the number of a revision of a StatefulSet or DaemonSet."""

    revision: int = 0


class Taint(Part, frozen=True):
    """A taint of a node."""

    key: str = ""
    effect: str = ""


class NodeSpec(Part, frozen=True):
    """What a node shall be."""

    unschedulable: bool = False
    taints: list[Taint] | None = None


class NodeStatus(Part, frozen=True):
    """How a node is."""

    conditions: list[Condition] | None = None
    allocatable: dict[str, str] | None = None
    capacity: dict[str, str] | None = None


class Node(Object, frozen=True):
    """core/v1 Node."""

    metadata: NodeMeta = NodeMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Reference(Part, frozen=True):
    """What an event is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Series(Part, frozen=True):
    """Repeats of an event."""

    count: int = 0
    last_observed_time: str | None = None


class Event(Object, frozen=True):
    """core/v1 Event."""

    involved_object: Reference = Reference()
    reason: str = ""
    message: str = ""
    type: str = ""
    count: int | None = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    series: Series | None = None


class WatchEvent(msgspec.Struct, gc=False, frozen=True):
    """One line of a watch."""

    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"{}")


class PodEvent(msgspec.Struct, gc=False, frozen=True):
    """The same of pods, read in one go: while a fleet rolls they are most of what comes."""

    type: str = ""
    object: Pod = Pod()


class Status(Part, frozen=True):
    """What the server says instead of an object."""

    code: int = 0
    reason: str = ""
    message: str = ""


class Reads(Protocol):
    """A decoder of one object."""

    def decode(self, data: msgspec.Raw | bytes, /) -> Any:
        """The object. Raises msgspec.MsgspecError, ValidationError where a field has another type."""
        ...


class ReadsLines(Protocol):
    """A decoder of lines of a watch, each with a ``type`` and the whole ``object``."""

    def decode_lines(self, data: bytes, /) -> list[Any]:
        """The events. Raises msgspec.MsgspecError when one of them is something else."""
        ...


@dataclass(frozen=True)
class Kind:
    """One kind of object: where it is listed and how one of it is read.

    ``query`` narrows the list. ``keep`` bounds how many are kept (0: all), the newest win.
    ``needed``: without it the region cannot be shown as complete; the others only add to it.
    ``bookmarks``: the server tells its version now and then, also when nothing happens.
    ``custom``: only some clusters have it; it is read where the server says that it does.
    ``events``: reads its events with their objects, where it has many; of other kinds each object is read by itself.
    """

    name: str
    api: str
    plural: str
    decoder: Reads
    namespaced: bool = True
    query: tuple[tuple[str, str], ...] = ()
    keep: int = 0
    needed: bool = False
    bookmarks: bool = True
    custom: bool = False
    events: ReadsLines | None = None

    def path(self, namespace: str = "") -> str:
        """Where the objects lie, in one namespace or (``""``) in the whole cluster."""
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{self.api}{inside}/{self.plural}"


def _kind(name: str, api: str, plural: str, form: type[Object]) -> Kind:
    return Kind(name, api, plural, msgspec.json.Decoder(form))


_CORE, _APPS = "/api/v1", "/apis/apps/v1"
#: Warnings that are kept for each region; they explain pods and are no history.
EVENTS_KEPT = 2_000

DEPLOYMENT = Kind("Deployment", _APPS, "deployments", msgspec.json.Decoder(Workload), needed=True)
STATEFUL_SET = Kind("StatefulSet", _APPS, "statefulsets", msgspec.json.Decoder(Workload))
DAEMON_SET = Kind("DaemonSet", _APPS, "daemonsets", msgspec.json.Decoder(Workload))
REPLICA_SET = _kind("ReplicaSet", _APPS, "replicasets", Workload)
REVISION = _kind("ControllerRevision", _APPS, "controllerrevisions", ControllerRevision)
POD = Kind(
    "Pod", _CORE, "pods", msgspec.json.Decoder(Pod), needed=True, events=msgspec.json.Decoder(PodEvent)
)  # fmt: skip
NODE = Kind("Node", _CORE, "nodes", msgspec.json.Decoder(Node), namespaced=False)
EVENT = Kind(
    "Event", _CORE, "events", msgspec.json.Decoder(Event), query=(("fieldSelector", "type!=Normal"),),
    keep=EVENTS_KEPT, bookmarks=False,  # an API server keeps no watch cache of events
)  # fmt: skip

WATCH = msgspec.json.Decoder(WatchEvent)
BOOKMARK = msgspec.json.Decoder(Object)
STATUS = msgspec.json.Decoder(Status)
