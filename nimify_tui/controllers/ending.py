"""How the results of several targets make one."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.domain.plans import ActionState, Plan, TargetResult


def reality_rank(state: ActionState) -> int:
    """The worst of several realities has the highest rank."""
    return {ActionState.OK: 0, ActionState.FAILED: 1, ActionState.RUNNING: 2}.get(state, 3)


def interrupted(plan: Plan, targets: Sequence[TargetResult], why: str) -> list[TargetResult]:
    """What is known of each target when the watching ended early: the current one is UNKNOWN."""
    known = list(targets)
    for index, key in enumerate(plan.request.targets[len(known) :]):
        if index == 0 and not (known and known[-1].state is not ActionState.OK):
            known.append(
                TargetResult(key=key, state=ActionState.UNKNOWN, message=f"{why} before the end was seen")
            )
        else:
            known.append(TargetResult(key=key, state=ActionState.PLANNED, message="not touched"))
    return known


def headline(plan: Plan, targets: Sequence[TargetResult], state: ActionState) -> str:
    """The whole in one line."""
    if len(plan.request.targets) == 1:
        return targets[0].message
    good = sum(target.state is ActionState.OK for target in targets)
    bad = [target for target in targets if target.state is not ActionState.OK]
    worst = next((target for target in bad if target.state is state), bad[0] if bad else None)
    rest = f"; {worst.key.row_id}: {worst.message}" if worst is not None else ""
    return f"{good} of {len(plan.request.targets)} done" + ("" if state is ActionState.OK else rest)
