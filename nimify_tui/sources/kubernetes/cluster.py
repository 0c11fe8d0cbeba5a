"""All objects of one cluster, and which workload each belongs to. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.services import Replica
from nimify_tui.domain.workloads import OwnerSeen, Surroundings
from nimify_tui.sources.kubernetes.custom import ROLLOUT, Custom
from nimify_tui.sources.kubernetes.gpu_map import GpuBook
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
from nimify_tui.sources.kubernetes.ledger import Ledger
from nimify_tui.sources.kubernetes.nearby import Nearby

#: Kinds that are shown as services, in the order in which they may have the plain name.
SHOWN: tuple[Kind, ...] = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, ROLLOUT)
#: Namespaces of the cluster itself: nothing there serves a model. Naming them in the configuration shows them.
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
#: Warnings that are kept for each object.
_WARNINGS = 4


class Judged(msgspec.Struct, gc=False, frozen=True):
    """A pod as a replica: judged once, and again only when something of it is another one.

    In a roll-out one pod of a hundred changes, and all hundred are asked for.
    """

    pod: Pod
    node: Node | None
    replica: Replica

    def still(
        self, pod: Pod, node: Node | None, key: ServiceKey, revision: int, warnings: Sequence[Event]
    ) -> bool:
        """Whether it would be judged the same. Warnings grow old, and places get free: such pods are asked anew."""
        replica = self.replica
        return (
            pod is self.pod
            and node is self.node
            and not warnings
            and pod.spec.node_name != ""
            and replica.revision == revision
            and replica.key.service == key
        )


class Cluster:
    """Objects with their ties. :attr:`dirty` collects the uids of workloads that have to be looked at again."""

    def __init__(self, hidden_namespaces: frozenset[str] = SYSTEM_NAMESPACES) -> None:
        self.hidden = hidden_namespaces
        self.workloads: dict[str, Workload] = {}
        self.kind_of: dict[str, Kind] = {}
        self.replica_sets: dict[str, Workload] = {}
        self.pods: dict[str, Pod] = {}
        #: By pod: what it was judged to be.
        self.judged: dict[str, Judged] = {}
        self.nodes: dict[str, Node] = {}
        self.dirty: set[str] = set()
        #: A name has, or has no more, a workload since this was last set to False.
        self.renamed = False
        self._pods_of: dict[str, dict[str, None]] = {}
        self._sets_of: dict[str, dict[str, None]] = {}
        self._names: dict[tuple[str, str], dict[str, str]] = {}
        self._warnings: dict[str, deque[Event]] = {}
        self._revisions: dict[str, dict[str, ControllerRevision]] = {}
        #: Owners of pods that found no node: told anew when what is held changes.
        self._waiting: set[str] = set()
        #: By pod: the run that it is in, and what it says it is at while it starts.
        self._phases: dict[str, tuple[int, str]] = {}
        self._ledger = Ledger()
        self.gpus = GpuBook()
        self.nearby = Nearby(self.dirty)
        self._handlers: dict[str, tuple[Callable[[Any], None], Callable[[Any], None]]] = {
            POD.name: (self._drop_pod, self._take_pod),
            REPLICA_SET.name: (self._drop_set, self._take_set),
            REVISION.name: (self._drop_revision, self._take_revision),
            NODE.name: (self._drop_node, self._take_node),
            EVENT.name: (self._forget_warning, self._take_warning),
            **self.nearby.kinds,
        }

    # -- what comes in -------------------------------------------------------------------

    def apply(self, kind: Kind, gone: Sequence[Any], seen: Sequence[Any]) -> None:
        """Take over what a reflector found."""
        drop, take = self._handlers.get(kind.name, (self._drop_workload, partial(self._take_workload, kind)))
        hidden = self.hidden if kind.name in self.nearby.kinds else ()
        for each in gone:
            drop(each)
        for each in seen:
            if each.metadata.namespace not in hidden:
                take(each)

    def _drop_node(self, node: Node) -> None:
        self.gpus.node(self.nodes.pop(node.metadata.name, None), None)

    def _take_workload(self, kind: Kind, one: Workload) -> None:
        meta = one.metadata
        if meta.namespace in self.hidden:
            return
        self.workloads[meta.uid] = one
        self.kind_of[meta.uid] = kind
        same = self._names.setdefault((meta.namespace, meta.name), {})
        if same.get(kind.name) != meta.uid:
            same[kind.name] = meta.uid
            self.renamed = True
            self.dirty.update(same.values())  # another one may have had the plain name
        self.dirty.add(meta.uid)
        self.nearby.place(kind.name, one)

    def _drop_workload(self, one: Workload) -> None:
        meta = one.metadata
        kind = self.kind_of.pop(meta.uid, None)
        if kind is None:
            return
        self.nearby.remove(self.workloads.pop(meta.uid))
        self._waiting.discard(meta.uid)
        same = self._names[(meta.namespace, meta.name)]
        if same.get(kind.name) == meta.uid:
            del same[kind.name]
            self.renamed = True
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
        self._count(self.pods.get(uid), pod)
        self.pods[uid] = pod
        if owner is not None:
            self._pods_of.setdefault(owner.uid, {})[uid] = None
        self._touch(owner.uid if owner is not None else "")

    def _drop_pod(self, pod: Pod) -> None:
        uid, owner = pod.metadata.uid, pod.metadata.owner
        self._count(self.pods.pop(uid, None), None)
        self._warnings.pop(uid, None)
        self.judged.pop(uid, None)
        self._phases.pop(uid, None)
        if owner is not None:
            pods = self._pods_of.get(owner.uid, {})
            pods.pop(uid, None)
            if not pods:
                self._pods_of.pop(owner.uid, None)
            self._touch(owner.uid)

    def _count(self, before: Pod | None, now: Pod | None) -> None:
        self.gpus.pod(before, now)
        if self._ledger.count(before, now):
            self.dirty |= self._waiting
            self._waiting.clear()

    def _take_node(self, node: Node) -> None:
        name = node.metadata.name
        before = self.nodes.get(name)
        self.nodes[name] = node
        self.gpus.node(before, node)
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
        owner = one.metadata.owner
        if owner is not None:
            self._revisions.setdefault(owner.uid, {})[one.metadata.uid] = one
            self.dirty.add(owner.uid)

    def _drop_revision(self, one: ControllerRevision) -> None:
        owner = one.metadata.owner
        kept = self._revisions.get(owner.uid) if owner is not None else None
        if owner is not None and kept is not None:
            kept.pop(one.metadata.uid, None)
            if not kept:
                del self._revisions[owner.uid]
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

    def started_on(self, pod: Pod, words: str) -> bool:
        """A pod that starts says what it is at; True when that is something new."""
        uid, said = pod.metadata.uid, (runs_of(pod), words)
        if self._phases.get(uid) == said or uid not in self.pods:
            return False
        self._phases[uid] = said
        self.judged.pop(uid, None)
        self._touch_any(uid)
        return True

    # -- what is asked -------------------------------------------------------------------

    def phase_of(self, pod: Pod) -> str:
        """What a pod that starts says it is at; "" when it has not been asked in this run."""
        run, words = self._phases.get(pod.metadata.uid, (0, ""))
        return words if run == runs_of(pod) else ""

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

    def pods_by_owner(self, uid: str) -> Iterator[tuple[Workload | None, list[Pod]]]:
        """The same, the workload's own (None) and those of each of its ReplicaSets."""
        pods = self.pods
        for owner in (uid, *self._sets_of.get(uid, ())):
            if found := self._pods_of.get(owner):
                yield self.replica_sets.get(owner), [pods[each] for each in found]

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

    def revisions_of(self, uid: str) -> list[ControllerRevision]:
        """The revisions of a StatefulSet or DaemonSet that are kept."""
        return list(self._revisions.get(uid, {}).values())

    def revision_number(self, uid: str, word: str) -> int:
        """The number of a revision of a StatefulSet or DaemonSet; 0 when it is not seen.

        A DaemonSet's pods carry the hash alone, a StatefulSet's the name of the whole revision.
        """
        for each in self._revisions.get(uid, {}).values():
            if word in (each.metadata.name, (each.metadata.labels or {}).get("controller-revision-hash")):
                return each.revision
        return 0

    def lack(self, pod: Pod, resource: str, count: int) -> str:
        """What a pod that found no node lacks, and who has it; "" where nodes are not seen."""
        self._waiting.add(self.owner_of(pod))
        return self._ledger.lack(resource, count, self.nodes.values(), self._holder)

    def _holder(self, uid: str) -> str:
        """The name of what owns pods (or of a pod that nobody owns)."""
        found = self.replica_sets.get(uid)
        above = found.metadata.owner if found is not None else None
        shown = above.uid if above is not None else uid
        if shown in self.workloads:
            return self.service_name(shown)
        known = found or self.pods.get(uid)
        return known.metadata.name if known is not None else "others"

    def around(self, uid: str) -> Surroundings:
        """What stands around a workload."""
        return self.nearby.around(self.kind_of[uid].name, self.workloads[uid])

    def alone(self, uid: str) -> tuple[Kind, Custom, str, tuple[OwnerSeen, ...], list[Custom]] | None:
        """A custom resource that is a service by itself: its kind, itself, its name, what it depends on, its models."""
        found = self.nearby.alone(uid)
        if found is None:
            return None
        kind, one = found
        meta = one.metadata
        taken = (meta.namespace, meta.name) in self._names
        name = f"{meta.name}.{kind.name.lower()}" if taken else meta.name
        return kind, one, name, self.nearby.owners_of(one), self.nearby.trained(one)


def runs_of(pod: Pod) -> int:
    """The starts of its containers, the preparing ones counted apart: another number is another run."""
    status = pod.status
    inits = [
        each.state is not None and each.state.running is not None for each in status.init_container_statuses or ()
    ]
    at = 1 + inits.index(True) if True in inits else 0
    return 1 + at + 100 * sum(each.restart_count for each in status.container_statuses or ())


def _node_word(node: Node) -> str:
    return next((each.status for each in node.status.conditions or () if each.type == "Ready"), "")
