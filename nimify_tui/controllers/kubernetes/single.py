"""Changes of objects that are no workloads, each its whole way; the drain of a node among them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from nimify_tui.backends.kubernetes.errors import Conflict, DisruptionBlocked, NotFound, OutcomeUnknown
from nimify_tui.backends.kubernetes.rights import Access
from nimify_tui.backends.kubernetes.write import Writer
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, NimifyError, ValidationError
from nimify_tui.controllers.drafts import plural
from nimify_tui.controllers.kubernetes.aftermath import effects, homeless, leaving_facts
from nimify_tui.controllers.kubernetes.draining import Leaving, check_leaving, leaving
from nimify_tui.controllers.kubernetes.objects import Json, Live, difference, number, text_of
from nimify_tui.controllers.kubernetes.others import (
    ask_other,
    check_other,
    kind_for,
    other_facts,
    other_is_so,
    undo_of_other,
)
from nimify_tui.controllers.kubernetes.owners import keeper_facts
from nimify_tui.controllers.kubernetes.reading import Line, read_list, read_object
from nimify_tui.controllers.kubernetes.trying import ask_rights, trial_plan, try_out, why_untried
from nimify_tui.controllers.kubernetes.watching import Look
from nimify_tui.controllers.kubernetes.writing import ATTEMPTS, unchanged, written
from nimify_tui.controllers.world import Draft, Receipt, Say, Standing, World
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, DiffLine, Permit, Plan, Precondition, Verb
from nimify_tui.gate.gate import Gate

#: A budget that does not allow an eviction is asked again after this (kubectl's own), seconds.
BLOCKED_S = 5.0
#: A drain asks for so long; what is blocked then stays, seconds.
DRAIN_S = 600.0
#: Evictions at once.
AT_ONCE = 8
_ROUNDS = int(DRAIN_S / BLOCKED_S) + 1
_SETTLE_S = 900.0


class OtherObjects:
    """Drafts and carries out changes whose request names a ``kind``."""

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock

    async def draft(self, part: ActionRequest, key: ServiceKey, line: Line, world: World) -> Draft:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        kind = kind_for(part)
        if not kind.namespaced and key.namespace:
            raise ValidationError(f"a {kind.name} has no namespace")
        try:
            live = await read_object(line, kind.path(key))
        except NotFound as error:
            raise ValidationError(
                f"there is no {kind.name} {key.fold_id} in {key.region}", "look at its name"
            ) from error
        before = Precondition(key, live.uid, live.generation, live.path)
        if idle := check_other(part, live):
            return Draft(part=part, precondition=before, nothing_to_do=idle)
        facts, calls = other_facts(part, live), ATTEMPTS
        evicting: Sequence[Leaving] = ()
        if part.verb is Verb.DRAIN:
            evicting, told = await self._plan_drain(part, before, line)
            facts += told
            calls += len(evicting) * _ROUNDS
        facts += await effects(part, live, key, line, world)
        facts += keeper_facts(live)
        trial = await try_out(line, self._gate, self._clock, part, before, live, ask_other(part, live, key))
        undo, no_undo = undo_of_other(part, key, live)
        lines = difference(live.body, trial.after) if part.verb is not Verb.DELETE else ()
        return Draft(
            part=part,
            precondition=before,
            facts=(*facts, *trial.facts),
            diff=(*lines, *(DiffLine("-", f"pod {each.words}") for each in evicting)),
            destructive=part.verb in (Verb.DELETE, Verb.DRAIN),
            undo=undo,
            no_undo=no_undo,
            undo_note="as another pod, on a node that the scheduler chooses"
            if undo and undo.manifest
            else "",
            calls=calls,
        )

    async def send(
        self, plan: Plan, part: ActionRequest, before: Precondition, line: Line, permit: Permit, say: Say
    ) -> Receipt:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        writer = line.writer(self._gate.verify)
        for attempt in range(1, ATTEMPTS + 1):
            live = await unchanged(line, before)
            try:
                if not (part.verb is Verb.DRAIN and other_is_so(part, live)):
                    await written(writer, ask_other(part, live, before.key), live, permit, plan)
            except Conflict:
                if attempt == ATTEMPTS:
                    raise
            except OutcomeUnknown:
                # Of a drain the rest is still to be asked for: what was not answered is looked up first.
                if part.verb is not Verb.DRAIN or not await self._is_held(part, before, line):
                    raise
                break
            else:
                break
        if part.verb is Verb.DRAIN:
            say("cordoned; its pods are evicted", 0, 0)
            await self._evict_all(plan, part, before, line, writer, permit, say)
        return Receipt(generation=before.generation, uid=before.uid, deadline_s=_SETTLE_S)

    async def standing(self, part: ActionRequest, before: Precondition, line: Line, look: Look) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        try:
            return await self._judged(part, before, line, await look())
        except NimifyError as error:
            return Standing(
                state=ActionState.RUNNING, text=f"accepted; it cannot be read now: {error.message}"
            )

    async def reality(
        self, part: ActionRequest, before: Precondition, line: Line, live: Live | None
    ) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        if live is not None and live.uid == before.uid and not other_is_so(part, live):
            if part.verb is Verb.DELETE and live.meta.get("deletionTimestamp"):
                return Standing(state=ActionState.RUNNING, text="it is ending")
            return Standing(state=ActionState.FAILED, text="it is as it was: it was not done")
        found = await self._judged(part, before, line, live)
        if part.verb is Verb.DRAIN and found.state is ActionState.RUNNING:
            stay = [each for each in leaving(await self._pods_on(line, before.key.name))[0] if not each.ending]
            if stay:
                words = f"cordoned, and {len(stay)} {plural('pod', len(stay))} still run there: done in part"
                return Standing(state=ActionState.UNKNOWN, text=words)
        done = f"{found.text}: it was done" if found.state is ActionState.OK else found.text
        return Standing(state=found.state, text=done, done=found.done, total=found.total)

    async def _judged(
        self, part: ActionRequest, before: Precondition, line: Line, live: Live | None
    ) -> Standing:
        if live is None or live.uid != before.uid:
            if part.verb is Verb.DELETE:
                return Standing(state=ActionState.OK, text="it is gone")
            return Standing(state=ActionState.UNKNOWN, text="it is gone, or another one has its name now")
        if part.verb is Verb.DELETE:
            return Standing(state=ActionState.RUNNING, text="it is ending")
        if not other_is_so(part, live):
            return Standing(state=ActionState.UNKNOWN, text="somebody changed it again")
        match part.verb:
            case Verb.DRAIN:
                left, _ = leaving(await self._pods_on(line, before.key.name))
                if left:
                    return Standing(state=ActionState.RUNNING, text=f"{len(left)} pods still end")
                return Standing(state=ActionState.OK, text="cordoned and empty")
            case Verb.SCALE:
                return _operated(live)
            case Verb.SET_BOUNDS:
                return Standing(state=ActionState.OK, text="its bounds are set")
            case _:
                word = "cordoned" if part.verb is Verb.CORDON else "open for new pods"
                return Standing(state=ActionState.OK, text=f"it is {word}")

    # -- drain -------------------------------------------------------------------------------

    @staticmethod
    async def _is_held(part: ActionRequest, before: Precondition, line: Line) -> bool:
        live = await read_object(line, before.path)
        return live.uid == before.uid and other_is_so(part, live)

    async def _plan_drain(
        self, part: ActionRequest, before: Precondition, line: Line
    ) -> tuple[Sequence[Leaving], list[tuple[str, str]]]:
        """The pods that would leave, and what their budgets say to that (the server tries each eviction)."""
        pods, stay = leaving(await self._pods_on(line, before.key.name))
        facts = check_leaving(part, pods)
        kept = f"; {stay} of DaemonSets and of the node itself stay" if stay else ""
        facts.insert(0, ("capacity", f"{len(pods)} pods leave it one after the other{kept}"))
        facts += await leaving_facts(line, pods)
        facts += await homeless(line, before.key.name, pods)
        if pods and not why_untried(self._gate, part, before.key.region):
            facts.append(await ask_rights(line, self._clock, EVICT, before.key.region))
            facts += await self._verdicts(part, before, line, pods)
        return pods, facts

    async def _verdicts(
        self, part: ActionRequest, before: Precondition, line: Line, pods: Sequence[Leaving]
    ) -> list[tuple[str, str]]:
        trial = trial_plan(part, before, self._clock.now(), calls=len(pods))
        permit, writer = self._gate.preview(trial), line.writer(self._gate.verify)

        async def verdict(pod: Leaving) -> str:
            try:
                await writer.evict(
                    pod.namespace, pod.name, uid=pod.uid, permit=permit, plan=trial, dry_run=True
                )
            except DisruptionBlocked as error:
                return f"{pod.words} may not leave now: {text_of(error.message.partition(': ')[2], 200)}"
            except NimifyError as error:
                return f"{pod.words}: {text_of(error.message, 200)}"
            return ""

        told = [text for text in await _bounded(verdict, pods) if text]
        if not told:
            return [("disruption", f"every budget allows the {len(pods)} evictions one by one")]
        return [("disruption", text) for text in told]

    async def _evict_all(
        self,
        plan: Plan,
        part: ActionRequest,
        before: Precondition,
        line: Line,
        writer: Writer,
        permit: Permit,
        say: Say,
    ) -> None:
        """Ask for each pod to leave; those that a budget holds are asked for again until the time is over.

        So is one whose eviction was not answered, when a look says that it neither ends nor is gone: the eviction
        names its uid, a second one of the same pod changes nothing.
        """
        begun_s = self._clock.mono_s()
        while True:
            there, _ = leaving(await self._pods_on(line, before.key.name))
            check_leaving(part, there)
            pods, total = [each for each in there if not each.ending], len(there)
            blocked: list[str] = []
            lost: list[str] = []

            async def evict(pod: Leaving, blocked: list[str] = blocked, lost: list[str] = lost) -> None:
                try:
                    await writer.evict(pod.namespace, pod.name, uid=pod.uid, permit=permit, plan=plan)
                except NotFound:
                    return
                except DisruptionBlocked as error:
                    blocked.append(f"{pod.words}: {text_of(error.message.partition(': ')[2], 160)}")
                except OutcomeUnknown as error:
                    lost.append(f"{pod.words}: {text_of(error.message, 160)}")

            await _bounded(evict, pods)
            if not blocked and not lost:
                return
            held = f"{len(blocked)} held by budgets: {blocked[0]}" if blocked else (
                f"{len(lost)} not answered, looked for again: {lost[0]}"
            )  # fmt: skip
            say(held, total - len(blocked) - len(lost), total)
            if self._clock.mono_s() - begun_s >= DRAIN_S:
                raise _not_drained(blocked, lost)
            await asyncio.sleep(BLOCKED_S)

    @staticmethod
    async def _pods_on(line: Line, node: str) -> list[Json]:
        return await read_list(line, "/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"})


def _not_drained(blocked: Sequence[str], lost: Sequence[str]) -> ClusterError:
    """Why pods stay when the time is over."""
    if not blocked:
        return ClusterError(
            f"the eviction of {len(lost)} pods is not answered ({lost[0]}); the node stays cordoned",
            "look at what answers for the cluster, then drain again; or uncordon it",
        )
    return ClusterError(
        f"{len(blocked)} pods stay, held by budgets ({blocked[0]}); the node stays cordoned",
        "raise what the budget allows, then drain again; or uncordon it",
    )


#: The right to ask that a pod leaves.
EVICT = Access("create", "", "pods/eviction")


async def _bounded(call: Callable[[Leaving], Awaitable[str | None]], pods: Sequence[Leaving]) -> list[str]:
    """``call`` for each, a few at once. After one that fails none is begun any more; raises it when all have ended."""
    room = asyncio.Semaphore(AT_ONCE)
    failed: list[Exception] = []

    async def one(pod: Leaving) -> str:
        async with room:
            try:
                return "" if failed else await call(pod) or ""
            except Exception as error:  # noqa: BLE001  # raised below
                failed.append(error)
                return ""

    told = list(await asyncio.gather(*(one(pod) for pod in pods)))
    if failed:
        raise failed[0]
    return told


def _operated(live: Live) -> Standing:
    """How far the operator of a custom resource is with its number of replicas."""
    wanted, status = live.replicas, live.status
    there, state = number(status.get("availableReplicas")), text_of(status.get("state") or "", 40)
    if not status:
        return Standing(
            state=ActionState.OK, text="spec.replicas is set; no operator has told anything of it"
        )
    if state == "Failed":
        return Standing(state=ActionState.FAILED, text="its operator says Failed", done=there, total=wanted)
    if there == wanted:
        return Standing(state=ActionState.OK, text=f"{there} of {wanted} available", done=there, total=wanted)
    text = f"{there} of {wanted} available ({state or 'no state'})"
    return Standing(state=ActionState.RUNNING, text=text, done=min(there, wanted), total=wanted)
