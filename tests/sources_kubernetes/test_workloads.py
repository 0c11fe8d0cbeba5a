"""Workloads as services."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from nimify_tui.domain.services import ReplicaState
from nimify_tui.sources.families import family_of, image_of, model_of
from nimify_tui.sources.kubernetes.containers import Container
from nimify_tui.sources.kubernetes.kinds import DEPLOYMENT, POD, STATEFUL_SET
from nimify_tui.sources.kubernetes.served import words_of
from tests.sources_kubernetes.support import cluster, read, sample, samples, shown, uid_of


@pytest.mark.parametrize(
    ("name", "family", "desired", "ready", "revision", "model"),
    [
        ("llama", "nim", 2, 2, 2, "llama-3.2-1b-instruct 1.12.0"),
        ("triton", "triton", 3, 3, 2, "tritonserver 26.10-py3"),
        ("vllm-oom", "vllm", 1, 0, 1, "llama-8b"),
        ("crasher", "sglang", 1, 0, 1, "sglang v0.5.3"),
        ("nopull", "kserve", 1, 0, 1, "none 1"),
        ("redis", "other", 2, 2, 2, "redis 8.2"),
        ("dcgm", "dcgm", 4, 4, 1, "dcgm-exporter 4.5.3-4.8.2-distroless"),
    ],
)
def test_what_a_real_server_has(
    name: str, family: str, desired: int, ready: int, revision: int, model: str
) -> None:
    service, replicas = shown(name)
    assert (service.family, service.desired_replicas, service.revision) == (family, desired, revision)
    assert len([each for each in replicas if each.state is ReplicaState.READY]) == ready
    assert {each.revision for each in replicas} == {revision}
    assert service.model_name == model
    assert service.generation == service.observed_generation
    assert (service.progress, service.failure) == ("", ""), "where a pod says why, the workload adds nothing"


def test_a_quota_that_stops_every_pod_is_the_reason() -> None:
    service, replicas = shown("blocked")
    assert replicas == []
    assert service.failure.startswith("pods cannot be made: ")
    assert "exceeded quota: none, requested: pods=1" in service.failure


def test_image_version_kind_and_metrics_are_told() -> None:
    labels = shown("triton")[0].labels
    assert labels["kind"] == "Deployment"
    assert (labels["image"], labels["version"]) == ("nvcr.io/nvidia/tritonserver", "26.10-py3")
    assert labels["metrics"] == "8002/metrics"


@pytest.mark.parametrize(
    ("name", "path", "version"),
    [
        ("nvcr.io/nim/meta/llama:1.12.0", "nvcr.io/nim/meta/llama", "1.12.0"),
        ("localhost:5000/a/b", "localhost:5000/a/b", ""),
        ("a/b@sha256:0123456789abcdef", "a/b", "0123456789ab"),
        ("a:1@sha256:0123", "a", "1"),
        ("", "", ""),
    ],
)
def test_images_in_their_parts(name: str, path: str, version: str) -> None:
    made = image_of(name)
    assert (made.path, made.version) == (path, version)


@pytest.mark.parametrize(
    ("labels", "containers", "name"),
    [
        ({}, [{"image": "istio/proxyv2:1"}, {"image": "nvcr.io/nim/meta/llama:1"}], "nim"),
        (
            {"serving.kserve.io/inferenceservice": "m"},
            [{"image": "nvcr.io/nvidia/tritonserver:26.01-py3"}],
            "triton",
        ),
        ({"serving.kserve.io/inferenceservice": "m"}, [{"image": "x/sklearn:1"}], "kserve"),
        ({"app.kubernetes.io/managed-by": "nimify-tui"}, [{"image": "registry/x:1"}], "ours"),
        ({"app.kubernetes.io/managed-by": "Helm"}, [{"image": "registry/x:1"}], None),
        ({}, [{"image": "x/y:1", "command": ["python", "-m", "sglang.launch_server"]}], "sglang"),
        ({}, [{"image": "ghcr.io/me/vllm-openai-rocm:v1"}], "vllm"),
        ({}, [{"image": "not-vllm:1", "ports": [{"containerPort": 8000}]}], None),
        ({}, [], None),
    ],
)
def test_families(labels: dict[str, str], containers: list[dict[str, Any]], name: str | None) -> None:
    """Sabotage seen failing: KServe's label before the runtimes; a managed-by label of any value."""
    import msgspec

    family, _ = family_of(labels, [msgspec.convert(each, Container) for each in containers])
    assert (family.name if family is not None else None) == name


