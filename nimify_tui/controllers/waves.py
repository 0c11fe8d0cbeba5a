"""A wave: region by region, and each one soaks before the next; it stops at the first sign that things are worse."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from nimify_tui.base.clock import Clock
from nimify_tui.controllers.world import Say, World
from nimify_tui.domain.names import ServiceKey, object_name
from nimify_tui.domain.plans import ActionRequest, ActionState, TargetResult, Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import Replica, ReplicaState

#: What counts as worse than before: errors above twice the ratio and one point above it, p95 half as much again
#: and 50 ms above it. Below that the noise of a minute's numbers is as large.
ERROR_TIMES, ERROR_MORE = 2.0, 0.01
P95_TIMES, P95_MORE_S = 1.5, 0.05
#: New replicas have no numbers at once: so long nothing measured is no reason to stop, seconds.
BLIND_S = 30.0
_BAD = (ReplicaState.BACKOFF, ReplicaState.HUNG, ReplicaState.NOT_READY)
_SEEN = (RegionState.LIVE, RegionState.THROTTLED)


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """How a service does, by fresh numbers; None: not measured, and ``why`` says why not."""

    error_ratio: float | None = None
    p95_s: float | None = None
    why: str = ""


#: What is measured of a service now.
Measure = Callable[[ServiceKey], Vitals]


def nothing_measured(_key: ServiceKey) -> Vitals:
    """Nobody measures anything."""
    return Vitals(why="nobody measures it")


#: Kinds whose pods show whether what was applied goes well.
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def soaks(part: ActionRequest) -> bool:
    """Whether what ``part`` is about can be seen to be well: a service, or the workload in a manifest."""
    return not part.kind or (part.verb is Verb.APPLY and part.kind in _WORKLOADS)


def shown_as(part: ActionRequest, key: ServiceKey) -> ServiceKey:
    """The service that the target of ``part`` is shown as."""
    return ServiceKey(key.region, object_name(key), key.namespace) if part.manifest else key


async def soaked(
    result: TargetResult,
    key: ServiceKey,
    request: ActionRequest,
    before: Vitals,
    measure: Measure,
    world: World,
    clock: Clock,
    say: Say,
) -> TargetResult:
    """``result`` once ``key`` has been well for ``request.soak_s``; FAILED or UNKNOWN with the reason otherwise.

    UNKNOWN when it cannot be told: without contact, and (unless the request goes without) without numbers.
    """
    soak_s = request.soak_s
    if result.state is not ActionState.OK or not soak_s:
        return result
    begun_s, restarts = clock.mono_s(), _restarts(world, key)
    blind_s = min(BLIND_S, soak_s / 2)
    while (past_s := clock.mono_s() - begun_s) < soak_s:
        say(f"{result.message}; soaks {past_s:.0f} of {soak_s:.0f} s", 0, 0)
        found = world.region(key.region)
        if found is None or found[1].state not in _SEEN:
            return _stopped(result, ActionState.UNKNOWN, "no contact with the region while it soaked")
        if trouble := _unwell(world, key, restarts):
            return _stopped(result, ActionState.FAILED, trouble)
        if not request.unmeasured:
            now = measure(key)
            if trouble := _worse(before, now):
                return _stopped(result, ActionState.FAILED, trouble)
            if now.why and past_s >= blind_s:
                return _stopped(result, ActionState.UNKNOWN, f"how it does cannot be measured: {now.why}")
        await world.changed(1.0)
    return msgspec.structs.replace(result, message=f"{result.message}; well for {soak_s:.0f} s")


def _restarts(world: World, key: ServiceKey) -> dict[str, int]:
    return {each.key.replica: _starts(each) for each in world.replicas(key)}


def _starts(replica: Replica) -> int:
    return max(replica.restarts, replica.run - 1)


def _unwell(world: World, key: ServiceKey, before: dict[str, int]) -> str:
    service = world.service(key)
    if service is None:
        return "it is gone"
    here = [each for each in world.replicas(key) if each.state is not ReplicaState.EXITED]
    for each in here:
        if _starts(each) > before.get(each.key.replica, 0):
            why = each.reason or each.last_words
            return f"{each.key.replica} restarted while it soaked" + (f": {why}" if why else "")
    ready = sum(each.state is ReplicaState.READY for each in here)
    wanted = 0 if service.stopped else service.desired_replicas
    if ready < wanted:
        worst = next((each.reason for each in here if each.state is not ReplicaState.READY and each.reason), "")
        return f"only {ready} of {wanted} ready while it soaked" + (f": {worst}" if worst else "")
    for each in here:
        if each.state in _BAD:  # one more than wanted, of a roll-out that somebody began meanwhile
            return f"{each.key.replica} does not get on while it soaked" + (f": {each.reason}" if each.reason else "")
    return ""


def _worse(before: Vitals, now: Vitals) -> str:
    if now.error_ratio is not None:
        was = before.error_ratio or 0.0
        if now.error_ratio > max(was * ERROR_TIMES, was + ERROR_MORE):
            return f"its errors rose from {was:.1%} to {now.error_ratio:.1%}"
    if now.p95_s is None or before.p95_s is None:
        return ""
    if now.p95_s > max(before.p95_s * P95_TIMES, before.p95_s + P95_MORE_S):
        return f"its p95 rose from {before.p95_s * 1000:.0f} to {now.p95_s * 1000:.0f} ms"
    return ""


def _stopped(result: TargetResult, state: ActionState, why: str) -> TargetResult:
    return msgspec.structs.replace(result, state=state, message=f"{result.message}; then {why}")
