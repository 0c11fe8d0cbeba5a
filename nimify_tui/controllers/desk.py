"""The action desk: the one way from a wish to a changed world, for screen, command line and wizard.

plan -> review and confirmation (gate) -> permit and begin record (gate) -> the region is asked ->
watched until it is true -> end record (gate) -> result with its undo.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence

import msgspec

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import DeadlineError, NetworkError, NimifyError, ValidationError
from nimify_tui.controllers.ending import headline, interrupted, reality_rank
from nimify_tui.controllers.joining import joined_diff, narrowed, undo_of
from nimify_tui.controllers.running import Run, Teller
from nimify_tui.controllers.waves import Measure, nothing_measured, shown_as, soaked, soaks
from nimify_tui.controllers.wording import merge_facts, order_fact, summary, undo_fact
from nimify_tui.controllers.world import Controller, Draft, Receipt, Standing, World
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import (
    ActionRequest,
    ActionResult,
    ActionState,
    Permit,
    Plan,
    Progress,
    TargetResult,
    UnfinishedAction,
    Verb,
)
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.gate.gate import Gate
from nimify_tui.gate.journal import was_masked

#: How long one target may take to become as wanted.
TARGET_DEADLINE_S = 180.0
#: A region that is not seen for so long while we wait for it: what became of the change is unknown.
CONTACT_LOST_S = 20.0
#: Without news an action is looked at again after so long: soon after each step of it, then less and less often.
_SOON_S, _SELDOM_S = 0.25, 1.0
_SEEN = (RegionState.LIVE, RegionState.THROTTLED)
_WORST = {ActionState.OK: 0, ActionState.PLANNED: 1, ActionState.UNKNOWN: 2, ActionState.FAILED: 3}


class ActionDesk:
    """Plans, carries out, and looks after what was cut short. Lives on the engine's loop."""

    def __init__(
        self,
        gate: Gate,
        controllers: Mapping[RegionKind, Controller],
        world: World,
        clock: Clock,
        *,
        target_deadline_s: float = TARGET_DEADLINE_S,
        contact_lost_s: float = CONTACT_LOST_S,
        measure: Measure = nothing_measured,
    ) -> None:
        self._gate = gate
        self._controllers = controllers
        self._world = world
        self._clock = clock
        self._target_deadline_s = target_deadline_s
        self._contact_lost_s = contact_lost_s
        self._measure = measure
        self._running: dict[str, Run] = {}

    async def plan(self, request: ActionRequest, *, simulation: bool = False) -> Plan:
        """A plan for ``request`` from the world as it is now; writes nothing.

        With ``simulation`` the plan can be read and never be carried out. Raises ValidationError for a
        wish that makes no sense, NetworkError when a region is not seen, ClusterError when it cannot do it.
        """
        if not request.targets:
            raise ValidationError("nothing is chosen", "name at least one service")
        if len(set(request.targets)) != len(request.targets):
            raise ValidationError("a service is named twice", "name each service once")
        regions = {key.region: self._seen_region(key.region)[0] for key in request.targets}
        drafts: list[tuple[ServiceKey, Draft]] = []
        for key in request.targets:
            controller = self._controller(regions[key.region])
            drafts.append((key, await controller.draft(request.part_for(key), key, self._world)))
        idle = [(key, draft.nothing_to_do) for key, draft in drafts if draft.nothing_to_do]
        busy = [(key, draft) for key, draft in drafts if not draft.nothing_to_do]
        if not busy:
            raise ValidationError(
                "; ".join(f"{key.row_id} {text}" for key, text in idle[:5]), "nothing needs to be done"
            )
        return self._assemble(request, regions, busy, idle, simulation=simulation)

    async def carry_out(
        self,
        plan: Plan,
        answer: str,
        progress: Callable[[Progress], None] = lambda _: None,
        settles: UnfinishedAction | None = None,
    ) -> ActionResult:
        """Carry out ``plan``, confirmed by ``answer``; the result is on the audit trail when this returns.

        Raises GateRefused (nothing was done). When the task is cancelled the action is recorded as
        UNKNOWN before CancelledError goes on. ``settles`` is the unfinished action that this one
        continues or undoes; it is closed when this one ends OK.
        """
        permit = await self._authorise(plan, answer)
        run = self._running[plan.id] = Run(plan, progress, self._clock)
        targets = run.results
        try:
            for key in plan.request.targets:
                if text := run.ends_here():
                    targets.append(TargetResult(key=key, state=ActionState.PLANNED, message=text))
                    continue
                say = run.teller(key)
                await run.target(self._whole(plan, key, permit, say), say)
        except asyncio.CancelledError:
            self._close(run, permit, interrupted(plan, targets, "this console stopped watching"))
            raise
        except BaseException as error:
            self._close(run, permit, interrupted(plan, targets, f"an error of our own: {error!r}"))
            raise
        finally:
            self._running.pop(plan.id, None)
        # In a thread, because the disk may be slow; shielded, because the end has to be written.
        ended = await asyncio.shield(asyncio.to_thread(self._close, run, permit, targets))
        if settles is not None and ended.state is ActionState.OK:
            how = "undone" if plan.request.undoes == settles.plan.id else "continued"
            await asyncio.shield(
                asyncio.to_thread(self._gate.resolve_unfinished, settles, how, ended.message)
            )
        return ended

    async def _authorise(self, plan: Plan, answer: str) -> Permit:
        """The permit; when we are cancelled while its begin is written, that action is closed as not touched."""
        asked = asyncio.create_task(asyncio.to_thread(self._gate.authorise, plan, answer))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            await asyncio.wait({asked})
            if not asked.cancelled() and asked.exception() is None:
                text = "cancelled before anything was asked"
                idle = [
                    TargetResult(key=key, state=ActionState.PLANNED, message=text)
                    for key in plan.request.targets
                ]
                self._close(Run(plan, lambda _: None, self._clock), asked.result(), idle)
            raise

    def stop(self, plan_id: str, *, now: bool) -> bool:
        """Touch no further target of a running plan; ``now``: nor watch the current one. False when none runs.

        What a region accepted goes on there; what is not known of it then is recorded as UNKNOWN.
        """
        run = self._running.get(plan_id)
        if run is not None:
            run.stop(now=now)
        return run is not None

    def unfinished(self) -> list[UnfinishedAction]:
        """Actions that were cut short, oldest first (reads the audit trail: not for the loop's hot path)."""
        return self._gate.unfinished()

    async def check(self, unfinished: UnfinishedAction) -> UnfinishedAction:
        """The same with ``reality`` and ``state`` from the world as it is now."""
        standings: list[tuple[ServiceKey, Standing]] = []
        plan = unfinished.plan
        for key in plan.request.targets:
            try:
                region = self._seen_region(key.region)[0]
                controller = self._controller(region)
                standing = await controller.reality(plan, plan.request.part_for(key), key, self._world)
            except NimifyError as error:
                standing = Standing(state=ActionState.UNKNOWN, text=error.message)
            standings.append((key, standing))
        state = max(
            (standing.state for _, standing in standings), key=reality_rank, default=ActionState.UNKNOWN
        )
        if len({standing.state for _, standing in standings}) > 1 and state is ActionState.FAILED:
            state = ActionState.UNKNOWN  # done in part: neither yes nor no
        many = len(standings) > 1
        text = "; ".join(
            f"{key.row_id}: {standing.text}" if many else standing.text for key, standing in standings
        )
        return msgspec.structs.replace(unfinished, state=state, reality=text)

    def continue_request(self, unfinished: UnfinishedAction) -> ActionRequest:
        """What has to be planned to finish the action. Raises ValidationError when its record was masked."""
        if was_masked(unfinished.plan):
            raise ValidationError(
                "the record of this action is masked (it held a credential)", "plan it anew by hand"
            )
        return msgspec.structs.replace(unfinished.plan.request, hidden=())

    def undo_request(self, unfinished: UnfinishedAction) -> ActionRequest:
        """What has to be planned to take the action back. Raises ValidationError when that is not possible."""
        self.continue_request(unfinished)
        if unfinished.plan.undo is None:
            raise ValidationError("this action cannot be undone", "check what is there, then dismiss it")
        return unfinished.plan.undo

    def resolve(self, unfinished: UnfinishedAction, how: str, text: str = "") -> None:
        """Record that an unfinished action is dealt with: ``how`` is "done" (checked) or "dismissed"."""
        self._gate.resolve_unfinished(unfinished, how, text)

    def _controller(self, region: Region) -> Controller:
        controller = self._controllers.get(region.kind)
        if controller is None:
            raise ValidationError(
                f"this version cannot change things in a {region.kind} region ({region.name})"
            )
        return controller

    def _seen_region(self, name: str) -> tuple[Region, RegionHealth]:
        found = self._world.region(name)
        if found is None:
            raise ValidationError(f"region {name} is not known here", "see `nimify-tui config show`")
        region, health = found
        if health.state not in _SEEN:
            text = f"region {name} is {health.state}: {health.cause or 'no contact from this host'}"
            raise NetworkError(text, health.remedy or "nothing can be changed until the region is seen again")
        return region, health

    def _assemble(
        self,
        request: ActionRequest,
        regions: Mapping[str, Region],
        busy: Sequence[tuple[ServiceKey, Draft]],
        idle: Sequence[tuple[ServiceKey, str]],
        *,
        simulation: bool,
    ) -> Plan:
        production = sorted({key.region for key, _ in busy if regions[key.region].production})
        plan_id = secrets.token_hex(8)
        undo = undo_of(plan_id, [draft for _, draft in busy])
        kept = narrowed(request, [(key, draft.part) for key, draft in busy])
        hidden = [key for key in request.hidden if any(key == other for other, _ in busy)]
        facts = merge_facts([(key, draft.facts) for key, draft in busy])
        facts += [("unchanged", f"{key.row_id} {text}") for key, text in idle]
        if hidden:
            facts.append(
                ("hidden", f"marked and not shown by the filter: {', '.join(key.row_id for key in hidden)}")
            )
        facts += order_fact(kept)
        if demo := sorted({key.region for key, _ in busy if regions[key.region].demo}):
            facts.append(
                ("demo", f"{', '.join(demo)} belong{'s' if len(demo) == 1 else ''} to a running demo")
            )
        facts += undo_fact([(key, draft) for key, draft in busy])
        if request.reason:
            facts.append(("reason", request.reason))
        now = self._clock.now()
        return Plan(
            id=plan_id,
            request=kept,
            summary=summary(kept, production),
            facts=tuple(facts),
            diff=joined_diff(busy),
            preconditions=tuple(draft.precondition for _, draft in busy),
            production=bool(production),
            created_at=now,
            expires_at=now + self._gate.policy.plan_ttl_s,
            destructive=any(draft.destructive for _, draft in busy),
            undo=undo,
            simulation=simulation,
            calls=sum(draft.calls for _, draft in busy),
            obstacle="; ".join(draft.obstacle for _, draft in busy if draft.obstacle),
            obstacle_remedy=next((draft.obstacle_remedy for _, draft in busy if draft.obstacle), ""),
        )

    async def _whole(self, plan: Plan, key: ServiceKey, permit: Permit, say: Teller) -> TargetResult:
        """Do it, watch it, and let it soak."""
        part = plan.request.part_for(key)
        shown = shown_as(part, key)
        before = self._measure(shown)
        result = await self._one(plan, key, permit, say)
        if not (plan.request.soak_s and soaks(part)):
            return result
        say.done = result
        return await soaked(result, shown, plan.request, before, self._measure, self._world, self._clock, say)

    async def _one(self, plan: Plan, key: ServiceKey, permit: Permit, say: Teller) -> TargetResult:
        part = plan.request.part_for(key)
        sent = False
        try:
            region = self._seen_region(key.region)[0]
            controller = self._controller(region)
            say("asking the region", 0, 0)
            sent = say.unsure = True
            receipt = await controller.send(plan, part, key, permit, say)
            say.unsure, say.accepted = False, True
        except (NetworkError, DeadlineError) as error:
            if not sent:
                return TargetResult(key=key, state=ActionState.FAILED, message=f"not sent: {error}")
            return await self._after_lost_answer(plan, part, key, say, str(error))
        except NimifyError as error:
            say.unsure = part.verb is Verb.DRAIN  # what it evicted before it gave up is gone
            return TargetResult(key=key, state=ActionState.FAILED, message=str(error))
        return await self._settle(controller, plan, part, key, receipt, say)

    async def _settle(
        self,
        controller: Controller,
        plan: Plan,
        part: ActionRequest,
        key: ServiceKey,
        receipt: Receipt,
        say: Teller,
    ) -> TargetResult:
        """Watch until the world agrees, cannot agree, or is not seen any more. Asks nothing twice."""
        begin = seen_at = self._clock.mono_s()
        deadline_s = receipt.deadline_s or self._target_deadline_s
        pause_s, before = _SELDOM_S, None
        while True:
            now, pause_s = self._clock.mono_s(), min(2 * pause_s, _SELDOM_S)
            if self._is_seen(key.region):
                seen_at = now
                standing = await controller.standing(plan, part, key, receipt, self._world)
                say(standing.text, standing.done, standing.total)
                if standing != before:
                    pause_s, before = _SOON_S, standing
                if standing.state is not ActionState.RUNNING:
                    return TargetResult(key=key, state=standing.state, message=standing.text)
                if now - begin >= deadline_s:
                    text = f"not done within {deadline_s:.0f} s: {standing.text}"
                    return TargetResult(key=key, state=ActionState.FAILED, message=text)
            elif now - seen_at >= self._contact_lost_s:
                text = f"accepted; then no contact with {key.region} for {now - seen_at:.0f} s: the outcome is unknown"
                return TargetResult(key=key, state=ActionState.UNKNOWN, message=text)
            await self._world.changed(pause_s)

    async def _after_lost_answer(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, say: Teller, error: str
    ) -> TargetResult:
        """The request may or may not have arrived: look at the world, never ask again."""
        begin, standing, pause_s = self._clock.mono_s(), None, _SOON_S
        while self._clock.mono_s() - begin < self._patience_s(standing):
            found = f": {standing.text}" if standing is not None else ""
            say(f"no answer ({error}); looking whether it was done{found}", 0, 0)
            await self._world.changed(pause_s)
            standing, pause_s = None, min(2 * pause_s, _SELDOM_S)
            if self._is_seen(key.region):
                controller = self._controller(self._seen_region(key.region)[0])
                with contextlib.suppress(NetworkError, DeadlineError):
                    standing = await controller.reality(plan, part, key, self._world)
                if standing is not None and standing.state is ActionState.OK:
                    return TargetResult(key=key, state=ActionState.OK, message=standing.text)
        if standing is not None and standing.state is ActionState.FAILED:
            return TargetResult(
                key=key, state=ActionState.FAILED, message=f"no answer ({error}); {standing.text}"
            )
        text = f"no answer ({error}): it may have been done, check before trying again"
        return TargetResult(key=key, state=ActionState.UNKNOWN, message=text)

    def _patience_s(self, standing: Standing | None) -> float:
        """What was begun and goes on is watched to its end."""
        goes_on = standing is not None and standing.state is ActionState.RUNNING
        return self._target_deadline_s if goes_on else self._contact_lost_s

    def _is_seen(self, region: str) -> bool:
        found = self._world.region(region)
        return found is not None and found[1].state in _SEEN

    def _close(self, run: Run, permit: Permit, targets: Sequence[TargetResult]) -> ActionResult:
        plan = run.plan
        state = max((target.state for target in targets), key=lambda word: _WORST.get(word, 2))
        touched = run.touched or any(target.state is ActionState.UNKNOWN for target in targets)
        if state is ActionState.PLANNED and touched:
            state = ActionState.FAILED  # done in part, which is not what was planned
        result = ActionResult(
            plan_id=plan.id,
            state=state,
            message=headline(plan, targets, state),
            targets=tuple(targets),
            undo=plan.undo if touched else None,
            ended_at=self._clock.now(),
        )
        try:
            self._gate.finish(plan, permit, result)
        except (NimifyError, OSError) as error:
            # The world changed and the trail did not take its end: that must be seen, not swallowed.
            text = f"{result.message}; its end could not be recorded: {error}"
            return msgspec.structs.replace(result, message=text)
        return result
