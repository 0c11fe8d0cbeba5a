"""From a wish to a result: plan, dialog, gate, progress, result, undo. Every change goes this way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.plans import (
    ActionRequest,
    ActionResult,
    ActionState,
    Plan,
    Progress,
    TargetResult,
    UnfinishedAction,
    Verdict,
)
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present.plans import (
    plan_lines,
    plan_title,
    progress_text,
    result_style,
    result_text,
    stop_lines,
)
from nimify_tui.ui.widgets.dialog import Dialog

if TYPE_CHECKING:
    from nimify_tui.ui.console import ConsoleApp

T = TypeVar("T")
_DIALOG_WIDTH = 86
#: What a screen may get told about its own action: (result, or None when it was not carried out).
Ended = Callable[[ActionResult | None], None]


@dataclass(frozen=True, slots=True)
class Deed:
    """An action of this session, or an earlier one that this session undid, for the list of actions."""

    plan: Plan
    state: ActionState
    message: str
    at: float
    actor: str
    results: tuple[TargetResult, ...] = ()


class Acting:
    """The actions of this session. Lives in the UI's loop; only :meth:`_progressed` is called from elsewhere."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self.deeds: list[Deed] = []
        self.unfinished: tuple[UnfinishedAction, ...] = ()
        self.unfinished_trouble = ""
        self.last_undo: ActionRequest | None = None
        self._running: dict[str, tuple[Plan, Progress]] = {}
        self._stopping: set[str] = set()

    # -- what is going on --------------------------------------------------------------------
    @property
    def running(self) -> int:
        """Actions that are being carried out."""
        return len(self._running)

    def progress_line(self) -> str:
        """The newest step of what is being carried out, "" when nothing is."""
        steps = tuple(self._running.values())
        if not steps:
            return ""
        more = f" (and {len(steps) - 1} more)" if len(steps) > 1 else ""
        plan, step = max(steps, key=lambda each: each[1].at)
        return progress_text(step) + (" (stops before the next)" if plan.id in self._stopping else "") + more

    def under_way(self) -> tuple[tuple[Plan, Progress], ...]:
        """What is being carried out, each with its newest step, the newest plan last."""
        return tuple(self._running.values())

    def steps_of(self, plan_id: str) -> Progress | None:
        """The newest step of one plan."""
        found = self._running.get(plan_id)
        return found[1] if found is not None else None

    # -- stopping ----------------------------------------------------------------------------
    def cancel(self, plan_id: str = "") -> None:
        """Ask whether to stop a running action ("": the newest), showing what is done and what is not."""
        running = self._running.get(plan_id) if plan_id else next(reversed(self._running.values()), None)
        if running is None:
            self._app.say("nothing is being carried out", "dim")
            return
        self._app.run_worker(self._cancel(*running), name="cancel", group="actions", exit_on_error=False)

    async def _cancel(self, plan: Plan, step: Progress) -> None:
        app = self._app
        left = len(plan.request.targets) - len(step.ended) - 1
        gently = left > 0 and plan.id not in self._stopping
        lines = stop_lines(plan, step, gently, app.now, min(_DIALOG_WIDTH, app.size.width - 2) - 4)
        question = Dialog(
            "stop this action", lines, ask="y", hint="esc lets it go on (default)",
            yes="stops before the next" if gently else "stops watching it",
        )  # fmt: skip
        if await app.push_screen_wait(question) is None:
            return
        if plan.id not in self._running:
            app.say("it has ended meanwhile", "dim")
            return
        if gently:
            self._stopping.add(plan.id)
            app.say("it stops before the next one", "warn", "X again stops watching this one, too")
        await self.answer(app.context.stop(plan, now=not gently), "not stopped")
        app.refresh_screens()

    # -- the way -----------------------------------------------------------------------------
    def propose(
        self,
        request: ActionRequest | Future[ActionRequest],
        ended: Ended | None = None,
        *,
        planned: Callable[[Plan, Verdict], None] | None = None,
        confirmed: Callable[[Plan], None] | None = None,
        resolves: UnfinishedAction | None = None,
        changed: Mapping[str, Any] | None = None,
    ) -> None:
        """Ask for a plan of ``request``, show it, and carry it out when it is confirmed.

        ``planned`` and ``confirmed`` are told on the way, ``ended`` at the end (None: not carried out).
        ``resolves`` is the unfinished action that this one deals with; ``changed`` are fields of a request
        that has to be read first (a file).
        """
        work = self._propose(self._read(request, changed), ended, planned, confirmed, resolves)
        self._app.run_worker(work, name="action", group="actions", exit_on_error=False)

    async def _read(
        self, request: ActionRequest | Future[ActionRequest], changed: Mapping[str, Any] | None
    ) -> ActionRequest | None:
        if isinstance(request, ActionRequest):
            return request
        found = await self.answer(request)
        return None if found is None else msgspec.structs.replace(found, **(changed or {}))

    async def _propose(
        self,
        reading: Coroutine[Any, Any, ActionRequest | None],
        ended: Ended | None,
        planned: Callable[[Plan, Verdict], None] | None,
        on_confirmed: Callable[[Plan], None] | None,
        resolves: UnfinishedAction | None,
    ) -> None:
        context, app = self._app.context, self._app
        request = await reading
        plan: Plan | None = None
        if request is not None:
            app.say(f"planning: {request.verb}", "dim")
            plan = await self.answer(context.plan(request))
        if plan is None:
            self._tell(ended, None)
            return
        app.clear_notice()
        verdict = context.review(plan)
        if planned is not None:
            planned(plan, verdict)
        confirmed = await app.push_screen_wait(plan_dialog(plan, verdict, app.now, app.size.width))
        if confirmed is None:
            context.cancel(plan)
            app.say("cancelled; nothing was changed", "dim")
            self._tell(ended, None)
            return
        if on_confirmed is not None:
            on_confirmed(plan)
        result = await self._carry_out(plan, "y" if confirmed.how == "y" else confirmed.text, resolves)
        if result is not None and resolves is not None and result.state is ActionState.OK:
            self._forget(resolves)
        self._tell(ended, result)

    async def _carry_out(
        self, plan: Plan, answer: str, settles: UnfinishedAction | None
    ) -> ActionResult | None:
        app = self._app
        first = Progress(plan_id=plan.id, at=app.now, text=f"{plan.request.verb} begins")
        self._running[plan.id] = (plan, first)
        try:
            result = await self.answer(app.context.carry_out(plan, answer, self._progressed, settles))
        finally:
            self._running.pop(plan.id, None)
            self._stopping.discard(plan.id)
        if result is None:
            return None
        deed = Deed(plan, result.state, result.message, app.now, app.context.actor, result.targets)
        self.deeds.append(deed)
        if plan.request.undoes and result.state is ActionState.OK:
            self._mark_undone(plan.request.undoes, settles)
        undo = result.undo or (plan.undo if result.state is ActionState.OK else None)
        if (
            result.state is not ActionState.FAILED or undo is not None
        ):  # what failed half-way can be taken back
            self.last_undo = None if plan.request.undoes else undo
        hint = "u undoes it" if self.last_undo is not None and self.last_undo is undo else "U shows more"
        app.say(result_text(plan, result), result_style(result), hint)
        return result

    def _mark_undone(self, plan_id: str, settles: UnfinishedAction | None) -> None:
        """The action ``plan_id`` was taken back now; one of an earlier session comes onto the list as that."""
        how = f"undone by {self._app.context.actor} at {fmt.clock(self._app.now)}"
        self.deeds = [
            replace(each, state=ActionState.UNDONE, message=f"{how}; before: {each.message}")
            if each.plan.id == plan_id
            else each
            for each in self.deeds
        ]
        if settles is not None and settles.plan.id == plan_id:
            text = f"{how}; an earlier session was cut short in it"
            self.deeds.insert(
                0, Deed(settles.plan, ActionState.UNDONE, text, settles.begun_at, settles.actor)
            )

    def _progressed(self, progress: Progress) -> None:
        """Called from the engine's thread: the newest step replaces the one before (one item of a dict)."""
        if (known := self._running.get(progress.plan_id)) is not None:
            self._running[progress.plan_id] = (known[0], progress)

    def undo(self) -> bool:
        """Plan the way back from the last action; False when there is none."""
        if self.last_undo is None:
            return False
        self.propose(self.last_undo)
        return True

    # -- unfinished --------------------------------------------------------------------------
    def look_for_unfinished(self) -> None:
        """Ask for actions that an earlier session left unfinished."""
        self._app.run_worker(
            self._look(), name="unfinished", group="unfinished", exclusive=True, exit_on_error=False
        )

    async def _look(self) -> None:
        found = await self.answer(self._app.context.unfinished(), "unfinished actions could not be read")
        self.unfinished = tuple(found or ())
        self._app.refresh_screens()

    async def resolve(self, action: UnfinishedAction, how: str, text: str = "") -> None:
        """Put on record that an unfinished action is dealt with, and forget it."""
        future = self._app.context.resolve_unfinished(action, how, text)
        done = await self.answer(_with_value(future), "could not be recorded")
        if done is not None:
            self._forget(action)

    def _forget(self, action: UnfinishedAction) -> None:
        self.unfinished = tuple(each for each in self.unfinished if each.plan.id != action.plan.id)
        self._app.refresh_screens()

    def replace_unfinished(self, action: UnfinishedAction) -> None:
        """A check came back."""
        self.unfinished = tuple(
            action if each.plan.id == action.plan.id else each for each in self.unfinished
        )

    # -- answers -----------------------------------------------------------------------------
    async def answer(self, future: Future[T] | asyncio.Future[T], what: str = "") -> T | None:
        """What a future gives; an error is told to the operator and gives None."""
        try:
            if isinstance(future, Future):
                return await asyncio.wrap_future(future)
            return await future
        except NimifyError as error:
            self._say_error(what, error.message, error.remedy)
        except (OSError, RuntimeError, ValueError, TimeoutError) as error:
            self._say_error(what, f"{type(error).__name__}: {error}", "")
        return None

    def _say_error(self, what: str, message: str, remedy: str) -> None:
        self._app.say(f"{what}: {message}" if what else message, "bad", remedy)

    @staticmethod
    def _tell(ended: Ended | None, result: ActionResult | None) -> None:
        if ended is not None:
            ended(result)


def _with_value(future: Future[None]) -> Future[bool]:
    """A future that gives True when ``future`` is done, so that None can mean "failed"."""
    told: Future[bool] = Future()

    def copy(done: Future[None]) -> None:
        error = done.exception()
        if error is not None:
            told.set_exception(error)
        else:
            told.set_result(True)

    future.add_done_callback(copy)
    return told


def plan_dialog(plan: Plan, verdict: Verdict, now: float, screen_width: int) -> Dialog:
    """The dialog of a plan, with the confirmation that the gate wants."""
    lines: Sequence[Sequence[tuple[str, str] | str]] = plan_lines(
        plan, now, min(_DIALOG_WIDTH, screen_width - 2) - 4
    )
    title = plan_title(plan)
    if not verdict.allowed:
        remedy = f": {verdict.remedy}" if verdict.remedy else ""
        return Dialog(title, lines, ask="none", blocked=f"not allowed: {verdict.reason}{remedy}")
    if verdict.confirm == "typed":
        return Dialog(title, lines, ask="typed", name=verdict.expected)
    return Dialog(title, lines, ask="y")
