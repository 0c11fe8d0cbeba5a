"""A pod as a replica: its state, and in plain words why it does not serve."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from nimify_tui.base.text import clean_line
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.services import Replica, ReplicaState
from nimify_tui.sources import exits, hints
from nimify_tui.sources.kubernetes.containers import PodContainer
from nimify_tui.sources.kubernetes.kinds import (
    ContainerStatus,
    Event,
    Node,
    Pod,
    Terminated,
)
from nimify_tui.sources.kubernetes.parts import PodCondition

C = TypeVar("C", bound=PodCondition)

#: What a pod lacks (resource, count) in the words of whoever knows the nodes; "" when nobody does.
Lack = Callable[[str, int], str]
#: A warning explains what is so now for so long, seconds.
WARNING_S = 300.0
#: Where foreign words stand inside a sentence of ours.
_SAID = 160
_PULL = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_BROKEN = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
_NODES = re.compile(r"0/(\d+) nodes are available: (.*?)(?:\. preemption: .*|\.? *)\Z", re.DOTALL)
_LACK = re.compile(r"(\d+) Insufficient (\S+)\Z")
_TAINT = re.compile(r"(\d+) node\(s\) had untolerated taint(?:\(s\))?(?: \{([^}:]*):? ?[^}]*\})?\Z")
_SOME = re.compile(r"(\d+) node\(s\) (.*)\Z")
#: What the scheduler says of nodes, for one and for several of them.
_PHRASES = {
    "didn't match Pod's node affinity/selector": (
        "does not match its node selector",
        "do not match its node selector",
    ),
    "were unschedulable": ("is cordoned", "are cordoned"),
    "didn't match pod topology spread constraints": ("would break its topology spread",) * 2,
    "didn't match pod anti-affinity rules": (
        "holds a pod it must not be with",
        "hold a pod it must not be with",
    ),
    "had volume node affinity conflict": ("cannot reach its volume",) * 2,
    "didn't have free ports for the requested pod ports": ("has its port taken", "have its port taken"),
}


def seconds(text: str | None) -> float | None:
    """A Kubernetes time as unix seconds; None for none and for what is no time."""
    if not text:
        return None
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def no_lack(resource: str, count: int) -> str:
    """Nobody knows the nodes."""
    del resource, count
    return ""


def replica_of(
    pod: Pod,
    key: ReplicaKey,
    revision: int,
    warnings: Sequence[Event],
    node: Node | None,
    now: float,
    lack: Lack = no_lack,
    phase: str = "",
) -> Replica:
    """What ``pod`` is now. ``warnings`` are the events about it, oldest first; ``node`` is where it runs, if seen;
    ``phase`` is what it says itself that it is at while it starts.
    """
    statuses = pod.status.container_statuses or []
    ready = condition(pod.status.conditions, "Ready")
    state, reason, since = _judge(pod, ready, warnings, node, now, lack, phase)
    last = _last_end(statuses, state)
    restarts = sum(each.restart_count for each in statuses)
    made = seconds(pod.metadata.creation_timestamp)
    started = [
        at
        for each in statuses
        if each.state and each.state.running and (at := seconds(each.state.running.started_at))
    ]
    return Replica(
        key=key,
        state=state,
        since=min(now, since if since is not None else made if made is not None else now),
        revision=revision,
        run=1 + restarts,
        restarts=restarts,
        reason=clean_line(reason, 300),
        last_words=clean_line(last.message.strip().rpartition("\n")[2], 300) if last is not None else "",
        exit_code=last.exit_code if last is not None else None,
        exit_signal=signal_of(last) if last is not None else None,
        started_at=max(started, default=None),
        ready_at=seconds(ready.last_transition_time)
        if ready is not None and ready.status == "True"
        else None,
    )


def condition(conditions: Sequence[C] | None, name: str) -> C | None:
    """The condition of that type."""
    for each in conditions or ():
        if each.type == name:
            return each
    return None


def signal_of(end: Terminated) -> str | None:
    """The signal that ended a run ("SIGKILL"), told by itself or by an exit code above 128."""
    return exits.signal_name(end.exit_code, end.signal or 0)


def _judge(
    pod: Pod, ready: PodCondition | None, warnings: Sequence[Event], node: Node | None, now: float, lack: Lack,
    phase: str,
) -> tuple[ReplicaState, str, float | None]:  # fmt: skip
    """(state, reason, since when)."""
    status, meta = pod.status, pod.metadata
    changed_at = seconds(ready.last_transition_time) if ready is not None else None
    if meta.deletion_timestamp:
        lost = _node_lost(node)
        return (
            ReplicaState.DRAINING,
            f"is being deleted{f', but {lost}' if lost else ''}",
            seconds(meta.deletion_timestamp),
        )
    if status.phase in ("Failed", "Succeeded"):
        return _over(pod)
    if lost := _node_lost(node):
        return ReplicaState.NOT_READY, lost, changed_at
    scheduled = condition(status.conditions, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return (
            ReplicaState.NOT_READY,
            unschedulable(scheduled.message, pod.spec.containers or (), lack),
            seconds(scheduled.last_transition_time),
        )
    for statuses, inits in ((status.init_container_statuses, True), (status.container_statuses, False)):
        for each in statuses or ():
            trouble = _container_trouble(each, pod, inits=inits, warnings=warnings)
            if trouble is not None:
                return ReplicaState.BACKOFF, trouble, changed_at or _ended_at(each)
    if ready is not None and ready.status == "True":
        return ReplicaState.READY, "", changed_at
    started = [
        seconds(each.state.running.started_at)
        for each in status.container_statuses or ()
        if each.state and each.state.running
    ]
    begun = max((at for at in started if at is not None), default=None)
    probe = _probe(warnings, now, "Readiness", "Startup", "Liveness")
    if not started and (stuck := _stuck(warnings, now)):
        return ReplicaState.NOT_READY, stuck, seconds(meta.creation_timestamp)
    if begun is not None and changed_at is not None and changed_at > begun:
        return ReplicaState.NOT_READY, probe or _not_ready(pod), changed_at
    if phase:  # readiness and startup probes fail as long as it loads; one that kills it is worth a word
        probe = "; ".join(filter(None, (phase, _probe(warnings, now, "Liveness"))))
    return ReplicaState.STARTING, probe or _beginning(pod), begun or seconds(meta.creation_timestamp)


def _over(pod: Pod) -> tuple[ReplicaState, str, float | None]:
    status = pod.status
    ends = [
        each.state.terminated
        for each in status.container_statuses or ()
        if each.state and each.state.terminated
    ]
    at = max((end for each in ends if (end := seconds(each.finished_at)) is not None), default=None)
    if status.reason == "Evicted":
        reason = f"was evicted: {clean_line(status.message, _SAID)}"
    elif status.reason:
        reason = f"failed ({status.reason}): {clean_line(status.message, _SAID)}"
    elif status.phase == "Succeeded":
        reason = "has ended by itself"
    else:
        worst = next((each for each in ends if each.exit_code), None)
        reason = f"failed, {exit_words(worst)}" if worst is not None else "failed"
    return ReplicaState.EXITED, reason, at


def _node_lost(node: Node | None) -> str:
    if node is None:
        return ""
    ready = condition(node.status.conditions, "Ready")
    if ready is None or ready.status == "True":
        return ""
    name = clean_line(node.metadata.name, 80)
    return f"node {name} does not answer" if ready.status == "Unknown" else f"node {name} is not ready"


def unschedulable(message: str, containers: Sequence[PodContainer] = (), lack: Lack = no_lack) -> str:
    """The scheduler's message in plain words; its own words where they are not understood."""
    match = _NODES.match(message)
    if match is None:
        return f"no node for it: {clean_line(message, _SAID)}" if message else "no node for it yet"
    parts, held = [], ""
    for part in re.split(r", (?=\d+ )", match[2]):
        many = not part.startswith("1 ")
        if short := _LACK.match(part):
            wanted = _wanted(short[2], containers)
            if not held and wanted.isdigit() and (held := lack(short[2], int(wanted))):
                continue
            verb = "lack" if many else "lacks"
            parts.append(
                f"{short[1]} {verb} {clean_line(short[2], 60)}{f' (it wants {wanted})' if wanted else ''}"
            )
        elif taint := _TAINT.match(part):
            verb = "have" if many else "has"
            parts.append(f"{taint[1]} {verb} a taint{f' {clean_line(taint[2], 80)}' if taint[2] else ''}")
        elif some := _SOME.match(part):
            known = _PHRASES.get(some[2])
            parts.append(f"{some[1]} {known[many] if known is not None else clean_line(some[2], 80)}")
        else:
            parts.append(clean_line(part, 80))
    if held:
        return "; ".join([held, *parts])
    return f"none of {match[1]} nodes has room: {', '.join(parts)}"


