"""What each verb asks a cluster for, and how it is seen on the object that it was asked. No I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nimify_tui.backends.kubernetes.rights import Access, needed
from nimify_tui.backends.kubernetes.write import PatchKind
from nimify_tui.base.errors import InternalError, ValidationError
from nimify_tui.controllers.kubernetes.kept import whole
from nimify_tui.controllers.kubernetes.objects import (
    DEPLOYMENT,
    RESTARTED_AT,
    STOPPED_FROM,
    Json,
    Live,
    WorkloadKind,
    as_map,
    digest,
    made_by,
    text_of,
)
from nimify_tui.controllers.kubernetes.revisions import Earlier, rolled_back_annotations
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb

MAX_REPLICAS = 10_000
#: After these, pods are replaced.
ROLLS = frozenset({Verb.RESTART, Verb.ROLLBACK, Verb.SET_IMAGE, Verb.RESUME})
#: After these, only their number is other.
COUNTS = frozenset({Verb.SCALE, Verb.STOP, Verb.START})
#: An image reference (distribution/reference): no blank and nothing that a shell or a terminal would read.
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,499}\Z")


@dataclass(frozen=True)
class Ask:
    """One request that changes the object: a patch, its number of replicas, or (both None) its end."""

    access: Access
    patch: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    kind: PatchKind = PatchKind.STRATEGIC
    replicas: int | None = None


def check(part: ActionRequest, live: Live, kind: WorkloadKind) -> str:
    """Why nothing needs to be done ("": something does). Raises ValidationError for what cannot be done."""
    paused = bool(live.spec.get("paused"))
    match part.verb:
        case Verb.SCALE | Verb.STOP | Verb.START if not kind.scales:
            raise ValidationError(
                f"a {kind.name} has one replica on each of its nodes", "change its node selector instead"
            )
        case Verb.SCALE:
            wanted = replicas_wanted(part, live)
            return f"has {wanted} already" if wanted == live.replicas else ""
        case Verb.STOP:
            return "is stopped already" if live.replicas == 0 else ""
        case Verb.START:
            return "is started already" if live.replicas else ""
        case Verb.PAUSE | Verb.RESUME if not kind.pauses:
            raise ValidationError(
                f"the roll-out of a {kind.name} cannot be paused", "only a Deployment's can be"
            )
        case Verb.PAUSE:
            return "is paused already" if paused else ""
        case Verb.RESUME:
            return "" if paused else "is not paused"
        case Verb.RESTART | Verb.ROLLBACK if paused:
            raise ValidationError("its roll-out is paused", "resume it first")
        case Verb.RESTART if kind.scales and live.replicas == 0:
            raise ValidationError("it has no replicas to restart", "scale it up instead")
        case Verb.SET_IMAGE:
            wanted_image(part)
            now = container_of(part, live).get("image")
            return f"runs {text_of(now, 200)} already" if now == part.image else ""
        case Verb.CREATE | Verb.UPDATE:
            raise ValidationError(
                f"{part.verb} is not for a workload that is there", "set its image, or apply a manifest"
            )
        case _:
            return ""


def ask_for(
    part: ActionRequest, live: Live, kind: WorkloadKind, namespace: str, name: str, earlier: Earlier | None
) -> Ask:
    """What is sent for ``part`` as a draft filled it in; ``earlier`` is the revision of a roll-back."""
    access = needed(kind.name, part.verb, namespace, name)
    if access is None:
        raise InternalError(f"{part.verb} asks a cluster for nothing")
    match part.verb:
        case Verb.SCALE:
            return Ask(access, replicas=replicas_wanted(part, live))
        case Verb.STOP:
            body = _counted(0, {STOPPED_FROM: str(live.replicas)})
            return Ask(access, body, PatchKind.MERGE)
        case Verb.START:
            return Ask(access, _counted(replicas_wanted(part, live), {STOPPED_FROM: None}), PatchKind.MERGE)
        case Verb.RESTART:
            notes = {"metadata": {"annotations": {RESTARTED_AT: part.mark}}}
            return Ask(access, {"spec": {"template": notes, **_one_by_one(part, kind)}}, PatchKind.MERGE)
        case Verb.SET_IMAGE:
            container = {"name": str(container_of(part, live).get("name")), "image": part.image}
            template = {"spec": {"containers": [container]}}
            return Ask(access, {"spec": {"template": template, **_one_by_one(part, kind)}})
        case Verb.PAUSE | Verb.RESUME:
            return Ask(access, {"spec": {"paused": part.verb is Verb.PAUSE}}, PatchKind.MERGE)
        case Verb.ROLLBACK if earlier is not None:
            if kind is not DEPLOYMENT:
                return Ask(access, earlier.content)
            steps = [
                {"op": "replace", "path": "/spec/template", "value": earlier.content},
                {
                    "op": "add",
                    "path": "/metadata/annotations",
                    "value": rolled_back_annotations(live, earlier),
                },
                *(
                    {"op": "add", "path": f"/spec/{field}", "value": value}
                    for field, value in _one_by_one(part, kind).items()
                ),
            ]
            return Ask(access, steps, PatchKind.JSON)
        case Verb.DELETE:
            return Ask(access)
        case _:
            raise InternalError(f"{part.verb} asks a cluster for nothing")


def is_so(part: ActionRequest, live: Live) -> bool:
    """Whether the object is as ``part`` wanted it (whatever else happened to it)."""
    match part.verb:
        case Verb.SCALE | Verb.START:
            return live.replicas == part.replicas
        case Verb.STOP:
            return live.replicas == 0
        case Verb.RESTART:
            notes = as_map(as_map(live.template.get("metadata")).get("annotations"))
            return bool(part.mark) and notes.get(RESTARTED_AT) == part.mark
        case Verb.SET_IMAGE:
            return any(
                each.get("image") == part.image and each.get("name") == part.container
                for each in live.containers
            )
        case Verb.PAUSE | Verb.RESUME:
            return bool(live.spec.get("paused")) == (part.verb is Verb.PAUSE)
        case Verb.ROLLBACK:
            return bool(part.mark) and digest(live.template) == part.mark
        case Verb.DELETE:
            return bool(live.meta.get("deletionTimestamp"))
        case _:
            return False


def undo_of(
    part: ActionRequest, key: ServiceKey, live: Live, current: int | None
) -> tuple[ActionRequest | None, str]:
    """(the request that takes ``part`` back, why there is none); ``current`` is the revision that runs now."""

    def back(verb: Verb, **fields: Any) -> tuple[ActionRequest, str]:
        return ActionRequest(verb=verb, targets=(key,), **fields), ""

    match part.verb:
        case Verb.SCALE:
            return back(Verb.SCALE, replicas=live.replicas)
        case Verb.STOP:
            return back(Verb.START, replicas=live.replicas)
        case Verb.START:
            return back(Verb.STOP)
        case Verb.PAUSE:
            return back(Verb.RESUME)
        case Verb.RESUME:
            return back(Verb.PAUSE)
        case Verb.SET_IMAGE:
            return back(
                Verb.SET_IMAGE, image=str(container_of(part, live).get("image")), container=part.container
            )
        case Verb.ROLLBACK if current is not None:
            return back(Verb.ROLLBACK, revision=current)
        case Verb.RESTART:
            stays = "; its new strategy (maxSurge 0, maxUnavailable 1) stays" if part.stop_first else ""
            return None, f"none needed: the template's content is the same{stays}"
        case Verb.DELETE if maker := made_by(live):
            return None, f"none needed: {maker} makes it again"
        case Verb.DELETE:
            kind = str(live.body.get("kind"))
            return back(Verb.APPLY, kind=kind, manifest=whole(live, kind, str(live.body.get("apiVersion"))))
        case _:
            return None, "cannot be undone: the revision of now is not kept"


def replicas_wanted(part: ActionRequest, live: Live) -> int:
    """How many replicas a SCALE or START means. Raises ValidationError for a number that cannot be."""
    if part.replicas is not None:
        if not 0 <= part.replicas <= MAX_REPLICAS or (part.verb is Verb.START and part.replicas == 0):
            raise ValidationError(
                f"{part.replicas} replicas cannot be", f"use a number from 0 to {MAX_REPLICAS}"
            )
        return part.replicas
    if part.verb is Verb.SCALE:
        raise ValidationError("the number of replicas is missing", "say how many")
    before = str(live.annotations.get(STOPPED_FROM) or "")
    known = before.isascii() and before.isdigit() and 0 < int(before[:6]) <= MAX_REPLICAS
    return int(before[:6]) if known else 1


def wanted_image(part: ActionRequest) -> str:
    """The image. Raises ValidationError for what is no image reference."""
    if not _IMAGE.match(part.image):
        shown = text_of(part.image, 80)
        raise ValidationError(
            f"{shown!r} is no image", "such as nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4"
        )
    return part.image


def container_of(part: ActionRequest, live: Live) -> Json:
    """The container whose image is set. Raises ValidationError when it is not clear which one is meant."""
    names = [str(each.get("name")) for each in live.containers]
    if part.container:
        for each in live.containers:
            if each.get("name") == part.container:
                return each
        raise ValidationError(
            f"there is no container {text_of(part.container)!r}",
            f"there are: {text_of(', '.join(names), 300)}",
        )
    if len(names) == 1:
        return live.containers[0]
    # The one whose image has the same name but for its version is meant.
    same = [
        each for each in live.containers if _repository(str(each.get("image"))) == _repository(part.image)
    ]
    if len(same) == 1:
        return same[0]
    raise ValidationError(
        f"it has {len(names)} containers", f"say which one: {text_of(', '.join(names), 300)}"
    )


def _repository(image: str) -> str:
    head, _, last = image.partition("@")[0].rpartition("/")
    return f"{head}/{last.partition(':')[0]}"


def _counted(replicas: int, notes: Mapping[str, str | None]) -> dict[str, Any]:
    return {"metadata": {"annotations": dict(notes)}, "spec": {"replicas": replicas}}


def _one_by_one(part: ActionRequest, kind: WorkloadKind) -> dict[str, Any]:
    """A Deployment's strategy under which each pod ends before its successor starts."""
    if not part.stop_first or kind is not DEPLOYMENT:
        return {}
    rolling = {"maxSurge": 0, "maxUnavailable": 1}
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}
