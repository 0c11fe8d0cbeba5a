"""Earlier revisions of a workload, as the cluster keeps them (apps/v1: ReplicaSets, ControllerRevisions)."""

from __future__ import annotations

from dataclasses import dataclass

from nimify_tui.base.errors import ClusterError, ValidationError
from nimify_tui.controllers.kubernetes.objects import (
    DEPLOYMENT,
    LAST_APPLIED,
    REVISION,
    Json,
    Live,
    WorkloadKind,
    as_map,
    maps,
    number,
    text_of,
)
from nimify_tui.controllers.kubernetes.reading import Line, read_list, selector
from nimify_tui.domain.names import ServiceKey

_HASH = "pod-template-hash"
#: What a roll-back leaves as the Deployment has it: numbers of its controller, and kubectl's own notes.
_NOT_TAKEN = frozenset(
    {
        LAST_APPLIED, REVISION, "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Earlier:
    """One revision that is kept: its number, and its pod template (a StatefulSet's or DaemonSet's as a patch)."""

    number: int
    content: Json
    annotations: Json
    is_now: bool


async def earlier_revisions(line: Line, live: Live, kind: WorkloadKind, namespace: str) -> list[Earlier]:
    """All revisions that are kept, oldest first. Raises what the backend raises."""
    labels = as_map(as_map(live.spec.get("selector")).get("matchLabels"))
    query = {"labelSelector": selector(labels)} if labels else {}
    if kind is DEPLOYMENT:
        path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
        owned = [each for each in await read_list(line, path, query) if _owner(each) == live.uid]
        now = number_of(live.annotations.get(REVISION))
        found = [_of_set(each, now) for each in owned]
    else:
        path = f"/apis/apps/v1/namespaces/{namespace}/controllerrevisions"
        owned = [each for each in await read_list(line, path, query) if _owner(each) == live.uid]
        newest = max((number(each.get("revision")) for each in owned), default=0)
        now_name = live.status.get("updateRevision")
        found = [_of_revision(each, now_name, newest) for each in owned]
    return sorted((each for each in found if each.number), key=lambda each: each.number)


def chosen(found: list[Earlier], wanted: int | None, key: ServiceKey) -> Earlier:
    """The revision of that number; None: the one before the current. Raises ValidationError when it is not kept."""
    if wanted is None:
        before = [each for each in found if not each.is_now]
        if not before:
            raise ValidationError(f"{key.name} has no earlier revision", "there is nothing to go back to")
        return before[-1]
    match = next((each for each in found if each.number == wanted), None)
    if match is None:
        there = ", ".join(str(each.number) for each in found[-12:]) or "none"
        raise ValidationError(f"{key.name} has no revision {wanted}", f"there are: {there}")
    return match


def current_number(found: list[Earlier]) -> int | None:
    """The number of the revision that runs, None when it is not among them."""
    return next((each.number for each in found if each.is_now), None)


def number_of(text: object) -> int:
    """A revision's number out of an annotation."""
    words = str(text or "")
    return int(words) if words.isascii() and words.isdigit() and len(words) < 10 else 0


def rolled_back_annotations(live: Live, earlier: Earlier) -> dict[str, str]:
    """A Deployment's annotations after the roll-back: the revision's, with those that are not taken from it."""
    kept = {name: value for name, value in live.annotations.items() if name in _NOT_TAKEN}
    taken = {name: value for name, value in earlier.annotations.items() if name not in _NOT_TAKEN}
    return {**taken, **kept}


def _owner(body: Json) -> str:
    for each in maps(as_map(body.get("metadata")).get("ownerReferences")):
        if each.get("controller"):
            return str(each.get("uid") or "")
    return ""


def _of_set(body: Json, now: int) -> Earlier:
    meta, spec = as_map(body.get("metadata")), as_map(body.get("spec"))
    template = dict(as_map(spec.get("template")))
    inner = dict(as_map(template.get("metadata")))
    inner["labels"] = {name: value for name, value in as_map(inner.get("labels")).items() if name != _HASH}
    template["metadata"] = inner
    notes = as_map(meta.get("annotations"))
    revision = number_of(notes.get(REVISION))
    return Earlier(revision, template, notes, revision == now)


def _of_revision(body: Json, now_name: object, newest: int) -> Earlier:
    data = as_map(body.get("data"))
    meta = as_map(body.get("metadata"))
    if not as_map(as_map(data.get("spec")).get("template")):
        raise ClusterError(f"revision {text_of(meta.get('name'))} holds no pod template")
    revision = number(body.get("revision"))
    is_now = meta.get("name") == now_name if now_name else revision == newest
    return Earlier(revision, data, {}, is_now)