def _wanted(resource: str, containers: Sequence[PodContainer]) -> str:
    found = [
        str(value)
        for each in containers
        if each.resources is not None
        and (value := (each.resources.requests or each.resources.limits or {}).get(resource)) is not None
    ]
    return clean_line(found[0], 20) if len(found) == 1 else ""


def _container_trouble(
    status: ContainerStatus, pod: Pod, *, inits: bool, warnings: Sequence[Event]
) -> str | None:
    """Why a container does not run; None while it runs, or waits for its turn."""
    state = status.state
    if state is None:
        return None
    who = f"init container {clean_line(status.name, 60)} " if inits else ""
    if state.waiting is not None and state.waiting.reason not in ("", "ContainerCreating", "PodInitializing"):
        reason, said = state.waiting.reason, clean_line(state.waiting.message, _SAID)
        if reason in _PULL:
            image, why = clean_line(_image(pod, status), 100), _pull_words(warnings) or said
            key = "the registry does not accept the key: " if hints.denied(why) else ""
            return f"{who}cannot pull the image {image}{_told(f'{key}{why}' if why else '')}"
        if reason in _BROKEN:
            return f"{who}cannot be started{_told(hints.key_missing(state.waiting.message) or said)}"
        if reason == "CrashLoopBackOff":
            end = status.last_state.terminated if status.last_state is not None else None
            return (
                f"{who}crash loop, {end_words(end, status.name, pod, warnings)}"
                if end is not None
                else f"{who}crash loop"
            )
        return f"{who}waits: {clean_line(reason, 60)}{_told(said)}"
    if state.terminated is not None and not (inits and state.terminated.exit_code == 0):
        return f"{who}{end_words(state.terminated, status.name, pod, warnings)}"
    return None


