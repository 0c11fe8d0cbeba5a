"""Custom resources of model serving: NIM Operator, KServe, Argo Rollouts. Read where a cluster has them.

Fields and states: NVIDIA/k8s-nim-operator api/apps/v1alpha1, kserve/kserve pkg/apis/serving/v1beta1 and (of
TrainedModel) v1alpha1 and (of LLMInferenceService) v1alpha2, argoproj/argo-rollouts pkg/apis/rollouts/v1alpha1.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nimify_tui.base.text import clean_line
from nimify_tui.domain.workloads import OwnerSeen
from nimify_tui.sources.kubernetes.kinds import Kind, Labelled, Workload, WorkloadSpec, WorkloadStatus
from nimify_tui.sources.kubernetes.parts import Condition, ObjectMeta, Part
from nimify_tui.sources.kubernetes.pods import condition

_SAID = 200


class CacheName(Part, frozen=True):
    """Which NIMCache a NIMService reads."""

    name: str = ""


class Storage(Part, frozen=True):
    """Where the weights lie."""

    nim_cache: CacheName = CacheName()


class ImageParts(Part, frozen=True):
    """An image in its parts."""

    repository: str = ""
    tag: str = ""


class PredictorModel(Part, frozen=True):
    """What a predictor serves; its ``storageUri`` is not read, it may hold a key."""

    runtime: str = ""


class Predictor(Part, frozen=True):
    """The predictor of an InferenceService."""

    min_replicas: int | None = None
    model: PredictorModel | None = None


class NamedModel(Part, frozen=True):
    """The model of an LLMInferenceService or a TrainedModel; where its weights lie is not read, it may hold a key."""

    name: str = ""


class CustomSpec(Part, frozen=True):
    """What these kinds shall be; each has some of it."""

    replicas: int | None = None
    image: ImageParts = ImageParts()
    storage: Storage = Storage()
    predictor: Predictor = Predictor()
    #: Of a TrainedModel: which one loads it.
    inference_service: str = ""
    model: NamedModel = NamedModel()


class FailureInfo(Part, frozen=True):
    """Why a model could not be loaded (KServe)."""

    reason: str = ""
    message: str = ""


class ModelStates(Part, frozen=True):
    """Where a model is in its life (KServe)."""

    active_model_state: str = ""


class ModelStatus(Part, frozen=True):
    """How far a model is (KServe)."""

    states: ModelStates = ModelStates()

    transition_status: str = ""
    last_failure_info: FailureInfo | None = None


class NimModel(Part, frozen=True):
    """The model that a NIMService found its server to serve."""

    name: str = ""


class CustomStatus(Part, frozen=True):
    """How they are."""

    model: NimModel = NimModel()

    state: str = ""
    states: dict[str, str] | None = None
    conditions: list[Condition] | None = None
    model_status: ModelStatus = ModelStatus()


class Custom(Labelled, frozen=True):
    """NIMService, NIMCache, NIMPipeline, InferenceService, LLMInferenceService, TrainedModel."""

    spec: CustomSpec = CustomSpec()
    status: CustomStatus = CustomStatus()


class RolloutStatus(Part, frozen=True):
    """Of an Argo Rollout: what a workload's has, but the generation that it has seen is text."""

    observed_generation: int | str = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    phase: str = ""
    message: str = ""
    conditions: list[Condition] | None = None


class Rollout(Labelled, frozen=True):
    """argoproj.io/v1alpha1 Rollout, as it comes."""

    spec: WorkloadSpec = WorkloadSpec()
    status: RolloutStatus = RolloutStatus()


