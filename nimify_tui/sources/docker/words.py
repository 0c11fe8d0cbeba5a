"""One container as a replica: its state, why, and since when, in plain words."""

from __future__ import annotations

from nimify_tui.backends.docker.errors import said_by
from nimify_tui.backends.docker.kinds import Container, HealthRun, seconds
from nimify_tui.base.text import clean_line
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.services import Replica, ReplicaState
from nimify_tui.sources import hints
from nimify_tui.sources.exits import exit_words, signal_name

#: A container that was made is started within this time, or is meant to be so, seconds.
YOUNG_S = 30.0
#: Ends that somebody asked for: SIGTERM and SIGINT.
_ASKED_CODES = frozenset({0, 130, 143})
#: The engine keeps so many runs of a health check: when there are all, nobody knows when the first went well.
_KEPT_RUNS = 5
#: With these the engine itself starts what has crashed: one that does not run was stopped by somebody.
_KEPT = frozenset({"always", "unless-stopped"})


def idle(one: Container, asked: bool, now: float) -> bool:
    """Whether nobody wants it to run: it was stopped, has done its work, or was made and never started.

    ``asked``: the engine was seen being asked to end it.
    """
    state = one.state
    if state.status == "created":
        made = seconds(one.created)
        return not state.error and (made is None or now - made >= YOUNG_S)
    if state.status not in ("exited", "dead") or state.error:
        return False
    if asked:
        return True
    if state.oom_killed:
        return False
    policy = one.host_config.restart_policy
    return state.exit_code in _ASKED_CODES or (policy is not None and policy.name in _KEPT)


def replica_of(
    one: Container, key: ReplicaKey, asked: bool, said: str, seen_at: float, now: float, admin_url: str,
    stats_url: str = "",
) -> Replica:
    """What the container is now. ``said`` are its last lines, ``seen_at`` when it was first seen as it is."""
    state, reason, since = _judge(one, asked, said, seen_at, now)
    ended = state in (ReplicaState.EXITED, ReplicaState.BACKOFF)
    orderly = asked or (one.state.exit_code in _ASKED_CODES and not one.state.oom_killed)
    return Replica(
        key=key,
        state=state,
        since=min(now, since if since is not None else seen_at),
        revision=0,
        pid=one.state.pid or None,
        run=1 + one.restart_count,
        restarts=one.restart_count,
        reason=clean_line(reason, 300),
        last_words=said_by(said.strip().rpartition("\n")[2], 300) if ended and not orderly else "",
        exit_code=one.state.exit_code if ended else None,
        exit_signal=signal_name(one.state.exit_code) if ended else None,
        started_at=seconds(one.state.started_at),
        ready_at=since if state is ReplicaState.READY else None,
        admin_url=admin_url,
        stats_url=stats_url,
    )


def _judge(
    one: Container, asked: bool, said: str, seen_at: float, now: float
) -> tuple[ReplicaState, str, float | None]:
    """(state, reason, since when)."""
    state = one.state
    match state.status:
        case "running":
            return _running(one, seen_at)
        case "paused":
            return ReplicaState.NOT_READY, "is paused", seen_at
        case "restarting":
            return ReplicaState.BACKOFF, f"crash loop, {end_words(one, said)}", seconds(state.finished_at)
        case "removing":
            return ReplicaState.DRAINING, "is being removed", seen_at
        case "created":
            made = seconds(one.created)
            if state.error:
                return ReplicaState.EXITED, f"cannot be started: {said_by(state.error, 240)}", made
            if idle(one, asked, now):
                return ReplicaState.EXITED, "was made and never started", made
            return ReplicaState.STARTING, "made, not started yet", made
        case "exited" | "dead":
            return ReplicaState.EXITED, _over(one, asked, said), seconds(state.finished_at)
        case other:
            return ReplicaState.NOT_READY, f"is {clean_line(other, 40) or 'in no known state'}", seen_at


def _running(one: Container, seen_at: float) -> tuple[ReplicaState, str, float | None]:
    started, health = seconds(one.state.started_at), one.state.health
    if health is None or health.status in ("", "none"):
        return ReplicaState.READY, "", started
    runs = health.log or []
    if health.status == "healthy":
        first = _first(runs, well=True)
        return ReplicaState.READY, "", first if first is not None and len(runs) < _KEPT_RUNS else started
    failed = next((each for each in reversed(runs) if each.exit_code), None)
    why = f": {said_by(failed.output, 160)}" if failed is not None and failed.output.strip() else ""
    if health.status == "starting":
        return ReplicaState.STARTING, f"starts, its health check has not passed yet{why}", started
    return (
        ReplicaState.NOT_READY,
        f"its health check fails{why}",
        min(_first(runs, well=False) or seen_at, seen_at),
    )


def _first(runs: list[HealthRun], *, well: bool) -> float | None:
    """When the newest unbroken row of good (or bad) runs began, as far back as the engine keeps them."""
    at = None
    for each in reversed(runs):
        if (each.exit_code == 0) is not well:
            break
        at = seconds(each.end) or at
    return at


def _over(one: Container, asked: bool, said: str) -> str:
    state = one.state
    if state.error:
        return f"cannot be started: {said_by(state.error, 240)}"
    code = f" ({exit_words(state.exit_code)})" if state.exit_code else ""
    if asked:
        return f"was stopped{code}"
    if state.oom_killed or state.exit_code not in _ASKED_CODES:
        policy = one.host_config.restart_policy
        gave_up = policy is not None and policy.name == "on-failure" and one.restart_count
        tries = f", given up after {one.restart_count} restarts" if gave_up else ""
        return f"{end_words(one, said)}{tries}"
    return f"was stopped{code}" if code else "has ended by itself"


def end_words(one: Container, said: str) -> str:
    """How its last run ended: out of memory with the limit, what its last lines mean, or the exit code."""
    state = one.state
    if state.oom_killed:
        limit = one.host_config.memory
        return f"out of memory, killed at its limit of {size(limit)}" if limit else "out of memory, killed"
    meant = hints.last_words(said)
    return f"{meant} ({exit_words(state.exit_code)})" if meant else exit_words(state.exit_code)


def size(count: int) -> str:
    """Bytes as limits are written: ``512 MiB``."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count / (1 << power):.4g} {unit}"
    return f"{count} B"


def gpus_of(one: Container) -> str:
    """The GPUs that it asks for: ``all``, ``2``, ``0,1``; "" for none."""
    asked = one.host_config.gpus
    if asked is None:
        return ""
    if asked.device_ids:
        return clean_line(",".join(asked.device_ids), 120)
    return "all" if asked.count < 0 else str(asked.count)
