"""Why a pod does not serve, in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from nimify_tui.domain.services import ReplicaState
from nimify_tui.sources.kubernetes.kinds import NODE
from nimify_tui.sources.kubernetes.pods import seconds, unschedulable
from tests.sources_kubernetes.support import (
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

CRASH = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("vllm-oom", ReplicaState.BACKOFF, "crash loop, out of memory, killed at its limit of 2Gi"),
        ("crasher", ReplicaState.BACKOFF, "crash loop, exit code 1"),
        ("toolarge", ReplicaState.NOT_READY, "needs 99 GPUs, no node of 1 has more than 8"),
        ("triton", ReplicaState.READY, ""),
    ],
)
def test_what_a_real_server_says(name: str, state: ReplicaState, reason: str) -> None:
    for replica in shown(name)[1]:
        assert (replica.state, replica.reason) == (state, reason)


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    (replica,) = shown("nopull")[1]
    assert replica.state is ReplicaState.BACKOFF
    assert replica.reason.startswith("cannot pull the image example.com/none:1: ")


def test_the_registrys_own_word_is_shown() -> None:
    waits = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    said = 'Failed to pull image "x": rpc error: code = NotFound desc = failed to resolve: x: not found'
    replica = judged(
        pod(conditions=not_ready(), containerStatuses=[container(state=waits)]), warning("Failed", said)
    )
    assert replica.reason.endswith(": not found")


def test_a_crash_loop_tells_code_signal_last_words_and_since_when() -> None:
    last = ended(139, message="loading\nsegfault in kernel\n")
    statuses = [container(state=CRASH, lastState=last, restartCount=4)]
    replica = judged(pod(conditions=not_ready("2026-11-25T05:10:00Z"), containerStatuses=statuses))
    assert replica.reason == "crash loop, killed by SIGSEGV (exit code 139)"
    assert (replica.exit_code, replica.exit_signal) == (139, "SIGSEGV")
    assert replica.last_words == "segfault in kernel"
    assert (replica.restarts, replica.run) == (4, 5)
    assert replica.since == seconds("2026-11-25T05:10:00Z"), "since it is not ready, not since its last crash"


@pytest.mark.parametrize(("at", "killed"), [("2026-11-25T05:17:02Z", True), ("2026-11-25T04:00:00Z", False)])
def test_killed_by_its_probe_only_when_one_failed_at_that_time(at: str, killed: bool) -> None:
    """Sabotage seen failing: taking any old warning for the cause."""
    failed = warning("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500", at)
    statuses = [container(state=CRASH, lastState=ended(137), restartCount=1)]
    reason = judged(pod(conditions=not_ready(), containerStatuses=statuses), failed).reason
    probe = "killed by its probe: liveness probe: HTTP probe failed with statuscode: 500"
    assert reason == f"crash loop, {probe if killed else 'killed by SIGKILL (exit code 137)'}"


def test_out_of_memory_without_a_limit_says_so() -> None:
    last = ended(137, reason="OOMKilled")
    replica = judged(pod(conditions=not_ready(), containerStatuses=[container(state=CRASH, lastState=last)]))
    assert replica.reason == "crash loop, out of memory, killed (no limit of its own)"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            (
                "0/6 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}, 2 node(s) were "
                "unschedulable, 3 Insufficient memory. preemption: 0/6 nodes are available: 6 No preemption victims."
            ),
            "none of 6 nodes has room: 1 has a taint nvidia.com/gpu, 2 are cordoned, 3 lack memory",
        ),
        (
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
            "none of 2 nodes has room: 2 do not match its node selector",
        ),
        ("0/3 nodes are available: 3 something new.", "none of 3 nodes has room: 3 something new"),
        ("skip schedule deleting pod", "no node for it: skip schedule deleting pod"),
        ("", "no node for it yet"),
    ],
)
def test_the_schedulers_message_in_plain_words(message: str, words: str) -> None:
    assert unschedulable(message) == words


def running(at: str, **fields: Any) -> dict[str, Any]:
    return container(state={"running": {"startedAt": at}}, **fields)


def test_one_that_was_ready_is_not_ready_and_one_that_never_was_is_starting() -> None:
    """Sabotage seen failing: comparing the times the other way round."""
    probe = warning("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    lost = judged(
        pod(
            conditions=not_ready("2026-11-25T05:16:00Z"), containerStatuses=[running("2026-11-25T05:00:00Z")]
        ),
        probe,
    )
    assert (lost.state, lost.reason) == (
        ReplicaState.NOT_READY, "readiness probe: HTTP probe failed with statuscode: 503",
    )  # fmt: skip
    loading = pod(
        conditions=not_ready("2026-11-25T05:16:00Z"), containerStatuses=[running("2026-11-25T05:16:30Z")]
    )
    assert (judged(loading).state, judged(loading).reason) == (ReplicaState.STARTING, "runs, not ready yet")


def test_a_node_that_does_not_answer_is_the_reason_of_its_pods() -> None:
    made = sample("nodes", "node-0")
    made["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    replica = judged(pod(), node=read(NODE, made))
    assert (replica.state, replica.reason) == (ReplicaState.NOT_READY, "node node-0 does not answer")


def test_being_deleted_evicted_and_ended() -> None:
    assert judged(pod({"deletionTimestamp": "2026-11-25T05:17:00Z"})).state is ReplicaState.DRAINING
    gone = judged(pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."))
    assert (gone.state, gone.reason) == (
        ReplicaState.EXITED, "was evicted: The node was low on resource: memory.",
    )  # fmt: skip
    assert judged(pod(phase="Succeeded", containerStatuses=None)).reason == "has ended by itself"


def test_an_init_container_that_fails_is_named() -> None:
    init = container(name="download", state=CRASH, lastState=ended(22))
    waits = container(state={"waiting": {"reason": "PodInitializing"}})
    replica = judged(pod(conditions=not_ready(), initContainerStatuses=[init], containerStatuses=[waits]))
    assert replica.reason == "init container download crash loop, exit code 22"


def test_hostile_words_lose_what_a_terminal_obeys() -> None:
    last = ended(1, message="\x1b]0;owned\x07\x1b[2Jbye\u202egnp")
    statuses = [container(state=CRASH, lastState=last)]
    evil = pod({"name": "a\x1b[31m"}, conditions=not_ready(), containerStatuses=statuses)
    assert judged(evil).last_words == "byegnp"
    waits = {"waiting": {"reason": "CreateContainerError", "message": "no\x1b[2J\nway"}}
    assert judged(pod(conditions=not_ready(), containerStatuses=[container(state=waits)])).reason == (
        "cannot be started: no way"
    )


@pytest.mark.parametrize("text", ["", "yesterday", "2026-99-99T00:00:00Z", None])
def test_what_is_no_time_is_not_known(text: str | None) -> None:
    assert seconds(text) is None
