"""Objects that are no workloads: nodes, pods, autoscalers, NIMServices. What is asked of them, no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nimify_tui.backends.kubernetes.rights import needed
from nimify_tui.backends.kubernetes.write import PatchKind
from nimify_tui.base.errors import InternalError, ValidationError
from nimify_tui.controllers.kubernetes.changes import MAX_REPLICAS, Ask
from nimify_tui.controllers.kubernetes.kept import whole
from nimify_tui.controllers.kubernetes.objects import Live, as_map, made_by, number, text_of
from nimify_tui.controllers.kubernetes.reading import segment
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Verb


@dataclass(frozen=True)
class OtherKind:
    """A kind of object: where it lies and what can be done with it."""

    name: str
    api: str
    plural: str
    verbs: frozenset[Verb]
    namespaced: bool = True

    def path(self, key: ServiceKey) -> str:
        """Where one of it lies. Raises ValidationError for one without the namespace that it needs."""
        if self.namespaced and not key.namespace:
            raise ValidationError(
                f"in which namespace is {self.name} {key.name}?", "name it with --namespace"
            )
        inside = f"/namespaces/{segment(key.namespace)}" if self.namespaced else ""
        return f"{self.api}{inside}/{self.plural}/{segment(key.name)}"


_ALL = (
    OtherKind(
        "Node", "/api/v1", "nodes", frozenset({Verb.CORDON, Verb.UNCORDON, Verb.DRAIN}), namespaced=False
    ),
    OtherKind("Pod", "/api/v1", "pods", frozenset({Verb.DELETE})),
    OtherKind(
        "HorizontalPodAutoscaler",
        "/apis/autoscaling/v2",
        "horizontalpodautoscalers",
        frozenset({Verb.SET_BOUNDS}),
    ),
    OtherKind("NIMService", "/apis/apps.nvidia.com/v1alpha1", "nimservices", frozenset({Verb.SCALE})),
)
OTHER_KINDS = {kind.name: kind for kind in _ALL}


def kind_for(part: ActionRequest) -> OtherKind:
    """The kind that ``part`` is about. Raises ValidationError for what cannot be done with it."""
    kind = OTHER_KINDS.get(part.kind)
    if kind is None:
        raise ValidationError(f"this version cannot change a {text_of(part.kind, 60)}")
    if part.verb not in kind.verbs:
        can = ", ".join(sorted(kind.verbs))
        raise ValidationError(f"{part.verb} is not for a {kind.name}", f"what can be done with it: {can}")
    return kind


def bounds_of(live: Live) -> tuple[int, int]:
    """An autoscaler's least and most replicas (the API's default for the least is 1)."""
    least = live.spec.get("minReplicas")
    return 1 if least is None else number(least), number(live.spec.get("maxReplicas"))


def check_other(part: ActionRequest, live: Live) -> str:
    """Why nothing needs to be done ("": something does). Raises ValidationError for what cannot be."""
    held = bool(live.spec.get("unschedulable"))
    match part.verb:
        case Verb.CORDON:
            return "is cordoned already" if held else ""
        case Verb.UNCORDON:
            return "" if held else "is not cordoned"
        case Verb.SET_BOUNDS:
            if part.least is None and part.most is None:
                raise ValidationError("no bound is given", "say the least or the most replicas")
            least, most = wanted_bounds(part, live)
            if not 0 <= least <= most <= MAX_REPLICAS or most == 0:
                raise ValidationError(
                    f"from {least} to {most} replicas cannot be", f"0 to {MAX_REPLICAS}, the least first"
                )
            return f"has the bounds {least} to {most} already" if (least, most) == bounds_of(live) else ""
        case Verb.SCALE:
            if part.replicas is None or not 0 <= part.replicas <= MAX_REPLICAS:
                raise ValidationError(
                    "the number of replicas is missing or cannot be", f"0 to {MAX_REPLICAS}"
                )
            if as_map(live.spec.get("scale")).get("enabled"):
                raise ValidationError(
                    "its own spec.scale lets an autoscaler set the number", "change the bounds of that one"
                )
            return f"has {part.replicas} already" if live.replicas == part.replicas else ""
        case _:
            return ""


def ask_other(part: ActionRequest, live: Live, key: ServiceKey) -> Ask:
    """What is sent for ``part``."""
    access = needed(part.kind, part.verb, key.namespace, key.name)
    if access is None:
        raise InternalError(f"{part.verb} asks a cluster for nothing")
    spec: dict[str, Any]
    match part.verb:
        case Verb.CORDON | Verb.DRAIN:
            spec = {"unschedulable": True}
        case Verb.UNCORDON:
            spec = {"unschedulable": None}
        case Verb.SET_BOUNDS:
            least, most = wanted_bounds(part, live)
            spec = {"minReplicas": least, "maxReplicas": most}
        case Verb.SCALE:
            spec = {"replicas": part.replicas}
        case _:
            return Ask(access)
    return Ask(access, {"spec": spec}, PatchKind.MERGE)


def other_is_so(part: ActionRequest, live: Live) -> bool:
    """Whether the object is as ``part`` wanted it."""
    match part.verb:
        case Verb.CORDON | Verb.DRAIN:
            return bool(live.spec.get("unschedulable"))
        case Verb.UNCORDON:
            return not live.spec.get("unschedulable")
        case Verb.SET_BOUNDS:
            return wanted_bounds(part, live) == bounds_of(live)
        case Verb.SCALE:
            return live.replicas == part.replicas
        case _:
            return False


def undo_of_other(part: ActionRequest, key: ServiceKey, live: Live) -> tuple[ActionRequest | None, str]:
    """(the request that takes ``part`` back, why there is none)."""

    def back(verb: Verb, **fields: Any) -> tuple[ActionRequest, str]:
        return ActionRequest(verb=verb, targets=(key,), kind=part.kind, **fields), ""

    match part.verb:
        case Verb.CORDON:
            return back(Verb.UNCORDON)
        case Verb.DRAIN if not live.spec.get("unschedulable"):
            return back(Verb.UNCORDON)
        case Verb.UNCORDON:
            return back(Verb.CORDON)
        case Verb.SET_BOUNDS:
            least, most = bounds_of(live)
            return back(Verb.SET_BOUNDS, least=least, most=most)
        case Verb.SCALE:
            return back(Verb.SCALE, replicas=live.replicas)
        case Verb.DRAIN:
            return None, "none: it was cordoned before"
        case _ if maker := made_by(live):
            return None, f"none needed: {maker} makes another one"
        case _:
            return back(Verb.APPLY, manifest=whole(live, "Pod", "v1"))


def other_facts(part: ActionRequest, live: Live) -> list[tuple[str, str]]:
    """The plan's own lines about the object."""
    space, name = text_of(live.meta.get("namespace") or ""), text_of(live.meta.get("name"))
    facts = [("objects", f"{part.kind} {space}/{name}" if space else f"{part.kind} {name}")]
    match part.verb:
        case Verb.CORDON | Verb.DRAIN:
            facts.append(("change", "no new pod comes to this node"))
        case Verb.UNCORDON:
            facts.append(("change", "new pods may come to this node again"))
        case Verb.SET_BOUNDS:
            (least, most), (low, high) = bounds_of(live), wanted_bounds(part, live)
            facts.append(("change", f"{least} to {most} replicas → {low} to {high}"))
            now = number(live.status.get("currentReplicas"))
            facts.append(("capacity", f"{now} now; {min(max(now, low), high)} by the new bounds alone"))
        case Verb.SCALE:
            facts.append(
                ("change", f"spec.replicas {live.replicas} → {part.replicas}; its operator makes it so")
            )
        case _:
            owner = made_by(live)
            facts.append(
                ("change", "the pod ends now; no disruption budget is asked (an eviction would ask)")
            )
            made = f"{owner} makes another one" if owner else "nobody makes it again"
            facts.append(("capacity" if owner else "warning", made))
    return facts


def wanted_bounds(part: ActionRequest, live: Live) -> tuple[int, int]:
    """The bounds that a SET_BOUNDS wants: what it leaves open stays."""
    least, most = bounds_of(live)
    return least if part.least is None else part.least, most if part.most is None else part.most
