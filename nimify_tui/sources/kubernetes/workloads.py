"""Workloads as services and their pods as replicas, in the words of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from nimify_tui.base.text import clean_line
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.slos import ANNOTATION_CHARS
from nimify_tui.domain.workloads import OwnerSeen, Surroundings
from nimify_tui.sources.families import OTHER, family_of, image_of, model_of
from nimify_tui.sources.kubernetes.cluster import Cluster, Judged
from nimify_tui.sources.kubernetes.containers import Container
from nimify_tui.sources.kubernetes.custom import (
    INFERENCE_SERVICE,
    LLM_INFERENCE_SERVICE,
    NIM_SERVICE,
    ROLLOUT,
    TRAINED_MODEL,
    Custom,
    image_of_custom,
    owner_seen,
    wanted_of,
)
from nimify_tui.sources.kubernetes.kept import kept_of
from nimify_tui.sources.kubernetes.kinds import (
    DAEMON_SET,
    DEPLOYMENT,
    Kind,
    Pod,
    Workload,
)
from nimify_tui.sources.kubernetes.metered import metrics_at, stats_at
from nimify_tui.sources.kubernetes.pods import condition, replica_of, seconds
from nimify_tui.sources.kubernetes.served import served_by, words_of
from nimify_tui.sources.kubernetes.trained import with_trained

#: Labels and names from a cluster: at most so many, of at most so many characters.
_LABELS, _LABEL_CHARS = 40, 260
#: States whose reason says more than "it does not get on".
_TELLING = (ReplicaState.BACKOFF, ReplicaState.NOT_READY, ReplicaState.EXITED)
#: Custom resources whose own word counts, and those words of theirs that mean it will not come right by itself.
_STATED = (NIM_SERVICE.name, INFERENCE_SERVICE.name, LLM_INFERENCE_SERVICE.name)
_FAILED = ("Failed", "BlockedByFailedLoad", "InvalidSpec")


def service_of(cluster: Cluster, uid: str, region: str, now: float) -> tuple[Service, dict[str, Replica]]:
    """The workload ``uid`` as it is now, and its replicas by the uid of their pod."""
    one, kind = cluster.workloads[uid], cluster.kind_of[uid]
    meta, status, template = one.metadata, one.status, one.spec.template
    key = ServiceKey(region, clean_line(cluster.service_name(uid), 120), clean_line(meta.namespace, 80))
    labels = {**(meta.labels or {}), **(template.metadata.labels or {})}
    family, container = family_of(labels, template.spec.containers or ())
    desired = status.desired_number_scheduled if kind is DAEMON_SET else one.spec.replicas
    wanted = desired if desired is not None else 1  # the API's default
    revision = revision_of(cluster, uid)
    replicas = _replicas(cluster, uid, key, wanted, now)
    created_at = seconds(meta.creation_timestamp) or now
    around = cluster.around(uid)
    facts = list(replicas.values())
    progress = _progress(one, uid, cluster, wanted, facts, revision)
    failure = _failure(cluster, uid, one, facts)
    for owner in around.owners:
        if owner.trouble and owner.kind in _STATED:
            words = _owner_words(owner)
            failure, progress = (
                (failure or words, progress) if owner.state in _FAILED else (failure, progress or words)
            )
    metered = metrics_at(template, family, container)
    told = served_by(family.name if family is not None else "", container, cluster.nearby.keepers(one))
    service = Service(
        key=key,
        uid=uid,
        family=family.name if family is not None else OTHER,
        revision=revision,
        desired_replicas=wanted,
        generation=meta.generation,
        observed_generation=status.observed_generation,
        created_at=created_at,
        changed_at=_changed_at(cluster, uid, created_at),
        progress=progress,
        failure=failure,
        model_name=clean_line(model_of(words_of(container)) or _image_words(container), 200),
        models=with_trained(told.models, cluster.nearby.trained(one)),
        models_note=told.note,
        labels=_labels(one, kind.name, metered, container),
        metrics_at=metered,
        stats_at=stats_at(family, container),
        slo=clean_line(meta.annotations.slo, ANNOTATION_CHARS + 1) if meta.annotations is not None else "",
        around=msgspec.structs.replace(around, kept=kept_of(cluster, uid)),
    )
    return service, replicas


def alone_service(
    kind: Kind,
    one: Custom,
    name: str,
    depends: tuple[OwnerSeen, ...],
    trained: Sequence[Custom],
    region: str,
    now: float,
) -> Service:
    """A custom resource of which no workload is there: what its operator waits for, or why it failed."""
    meta, wanted = one.metadata, wanted_of(one)
    own = owner_seen(kind, one)
    told = [each for each in (own, *depends) if each.trouble]
    failed = next((each for each in told if each.state in _FAILED), None)
    image = image_of_custom(one)
    created_at = seconds(meta.creation_timestamp) or now
    waits = f"{kind.name} {own.state}"
    if kind is TRAINED_MODEL:  # else it would be a model of that one
        waits += f": there is no InferenceService {clean_line(one.spec.inference_service, 80) or 'named'}"
    return Service(
        key=ServiceKey(region, clean_line(name, 120), clean_line(meta.namespace, 80)),
        uid=meta.uid,
        family="nim" if kind is NIM_SERVICE else "kserve",
        revision=0,
        desired_replicas=wanted,
        generation=meta.generation,
        # Not made true yet, unless it is known that it never will be.
        observed_generation=meta.generation if failed is not None else meta.generation - 1,
        created_at=created_at,
        changed_at=created_at,
        progress="; ".join(map(_owner_words, told)) or waits,
        failure=_owner_words(failed) if failed is not None else "",
        model_name=clean_line(one.spec.model.name or image, 200),
        models=with_trained((), trained),
        labels={"kind": kind.name} | ({"image": clean_line(image, _LABEL_CHARS)} if image else {}),
        around=Surroundings(owners=(own, *depends)),
    )


def _owner_words(owner: OwnerSeen) -> str:
    said = f": {owner.trouble}" if owner.trouble != owner.state else ""
    return f"{owner.kind} {owner.name} {owner.state}{said}"


def revision_of(cluster: Cluster, uid: str) -> int:
    """The number of the revision that should run; 0 when the cluster has not told it yet."""
    one, kind = cluster.workloads[uid], cluster.kind_of[uid]
    if kind in (DEPLOYMENT, ROLLOUT):
        return one.metadata.revision
    if kind is DAEMON_SET:
        # Its status names no revision: the newest there is.
        numbers = [cluster.revision_number(uid, _hash(pod)) for pod in cluster.pods_of(uid)]
        return max(numbers, default=0)
    return cluster.revision_number(uid, one.status.update_revision)


def _hash(pod: Pod) -> str:
    return pod.metadata.labels.revision_hash if pod.metadata.labels is not None else ""


def _replicas(cluster: Cluster, uid: str, key: ServiceKey, wanted: int, now: float) -> dict[str, Replica]:
    """A replica for each pod, by its uid; pods that are over are left out once others have taken their places."""
    made = {}
    numbers: dict[str, int] = {}
    judged, nodes = cluster.judged, cluster.nodes
    for owner, pods in cluster.pods_by_owner(uid):
        number = owner.metadata.revision if owner is not None else 0
        for pod in pods:
            pod_uid = pod.metadata.uid
            if owner is None and (number := numbers.get(word := _hash(pod), -1)) < 0:
                number = numbers[word] = cluster.revision_number(uid, word)
            warnings, node = cluster.warnings_of(pod_uid), nodes.get(pod.spec.node_name)
            known = judged.get(pod_uid)
            if known is not None and known.still(pod, node, key, number, warnings):
                made[pod_uid] = known.replica
                continue
            name = clean_line(pod.metadata.name, 120)
            lack, phase = partial(cluster.lack, pod), cluster.phase_of(pod)
            replica = replica_of(pod, ReplicaKey(key, name), number, warnings, node, now, lack, phase)
            made[pod_uid] = replica
            judged[pod_uid] = Judged(pod, node, replica)
    alive = {uid: each for uid, each in made.items() if each.state is not ReplicaState.EXITED}
    return alive if len(alive) >= wanted else made


def _changed_at(cluster: Cluster, uid: str, created_at: float) -> float:
    """When the template changed last, as far as the cluster keeps it: the newest of its ReplicaSets."""
    times = [seconds(each.metadata.creation_timestamp) or 0.0 for each in cluster.sets_of(uid)]
    return max([created_at, *times])


def _progress(
    one: Workload, uid: str, cluster: Cluster, wanted: int, replicas: Sequence[Replica], revision: int
) -> str:
    """What a roll-out is doing ("" when none is under way)."""
    status, kind = one.status, cluster.kind_of[uid]
    if kind is ROLLOUT and status.phase == "Paused":
        return f"roll-out paused{f' ({clean_line(status.message, 60)})' if status.message else ''}"
    if kind in (DEPLOYMENT, ROLLOUT) and one.spec.paused:
        return "roll-out paused"
    if status.observed_generation < one.metadata.generation:
        return "the cluster has not taken it up yet"
    new = status.updated_number_scheduled if kind is DAEMON_SET else status.updated_replicas
    old = [each for each in replicas if each.revision != revision and each.state is not ReplicaState.EXITED]
    if new >= wanted and not old:
        return ""
    if not old and new < wanted:
        return f"{new} of {wanted} made"
    return f"{min(new, wanted)} of {wanted} replaced"


def _failure(cluster: Cluster, uid: str, one: Workload, replicas: Sequence[Replica]) -> str:
    """Why the workload itself does not get on; "" when it does, or when a pod of it says why."""
    if one.status.phase == "Degraded":
        return f"the roll-out is degraded: {clean_line(one.status.message, 200)}"
    progressing = condition(one.status.conditions, "Progressing")
    told = any(each.reason and each.state in _TELLING for each in replicas)
    if progressing is not None and progressing.status == "False" and not told:
        if progressing.reason == "ProgressDeadlineExceeded":
            return "the roll-out made no progress within its deadline"
        return f"the roll-out stopped: {clean_line(progressing.message or progressing.reason, 200)}"
    failing = condition(one.status.conditions, "ReplicaFailure")
    if failing is not None and failing.status == "True":
        return f"pods cannot be made: {clean_line(failing.message or failing.reason, 200)}"
    if one.status.replicas < (one.spec.replicas or 0):
        for event in reversed(cluster.warnings_of(uid)):
            if event.reason == "FailedCreate":
                return f"pods cannot be made: {clean_line(event.message, 200)}"
    return ""


def _image_words(container: Container | None) -> str:
    if container is None:
        return ""
    image = image_of(container.image)
    name = image.path.rpartition("/")[2]
    return f"{name} {image.version}" if image.version else name


def _labels(one: Workload, kind: str, metered: str, container: Container | None) -> dict[str, str]:
    """What is told beside the numbers: kind, image and version, then the workload's own labels."""
    told = {"kind": kind}
    if container is not None:
        image = image_of(container.image)
        told["image"] = clean_line(image.path, _LABEL_CHARS)
        if image.version:
            told["version"] = clean_line(image.version, 80)
    if metered:
        told["metrics"] = metered
    for name, value in list((one.metadata.labels or {}).items())[:_LABELS]:
        told.setdefault(clean_line(name, _LABEL_CHARS), clean_line(value, _LABEL_CHARS))
    return told
