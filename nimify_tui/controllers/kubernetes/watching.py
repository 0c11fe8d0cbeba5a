"""Whether a change is true: the watch says when to look, the object itself says what is so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from nimify_tui.backends.kubernetes.errors import NotFound
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.controllers.goals import trouble_of
from nimify_tui.controllers.kubernetes.changes import COUNTS, is_so
from nimify_tui.controllers.kubernetes.objects import Live, WorkloadKind
from nimify_tui.controllers.kubernetes.reading import Line, read_object
from nimify_tui.controllers.kubernetes.rollouts import RollOut, counted, rolled
from nimify_tui.controllers.world import Receipt, Standing
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Precondition, Verb
from nimify_tui.domain.services import Replica, ReplicaState, Service

#: The object of a running action is read at most so often, seconds: the first times sooner, because many a change is
#: true within a second, then twice as long from look to look.
FIRST_LOOK_S, LOOK_S = 0.2, 1.5
_KEPT = 64
#: Reads the object, or gives the one read a moment ago; None: it is not there.
Look = Callable[[], Awaitable[Live | None]]


class Looks:
    """Looks at objects of running actions, none that lasts more often than once in :data:`LOOK_S`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: When each was read, what was there, and how long that holds.
        self._last: dict[tuple[str, ServiceKey], tuple[float, Live | None, float]] = {}

    def of(self, plan_id: str, key: ServiceKey, line: Line, path: str) -> Look:
        """The look of one target of a plan."""

        async def look() -> Live | None:
            now, before = self._clock.mono_s(), self._last.get((plan_id, key))
            if before is not None and now - before[0] < before[2]:
                return before[1]
            holds_s = FIRST_LOOK_S if before is None else min(LOOK_S, 2 * before[2])
            try:
                live: Live | None = await read_object(line, path)
            except NotFound:
                live = None
            while len(self._last) >= _KEPT:
                self._last.pop(next(iter(self._last)))
            self._last[(plan_id, key)] = (now, live, holds_s)
            return live

        return look


async def standing_of(
    part: ActionRequest,
    kind: WorkloadKind,
    receipt: Receipt,
    service: Service | None,
    replicas: Sequence[Replica],
    look: Look,
) -> Standing:
    """How far the change that made ``receipt.generation`` is."""
    here = [replica for replica in replicas if replica.state is not ReplicaState.EXITED]
    if part.verb is Verb.DELETE:
        if service is None or service.uid != receipt.uid:
            return Standing(state=ActionState.OK, text="it is gone")
        return Standing(state=ActionState.RUNNING, text="it is being removed")
    if service is None:
        return Standing(state=ActionState.UNKNOWN, text="it is gone: somebody deleted it")
    if service.uid != receipt.uid:
        return Standing(state=ActionState.UNKNOWN, text="it was deleted and made again by somebody else")
    if service.generation < receipt.generation:
        return Standing(state=ActionState.RUNNING, text="accepted")
    try:
        live = await look()
    except NimifyError as error:
        return Standing(state=ActionState.RUNNING, text=f"accepted; it cannot be read now: {error.message}")
    if live is None or live.uid != receipt.uid:
        return Standing(state=ActionState.RUNNING, text="accepted; it is not there to be read")
    if not is_so(part, live):
        text = f"overtaken by another change (generation {live.generation}): it is not as this one wanted it"
        return Standing(state=ActionState.UNKNOWN, text=text)
    state = _measure(part, live, kind)
    if state.failed:
        return Standing(state=ActionState.FAILED, text=_with_trouble(state.text, here, service), done=state.done,
                        total=state.total)  # fmt: skip
    if state.over and _seen_so(part, service, here):
        return Standing(
            state=ActionState.OK, text=_done_text(part, state, service), done=state.done, total=state.total
        )
    return Standing(
        state=ActionState.RUNNING,
        text=_with_trouble(state.text, here, service),
        done=state.done,
        total=state.total,
    )


def reality_of(part: ActionRequest, was: Precondition, kind: WorkloadKind, live: Live | None) -> Standing:
    """Whether a change of which no end is known was done: OK, FAILED (was not done), RUNNING or UNKNOWN."""
    if live is None or live.uid != was.uid:
        if part.verb is Verb.DELETE:
            return Standing(state=ActionState.OK, text="it is gone: it was done")
        gone = (
            "it is gone: somebody deleted it since" if live is None else "it was deleted and made again since"
        )
        return Standing(state=ActionState.UNKNOWN, text=gone)
    if part.verb is Verb.DELETE:
        if live.meta.get("deletionTimestamp"):
            return Standing(state=ActionState.RUNNING, text="it is being removed")
        return Standing(state=ActionState.FAILED, text="it is still there: it was not done")
    state = _measure(part, live, kind)
    if not is_so(part, live):
        if live.generation == was.generation:
            return Standing(
                state=ActionState.FAILED, text=f"nothing has changed since: it was not done ({state.text})"
            )
        text = f"it was changed since, and is not as this action wanted it ({state.text})"
        return Standing(state=ActionState.UNKNOWN, text=text)
    if state.failed:
        return Standing(state=ActionState.UNKNOWN, text=f"it was begun and does not end well: {state.failed}")
    if state.over:
        return Standing(state=ActionState.OK, text=f"{state.text}: it was done")
    return Standing(state=ActionState.RUNNING, text=f"it was begun and goes on: {state.text}")


def _measure(part: ActionRequest, live: Live, kind: WorkloadKind) -> RollOut:
    if part.verb is Verb.PAUSE:
        return RollOut(0, 0, "its roll-out is paused", over=True)
    return counted(live, kind) if part.verb in COUNTS else rolled(live, kind)


def _seen_so(part: ActionRequest, service: Service, here: Sequence[Replica]) -> bool:
    """Whether this console's own rows have come that far, too."""
    if part.verb is Verb.PAUSE:
        return True
    ready = sum(replica.state is ReplicaState.READY for replica in here)
    if len(here) != service.desired_replicas or ready != len(here):
        return False
    return part.verb in COUNTS or all(replica.revision == service.revision for replica in here)


def _done_text(part: ActionRequest, state: RollOut, service: Service) -> str:
    if part.verb is Verb.PAUSE or (part.verb in COUNTS and state.total == 0):
        return state.text
    return f"revision {service.revision} runs on {state.done} of {state.total}"


def _with_trouble(text: str, here: Sequence[Replica], service: Service) -> str:
    trouble = trouble_of(here, service.revision)
    return f"{text}; {trouble}" if trouble else text
