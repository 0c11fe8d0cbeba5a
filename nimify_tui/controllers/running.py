"""An action while it is carried out: what it says, and how it is stopped without losing what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from nimify_tui.base.clock import Clock
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionState, Plan, Progress, TargetResult

#: Why a target was not touched.
STOPPED = "not touched: stopped by the operator"


class Run:
    """One plan that is carried out. Lives on the desk's loop."""

    def __init__(self, plan: Plan, progress: Callable[[Progress], None], clock: Clock) -> None:
        self.plan = plan
        self.results: list[TargetResult] = []
        #: The operator wants no further target to be touched.
        self.stopping = False
        #: A region accepted something, or it cannot be told whether it did.
        self.touched = False
        self._progress, self._clock = progress, clock
        self._task: asyncio.Task[TargetResult] | None = None
        self._now = False

    def teller(self, key: ServiceKey) -> Teller:
        """What says the steps of one target."""
        return Teller(self, key, self._progress, self._clock)

    def ends_here(self) -> str:
        """Why no further target is touched, "" while it goes on."""
        if self.stopping:
            return STOPPED
        failed = next((each for each in self.results if each.state is not ActionState.OK), None)
        return f"not touched, because {failed.key.row_id} did not end well" if failed is not None else ""

    async def target(self, work: Coroutine[Any, Any, TargetResult], teller: Teller) -> TargetResult:
        """Do the work of one target; stopped meanwhile, what is known of it then."""
        task = self._task = asyncio.ensure_future(work)
        try:
            result = await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not self._now or (current is not None and current.cancelling()):
                raise
            result = teller.stopped()
        finally:
            self._task = None
            self.touched = self.touched or teller.accepted or teller.unsure
        self.touched = self.touched or result.state in (ActionState.OK, ActionState.UNKNOWN)
        self.results.append(result)
        return result

    def stop(self, *, now: bool) -> None:
        """Touch no further target; with ``now`` the current one is not watched any longer either."""
        self.stopping = True
        if now and self._task is not None:
            self._now = True
            self._task.cancel()


class Teller:
    """Says each new step of a target once, and knows how far it came."""

    def __init__(self, run: Run, key: ServiceKey, progress: Callable[[Progress], None], clock: Clock) -> None:
        self._run, self._key, self._progress, self._clock = run, key, progress, clock
        self._last: tuple[str, int, int] | None = None
        #: The region is being asked, and has not answered.
        self.unsure = False
        #: The region accepted it.
        self.accepted = False
        #: It was done, and soaks.
        self.done: TargetResult | None = None

    def __call__(self, text: str, done: int, total: int) -> None:
        """A step, and how many of how many are done."""
        if (text, done, total) == self._last:
            return
        self._last = (text, done, total)
        plan, ended = self._run.plan, tuple(self._run.results)
        many = len(plan.request.targets)
        where = f"{self._key.row_id} ({len(ended) + 1} of {many}): " if many > 1 else ""
        at = self._clock.now()
        self._progress(
            Progress(plan_id=plan.id, at=at, text=where + text, done=done, total=total, ended=ended)
        )

    def stopped(self) -> TargetResult:
        """What is known of the target when the operator stops looking at it."""
        seen = (
            f"; seen last: {self._last[0]}"
            if self._last is not None and (self.accepted or self.unsure)
            else ""
        )
        if self.done is not None:
            text = f"{self.done.message}; then the operator ended its soak"
        elif self.accepted:
            text = f"accepted, and the region goes on with it; the operator stopped watching{seen}"
        elif self.unsure:
            text = f"the operator stopped it while the region was asked: it may have been done{seen}"
        else:
            return TargetResult(key=self._key, state=ActionState.PLANNED, message=STOPPED)
        return TargetResult(key=self._key, state=ActionState.UNKNOWN, message=text)
