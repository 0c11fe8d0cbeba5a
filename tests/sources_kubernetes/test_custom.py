"""NIM, KServe and Argo: their own word about themselves, and the row of the workload that they keep."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nimify_tui.domain.served import ModelState
from nimify_tui.domain.services import Service, ServiceState
from nimify_tui.domain.updates import ServiceGone, ServiceSeen
from nimify_tui.fleet.health import judge
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.custom import (
    INFERENCE_SERVICE,
    LLM_INFERENCE_SERVICE,
    NIM_CACHE,
    NIM_PIPELINE,
    NIM_SERVICE,
    ROLLOUT,
    TRAINED_MODEL,
    owner_seen,
)
from nimify_tui.sources.kubernetes.kinds import DEPLOYMENT, REPLICA_SET, Kind
from nimify_tui.sources.kubernetes.telling import Telling
from tests.sources_kubernetes.support import NOW, REGION, read, sample, uid_of

Made = dict[str, Any]


def custom(name: str, spec: Made | None = None, status: Made | None = None, owner: str = "") -> Made:
    owners = [{"kind": "x", "name": "x", "uid": owner, "controller": True}] if owner else None
    meta = {
        "name": name, "namespace": "ml", "uid": f"uid-{name}", "resourceVersion": "1", "generation": 2,
        "creationTimestamp": "2026-11-25T05:00:00Z", "ownerReferences": owners,
    }  # fmt: skip
    return {"metadata": meta, "spec": spec or {}, "status": status or {}}


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Made:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def kept_by(owner: Made, name: str = "triton") -> Made:
    made = sample("deployments", name)
    made["metadata"]["ownerReferences"] = [
        {
            "kind": "NIMService",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
    ]
    return made


class Told:
    """A cluster and what is told of it."""

    def __init__(self) -> None:
        self.world = Cluster()
        self.telling = Telling(self.world, REGION)
        self.services: dict[str, Service] = {}

    def take(self, kind: Kind, made: Made) -> None:
        self.world.apply(kind, (), [read(kind, made)])
        self.hear()

    def drop(self, kind: Kind, made: Made) -> None:
        self.world.apply(kind, [read(kind, made)], ())
        self.hear()

    def hear(self) -> None:
        gone: list[Any] = []
        seen: list[Any] = []
        while self.world.dirty:
            self.telling._one(self.world.dirty.pop(), NOW, gone, seen)
        for each in [*gone, *seen]:
            if isinstance(each, ServiceGone):
                del self.services[each.key.name]
            elif isinstance(each, ServiceSeen):
                self.services[each.service.key.name] = each.service


FAILED = {
    "state": "Failed",
    "conditions": [
        condition("Ready", "False", "NIMCacheFailed"),
        condition("Failed", "True", "NIMCacheFailed", "no key"),
    ],
}
SERVING = custom(
    "m", status={"conditions": [condition("Ready", "True")], "modelStatus": {"transitionStatus": "UpToDate"}}
)
BLOCKED = {
    "conditions": [condition("Ready", "False", "x")],
    "modelStatus": {
        "transitionStatus": "BlockedByFailedLoad",
        "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "no model.onnx"},
    },
}


@pytest.mark.parametrize(
    ("kind", "made", "state", "trouble"),
    [
        (NIM_SERVICE, custom("a", status={"state": "Ready"}), "Ready", ""),
        (NIM_SERVICE, custom("a", status=FAILED), "Failed", "its NIMCache failed: no key"),
        (NIM_SERVICE, custom("a"), "no state yet", ""),
        (NIM_CACHE, custom("a", status={"state": "InProgress"}), "InProgress", "InProgress"),
        (
            NIM_PIPELINE,
            custom("a", status={"state": "NotReady", "states": {"one": "Ready", "two": "Failed"}}),
            "NotReady",
            "two Failed",
        ),
        (INFERENCE_SERVICE, SERVING, "Ready", ""),
        (
            INFERENCE_SERVICE,
            custom("m", status=BLOCKED),
            "BlockedByFailedLoad",
            "the model cannot be loaded: no model.onnx",
        ),
        (
            INFERENCE_SERVICE,
            custom(
                "m",
                status={
                    "conditions": [
                        condition("IngressReady", "False", "NoGateway"),
                        condition("Ready", "False"),
                    ]
                },
            ),
            "not ready",
            "IngressReady: NoGateway",
        ),
    ],
)
def test_their_own_word(kind: Kind, made: Made, state: str, trouble: str) -> None:
    found = owner_seen(kind, read(kind, made))
    assert (found.kind, found.state, found.trouble) == (kind.name, state, trouble)


def test_without_a_workload_a_nim_service_is_a_row_that_says_what_it_waits_for() -> None:
    """Sabotage seen failing: rows for workloads only."""
    told = Told()
    spec = {"replicas": 2, "image": {"repository": "nvcr.io/nim/meta/llama", "tag": "1.12.0"},
            "storage": {"nimCache": {"name": "weights"}}}  # fmt: skip
    told.take(NIM_SERVICE, custom("chat", spec, {"state": "NotReady"}))
    told.take(NIM_CACHE, custom("weights", status={"state": "InProgress"}))
    service = told.services["chat"]
    assert (service.family, service.desired_replicas, service.labels["kind"]) == ("nim", 2, "NIMService")
    assert service.model_name == "nvcr.io/nim/meta/llama:1.12.0"
    assert service.progress == "NIMService chat NotReady; NIMCache weights InProgress"
    assert judge(service, [], NOW).state is ServiceState.STARTING
    told.take(NIM_SERVICE, custom("chat", spec, FAILED))
    service = told.services["chat"]
    assert service.failure == "NIMService chat Failed: its NIMCache failed: no key"
    assert judge(service, [], NOW).state is ServiceState.DOWN
    told.drop(NIM_SERVICE, custom("chat", spec))
    assert told.services == {}


def test_the_row_of_its_workload_takes_its_state_and_its_own_row_goes() -> None:
    told = Told()
    service = custom("chat", status={"state": "NotReady"}, owner="uid-line")
    told.take(NIM_SERVICE, service)
    told.take(DEPLOYMENT, kept_by(service))
    assert list(told.services) == ["triton"]
    assert told.services["triton"].progress == "NIMService chat NotReady"
    assert told.services["triton"].failure == ""
    told.take(NIM_SERVICE, custom("chat", status=FAILED, owner="uid-line"))
    assert told.services["triton"].failure == "NIMService chat Failed: its NIMCache failed: no key"
    told.take(NIM_PIPELINE, custom("line", status={"state": "Ready"}))
    owners = told.services["triton"].around.owners
    assert [(each.kind, each.state) for each in owners] == [
        ("NIMService", "Failed"),
        ("NIMPipeline", "Ready"),
    ]
    told.drop(DEPLOYMENT, kept_by(service))
    assert list(told.services) == ["chat"], "it is a row again when its workload is gone"


def test_an_inference_service_is_found_by_what_kserve_writes_on_its_pods() -> None:
    told = Told()
    told.take(INFERENCE_SERVICE, custom("m", status=BLOCKED))
    made = sample("deployments", "triton")
    made["metadata"]["name"] = "m-predictor"
    made["spec"]["template"]["metadata"]["labels"]["serving.kserve.io/inferenceservice"] = "m"
    told.take(DEPLOYMENT, made)
    assert list(told.services) == ["m-predictor"]
    assert told.services["m-predictor"].failure == (
        "InferenceService m BlockedByFailedLoad: the model cannot be loaded: no model.onnx"
    )


def test_an_llm_service_is_found_by_what_kserve_writes_on_its_pods() -> None:
    """Of several nodes a LeaderWorkerSet owns the workloads; one with that name of somebody else's is not its own."""
    told = Told()
    told.take(LLM_INFERENCE_SERVICE, custom("m", status={"conditions": [condition("Ready", "True")]}))
    assert told.services["m"].progress == "LLMInferenceService Ready"
    made = sample("deployments", "triton")
    labels = made["spec"]["template"]["metadata"]["labels"]
    labels["app.kubernetes.io/name"] = "m"
    told.take(DEPLOYMENT, made)
    assert sorted(told.services) == ["m", "triton"], "another one's"
    told.drop(DEPLOYMENT, made)
    labels["app.kubernetes.io/part-of"] = "llminferenceservice"
    told.take(DEPLOYMENT, made)
    assert list(told.services) == ["triton"]
    assert [(each.kind, each.state) for each in told.services["triton"].around.owners] == [
        ("LLMInferenceService", "Ready")
    ]


