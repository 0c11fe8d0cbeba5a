"""Several drafts as one plan: one request, one undo, one diff."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from nimify_tui.controllers.world import Draft
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, DiffLine, Verb


def narrowed(request: ActionRequest, parts: Sequence[tuple[ServiceKey, ActionRequest]]) -> ActionRequest:
    """The request for the targets that need it, with what the drafts filled in (a model's hash, a revision)."""
    targets = tuple(key for key, _ in parts)
    hidden = tuple(key for key in request.hidden if key in targets)
    own = [msgspec.structs.replace(part, targets=(key,), hidden=(), parts=()) for key, part in parts]
    alike = {msgspec.json.encode(msgspec.structs.replace(part, targets=())) for part in own}
    if len(alike) == 1:
        wave = {"soak_s": request.soak_s, "unmeasured": request.unmeasured, "untried": request.untried}
        return msgspec.structs.replace(own[0], targets=targets, hidden=hidden, **wave)
    return msgspec.structs.replace(request, targets=targets, hidden=hidden, parts=tuple(own))


def undo_of(plan_id: str, drafts: Sequence[Draft]) -> ActionRequest | None:
    """One request that takes every draft back; None when none can be."""
    undos = [
        msgspec.structs.replace(draft.undo, undoes=plan_id) for draft in drafts if draft.undo is not None
    ]
    if not undos:
        return None
    if any(draft.part.manifest for draft in drafts):
        undos.reverse()  # what was made last may need what was made before it
    targets = tuple(key for undo in undos for key in undo.targets)
    base = ActionRequest(
        verb=undos[0].verb if len(undos) == 1 else _common_verb(undos), targets=targets, undoes=plan_id
    )
    return undos[0] if len(undos) == 1 else msgspec.structs.replace(base, parts=tuple(undos))


def _common_verb(undos: Sequence[ActionRequest]) -> Verb:
    verbs = {undo.verb for undo in undos}
    if verbs == {Verb.APPLY, Verb.DELETE}:
        return Verb.APPLY
    return verbs.pop() if len(verbs) == 1 else Verb.UPDATE


def joined_diff(busy: Sequence[tuple[ServiceKey, Draft]]) -> tuple[DiffLine, ...]:
    """The diffs of all targets, those that are alike once, under the names of their targets."""
    if len(busy) == 1:
        return busy[0][1].diff
    alike: dict[tuple[DiffLine, ...], list[ServiceKey]] = {}
    for key, draft in busy:
        alike.setdefault(draft.diff, []).append(key)
    lines: list[DiffLine] = []
    for diff, keys in alike.items():
        names = (
            f"each of the {len(busy)}" if len(keys) == len(busy) else ", ".join(key.row_id for key in keys)
        )
        lines.append(DiffLine(" ", f"{names}:"))
        lines += [DiffLine(line.mark, f"  {line.text}") for line in diff]
    return tuple(lines)
