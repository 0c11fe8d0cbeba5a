"""Real autoscalers, budgets, Services and custom resources: what the cluster's own controllers say, on the row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.served import ModelState
from nimify_tui.domain.services import ServiceState
from nimify_tui.domain.workloads import Surroundings
from tests.kube.cluster import Cluster
from tests.kube.custom import CUSTOM, custom, definition, known, named
from tests.kube.fixtures import need_simulation
from tests.kube.reach import place_of, run
from tests.kube.watching import SPACE, TRITON, Watching, deployment


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own; what is in it goes with each test."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    kinds = "deployments,services,horizontalpodautoscalers,poddisruptionbudgets"
    cluster.kubectl("delete", kinds, "--all", "--namespace", SPACE, "--wait=false")


@pytest.fixture
def defined(cluster: Cluster) -> Iterator[None]:
    """The custom kinds of NIM, KServe and Argo, gone with the test."""
    with known(cluster, *CUSTOM):
        yield


def around(watching: Watching, name: str) -> Surroundings:
    """What is known around a service."""
    key = next(iter(watching.rows[name].keys))
    fact = watching.fleet._world.services[key].service
    assert fact is not None
    return fact.around


def test_what_the_controllers_say_of_scaling_budgets_and_endpoints(cluster: Cluster, tmp_path: Path) -> None:
    """There is no metrics server: the real autoscaler says so, and we say it in plain words."""
    need_simulation(cluster)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "triton"}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    labels = {"matchLabels": {"app": "triton"}}
    meta = {"name": "triton", "namespace": SPACE}
    cluster.apply(
        deployment("triton", TRITON, 3, resources={"requests": {"cpu": "10m"}}),
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta,
         "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5, "metrics": [cpu]}},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta,
         "spec": {"minAvailable": 2, "selector": labels}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta,
         "spec": {"selector": labels["matchLabels"], "ports": [{"name": "http", "port": 8000}]}},
    )  # fmt: skip

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path))
        async with watching.running():
            await watching.until(lambda: watching.row("triton", ServiceState.OK), "triton well")

            def told() -> Surroundings | None:
                found = around(watching, "triton")
                scaled = found.scalers and not found.scalers[0].well
                allowed = found.budgets and found.budgets[0].allowed == 1
                served = found.addresses and found.addresses[0].ready == 3
                return found if scaled and allowed and served else None

            found = await watching.until(told, "scaler, budget and endpoints")
            (scaler,) = found.scalers
            assert scaler.verdict == "it does not scale: there is no metrics API: install metrics-server"
            assert [(each.name, each.current) for each in scaler.metrics] == [("cpu", "")]
            assert (found.budgets[0].healthy, found.budgets[0].needed) == (3, 2)
            assert (found.addresses[0].host, found.addresses[0].total) == (f"triton.{SPACE}.svc", 3)
            assert watching.health.cause == "", "kinds that this cluster does not have are nothing to tell"

    run(go(), 90)


def test_a_kind_that_comes_later_is_found_and_one_that_goes_is_no_trouble(cluster: Cluster, tmp_path: Path) -> None:
    """Sabotage seen failing: looking for custom kinds only once."""
    names = list(map(named, CUSTOM))

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path), faster=60.0)
        async with watching.running():
            await watching.until_state(RegionState.LIVE)
            await asyncio.to_thread(cluster.apply, *map(definition, CUSTOM))
            await asyncio.to_thread(
                cluster.kubectl, "wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{n}" for n in names)
            )
            storage = {"nimCache": {"name": "weights"}}
            await asyncio.to_thread(
                cluster.apply,
                custom("nimservices", "llama", {"replicas": 2, "storage": storage}, {"state": "NotReady"}),
                custom("nimcaches", "weights", {}, {"state": "InProgress"}),
            )
            row = await watching.until(lambda: watching.row("llama", ServiceState.STARTING), "the NIMService")
            await watching.until(
                lambda: "NIMCache weights InProgress" in watching.rows["llama"].reason, "what it waits for"
            )
            assert (row.family, row.desired) == ("nim", 2)
            await asyncio.to_thread(cluster.kubectl, "delete", "crd", *names)
            await watching.until(lambda: "llama" not in watching.rows, "the NIMService gone")
            assert watching.state is RegionState.LIVE
            assert watching.health.cause == ""

    run(go(), 120)


def test_a_workload_takes_the_word_of_what_keeps_it(cluster: Cluster, defined: None, tmp_path: Path) -> None:
    del defined
    condition = {"type": "Failed", "status": "True", "reason": "NIMCacheNotFound", "message": "no NIMCache weights"}
    failed = {"state": "Failed", "conditions": [condition]}
    cluster.apply(custom("nimservices", "chat", {"replicas": 1}, failed))
    uid = json.loads(cluster.kubectl("get", "nimservice", "chat", "-n", SPACE, "-o", "json"))["metadata"]["uid"]
    kept = deployment("chat", "nvcr.io/nim/meta/llama:1.12.0")
    owner = {"apiVersion": "apps.nvidia.com/v1alpha1", "kind": "NIMService", "name": "chat", "uid": uid}
    kept["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    canary = deployment("canary", TRITON)
    canary |= {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    canary["status"] = {"observedGeneration": "1", "phase": "Degraded", "message": "ProgressDeadlineExceeded"}
    cluster.apply(kept, canary)

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path))
        async with watching.running():
            await watching.until(lambda: "chat" in watching.rows, "the row")

            def degraded() -> bool:
                return "NIMService chat Failed: its NIMCache is not there" in watching.rows["chat"].reason

            await watching.until(degraded, "its owner's word")
            (seen,) = around(watching, "chat").owners
            assert (seen.kind, seen.state) == ("NIMService", "Failed")
            row = await watching.until(lambda: watching.row("canary", ServiceState.DOWN), "the Rollout")
            assert row.reason == "the roll-out is degraded: ProgressDeadlineExceeded"

    run(go(), 60)


def test_kserves_other_kinds_are_rows_and_models(cluster: Cluster, defined: None, tmp_path: Path) -> None:
    """An LLMInferenceService is a row of its own until it keeps a workload; TrainedModels are their server's models."""
    del defined
    unmet = {"type": "PresetsCombined", "status": "False", "reason": "ConfigNotFound", "message": "no llm-gpu"}
    stale = {"type": "MainWorkloadReady", "status": "False", "reason": "MinimumReplicasUnavailable"}
    not_ready = {"type": "Ready", "status": "False", "reason": "ConfigNotFound"}
    ready = {"type": "Ready", "status": "True"}
    large = {"type": "MemoryResourceAvailable", "status": "False", "reason": "MemoryResourceNotAvailable"}
    cluster.apply(
        custom("llminferenceservices", "llm", {"replicas": 2, "model": {"name": "meta/llama", "uri": "hf://x"}},
               {"conditions": [stale, unmet, not_ready]}),
        custom("inferenceservices", "many", {}, {"conditions": [ready]}),
        custom("trainedmodels", "small", {"inferenceService": "many"}, {"conditions": [ready]}),
        custom("trainedmodels", "huge", {"inferenceService": "many"},
               {"conditions": [large, not_ready | {"reason": large["reason"]}]}),
        custom("trainedmodels", "stray", {"inferenceService": "gone"}, {}),
    )  # fmt: skip

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path))
        async with watching.running():
            row = await watching.until(lambda: watching.row("llm", ServiceState.STARTING), "the LLMInferenceService")
            words = "LLMInferenceService llm not ready: PresetsCombined: a configuration that it names is not there"
            assert row.reason.startswith(f"{words}: no llm-gpu")
            assert (row.family, row.desired) == ("kserve", 2)
            await watching.until(lambda: "stray" in watching.rows, "the one that nobody loads")
            assert "there is no InferenceService gone" in watching.rows["stray"].reason

            def models(name: str) -> list[tuple[str, ModelState]]:
                key = next(iter(watching.rows[name].keys))
                fact = watching.fleet._world.services[key].service
                assert fact is not None
                return [(each.name, each.state) for each in fact.models]

            wanted = [("huge", ModelState.FAILED), ("small", ModelState.READY)]
            await watching.until(lambda: "many" in watching.rows and models("many") == wanted, "its models")
            assert not {"huge", "small"} & set(watching.rows), "they are no rows of their own"
            made = deployment("many-predictor", TRITON)
            made["spec"]["template"]["metadata"]["labels"]["serving.kserve.io/inferenceservice"] = "many"
            uid = await asyncio.to_thread(
                cluster.kubectl, "get", "llminferenceservice", "llm", "-n", SPACE, "-o", "jsonpath={.metadata.uid}"
            )
            kept = deployment("llm-kserve", "vllm/vllm-openai:v0.11.0")
            owner = {"apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService", "name": "llm"}
            kept["metadata"]["ownerReferences"] = [owner | {"uid": uid, "controller": True}]
            await asyncio.to_thread(cluster.apply, made, kept)
            await watching.until(
                lambda: "many-predictor" in watching.rows and models("many-predictor") == wanted, "on its workload"
            )
            await watching.until(lambda: "llm-kserve" in watching.rows and "llm" not in watching.rows, "its workload")
            (seen,) = around(watching, "llm-kserve").owners
            assert (seen.kind, seen.state) == ("LLMInferenceService", "not ready")
            await asyncio.to_thread(cluster.kubectl, "delete", "trainedmodel", "huge", "-n", SPACE)
            await watching.until(lambda: models("many-predictor") == wanted[1:], "one model fewer")

    run(go(), 90)
