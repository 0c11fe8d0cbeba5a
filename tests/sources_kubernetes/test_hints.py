"""What events and last words mean, and who holds the GPUs."""

from __future__ import annotations

import pytest

from nimify_tui.domain.services import ReplicaState
from nimify_tui.sources import hints
from nimify_tui.sources.kubernetes.kinds import POD
from tests.sources_kubernetes.support import (
    cluster,
    container,
    ended,
    judged,
    not_ready,
    pod,
    read,
    sample,
    shown,
    warning,
)

CRASH = {"waiting": {"reason": "CrashLoopBackOff", "message": ""}}
KV = (
    "ValueError: To serve at least one request with the model's max seq len (131072), 16.0 GiB KV cache is needed,"
    " which is larger than the available KV cache memory (7.5 GiB). Based on the available memory, the estimated"
    " maximum model length is 61,424. Try increasing `gpu_memory_utilization`"
)
KV_OLD = (
    "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that can be stored in KV"
    " cache (10544). Try increasing"
)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            KV,
            "KV cache too small: 131072 tokens need 16.0 GiB, 7.5 GiB are free; --max-model-len 61424 would fit",
        ),
        (KV_OLD, "KV cache too small: 32768 tokens do not fit; --max-model-len 10544 would fit"),
        (
            "ValueError: No available memory for the cache blocks.",
            "KV cache too small: no GPU memory is left for it; raise --gpu-memory-utilization",
        ),
        ("Error: NGC_API_KEY is not set", "key missing: NGC_API_KEY is not set"),
        ("download failed: 401 Unauthorized, check NGC_API_KEY", "NGC_API_KEY is not accepted"),
        (
            "NGC_API_KEY does not begin with nvapi-",
            "NGC_API_KEY is a key of the wrong kind: a personal or service key is wanted",
        ),
        ("HF_TOKEN: 403 Forbidden", "HF_TOKEN is not accepted"),
        ("Segmentation fault", ""),
        ("", ""),
    ],
)
def test_last_words(said: str, meant: str) -> None:
    assert hints.last_words(f"starting\n{said}\nbye") == meant


def test_they_stand_in_the_replicas_reason_before_the_exit_code() -> None:
    statuses = [container(state=CRASH, lastState=ended(1, message=KV), restartCount=2)]
    reason = judged(pod(conditions=not_ready(), containerStatuses=statuses)).reason
    assert reason.startswith("crash loop, KV cache too small: 131072 tokens need 16.0 GiB")
    assert reason.endswith("(exit code 1)")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ('secret "ngc-api" not found', "key missing: there is no Secret ngc-api"),
        (
            "couldn't find key NGC_API_KEY in Secret ml/ngc-api",
            "key missing: Secret ml/ngc-api has no NGC_API_KEY",
        ),
        ('configmap "settings" not found', "there is no ConfigMap settings"),
        ("container has runAsNonRoot", "container has runAsNonRoot"),
    ],
)
def test_a_container_that_waits_for_a_key(said: str, meant: str) -> None:
    waits = {"waiting": {"reason": "CreateContainerConfigError", "message": said}}
    replica = judged(pod(conditions=not_ready(), containerStatuses=[container(state=waits)]))
    assert replica.reason == f"cannot be started: {meant}"


def test_a_volume_that_cannot_be_mounted() -> None:
    waits = {"waiting": {"reason": "ContainerCreating"}}
    said = 'MountVolume.SetUp failed for volume "key" : secret "ngc-api" not found'
    one = pod(conditions=not_ready(), containerStatuses=[container(state=waits)])
    replica = judged(one, warning("FailedMount", said))
    assert replica.state is ReplicaState.NOT_READY
    assert replica.reason == "its volume cannot be mounted: key missing: there is no Secret ngc-api"
    assert judged(one).reason == "its container is being made (image, volumes)"


def test_a_registry_that_wants_another_key() -> None:
    waits = {"waiting": {"reason": "ImagePullBackOff", "message": ""}}
    said = 'Failed to pull image "x": unexpected status from HEAD request: 401 Unauthorized'
    replica = judged(
        pod(conditions=not_ready(), containerStatuses=[container(state=waits)]), warning("Failed", said)
    )
    assert replica.reason.endswith(": the registry does not accept the key: 401 Unauthorized")


def test_a_model_that_loads_says_so() -> None:
    running = container(state={"running": {"startedAt": "2026-11-25T05:17:00Z"}}, started=False)
    assert judged(pod(conditions=not_ready(), containerStatuses=[running])).reason == (
        "loads, its startup probe has not passed yet"
    )


def test_who_holds_the_gpus_is_named_and_told_anew_when_one_is_given_back() -> None:
    """Sabotage seen failing: a waiting pod is not looked at again when another one ends."""
    world = cluster()
    node = sample("nodes", "")["metadata"]["name"]
    holder = sample("pods", "triton")
    holder["spec"]["nodeName"] = node
    holder["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "8"}}
    world.apply(POD, (), [read(POD, holder)])
    waiting = sample("pods", "toolarge")
    waiting["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    world.apply(POD, (), [read(POD, waiting)])
    assert (
        shown("toolarge", world)[1][0].reason
        == "needs 1 GPU, 0 of 1 nodes have one free, held by triton (8), llama (2)"
    )
    world.dirty.clear()
    world.apply(POD, [read(POD, holder)], ())
    owners = {world.workloads[each].metadata.name for each in world.dirty if each in world.workloads}
    assert owners == {"toolarge", "triton"}
    assert shown("toolarge", world)[1][0].reason == "needs 1 GPU, 1 of 1 nodes have one free"
