"""A whole session on a real engine: engine room, gate, desk, audit trail, as screen and command line have it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.clock import SystemClock
from nimify_tui.config import load
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Plan, Verb
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.domain.services import Replica, Service
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.fleet.snapshot import snapshot
from nimify_tui.session import Needs, Session
from tests.support import wait_for

#: A build server may be slow.
DEADLINE_S = 40.0


def region_toml(
    name: str, *, url: str = "", read_write: bool = True, production: bool = False, more: str = ""
) -> str:
    """A configured Docker region."""
    where = f'url = "{url}"\n' if url else ""
    return (
        f'[[region]]\nname = "{name}"\nkind = "docker"\n{where}{more}'
        f"read_write = {str(read_write).lower()}\nproduction = {str(production).lower()}\n"
    )


def write_config(folder: Path, *regions: str) -> Path:
    """A configuration file with these regions and no limit of changes."""
    path = folder / "config.toml"
    path.write_text("version = 1\n[gate]\nmax_changes_per_minute = 0\n" + "".join(regions), encoding="utf-8")
    return path


class Acting:
    """One session, and what the tests ask of it."""

    def __init__(self, session: Session, region: str) -> None:
        self.session, self.region = session, region
        self.said: list[str] = []

    def key(self, name: str) -> ServiceKey:
        return ServiceKey(self.region, name)

    def plan(self, verb: Verb, name: str, **fields: Any) -> Plan:
        return self.session.plan(ActionRequest(verb=verb, targets=(self.key(name),), **fields)).result(
            DEADLINE_S
        )

    def do(self, plan: Plan, answer: str = "y") -> ActionResult:
        """Carry it out, however it ends."""
        return self.session.carry_out(plan, answer, lambda step: self.said.append(step.text)).result(120)

    def act(self, verb: Verb, name: str) -> ActionResult:
        """Plan and carry out; it must end OK."""
        result = self.do(self.plan(verb, name))
        assert result.state is ActionState.OK, (result, self.said)
        return result

    def undo(self, result: ActionResult) -> ActionResult:
        assert result.undo is not None
        undone = self.do(self.session.plan(result.undo).result(DEADLINE_S))
        assert undone.state is ActionState.OK, undone
        return undone

    def health(self) -> RegionHealth:
        return next(row.health for row in self.session.frame.regions if row.region.name == self.region)

    def row(self, name: str) -> ServiceRow | None:
        """The service's row as it is in the newest frame."""
        return self.session.frame.rows.get(self.key(name).row_id) or self.session.frame.rows.get(name)

    def service(self, name: str) -> Service:
        found = self.session.service(self.key(name))
        assert found is not None, f"{name} is not seen"
        return found

    def replicas(self, name: str) -> Sequence[Replica]:
        return sorted(self.session.replicas(self.key(name)), key=lambda each: each.key.replica)

    def until(self, probe: Callable[[], object], why: str) -> None:
        wait_for(
            probe,
            DEADLINE_S,
            why=why,
            detail=lambda: f"{self.health()} {list(self.session.frame.rows.values())}",
        )

    def until_row(self, name: str, *, state: str, reason: str = "") -> ServiceRow:
        """The row once it says so."""

        def so() -> ServiceRow | None:
            row = self.row(name)
            return row if row is not None and row.state == state and reason in row.reason else None

        return wait_for(so, DEADLINE_S, why=f"{name} {state} {reason}", detail=lambda: str(self.row(name)))

    def until_state(self, state: RegionState) -> RegionHealth:
        """The region's health once it is in that state."""
        self.until(lambda: self.health().state is state, f"{self.region} {state}")
        return self.health()

    def changes(self) -> list[str]:
        """The time line's texts."""
        now = self.session.clock.now()
        told = self.session.on_loop(lambda fleet: snapshot(fleet, now)).result(10)
        return [str(each["text"]) for each in told["changes"]]

    def trail(self) -> list[Mapping[str, Any]]:
        return list(AuditLog(AuditPlaces.default(), SystemClock()).records())


@contextlib.contextmanager
def acting(config: Path, region: str, *, needs: Needs | None = None, live: bool = True) -> Iterator[Acting]:
    """A session on ``config``; ``live``: wait until the region is."""
    session = Session(load([config], env={}), needs or Needs())
    session.engine.start()
    try:
        made = Acting(session, region)
        if live:
            made.until_state(RegionState.LIVE)
        yield made
    finally:
        session.engine.stop(20.0)


def fact(plan: Plan, label: str) -> str:
    """All lines of a plan under one label."""
    return " | ".join(text for name, text in plan.facts if name == label)