@pytest.mark.parametrize(
    ("args", "model"),
    [
        (["--model", "m/x", "--served-model-name", "short"], "short"),
        (["--model=m/x"], "m/x"),
        (["--model"], ""),
        ([], ""),
    ],
)
def test_the_model_that_arguments_name(args: list[str], model: str) -> None:
    assert model_of(words_of(Container(args=args))) == model


def test_a_roll_out_under_way_is_counted() -> None:
    changed = []
    for kind, made in samples():
        if kind is DEPLOYMENT and made["metadata"]["name"] == "triton":
            made["status"]["updatedReplicas"] = 1
            made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
        changed.append((kind, made))
    assert shown("triton", cluster(changed))[0].progress == "1 of 3 replaced"


def test_the_objective_that_a_workload_tells_is_told_as_it_stands() -> None:
    changed = []
    for kind, made in samples():
        if kind is DEPLOYMENT and made["metadata"]["name"] == "triton":
            made["metadata"]["annotations"]["nimify.dev/slo"] = "objective=0.99\x1b[2J latency_ms=80" + "x" * 5000
        changed.append((kind, made))
    told = shown("triton", cluster(changed))[0].slo
    assert told.startswith("objective=0.99")
    assert "\x1b" not in told
    assert len(told) <= 201


def test_an_evicted_pod_is_left_out_once_another_has_its_place() -> None:
    world = cluster()
    evicted = copy.deepcopy(sample("pods", "triton"))
    evicted["metadata"].update(uid="evicted", name="triton-evicted")
    evicted["status"].update(phase="Failed", reason="Evicted")
    world.apply(POD, (), [read(POD, evicted)])
    assert "triton-evicted" not in {each.key.replica for each in shown("triton", world)[1]}
    lost = next(pod for pod in world.pods_of(uid_of(world, "triton")) if pod.metadata.uid != "evicted")
    world.apply(POD, [lost], ())
    assert "triton-evicted" in {each.key.replica for each in shown("triton", world)[1]}


def test_two_kinds_of_one_name_are_two_services() -> None:
    """Sabotage seen failing: not looking again at the one that had the plain name."""
    twin = copy.deepcopy(sample("statefulsets", "redis"))
    twin["metadata"].update(name="llama", uid="twin")
    world = cluster()
    world.dirty.clear()
    llama = uid_of(world, "llama")
    world.apply(STATEFUL_SET, (), [read(STATEFUL_SET, twin)])
    assert world.dirty == {"twin", llama}
    assert (world.service_name(llama), world.service_name("twin")) == ("llama", "llama.statefulset")
    world.dirty.clear()
    world.apply(DEPLOYMENT, [world.workloads[llama]], ())
    assert world.dirty == {"twin", llama}
    assert world.service_name("twin") == "llama"


def test_the_clusters_own_namespaces_are_left_out() -> None:
    own = copy.deepcopy(sample("deployments", "llama"))
    own["metadata"].update(namespace="kube-system", uid="own")
    assert "own" not in cluster([(DEPLOYMENT, own)]).workloads
    kept = copy.deepcopy(own)
    kept["metadata"]["namespace"] = "kube-serving"
    assert "own" in cluster([(DEPLOYMENT, kept)]).workloads


def test_all_ties_are_cut_when_everything_is_gone() -> None:
    """Sabotage seen failing: pods that stay in the index of their owner."""
    world = cluster()
    for kind, made in reversed(samples()):
        world.apply(kind, [read(kind, made)], ())
    left = {
        name: value for name, value in vars(world).items() if isinstance(value, dict) and name != "_handlers"
    }
    assert {name: value for name, value in left.items() if value} == {}
