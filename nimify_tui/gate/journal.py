"""The journal of actions on the audit trail: each begins before it acts, and ends whatever happens.

An action whose begin is written and whose end is not was cut short (kill -9, power loss). It is
listed as unfinished to the next console, unless the process that began it still works on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from nimify_tui.base.audit import AuditLog
from nimify_tui.base.clock import Clock
from nimify_tui.base.process import ProcessId, lives, this_process
from nimify_tui.base.redact import MASK
from nimify_tui.domain.plans import ActionResult, ActionState, Permit, Plan, UnfinishedAction

BEGIN = "action.begin"
END = "action.end"
REFUSED = "action.refused"
CANCELLED = "action.cancelled"
RESOLVED = "action.resolved"
UNDONE = "action.undone"

#: An action of a process that still lives, or that we cannot see, counts as unfinished after this.
OVERDUE_S = 3600.0


class Journal:
    """Begin and end of actions. Raises what :class:`AuditLog` raises: no record, no action."""

    def __init__(self, audit: AuditLog, clock: Clock, process: ProcessId | None = None) -> None:
        self._audit = audit
        self._clock = clock
        self._process = process or this_process()

    def begin(self, plan: Plan, permit: Permit, confirmed_by: str) -> None:
        """The action starts now; on the disk when this returns. ``confirmed_by``: "key" or "typed"."""
        process = {
            "pid": self._process.pid,
            "start_ticks": self._process.start_ticks,
            "boot_id": self._process.boot_id,
            "pid_namespace": self._process.pid_namespace,
            "host": self._process.host,
        }
        fields = {"permit_id": permit.id, "confirmed": confirmed_by, "process": process}
        self._audit.append(BEGIN, {**self._about(plan, permit.actor), **fields, "plan": _plain(plan)})

    def end(self, plan: Plan, permit: Permit, result: ActionResult) -> None:
        """The action ended so."""
        targets = [
            {"target": target.key.row_id, "state": str(target.state), "message": target.message}
            for target in result.targets
        ]
        fields = {
            "permit_id": permit.id,
            "state": str(result.state),
            "message": result.message,
            "targets": targets,
        }
        self._audit.append(END, {**self._about(plan, permit.actor), **fields})

    def undone(self, plan: Plan, actor: str) -> None:
        """``plan``, which undoes an earlier action, ended OK: that one is UNDONE, by whom and (the record's) when."""
        request = plan.request
        fields = {
            "plan_id": request.undoes,
            "actor": actor,
            "state": str(ActionState.UNDONE),
            "undone_by_plan": plan.id,
            "targets_named": [key.row_id for key in request.targets],
            "summary": f"undone by: {plan.summary}",
        }
        self._audit.append(UNDONE, fields)

    def refused(self, plan: Plan, actor: str, reason: str) -> None:
        """The gate said no."""
        self._audit.append(REFUSED, {**self._about(plan, actor), "why": reason})

    def cancelled(self, plan: Plan, actor: str) -> None:
        """The operator looked at the plan and said no."""
        self._audit.append(CANCELLED, self._about(plan, actor))

    def resolved(self, unfinished: UnfinishedAction, actor: str, how: str, text: str) -> None:
        """An unfinished action is dealt with: ``how`` is "done", "continued", "undone" or "dismissed"."""
        fields = {"how": how, "text": text, "state": str(unfinished.state)}
        self._audit.append(RESOLVED, {**self._about(unfinished.plan, actor), **fields})

    def begun_since(self, since: float) -> list[tuple[float, int]]:
        """(time, number of targets) of the actions of every console that began at ``since`` or later."""
        return [
            (float(record["ts"]), len(record["targets_named"])) for record in self._audit.recent(BEGIN, since)
        ]

    def unfinished(self, working_on: frozenset[str] = frozenset()) -> list[UnfinishedAction]:
        """Actions that were cut short, oldest first; ``working_on`` are plan ids that run in this process."""
        begun: dict[str, dict[str, Any]] = {}
        for record in self._audit.records():
            kind, plan_id = record.get("type"), record.get("plan_id")
            if not isinstance(plan_id, str):
                continue
            if kind == BEGIN:
                begun[plan_id] = record
            elif kind in (END, RESOLVED):
                begun.pop(plan_id, None)
        now = self._clock.now()
        cut_short = []
        for plan_id, record in begun.items():
            if plan_id in working_on or not self._gone(record, now):
                continue
            plan = _restore(record)
            if plan is not None:
                at, actor = float(record["ts"]), str(record.get("actor", ""))
                cut_short.append(UnfinishedAction(plan=plan, actor=actor, begun_at=at))
        return cut_short

    def _gone(self, record: Mapping[str, Any], now: float) -> bool:
        overdue = now - float(record["ts"]) > OVERDUE_S
        try:
            process = ProcessId(**record["process"])
        except (KeyError, TypeError):
            return overdue
        if process == self._process:
            return True  # begun here and not worked on: its end could not be written
        living = lives(process)
        return living is False or overdue

    @staticmethod
    def _about(plan: Plan, actor: str) -> dict[str, Any]:
        request = plan.request
        return {
            "plan_id": plan.id,
            "actor": actor,
            "verb": str(request.verb),
            "targets_named": [key.row_id for key in request.targets],
            "summary": plan.summary,
            "reason": request.reason,
            "undoes": request.undoes,
        }


def _plain(plan: Plan) -> Any:
    return json.loads(msgspec.json.encode(plan))


def _restore(record: Mapping[str, Any]) -> Plan | None:
    try:
        return msgspec.convert(record.get("plan"), Plan, strict=False)
    except msgspec.ValidationError:
        # Written by a version that we do not understand: still unfinished, but nothing can be continued.
        return None


def was_masked(plan: Plan) -> bool:
    """True when a plan read from the journal lost a credential to the mask: it must not be continued."""
    return MASK in msgspec.json.encode(plan).decode()