def test_a_model_moves_to_its_server_when_that_comes_and_back_when_it_goes() -> None:
    """Sabotage seen failing: a TrainedModel that is looked at only when it changes itself."""
    told = Told()
    told.take(TRAINED_MODEL, custom("iris", {"inferenceService": "m"}))
    assert told.services["iris"].progress == "TrainedModel no state yet: there is no InferenceService m"
    told.take(INFERENCE_SERVICE, custom("m"))
    assert list(told.services) == ["m"]
    assert [(each.name, each.state, each.reason) for each in told.services["m"].models] == [
        ("iris", ModelState.UNKNOWN, "no state yet")
    ]
    waits = [condition("InferenceServiceReady", "False", "InferenceServiceNotReady"), condition("Ready", "False")]
    told.take(TRAINED_MODEL, custom("iris", {"inferenceService": "m"}, {"conditions": waits}))
    [model] = told.services["m"].models
    assert (model.state, model.source) == (ModelState.LOADING, "TrainedModel iris")
    told.take(TRAINED_MODEL, custom("iris", {"inferenceService": "n"}, {"conditions": waits}))
    assert told.services["m"].models == ()
    assert "iris" in told.services
    told.take(TRAINED_MODEL, custom("iris", {"inferenceService": "m"}, {"conditions": waits}))
    told.drop(INFERENCE_SERVICE, custom("m"))
    assert list(told.services) == ["iris"]


