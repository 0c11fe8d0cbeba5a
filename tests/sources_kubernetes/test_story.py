"""What happened: told once, with what it was before and is now."""

from __future__ import annotations

import copy
from typing import Any

from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.services import ReplicaState
from nimify_tui.fleet.health import known_onset
from nimify_tui.sources.kubernetes.kinds import DEPLOYMENT, POD, Kind
from nimify_tui.sources.kubernetes.story import ROLLOUTS_S, Story
from tests.sources_kubernetes.support import (
    NOW,
    REGION,
    cluster,
    container,
    ended,
    not_ready,
    read,
    sample,
    shown,
)


class Teller:
    """A story on the recorded cluster."""

    def __init__(self) -> None:
        self.world = cluster()
        self.story = Story(self.world, REGION)

    def becomes(self, kind: Kind, made: dict[str, Any]) -> list[Change]:
        """The object is so now."""
        new = read(kind, made)
        uid = new.metadata.uid
        if kind is POD:
            pod = self.world.pods.get(uid)
            self.world.apply(kind, (), [new])
            return list(self.story.pod(pod, new, NOW))
        old = self.world.workloads.get(uid)
        self.world.apply(kind, (), [new])
        return list(self.story.workload(kind, old, new, NOW))


def told(changes: list[Change]) -> list[tuple[ChangeKind, str]]:
    return [(each.kind, each.text) for each in changes]


def test_roll_outs_of_before_are_found_in_the_replica_sets() -> None:
    changes = [each for each in Teller().story.history(NOW) if each.kind is not ChangeKind.CRASH]
    assert sorted((each.key.name if each.key else "", each.text, each.revision) for each in changes) == [
        ("llama", "restarted, one pod after the other", 2),
        ("triton", "image nvcr.io/nvidia/tritonserver 26.09-py3 -> 26.10-py3", 2),
    ]
    assert list(Teller().story.history(NOW + ROLLOUTS_S + 1)) == []


def test_crashes_of_before_are_told_with_their_evidence() -> None:
    crashes = {
        each.key.name: each
        for each in Teller().story.history(NOW)
        if each.kind is ChangeKind.CRASH and each.key
    }
    assert set(crashes) == {"crasher", "vllm-oom"}
    assert crashes["vllm-oom"].text.endswith(": out of memory, killed at its limit of 2Gi")
    assert crashes["vllm-oom"].evidence == "killed by SIGKILL (exit code 137)"


def test_a_new_image_is_one_roll_out_told_when_it_has_its_number() -> None:
    """Sabotage seen failing: telling at the template's change as well."""
    teller = Teller()
    made = sample("deployments", "llama")
    made["spec"]["template"]["spec"]["containers"][0]["image"] = (
        "nvcr.io/nim/meta/llama-3.2-1b-instruct:1.13.0"
    )
    made["metadata"]["generation"] += 1
    assert teller.becomes(DEPLOYMENT, made) == []
    made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
    (change,) = teller.becomes(DEPLOYMENT, made)
    assert (change.kind, change.revision) == (ChangeKind.ROLLOUT, 3)
    assert change.text == "image nvcr.io/nim/meta/llama-3.2-1b-instruct 1.12.0 -> 1.13.0"
    assert change.key == shown("llama")[0].key
    made["status"]["updatedReplicas"] = 2
    assert teller.becomes(DEPLOYMENT, made) == []


def test_scaling_pausing_and_other_limits() -> None:
    teller = Teller()
    made = sample("deployments", "triton")
    made["spec"].update(replicas=5, paused=True)
    assert told(teller.becomes(DEPLOYMENT, made)) == [
        (ChangeKind.SCALE, "scaled from 3 to 5"),
        (ChangeKind.CONFIG, "roll-out paused"),
    ]
    made["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
    assert told(teller.becomes(DEPLOYMENT, made)) == [(ChangeKind.ROLLOUT, "other limits")]


def test_made_and_deleted() -> None:
    teller = Teller()
    made = copy.deepcopy(sample("deployments", "triton"))
    made["metadata"].update(name="fresh", uid="fresh")
    assert told(teller.becomes(DEPLOYMENT, made)) == [(ChangeKind.CREATE, "Deployment made")]
    change = teller.story.gone(DEPLOYMENT, teller.story.key_of("fresh"), "fresh", NOW)
    assert (change.kind, change.key.name if change.key else "") == (ChangeKind.DELETE, "fresh")


def test_each_crash_is_told_once_and_being_ready_again_ends_the_chain() -> None:
    """Sabotage seen failing: comparing with nothing, so that each look at the pod is a crash."""
    teller = Teller()
    made = sample("pods", "triton")
    running = {"running": {"startedAt": "2026-11-25T05:17:05Z"}}
    statuses = [container(state=running, lastState=ended(1, message="no weights"), restartCount=1)]
    made["status"].update(conditions=not_ready(), containerStatuses=statuses)
    (crash,) = teller.becomes(POD, made)
    name = made["metadata"]["name"]
    assert (crash.kind, crash.text, crash.evidence) == (
        ChangeKind.CRASH, f"{name}: exit code 1", "no weights",
    )  # fmt: skip
    assert teller.becomes(POD, made) == []
    replica = next(each for each in shown("triton", teller.world)[1] if each.key.replica == name)
    assert replica.state is ReplicaState.STARTING
    assert known_onset([crash], [replica], NOW) == crash.at, "the row is unwell since its crash"
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-25T05:17:20Z"}
    made["status"].update(conditions=[ready], containerStatuses=[{**statuses[0], "ready": True}])
    (well,) = teller.becomes(POD, made)
    assert (well.kind, well.replica) == (ChangeKind.RECOVERY, name)
    assert known_onset([crash, well], [replica], NOW) == NOW


def test_an_eviction_is_told() -> None:
    teller = Teller()
    made = sample("pods", "triton")
    made["status"].update(phase="Failed", reason="Evicted", message="low on memory", containerStatuses=None)
    assert told(teller.becomes(POD, made)) == [(ChangeKind.CRASH, f"{made['metadata']['name']} was evicted")]


def test_a_pod_of_nobody_tells_nothing() -> None:
    made = sample("pods", "triton")
    made["metadata"].update(uid="alone", ownerReferences=None)
    made["status"]["containerStatuses"] = [container(lastState=ended(1), restartCount=3)]
    assert Teller().becomes(POD, made) == []