def end_words(end: Terminated, container: str, pod: Pod, warnings: Sequence[Event]) -> str:
    """How a run ended: out of memory with the limit, killed by its probe, or its exit code."""
    if end.reason == "OOMKilled":
        limit = next(
            (
                str(value)
                for each in pod.spec.containers or ()
                if each.name == container and each.resources is not None
                and (value := (each.resources.limits or {}).get("memory")) is not None
            ),
            "",
        )  # fmt: skip
        return (
            f"out of memory, killed at its limit of {clean_line(limit, 20)}"
            if limit
            else "out of memory, killed (no limit of its own)"
        )
    ended_at = seconds(end.finished_at)
    if signal_of(end) in ("SIGKILL", "SIGTERM") and ended_at is not None:
        probe = _probe(warnings, ended_at, "Liveness", "Startup")
        if probe:
            return f"killed by its probe: {probe}"
    meant = hints.last_words(end.message)
    return f"{meant} ({exit_words(end)})" if meant else exit_words(end)


def exit_words(end: Terminated) -> str:
    """``exit code 1``, ``killed by SIGSEGV (exit code 139)``."""
    return exits.exit_words(end.exit_code, end.signal or 0)


def _told(said: str) -> str:
    return f": {said}" if said else ""


def _image(pod: Pod, status: ContainerStatus) -> str:
    containers = [*(pod.spec.containers or []), *(pod.spec.init_containers or [])]
    return next((each.image for each in containers if each.name == status.name), "")


def _pull_words(warnings: Sequence[Event]) -> str:
    """The last word of a registry's refusal; the kubelet wraps it in two layers of its own."""
    for each in reversed(warnings):
        if each.reason == "Failed" and "pull" in each.message:
            return clean_line(each.message.rpartition(": ")[2], _SAID)
    return ""


def event_at(event: Event) -> float | None:
    """When an event was seen last."""
    repeated = event.series.last_observed_time if event.series is not None else None
    for text in (repeated, event.last_timestamp, event.event_time, event.metadata.creation_timestamp):
        if (at := seconds(text)) is not None:
            return at
    return None


def _probe(warnings: Sequence[Event], at: float, *kinds: str) -> str:
    """What a failing probe said around ``at``; "" when none failed."""
    for each in reversed(warnings):
        if each.reason != "Unhealthy" or not each.message.startswith(kinds):
            continue
        when = event_at(each)
        if when is not None and abs(at - when) <= WARNING_S:
            kind, _, said = each.message.partition(" probe failed: ")
            return f"{kind.lower()} probe: {clean_line(said or each.message, _SAID)}"
    return ""


def _stuck(warnings: Sequence[Event], now: float) -> str:
    """Why a container that is being made does not come to be: a volume that cannot be mounted."""
    for each in reversed(warnings):
        if each.reason not in ("FailedMount", "FailedAttachVolume"):
            continue
        when = event_at(each)
        if when is not None and now - when <= WARNING_S:
            said = hints.key_missing(each.message) or clean_line(each.message, _SAID)
            return f"its volume cannot be mounted: {said}"
    return ""


def _ended_at(status: ContainerStatus) -> float | None:
    for state in (status.state, status.last_state):
        if state is not None and state.terminated is not None:
            return seconds(state.terminated.finished_at)
    return None


def _last_end(statuses: Sequence[ContainerStatus], state: ReplicaState) -> Terminated | None:
    """How the newest ended run ended; of a replica that is ready its past is told by changes, not by this."""
    if state is ReplicaState.READY:
        return None
    ends = [
        each.terminated
        for status in statuses
        for each in (status.state, status.last_state)
        if each and each.terminated
    ]
    return max(ends, key=lambda each: seconds(each.finished_at) or 0.0, default=None)


def _not_ready(pod: Pod) -> str:
    names = [clean_line(each.name, 60) for each in pod.status.container_statuses or () if not each.ready]
    return f"its probe fails ({', '.join(names)})" if names else ""


def _beginning(pod: Pod) -> str:
    status = pod.status
    for each in status.init_container_statuses or ():
        if each.state is not None and each.state.running is not None:
            return f"init container {clean_line(each.name, 60)} runs"
    if not pod.spec.node_name:
        return "waits for a node"
    running = [
        each
        for each in status.container_statuses or ()
        if each.state is not None and each.state.running is not None
    ]
    if not running:
        return "its container is being made (image, volumes)"
    if any(each.started is False for each in running):
        return "loads, its startup probe has not passed yet"
    return "runs, not ready yet"
