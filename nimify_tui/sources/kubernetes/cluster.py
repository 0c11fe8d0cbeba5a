"""All objects of one cluster, and which workload each belongs to. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from nimify_tui.sources.kubernetes.kinds import (
    DAEMON_SET,
    DEPLOYMENT,
    EVENT,
    NODE,
    POD,
    REPLICA_SET,
    REVISION,
    STATEFUL_SET,
    ControllerRevision,
    Event,
    Kind,
    Node,
    Pod,
    Workload,
)

#: Kinds that are shown as services, in the order in which they may have the plain name.
SHOWN: tuple[Kind, ...] = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)
#: Namespaces of the cluster itself: nothing there serves a model. Naming them in the configuration shows them.
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
#: Warnings that are kept for each object.
_WARNINGS = 4


class Cluster:
    """Objects with their ties. :attr:`dirty` collects the uids of workloads that have to be looked at again."""

    def __init__(self, hidden_namespaces: frozenset[str] = SYSTEM_NAMESPACES) -> None:
        self.hidden = hidden_namespaces
        self.workloads: dict[str, Workload] = {}
        self.kind_of: dict[str, Kind] = {}
        self.replica_sets: dict[str, Workload] = {}
        self.pods: dict[str, Pod] = {}
        self.nodes: dict[str, Node] = {}
        self.dirty: set[str] = set()
        self._pods_of: dict[str, dict[str, None]] = {}
        self._sets_of: dict[str, dict[str, None]] = {}
        self._names: dict[tuple[str, str], dict[str, str]] = {}
        self._warnings: dict[str, deque[Event]] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._handlers: dict[str, tuple[Callable[[Any], None], Callable[[Any], None]]] = {
            POD.name: (self._drop_pod, self._take_pod),
            REPLICA_SET.name: (self._drop_set, self._take_set),
            REVISION.name: (self._drop_revision, self._take_revision),
            NODE.name: (self._drop_node, self._take_node),
            EVENT.name: (self._forget_warning, self._take_warning),
        }

    # -- what comes in -------------------------------------------------------------------

    def apply(self, kind: Kind, gone: Sequence[Any], seen: Sequence[Any]) -> None:
        """Take over what a reflector found."""
        drop, take = self._handlers.get(kind.name, (self._drop_workload, partial(self._take_workload, kind)))
        for each in gone:
            drop(each)
        for each in seen:
            take(each)

    def _drop_node(self, node: Node) -> None:
        self.nodes.pop(node.metadata.name, None)

    def _take_workload(self, kind: Kind, one: Workload) -> None:
        meta = one.metadata
        if meta.namespace in self.hidden:
            return
        self.workloads[meta.uid] = one
        self.kind_of[meta.uid] = kind
        same = self._names.setdefault((meta.namespace, meta.name), {})
        if same.get(kind.name) != meta.uid:
            same[kind.name] = meta.uid
            self.dirty.update(same.values())  # another one may have had the plain name
        self.dirty.add(meta.uid)

    def _drop_workload(self, one: Workload) -> None:
        meta = one.metadata
        kind = self.kind_of.pop(meta.uid, None)
        if kind is None:
            return
        del self.workloads[meta.uid]
        same = self._names[(meta.namespace, meta.name)]
        if same.get(kind.name) == meta.uid:
            del same[kind.name]
        self.dirty.update(same.values())
        self.dirty.add(meta.uid)
        if not same:
            del self._names[(meta.namespace, meta.name)]

    def _take_set(self, one: Workload) -> None:
        self.replica_sets[one.metadata.uid] = one
        owner = one.metadata.owner
        if owner is not None:
            self._sets_of.setdefault(owner.uid, {})[one.metadata.uid] = None
            self.dirty.add(owner.uid)

    def _drop_set(self, one: Workload) -> None:
        self.replica_sets.pop(one.metadata.uid, None)
        owner = one.metadata.owner
        if owner is not None:
            sets = self._sets_of.get(owner.uid, {})
            sets.pop(one.metadata.uid, None)
            if not sets:
                self._sets_of.pop(owner.uid, None)
            self.dirty.add(owner.uid)

    def _take_pod(self, pod: Pod) -> None:
        uid, owner = pod.metadata.uid, pod.metadata.owner
        self.pods[uid] = pod
        if owner is not None:
            self._pods_of.setdefault(owner.uid, {})[uid] = None
        self._touch(owner.uid if owner is not None else "")

    def _drop_pod(self, pod: Pod) -> None:
        uid, owner = pod.metadata.uid, pod.metadata.owner
        self.pods.pop(uid, None)
        self._warnings.pop(uid, None)
        if owner is not None:
            pods = self._pods_of.get(owner.uid, {})
            pods.pop(uid, None)
            if not pods:
                self._pods_of.pop(owner.uid, None)
            self._touch(owner.uid)

    def _take_node(self, node: Node) -> None:
        name = node.metadata.name
        before = self.nodes.get(name)
        self.nodes[name] = node
        if before is not None and _node_word(before) != _node_word(node):
            for pod in self.pods.values():
                if pod.spec.node_name == name and pod.metadata.owner is not None:
                    self._touch(pod.metadata.owner.uid)

    def _take_warning(self, event: Event) -> None:
        uid = event.involved_object.uid
        known = self._warnings.setdefault(uid, deque(maxlen=_WARNINGS))
        for old in [old for old in known if old.metadata.uid == event.metadata.uid]:
            known.remove(old)
        known.append(event)
        self._touch_any(uid)

    def _forget_warning(self, event: Event) -> None:
        uid = event.involved_object.uid
        kept = deque(
            (each for each in self._warnings.get(uid, ()) if each.metadata.uid != event.metadata.uid),
            _WARNINGS,
        )
        if kept:
            self._warnings[uid] = kept
        else:
            self._warnings.pop(uid, None)
        self._touch_any(uid)

    def _take_revision(self, one: ControllerRevision) -> None:
        self._number(one, one.revision)

    def _drop_revision(self, one: ControllerRevision) -> None:
        self._number(one, None)

    def _number(self, one: ControllerRevision, number: int | None) -> None:
        owner, labels = one.metadata.owner, one.metadata.labels or {}
        if owner is None:
            return
        # A DaemonSet's pods carry the hash alone, a StatefulSet's the name of the whole revision.
        for word in {one.metadata.name, labels.get("controller-revision-hash", one.metadata.name)}:
            if number is None:
                self._numbers.pop((owner.uid, word), None)
            else:
                self._numbers[(owner.uid, word)] = number
        self.dirty.add(owner.uid)

    def _touch_any(self, uid: str) -> None:
        pod = self.pods.get(uid)
        if pod is not None and pod.metadata.owner is not None:
            self._touch(pod.metadata.owner.uid)
        elif uid in self.workloads or uid in self.replica_sets:
            self._touch(uid)

    def _touch(self, owner_uid: str) -> None:
        found = self.replica_sets.get(owner_uid)
        if found is not None and found.metadata.owner is not None:
            owner_uid = found.metadata.owner.uid
        self.dirty.add(owner_uid)

    # -- what is asked -------------------------------------------------------------------

    def service_name(self, uid: str) -> str:
        """The name under which a workload is shown: its own, with the kind behind it where another one has it."""
        meta, kind = self.workloads[uid].metadata, self.kind_of[uid]
        same = self._names[(meta.namespace, meta.name)]
        first = next(each for each in SHOWN if each.name in same)
        return meta.name if first is kind else f"{meta.name}.{kind.name.lower()}"

    def find(self, namespace: str, service: str) -> str:
        """The uid of the workload that is shown under this name; "" when there is none."""
        for name in dict.fromkeys((service, service.rpartition(".")[0])):
            for uid in self._names.get((namespace, name), {}).values():
                if self.service_name(uid) == service:
                    return uid
        return ""

    def sets_of(self, uid: str) -> list[Workload]:
        """The ReplicaSets of a Deployment."""
        return [self.replica_sets[each] for each in self._sets_of.get(uid, ())]

    def pods_of(self, uid: str) -> Iterator[Pod]:
        """The pods of a workload."""
        for owner in (uid, *self._sets_of.get(uid, ())):
            for each in self._pods_of.get(owner, ()):
                yield self.pods[each]

    def owner_of(self, pod: Pod) -> str:
        """The uid of the workload that a pod belongs to; "" when it is none that is shown."""
        owner = pod.metadata.owner
        uid = owner.uid if owner is not None else ""
        found = self.replica_sets.get(uid)
        if found is not None and found.metadata.owner is not None:
            uid = found.metadata.owner.uid
        return uid if uid in self.workloads else ""

    def warnings_of(self, uid: str) -> Sequence[Event]:
        """The newest warnings about an object, oldest first."""
        return self._warnings.get(uid, ())

    def revision_number(self, uid: str, word: str) -> int:
        """The number of a revision of a StatefulSet or DaemonSet; 0 when it is not seen."""
        return self._numbers.get((uid, word), 0)


def _node_word(node: Node) -> str:
    return next((each.status for each in node.status.conditions or () if each.type == "Ready"), "")
