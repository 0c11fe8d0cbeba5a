"""The change tried by the server itself before anybody confirms it: rights, dry run, and what it would store."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import msgspec

from nimify_tui.backends.kubernetes.rights import Access
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, GateRefused, NetworkError, RateLimited
from nimify_tui.controllers.kubernetes.changes import Ask
from nimify_tui.controllers.kubernetes.facts import clock_text, rights_text
from nimify_tui.controllers.kubernetes.here import worked_out
from nimify_tui.controllers.kubernetes.objects import Json, Live, as_map
from nimify_tui.controllers.kubernetes.reading import Line
from nimify_tui.controllers.kubernetes.writing import asked
from nimify_tui.domain.plans import ActionRequest, Plan, Precondition
from nimify_tui.gate.gate import Gate

#: A trial is over in seconds.
_TRIAL_S = 60.0


@dataclass(frozen=True)
class Trial:
    """The object as it would be, and the plan's lines about rights and about who worked that out."""

    after: Json
    facts: tuple[tuple[str, str], ...]


async def try_out(
    line: Line, gate: Gate, clock: Clock, part: ActionRequest, before: Precondition, live: Live, ask: Ask
) -> Trial:
    """Ask for the right, then let the server try it without storing anything.

    Where nothing may be changed from here the server is asked neither: to it a dry run is a write. Raises
    GateRefused when the right is missing, and what the server says to the change itself (Invalid, Refused).
    """
    key = before.key
    if why := why_untried(gate, part, key.region):
        facts = (("rights", why), ("dry run", f"{why}; the diff was worked out here"))
        return Trial(worked_out(ask, live), facts)
    rights = await ask_rights(line, clock, ask.access, key.region)
    now = clock.now()
    trial = trial_plan(part, before, now)
    answer = await asked(line.writer(gate.verify), ask, live, gate.preview(trial), trial, dry_run=True)
    facts = (rights, ("dry run", f"done by the server ({clock_text(now)})"))
    if ask.patch is None and ask.replicas is None:
        return Trial({}, facts)
    told = as_map(msgspec.json.decode(answer.body))
    if ask.replicas is not None:  # a Scale, not the workload
        replicas = as_map(told.get("spec")).get("replicas", 0)
        return Trial({**live.body, "spec": {**live.spec, "replicas": replicas}}, facts)
    return Trial(told, facts)


def why_untried(gate: Gate, part: ActionRequest, region: str) -> str:
    """Why the server is not asked to try ``part``, "" when it is."""
    if part.untried:
        return "not asked: a dry run of the client"
    verdict = gate.may_change(region)
    return "" if verdict.allowed else f"not asked: {verdict.reason}"


def trial_plan(part: ActionRequest, before: Precondition, now: float, calls: int = 1) -> Plan:
    """The simulation under whose permit the server tries ``part``, in so many requests."""
    return Plan(
        id=secrets.token_hex(8),
        request=msgspec.structs.replace(part, targets=(before.key,), hidden=(), parts=()),
        summary="a dry run",
        facts=(),
        diff=(),
        preconditions=(before,),
        production=False,
        created_at=now,
        expires_at=now + _TRIAL_S,
        simulation=True,
        calls=calls,
    )


async def ask_rights(line: Line, clock: Clock, access: Access, region: str) -> tuple[str, str]:
    """The plan's line about a right; could it not be asked, it says so. Raises GateRefused when it is missing."""
    at = clock_text(clock.now())
    try:
        review = await line.may(access)
    except (ClusterError, NetworkError, RateLimited) as error:
        return ("rights", rights_text(access, None, at, error.message))
    if not review.allowed:
        because = f": {review.reason}" if review.reason else ""
        where = f"{access.namespace} of {region}" if access.namespace else region
        raise GateRefused(
            f"these credentials may not {access} in {where} (asked {at}){because}",
            "ask for that right, or use a context that has it",
        )
    return ("rights", rights_text(access, True, at, ""))
