"""What to do next so that the replicas become as they are wanted: a pure function of what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nimify_tui.domain.services import ReplicaState

#: Which replica goes first when one has to go.
_WORST_FIRST = {
    ReplicaState.BACKOFF: 0,
    ReplicaState.EXITED: 0,
    ReplicaState.HUNG: 1,
    ReplicaState.STARTING: 2,
    ReplicaState.NOT_READY: 3,
    ReplicaState.READY: 4,
    ReplicaState.DRAINING: 5,
}


class Seen(NamedTuple):
    """One replica as it is; ``leaving``: it drains already. ``age`` orders them, oldest first."""

    name: str
    revision: int
    epoch: int
    state: ReplicaState
    leaving: bool
    age: int = 0


class Steps(NamedTuple):
    """What to do now. ``settled``: everything is as wanted. ``progress`` says in words what is under way."""

    start: int
    drain: tuple[str, ...]
    settled: bool
    progress: str


def next_steps(revision: int, epoch: int, wanted: int, seen: Sequence[Seen]) -> Steps:
    """The next step towards ``wanted`` ready replicas of ``revision`` and ``epoch``, and no other.

    Replicas are replaced one by one: a new one is started, and only when every new one is ready one
    old one is drained; so at no time fewer serve than before, and at most one more runs than wanted.
    A new one that does not become ready holds everything there.
    """
    staying = [one for one in seen if not one.leaving]
    leaving = len(seen) - len(staying)
    fresh = [one for one in staying if (one.revision, one.epoch) == (revision, epoch)]
    old = [one for one in staying if (one.revision, one.epoch) != (revision, epoch)]
    ready = sum(one.state is ReplicaState.READY for one in fresh)
    if wanted == 0:
        return Steps(0, _worst(staying, len(staying)), not seen, _draining(len(seen)))
    if not old:
        surplus = len(fresh) - wanted
        settled = surplus == 0 and leaving == 0 and ready == wanted
        progress = "" if settled else f"{ready} of {wanted} ready"
        if surplus >= 0 and ready == wanted + max(surplus, 0):
            progress = _draining(leaving + max(surplus, 0))
        return Steps(max(0, -surplus), _worst(fresh, surplus), settled, progress)
    progress = f"{min(ready, wanted)} of {wanted} replaced"
    total = len(fresh) + len(old)
    if total > wanted + 1:  # fewer are wanted than before, or a replacement was overtaken by another one
        return Steps(0, _dispensable(old, fresh, wanted, total - wanted - 1), False, progress)
    if ready < len(fresh) or leaving:
        return Steps(0, (), False, progress)
    if total > wanted:
        return Steps(0, _worst(old, 1), False, progress)
    return Steps(1, (), False, progress)


def _dispensable(old: Sequence[Seen], fresh: Sequence[Seen], wanted: int, count: int) -> tuple[str, ...]:
    """Names of ``count`` replicas too many: old ones first, but none that is ready while too few others are."""
    serving = sum(one.state is ReplicaState.READY for one in (*old, *fresh))
    names: list[str] = []
    for name in (*_worst(old, len(old)), *_worst(fresh, len(fresh))):
        one = next(each for each in (*old, *fresh) if each.name == name)
        if len(names) == count:
            break
        if one.state is ReplicaState.READY:
            if serving <= wanted:
                continue
            serving -= 1
        names.append(name)
    return tuple(names)


def _worst(of: Sequence[Seen], count: int) -> tuple[str, ...]:
    """Names of the ``count`` replicas that are missed least: those in trouble, then the youngest."""
    ranked = sorted(of, key=lambda one: (_WORST_FIRST[one.state], -one.age))
    return tuple(one.name for one in ranked[: max(0, count)])


def _draining(count: int) -> str:
    if count == 0:
        return ""
    return "1 replica drains" if count == 1 else f"{count} replicas drain"
