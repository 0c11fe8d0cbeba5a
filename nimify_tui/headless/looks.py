"""Calls that only look: snapshot, rollout status."""

from __future__ import annotations

import argparse
import time

from nimify_tui.base.clock import rfc3339
from nimify_tui.domain.measures import Measure, MeasureState
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ReplicaState, Service
from nimify_tui.fleet.frames import Frame
from nimify_tui.fleet.snapshot import snapshot as project
from nimify_tui.headless.output import emit
from nimify_tui.headless.targets import find, settled, wait_for_regions
from nimify_tui.session import Needs, Session, open_session

_NUMBERS = Needs(numbers=True)
#: What is waited for is looked at this often, seconds.
POLL_S = 0.2


def snapshot(options: argparse.Namespace) -> int:
    """What the console would show, once; 0 healthy, 1 not, 2 when it cannot be told."""
    with open_session(options, _NUMBERS) as session:
        session.engine.wait(lambda frame: settled(frame, options), options.timeout)
        session.engine.wait(
            lambda frame: _numbers_in(frame) and session.alerting.told(frame), min(options.settle, options.timeout)
        )
        frame = session.frame
        data = session.on_loop(lambda fleet: project(fleet, session.clock.now())).result()
    emit(options.output, data, _HEADERS, [_row(frame, row_id) for row_id in frame.order], _names(frame))
    healthy = data["healthy"]
    return 2 if healthy is None else 0 if healthy else 1


def _numbers_in(frame: Frame) -> bool:
    """Every ready service of a live region has told its traffic."""
    live = {row.region.name for row in frame.regions if row.health.state is RegionState.LIVE}
    rows = [row for row in frame.rows.values() if row.ready and {key.region for key in row.keys} <= live]
    return all(row.rps.state is not MeasureState.ABSENT for row in rows)


_HEADERS = ("SERVICE", "WHERE", "STATE", "READY", "RPS", "P95", "ERR", "SINCE", "REASON")


def _row(frame: Frame, row_id: str) -> list[str]:
    row = frame.rows[row_id]
    where = row.region_states[0][0] if len(row.region_states) == 1 else f"{len(row.region_states)} regions"
    ready = "?" if row.ready is None else str(row.ready)
    reason = f"{row.reason_region}: {row.reason}" if row.reason and len(row.region_states) > 1 else row.reason
    since = rfc3339(row.since)[:19] + "Z" if row.since and row.reason else ""
    error = "-" if row.error_ratio.value is None else f"{row.error_ratio.value:.2%}"
    p95 = "-" if row.p95.value is None else f"{row.p95.value * 1000:.3g}ms"
    return [
        row.name,
        where,
        str(row.state),
        f"{ready}/{row.desired}",
        _plain(row.rps),
        p95,
        error,
        since,
        reason,
    ]


def _plain(measure: Measure) -> str:
    return "-" if measure.value is None else f"{measure.value:.3g}"


def _names(frame: Frame) -> list[str]:
    keys = {key for row in frame.rows.values() for key in row.keys}
    return [f"{key.fold_id}@{key.region}" for key in sorted(keys)]


def rollout_status(options: argparse.Namespace) -> int:
    """Wait until the roll-out has ended: 0 complete, 1 failed, 2 not ended within ``--timeout``."""
    with open_session(options, Needs()) as session:
        wait_for_regions(session, options)
        keys = find(session, options)
        deadline = time.monotonic() + options.timeout
        while True:
            words = [_standing(session, key) for key in keys]
            if all(word[0] is not None for word in words) or time.monotonic() > deadline:
                break
            session.pause(POLL_S)
        rows = [[key.row_id, text] for key, (_, text) in zip(keys, words, strict=True)]
        emit(options.output, [{"service": row[0], "status": row[1]} for row in rows], ("SERVICE", "STATUS"), rows,
             [key.row_id for key in keys])  # fmt: skip
        codes = [2 if code is None else code for code, _ in words]
        return max(codes, default=0)


def _standing(session: Session, key: ServiceKey) -> tuple[int | None, str]:
    """(exit code or None while it goes on, words)."""
    service: Service | None = session.service(key)
    if service is None:
        return 2, "not seen"
    if service.failure:
        return 1, f"failed: {service.failure}"
    replicas = [item for item in session.replicas(key) if item.state is not ReplicaState.EXITED]
    new = [
        item for item in replicas if item.revision == service.revision and item.state is ReplicaState.READY
    ]
    wanted = 0 if service.stopped else service.desired_replicas
    done = service.observed_generation == service.generation and len(new) == wanted == len(replicas)
    text = f"revision {service.revision}: {len(new)} of {wanted} ready"
    return (0, f"{text}, complete") if done else (None, f"{text}; {service.progress or 'under way'}")
