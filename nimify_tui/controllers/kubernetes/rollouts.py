"""How far a workload is, judged as its own controller tells it. No I/O, no clock.

The rules are those of ``kubectl rollout status`` (kubernetes/kubectl, pkg/polymorphichelpers/rollout_status.go).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nimify_tui.controllers.kubernetes.objects import (
    DAEMON_SET,
    DEPLOYMENT,
    STATEFUL_SET,
    Live,
    WorkloadKind,
    as_map,
    number,
    text_of,
)


@dataclass(frozen=True)
class RollOut:
    """``done`` of ``total`` are new and ready; ``over``: nothing is left to do; ``failed`` says why not."""

    done: int
    total: int
    text: str
    over: bool = False
    failed: str = ""


def taken_up(live: Live) -> bool:
    """Whether the workload's controller has seen its newest spec."""
    return number(live.status.get("observedGeneration")) >= live.generation


def rolled(live: Live, kind: WorkloadKind) -> RollOut:
    """How far the newest template is rolled out."""
    status = live.status
    if kind is DAEMON_SET:
        total = number(status.get("desiredNumberScheduled"))
        new, ready = number(status.get("updatedNumberScheduled")), number(status.get("numberAvailable"))
        here = number(status.get("currentNumberScheduled"))
    else:
        total = live.replicas
        new = number(status.get("updatedReplicas"))
        ready = number(status.get("availableReplicas" if kind is DEPLOYMENT else "readyReplicas"))
        here = number(status.get("replicas"))
    done = min(new, ready, total)
    if not taken_up(live):
        return RollOut(done, total, "the cluster has not taken it up yet")
    if failed := _failure(live):
        return RollOut(done, total, failed, failed=failed)
    if kind is STATEFUL_SET and (part := _partition(live)):
        wanted = max(0, total - part)
        over = new >= wanted and ready >= total
        return RollOut(done, total, f"{min(new, wanted)} of {wanted} replaced (partition {part})", over)
    if _on_delete(live):
        return RollOut(done, total, "its pods are replaced only when somebody deletes them", True)
    if new < total:
        return RollOut(done, total, f"{new} of {total} replaced")
    if here > new:
        left = here - new
        return RollOut(done, total, f"{left} old {'one ends' if left == 1 else 'ones end'}")
    if ready < total:
        return RollOut(done, total, f"{ready} of {total} ready")
    return RollOut(total, total, f"{ready} of {total} ready", True)


def counted(live: Live, kind: WorkloadKind) -> RollOut:
    """How far its number of replicas is as wanted, whatever they run."""
    wanted, status = live.replicas, live.status
    ready, here = number(status.get("readyReplicas")), number(status.get("replicas"))
    if not taken_up(live):
        return RollOut(min(ready, wanted), wanted, "the cluster has not taken it up yet")
    if here == wanted and ready == wanted:
        return RollOut(wanted, wanted, f"{ready} of {wanted} ready" if wanted else "no replica runs", True)
    if failing := _replica_failure(live):
        return RollOut(min(ready, wanted), wanted, failing, failed=failing)
    if here > wanted:
        return RollOut(wanted, wanted, f"{here - wanted} still there")
    del kind
    return RollOut(min(ready, wanted), wanted, f"{ready} of {wanted} ready")


def surge_and_unavailable(live: Live, kind: WorkloadKind) -> tuple[int, int]:
    """How many pods more, and how many fewer, a roll-out may have (apps/v1 defaults: 25 % each, 0 and 1)."""
    total = live.replicas if kind.scales else number(live.status.get("desiredNumberScheduled"))
    if kind is DEPLOYMENT:
        strategy = as_map(live.spec.get("strategy"))
        if strategy.get("type") == "Recreate":
            return 0, total
        rolling = as_map(strategy.get("rollingUpdate"))
        surge = _share(rolling.get("maxSurge", "25%"), total, up=True)
        fewer = _share(rolling.get("maxUnavailable", "25%"), total, up=False)
        return (surge, fewer) if surge or fewer else (0, 1)
    rolling = as_map(as_map(live.spec.get("updateStrategy")).get("rollingUpdate"))
    if kind is DAEMON_SET:
        return _share(rolling.get("maxSurge", 0), total, up=True), _share(
            rolling.get("maxUnavailable", 1), total, up=True
        )
    return 0, min(1, total)


def _share(value: object, total: int, *, up: bool) -> int:
    """``25%`` of ``total`` (rounded up for a surge, down for what may be missing), or a number as it is."""
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        share = total * int(value[:-1]) / 100
        return math.ceil(share) if up else math.floor(share)
    return number(value)


def _partition(live: Live) -> int:
    return number(as_map(as_map(live.spec.get("updateStrategy")).get("rollingUpdate")).get("partition"))


def _on_delete(live: Live) -> bool:
    return as_map(live.spec.get("updateStrategy")).get("type") == "OnDelete"


def _failure(live: Live) -> str:
    progressing = live.condition.get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return "the roll-out made no progress within its deadline"
    return _replica_failure(live)


def _replica_failure(live: Live) -> str:
    failing = live.condition.get("ReplicaFailure", {})
    if failing.get("status") == "True":
        return f"pods cannot be made: {text_of(failing.get('message') or failing.get('reason'), 200)}"
    return ""
