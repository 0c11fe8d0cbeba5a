"""Who else looks after a workload and would take a change back. No I/O.

Marks of the tools: Helm's and Argo CD's and Flux's own documentation of the labels and annotations they put on
what they manage (meta.helm.sh/release-name, argocd.argoproj.io/tracking-id, kustomize.toolkit.fluxcd.io/name).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nimify_tui.controllers.kubernetes.changes import COUNTS
from nimify_tui.controllers.kubernetes.objects import Json, Live, as_map, managers_of, maps, number, text_of
from nimify_tui.domain.plans import ActionRequest, Verb

#: The field of a custom resource that its controller takes a number of replicas from.
_REPLICAS_OF = {
    "NIMService": "spec.replicas (or spec.scale)",
    "InferenceService": "spec.predictor.minReplicas",
    "Rollout": "spec.replicas",
    "LeaderWorkerSet": "spec.replicas",
    "DynamoGraphDeployment": "spec.services.*.replicas",
}
#: The field that the bounds of an autoscaler, or a NIMService's number, come from.
_NUMBERS_OF = {
    "NIMService": "spec.scale.hpa",
    "NIMPipeline": "spec.services",
    "ScaledObject": "spec.minReplicaCount and spec.maxReplicaCount",
    "InferenceService": "spec.predictor.minReplicas and maxReplicas",
}
_REPLICAS = ("f:spec", "f:replicas")
_PAUSED = ("f:spec", "f:paused")


@dataclass(frozen=True)
class Hpa:
    """A HorizontalPodAutoscaler of the workload."""

    name: str
    least: int
    most: int


def hpas_for(items: Sequence[Json], kind: str, name: str) -> list[Hpa]:
    """The autoscalers whose target is this workload."""
    found = []
    for each in items:
        spec = as_map(each.get("spec"))
        target = as_map(spec.get("scaleTargetRef"))
        if target.get("kind") == kind and target.get("name") == name:
            least = spec.get("minReplicas")
            found.append(
                Hpa(
                    text_of(as_map(each.get("metadata")).get("name")),
                    1 if least is None else number(least),
                    number(spec.get("maxReplicas")),
                )
            )
    return found


def owner_facts(part: ActionRequest, live: Live, hpas: Sequence[Hpa]) -> list[tuple[str, str]]:
    """Lines of the plan: who looks after it, and what becomes of the change."""
    facts = _makers(live, _REPLICAS_OF if part.verb in COUNTS else {})
    facts += [("owner", _hpa_text(part, hpa)) for hpa in hpas if part.verb in COUNTS]
    facts += [("owner", text) for text in _tools(live)]
    if setters := _setters(part, live):
        facts.append(("field", setters))
    if not any(label == "owner" for label, _ in facts):
        facts.append(("owner", "nobody is known to take this change back"))
    return facts


def keeper_facts(live: Live) -> list[tuple[str, str]]:
    """Which tools keep an object that is no workload as their source says."""
    return [("owner", text) for text in _tools(live)]


def number_keepers(live: Live) -> list[tuple[str, str]]:
    """Who sets the number of an object that sets another one's: what made an autoscaler, or a NIMService."""
    return _makers(live, _NUMBERS_OF)


def _makers(live: Live, fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Its controlling owners, each with its field from ``fields`` that the change belongs to."""
    facts = []
    for each in maps(live.meta.get("ownerReferences")):
        if each.get("controller"):
            kind = text_of(each.get("kind"), 60)
            words = f"takes this change back: change {fields.get(kind, 'its spec')} of it instead"
            facts.append(("owner", f"{kind} {text_of(each.get('name'))} made it and {words}"))
    return facts


def _hpa_text(part: ActionRequest, hpa: Hpa) -> str:
    bounds = f"HPA {hpa.name} ({hpa.least} to {hpa.most})"
    if part.verb is Verb.STOP or part.replicas == 0:
        return f"{bounds} leaves it alone while it has 0 replicas"
    if part.replicas is not None and hpa.least <= part.replicas <= hpa.most:
        return f"{bounds} sets the number by itself: it may soon be another one; its bounds are what lasts"
    return f"{bounds} brings the number back into its bounds: change those instead"


def _tools(live: Live) -> list[str]:
    labels, notes = live.labels, live.annotations
    found = []
    if tracked := notes.get("argocd.argoproj.io/tracking-id") or labels.get("argocd.argoproj.io/instance"):
        name = text_of(tracked).partition(":")[0]
        found.append(
            f"Argo CD application {name}: takes this back when it heals itself; change its source instead"
        )
    for tool, what in (("kustomize", "kustomization"), ("helm", "release")):
        if flux := labels.get(f"{tool}.toolkit.fluxcd.io/name"):
            found.append(
                f"Flux {what} {text_of(flux)}: takes this back at its next run; change its source instead"
            )
    if helm := notes.get("meta.helm.sh/release-name"):
        space = text_of(notes.get("meta.helm.sh/release-namespace") or "")
        release = f"{space}/{text_of(helm)}" if space else text_of(helm)
        found.append(f"Helm release {release}: nobody reverts this change; its next upgrade may")
    return found


def _setters(part: ActionRequest, live: Live) -> str:
    """Who set the field that is changed, by the server's record of field owners."""
    paths: tuple[tuple[str, ...], ...]
    match part.verb:
        case Verb.SCALE | Verb.STOP | Verb.START:
            paths = (_REPLICAS,)
        case Verb.PAUSE | Verb.RESUME:
            paths = (_PAUSED,)
        case Verb.SET_IMAGE:
            container = f'k:{{"name":"{part.container}"}}'
            paths = (("f:spec", "f:template", "f:spec", "f:containers", container, "f:image"),)
        case _:
            paths = ()
    found = managers_of(live, paths)
    return "; ".join(
        f"{path} was set by {', '.join(sorted(set(names))[:4])}" for path, names in found.items()
    )