def test_a_rollout_is_a_workload_with_revisions_of_its_own() -> None:
    """Argo tells the generation that it has seen as text."""
    told = Told()
    made = sample("deployments", "triton")
    uid = made["metadata"]["uid"] = "uid-rollout"
    made["metadata"]["annotations"] = {"rollout.argoproj.io/revision": "7"}
    made["status"] = {
        "observedGeneration": str(made["metadata"]["generation"]),
        "phase": "Paused",
        "message": "CanaryPauseStep",
    }
    told.take(ROLLOUT, made)
    held = sample("replicasets", "triton")
    held["metadata"]["annotations"] = {"rollout.argoproj.io/revision": "7"}
    held["metadata"]["ownerReferences"] = [
        {"kind": "Rollout", "name": "triton", "uid": uid, "controller": True}
    ]
    told.take(REPLICA_SET, held)
    service = told.services["triton"]
    assert (service.revision, service.labels["kind"]) == (7, "Rollout")
    assert service.generation == service.observed_generation
    assert service.progress == "roll-out paused (CanaryPauseStep)"
    assert [each.number for each in service.around.kept] == [7]
    made["status"] |= {"phase": "Degraded", "message": "ProgressDeadlineExceeded"}
    told.take(ROLLOUT, made)
    assert told.services["triton"].failure == "the roll-out is degraded: ProgressDeadlineExceeded"
    assert uid_of(told.world, "triton") == uid


def test_what_is_no_number_is_generation_zero() -> None:
    for seen in ("x", "9" * 40, -3):
        made = read(ROLLOUT, {"metadata": {"uid": "u"}, "status": {"observedGeneration": seen}})
        assert made.status.observed_generation == 0, json.dumps(seen)