class RolloutDecoder:
    """Reads a Rollout as the workload that it is."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Rollout)

    def decode(self, data: msgspec.Raw | bytes, /) -> Workload:
        """See :class:`nimify_tui.sources.kubernetes.kinds.Reads`."""
        found = self._decoder.decode(data)
        status = msgspec.structs.asdict(found.status)
        seen = str(status["observed_generation"])
        status["observed_generation"] = (
            int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 18 else 0
        )
        return Workload(metadata=found.metadata, spec=found.spec, status=WorkloadStatus(**status))


def _custom(name: str, api: str, plural: str) -> Kind:
    return Kind(name, api, plural, msgspec.json.Decoder(Custom), custom=True)


_NIM = "/apis/apps.nvidia.com/v1alpha1"
NIM_SERVICE = _custom("NIMService", _NIM, "nimservices")
NIM_CACHE = _custom("NIMCache", _NIM, "nimcaches")
NIM_PIPELINE = _custom("NIMPipeline", _NIM, "nimpipelines")
INFERENCE_SERVICE = _custom("InferenceService", "/apis/serving.kserve.io/v1beta1", "inferenceservices")
LLM_INFERENCE_SERVICE = _custom(
    "LLMInferenceService", "/apis/serving.kserve.io/v1alpha2", "llminferenceservices"
)
TRAINED_MODEL = _custom("TrainedModel", "/apis/serving.kserve.io/v1alpha1", "trainedmodels")
ROLLOUT = Kind("Rollout", "/apis/argoproj.io/v1alpha1", "rollouts", RolloutDecoder(), custom=True)
#: Those that are a service of their own while they keep no workload.
ALONE: tuple[Kind, ...] = (NIM_SERVICE, INFERENCE_SERVICE, LLM_INFERENCE_SERVICE, TRAINED_MODEL)
_OF_KSERVE = (INFERENCE_SERVICE, LLM_INFERENCE_SERVICE, TRAINED_MODEL)
#: By kind: the label in which KServe names one of it on the pods that it makes for it.
PODS_SAY = {
    INFERENCE_SERVICE.name: "serving.kserve.io/inferenceservice",
    LLM_INFERENCE_SERVICE.name: "app.kubernetes.io/name",
}
#: KServe's conditions that say nothing of whether it is ready.
_BESIDE = frozenset({"Ready", "Stopped", "GroupReady", "GroupDegraded"})

#: What the operator's reasons ask for (NIMService conditions).
_HINTS = {
    "NIMCacheNotFound": "its NIMCache is not there",
    "NIMCacheNotReady": "its NIMCache is not ready",
    "NIMCacheFailed": "its NIMCache failed",
    "ValidationFailed": "its specification is refused",
    "DRAResourcesUnsupported": "this cluster has no dynamic resource allocation",
    "ModelLoadFailed": "the model cannot be loaded",
    "RuntimeUnhealthy": "its runtime is not healthy",
    "RuntimeDisabled": "its runtime is disabled",
    "NoSupportingRuntime": "no runtime of this cluster takes this model format",
    "RuntimeNotRecognized": "its runtime is not known",
    "InvalidPredictorSpec": "its specification is refused",
    "InvalidRenderedConfig": "its specification is refused",
    "ConfigNotFound": "a configuration that it names is not there",
    "CombineBaseError": "the configurations that it names cannot be joined",
}
_WELL = ("Ready", "")


def owner_seen(kind: Kind, one: Custom) -> OwnerSeen:
    """A custom resource's own word about itself."""
    state, trouble = _kserve(one) if kind in _OF_KSERVE else _nim(one)
    name = clean_line(one.metadata.name, 120)
    return OwnerSeen(kind=kind.name, name=name, state=clean_line(state, 40), trouble=trouble)


def _nim(one: Custom) -> tuple[str, str]:
    status = one.status
    state = status.state
    if state in _WELL:
        return state or "no state yet", ""
    told = ""
    for each in status.conditions or ():
        failed = each.type in ("Failed", "NIM_CACHE_RECONCILE_FAILED", "NIM_PIPELINE_FAILED")
        if (failed and each.status == "True") or (
            each.type == "Ready" and each.status == "False" and not told
        ):
            told = _words(each.reason, each.message)
    unwell = [f"{name} {each}" for name, each in (status.states or {}).items() if each != "Ready"]
    return state, clean_line("; ".join(filter(None, [told, ", ".join(unwell)])), _SAID) or state


def _kserve(one: Custom) -> tuple[str, str]:
    status = one.status
    ready = condition(status.conditions, "Ready")
    failure = status.model_status.last_failure_info
    transition = status.model_status.transition_status
    if ready is not None and ready.status == "True" and transition in ("", "UpToDate"):
        return "Ready", ""
    if failure is not None and transition in ("BlockedByFailedLoad", "InvalidSpec"):
        return transition, _words(failure.reason, failure.message)
    if ready is None:
        return "no state yet", ""
    if ready.status == "True":
        return transition, f"the model's change is {transition}"
    # Without its presets an LLMInferenceService makes nothing, and its other conditions are old.
    for each in sorted(status.conditions or (), key=lambda each: each.type != "PresetsCombined"):
        if each.status == "False" and each.type not in _BESIDE and (each.reason or each.message):
            return "not ready", f"{clean_line(each.type, 40)}: {_words(each.reason, each.message)}"
    return "not ready", _words(ready.reason, ready.message)


def _words(reason: str, message: str) -> str:
    hint = _HINTS.get(reason, clean_line(reason, 60))
    said = clean_line(message, _SAID)
    return f"{hint}: {said}" if hint and said and said != hint else hint or said


def keeper_in(labels: Mapping[str, str]) -> tuple[str, str] | None:
    """(kind, name) of what the labels of pods say that KServe made them for."""
    if name := labels.get(PODS_SAY[INFERENCE_SERVICE.name]):
        return INFERENCE_SERVICE.name, name
    if labels.get("app.kubernetes.io/part-of") == "llminferenceservice":
        return LLM_INFERENCE_SERVICE.name, labels.get(PODS_SAY[LLM_INFERENCE_SERVICE.name], "")
    return None


def image_of_custom(one: Custom) -> str:
    """The image that a NIMService names; "" for the others."""
    image = one.spec.image
    return f"{image.repository}:{image.tag}" if image.tag else image.repository


def wanted_of(one: Custom) -> int:
    """How many replicas it asks for; 1 where it says nothing."""
    for count in (one.spec.replicas, one.spec.predictor.min_replicas):
        if count is not None:
            return count
    return 1


def uid_chain(meta: ObjectMeta) -> str:
    """The uid of the controlling owner, "" without one."""
    owner = meta.owner
    return owner.uid if owner is not None else ""
