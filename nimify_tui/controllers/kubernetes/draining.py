"""Draining a node: which pods go and which stay, by the rules of kubectl (kubectl/pkg/drain/filters.go). No I/O."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from nimify_tui.base.errors import ValidationError
from nimify_tui.controllers.kubernetes.objects import Json, Live, as_map, made_by, maps, text_of
from nimify_tui.controllers.kubernetes.room import gpus_of
from nimify_tui.domain.plans import ActionRequest

_MIRROR = "kubernetes.io/config.mirror"
#: No start takes so long: it has been ready before, seconds.
_LONGEST_S = 3600.0
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Leaving:
    """A pod that is to leave its node."""

    namespace: str
    name: str
    uid: str
    owner: str = ""
    own_data: bool = False
    ending: bool = False
    #: The kind of GPU that it holds, and how many.
    gpu: str = ""
    gpus: int = 0
    ready: bool = False
    #: How long it took to become ready, seconds; None: not known.
    took_s: float | None = None

    @property
    def words(self) -> str:
        """``ns/pod``."""
        return f"{text_of(self.namespace)}/{text_of(self.name)}"


def leaving(pods: Sequence[Json]) -> tuple[list[Leaving], int]:
    """(the pods that a drain evicts, how many stay because a DaemonSet or the node itself keeps them)."""
    found, stay = [], 0
    for body in pods:
        pod = Live(body, "")
        owner = made_by(pod)
        over = pod.status.get("phase") in _OVER
        if _MIRROR in pod.annotations or (owner.startswith("DaemonSet ") and not over):
            stay += 1
            continue
        meta = pod.meta
        data = any("emptyDir" in as_map(each) for each in maps(pod.spec.get("volumes")))
        gpu, gpus = ("", 0) if over else gpus_of(maps(pod.spec.get("containers")))
        found.append(
            Leaving(
                str(meta.get("namespace")),
                str(meta.get("name")),
                pod.uid,
                owner,
                own_data=data and not over,
                ending=bool(meta.get("deletionTimestamp")),
                gpu=gpu,
                gpus=gpus,
                ready=is_ready(pod),
                took_s=took_s(pod),
            )
        )
    return found, stay


def is_ready(pod: Live) -> bool:
    """Whether a pod serves."""
    return pod.condition.get("Ready", {}).get("status") == "True"


def took_s(pod: Live) -> float | None:
    """How long the last start of a ready pod took at most until it was ready, seconds; None: not known.

    At most: one that was not ready for a moment later on tells when that was over, and not when it was ready first.
    """
    ready = _seconds(pod.condition["Ready"].get("lastTransitionTime")) if is_ready(pod) else None
    running = [as_map(as_map(each.get("state")).get("running")) for each in maps(pod.status.get("containerStatuses"))]
    began = [at for each in running if (at := _seconds(each.get("startedAt"))) is not None]
    took = max(0.0, ready - max(began)) if ready is not None and began else None
    return took if took is not None and took < _LONGEST_S else None


def _seconds(text: object) -> float | None:
    """A Kubernetes time as unix seconds; None for what is none."""
    try:
        return datetime.datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None


def check_leaving(part: ActionRequest, pods: Sequence[Leaving]) -> list[tuple[str, str]]:
    """What would be lost for good, as lines of the plan. Raises ValidationError unless ``part`` insists."""
    orphans = [each for each in pods if not each.owner]
    with_data = [each for each in pods if each.own_data]
    lost = []
    if orphans:
        lost.append(f"nobody makes again: {_names(orphans)}")
    if with_data:
        lost.append(f"lose the data they keep on the node (emptyDir): {_names(with_data)}")
    if lost and not part.force:
        raise ValidationError("; ".join(lost), "insist with --force, or move them first")
    return [("warning", text) for text in lost]


def _names(pods: Sequence[Leaving]) -> str:
    names = ", ".join(each.words for each in pods[:6])
    return names if len(pods) <= 6 else f"{names} and {len(pods) - 6} more"
