"""A manifest applied by the server (server-side apply): tried first, conflicts by field and owner, taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from nimify_tui.backends.kubernetes.errors import Conflict, NotFound
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, ValidationError
from nimify_tui.controllers.drafts import plural
from nimify_tui.controllers.kubernetes.changes import Ask
from nimify_tui.controllers.kubernetes.circumstances import look_around
from nimify_tui.controllers.kubernetes.definitions import DEFINITION, check_unused, definition_standing
from nimify_tui.controllers.kubernetes.facts import clock_text, ready_count, workload_facts
from nimify_tui.controllers.kubernetes.kept import HOLD_OTHERS, before_apply, identity, whole
from nimify_tui.controllers.kubernetes.objects import (
    KINDS,
    Json,
    Live,
    as_map,
    difference,
    digest,
    text_of,
)
from nimify_tui.controllers.kubernetes.owners import keeper_facts
from nimify_tui.controllers.kubernetes.places import KindUnknown, Place, place_by_name, place_of, there
from nimify_tui.controllers.kubernetes.reading import Line, read_object
from nimify_tui.controllers.kubernetes.rollouts import rolled
from nimify_tui.controllers.kubernetes.sealed import NOT_KEPT, SECRET, Seals
from nimify_tui.controllers.kubernetes.trying import ask_rights, trial_plan, try_out, why_untried
from nimify_tui.controllers.kubernetes.writing import ATTEMPTS, unchanged
from nimify_tui.controllers.waves import shown_as
from nimify_tui.controllers.world import Draft, Receipt, Standing, World
from nimify_tui.domain.names import ServiceKey, object_name
from nimify_tui.domain.plans import ActionRequest, ActionState, DiffLine, Permit, Plan, Precondition, Verb
from nimify_tui.gate.gate import Gate

_SETTLE_S = 3000.0
#: More conflicts of one object are counted, not named.
_CONFLICTS = 12
#: A kind that was made is served within moments, on servers of several within some seconds of each other.
_SERVED_S, _LOOK_S = 30.0, 0.5
_TAKE_OVER = "leave these fields out of the manifest, or take them over (:apply FILE force, --force)"


class Applying:
    """Drafts and carries out APPLY, and DELETE of objects that are no services and named by a manifest."""

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock
        self._seals = Seals()

    async def draft(self, part: ActionRequest, key: ServiceKey, line: Line, world: World) -> Draft:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        body = manifest_of(part, key)
        try:
            place = await place_of(line, body, key)
        except KindUnknown:
            if part.verb is Verb.DELETE:
                return Draft(part=part, precondition=Precondition(key, "", 0), nothing_to_do="is not there (any more)")
            if not part.plural:
                raise
            place = place_by_name(str(body["apiVersion"]), part.plural, key)
            return await self._unknown(part, key, body, place, line)
        live = await there(line, place.path)
        before = Precondition(key, "", 0, place.path)
        if live is not None:
            version = "" if live.generation else live.version
            before = Precondition(key, live.uid, live.generation, place.path, version)
        what = _named(body, key)
        if part.verb is Verb.DELETE:
            return await self._removal(part, body, what, (place, before, live), line)
        facts = [("objects", what if live is not None else f"{what}, new")]
        obstacle = ""
        if why := why_untried(self._gate, part, key.region):
            facts += [("rights", why), ("dry run", f"{why}; what the manifest says is shown")]
            after: Json = body
            lines = difference({}, after)
        else:
            facts.append(await ask_rights(line, self._clock, place.access, key.region))
            full = await self._full(part, key, body, planning=True)
            after, told, obstacle = await self._tried(part, full, what, before, line)
            facts += told
            lines = difference(live.body if live is not None else {}, after)
            if live is not None and not lines and not obstacle:
                return Draft(part=part, precondition=before, nothing_to_do="is like that already")
            if live is not None and part.kind in KINDS:
                facts += await _consequences(part, key, live, after, line, world)
            elif live is not None:
                facts += keeper_facts(live)
        undo, words = _undo(part, key, body, live, after)
        return Draft(
            part=part, precondition=before, facts=tuple(facts), diff=lines, destructive=part.force, undo=undo,
            no_undo="" if undo else words, undo_note=words if undo else "", calls=ATTEMPTS, obstacle=obstacle,
            obstacle_remedy=_TAKE_OVER if obstacle else "",
        )  # fmt: skip

    async def _full(self, part: ActionRequest, key: ServiceKey, body: Json, *, planning: bool = False) -> Json:
        """The manifest as the server is to get it: the values of a Secret come from their file."""
        if body["kind"] != SECRET:
            return body
        return await self._seals.opened(part, key, body, planning=planning)

    async def _unknown(
        self, part: ActionRequest, key: ServiceKey, body: Json, place: Place, line: Line
    ) -> Draft:
        """Of an object whose kind the same plan makes: nothing can be tried before that kind is there."""
        what = _named(body, key)
        why = why_untried(self._gate, part, key.region)
        later = f"{what}: cannot be tried yet, {text_of(part.made_first)} is made first"
        told = f"{later}; checked when its kind is there, what the manifest says is shown"
        rights = ("rights", why) if why else await ask_rights(line, self._clock, place.access, key.region)
        undo, words = _undo(part, key, body, None, body)
        return Draft(
            part=part, precondition=Precondition(key, "", 0, place.path),
            facts=(("objects", f"{what}, new"), rights, ("dry run", told)),
            diff=difference({}, body), undo=undo, no_undo="" if undo else words, undo_note=words if undo else "",
            calls=ATTEMPTS + 1,
        )  # fmt: skip

    async def _known(self, plan: Plan, body: Json, before: Precondition, line: Line, permit: Permit) -> None:
        """Wait until the server serves the kind that was made before, and let it try the object.

        Raises what the server says to it, and ClusterError when the kind does not come, or lies elsewhere.
        """
        place = await self._served(body, before, line)
        if place.path != before.path:
            raise ClusterError("its kind is kept under another name than the plan says", "plan anew")
        await line.writer(self._gate.verify).apply(before.path, body, permit=permit, plan=plan, dry_run=True)

    async def _served(self, body: Json, before: Precondition, line: Line) -> Place:
        until_s = self._clock.mono_s() + _SERVED_S
        while True:
            try:
                return await place_of(line, body, before.key)
            except KindUnknown as error:
                if self._clock.mono_s() >= until_s:
                    raise ClusterError(f"{error.message}, {_SERVED_S:.0f} s after it was made", "try again") from error
            await asyncio.sleep(_LOOK_S)

    async def _removal(
        self,
        part: ActionRequest,
        body: Json,
        what: str,
        found: tuple[Place, Precondition, Live | None],
        line: Line,
    ) -> Draft:
        place, before, live = found
        if live is None:
            return Draft(part=part, precondition=before, nothing_to_do="is not there (any more)")
        ask = Ask(replace(place.access, verb="delete"))
        trial = await try_out(line, self._gate, self._clock, part, before, live, ask)
        facts = [("objects", what), ("change", "it is removed, and what it owns")]
        if body["kind"] == DEFINITION:
            facts.append(("change", "only while there are no objects of its kind, which would go with it"))
        if str(body["kind"]) in KINDS:
            facts.append(("capacity", f"nothing serves afterwards ({ready_count(live)} serve now)"))
        api, kind = str(body["apiVersion"]), str(body["kind"])
        undo = msgspec.structs.replace(
            part, verb=Verb.APPLY, manifest="" if kind == SECRET else whole(live, kind, api), force=False, undoes=""
        )
        return Draft(
            part=part, precondition=before, facts=(*facts, *trial.facts), diff=(DiffLine("-", what),),
            destructive=True, undo=undo if undo.manifest else None, no_undo="" if undo.manifest else NOT_KEPT,
            undo_note="from what is there now, with another uid" if undo.manifest else "", calls=ATTEMPTS,
        )  # fmt: skip

    async def _tried(
        self, part: ActionRequest, body: Json, what: str, before: Precondition, line: Line
    ) -> tuple[Json, list[tuple[str, str]], str]:
        """(what the server would store, lines of the plan, why it may not be stored).

        Others' fields are named with their owner: an obstacle, unless ``force`` takes them over.
        """
        trial = trial_plan(part, before, self._clock.now(), calls=2)
        permit, writer = self._gate.preview(trial), line.writer(self._gate.verify)
        facts: list[tuple[str, str]] = []
        obstacle, how = "", "done by the server"
        try:
            answer = await writer.apply(before.path, body, permit=permit, plan=trial, dry_run=True)
        except NotFound as error:
            if before.uid or not before.key.namespace:
                raise
            if part.made_first:
                why = f"{what}: not tried, {text_of(part.made_first)} is made first; what the manifest says is shown"
                return body, [("dry run", why)], ""
            raise ClusterError(
                f"{what} cannot be tried: {error.message}", "apply its namespace first, in a plan of its own"
            ) from error
        except Conflict as error:
            if not error.causes:
                raise
            owned = [text_of(each, 200) for each in error.causes[:_CONFLICTS]]
            if more := len(error.causes) - len(owned):
                owned.append(f"{more} more fields")
            facts += [("warning" if part.force else "conflict", _owned_words(each, part)) for each in owned]
            if part.force:
                how += ", taking fields over"
            else:
                count = len(error.causes)
                obstacle = f"{what}: others have set {count} {plural('field', count)} that it would set"
                how += " as if the fields were taken over"
            answer = await writer.apply(
                before.path, body, permit=permit, plan=trial, force=True, dry_run=True
            )
        facts.append(("dry run", f"{how} ({clock_text(self._clock.now())})"))
        return as_map(msgspec.json.decode(answer.body)), facts, obstacle

    async def send(
        self, plan: Plan, part: ActionRequest, before: Precondition, line: Line, permit: Permit
    ) -> Receipt:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        body, writer = manifest_of(part, before.key), line.writer(self._gate.verify)
        if part.plural and not before.uid and part.verb is Verb.APPLY:
            await self._known(plan, body, before, line, permit)
        if part.verb is Verb.APPLY:
            body = dict(await self._full(part, before.key, body))
        for attempt in range(1, ATTEMPTS + 1):
            version = ""
            if before.uid:
                version = (await unchanged(line, before)).version
            elif await there(line, before.path) is not None:
                raise Conflict("somebody made it since the plan was made", "look again, then plan anew")
            try:
                if part.verb is Verb.DELETE:
                    if body["kind"] == DEFINITION:
                        await check_unused(line, await read_object(line, before.path))
                    await writer.delete(
                        before.path, uid=before.uid, permit=permit, plan=plan, resource_version=version
                    )
                    return Receipt(generation=before.generation, uid=before.uid, deadline_s=_SETTLE_S)
                answer = await writer.apply(
                    before.path, body, permit=permit, plan=plan, resource_version=version, force=part.force
                )
            except Conflict as error:
                if attempt == ATTEMPTS or error.causes:
                    raise
            else:
                meta = answer.metadata
                return Receipt(generation=meta.generation, uid=meta.uid, deadline_s=_SETTLE_S)
        raise ClusterError("it changes faster than it can be changed", "try again")

    def standing(self, part: ActionRequest, before: Precondition, uid: str, live: Live | None) -> Standing:
        """How far what was applied, or removed, is."""
        if part.verb is Verb.DELETE:
            if live is None or live.uid != before.uid:
                return Standing(state=ActionState.OK, text="it is gone")
            return Standing(state=ActionState.RUNNING, text="it is ending")
        if live is None or (uid and live.uid != uid):
            return Standing(state=ActionState.UNKNOWN, text="it is gone, or another one has its name now")
        if not self._as_applied(part, before.key, live):
            return Standing(state=ActionState.UNKNOWN, text="the object does not hold what was applied")
        if live.body.get("kind") == "Pod":
            return _pod(live)
        if live.body.get("kind") == DEFINITION:
            return definition_standing(live)
        kind = KINDS.get(str(live.body.get("kind")))
        if kind is None:
            return Standing(state=ActionState.OK, text="it is stored")
        state = rolled(live, kind)
        word = ActionState.FAILED if state.failed else ActionState.OK if state.over else ActionState.RUNNING
        return Standing(state=word, text=state.text, done=state.done, total=state.total)

    def _as_applied(self, part: ActionRequest, key: ServiceKey, live: Live) -> bool:
        """Whether the object says what was applied; of a Secret planned by another process only its keys are known."""
        body = manifest_of(part, key)
        if body["kind"] != SECRET:
            return _holds(live.body, body)
        held = self._seals.holds(live, key)
        if held is None:
            held = as_map(body.get("data")).keys() <= as_map(live.body.get("data")).keys()
        return held and _holds(live.body, {name: value for name, value in body.items() if name != "data"})

    def reality(self, part: ActionRequest, before: Precondition, live: Live | None) -> Standing:
        """Whether an apply, or a removal, of which no end is known was done."""
        if part.verb is Verb.DELETE:
            if live is not None and live.uid == before.uid and not live.meta.get("deletionTimestamp"):
                return Standing(state=ActionState.FAILED, text="it is still there: it was not done")
            found = self.standing(part, before, before.uid, live)
            return msgspec.structs.replace(found, text=f"{found.text}: it was done")
        if live is None and not before.uid:
            return Standing(state=ActionState.FAILED, text="it is not there: it was not done")
        found = self.standing(part, before, before.uid, live)
        same = live is not None and (live.uid, live.generation) == (before.uid, before.generation)
        if live is not None and part.kind == SECRET:  # counts no generations
            same = live.uid == before.uid and live.version == before.version
            if same or (found.state is ActionState.OK and self._seals.holds(live, before.key) is None):
                text = "it has changed, and what was to be applied is not known here any more"
                found = msgspec.structs.replace(found, state=ActionState.UNKNOWN, text=text)
        if found.state is ActionState.UNKNOWN and same:
            return Standing(state=ActionState.FAILED, text="nothing has changed since: it was not done")
        return found


async def _consequences(
    part: ActionRequest, key: ServiceKey, live: Live, after: Json, line: Line, world: World
) -> list[tuple[str, str]]:
    """What an apply over a workload means for what it serves, in the words of the verbs that do the same."""
    kind, name, becomes = KINDS[part.kind], object_name(key), Live(after, live.path)
    verbs = []
    if digest(becomes.template) != digest(live.template):
        verbs.append(Verb.SET_IMAGE)
    if becomes.replicas != live.replicas:
        verbs.append(Verb.SCALE)
    if not verbs:
        return []
    around = await look_around(line, live, kind, key.namespace, name)
    replicas = world.replicas(shown_as(part, key))
    facts: list[tuple[str, str]] = []
    for verb in verbs:
        same = ActionRequest(verb=verb, targets=(key,), replicas=becomes.replicas)
        told = workload_facts(same, live, kind, around, replicas, (None, None))
        facts += [each for each in told if each[0] not in ("objects", "change", "field") and each not in facts]
    return facts


def _undo(
    part: ActionRequest, key: ServiceKey, body: Json, live: Live | None, after: Json
) -> tuple[ActionRequest | None, str]:
    """(the request that takes an apply back, what has to be known of that, or why there is none)."""
    back = msgspec.structs.replace(
        part, targets=(key,), hidden=(), parts=(), undoes="", force=False, reason=""
    )
    if live is None:
        if body["kind"] in HOLD_OTHERS:
            return None, "it is new: delete it by hand, all that is in it goes with it"
        return msgspec.structs.replace(back, verb=Verb.DELETE, manifest=identity(body)), "it is new"
    if body["kind"] == SECRET:
        return None, NOT_KEPT
    note = "who has set a field before is not put back" if part.force else ""
    return msgspec.structs.replace(back, manifest=before_apply(live, {**body, **after})), note


def _named(body: Json, key: ServiceKey) -> str:
    """``Deployment shop/web``."""
    space = f"{text_of(key.namespace)}/" if key.namespace else ""
    return f"{text_of(body['kind'], 60)} {space}{text_of(object_name(key))}"


def _owned_words(cause: str, part: ActionRequest) -> str:
    return f"takes over {cause}" if part.force else cause


def _pod(live: Live) -> Standing:
    """How far a pod is that nobody else looks after."""
    phase = text_of(live.status.get("phase") or "Pending", 20)
    if live.condition.get("Ready", {}).get("status") == "True" or phase == "Succeeded":
        return Standing(
            state=ActionState.OK, text="the pod is ready" if phase != "Succeeded" else "the pod has ended"
        )
    if phase == "Failed":
        return Standing(
            state=ActionState.FAILED, text=f"the pod failed: {text_of(live.status.get('reason') or '?')}"
        )
    placed = live.condition.get("PodScheduled", {})
    why = text_of(placed.get("message"), 160) if placed.get("status") == "False" else phase
    return Standing(state=ActionState.RUNNING, text=f"the pod is not ready: {why}")


def manifest_of(part: ActionRequest, key: ServiceKey) -> dict[str, Any]:
    """The object of an APPLY. Raises ValidationError for what is none, or not the one that the target names."""
    try:
        body = msgspec.json.decode(part.manifest)
    except msgspec.MsgspecError as error:
        raise ValidationError("the manifest is no JSON") from error
    if not isinstance(body, dict) or not all(
        isinstance(body.get(each), str) for each in ("apiVersion", "kind")
    ):
        raise ValidationError("the manifest names no apiVersion and kind")
    if body["kind"] == SECRET and part.verb is Verb.APPLY and not part.sealed_in:
        raise ValidationError("a Secret has to come from a file: its values stay there", "name the file")
    meta = dict(as_map(body.get("metadata")))
    if meta.get("name") != object_name(key) or (meta.get("namespace") or key.namespace) != key.namespace:
        raise ValidationError("the manifest is of another object than the target names")
    for each in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"):
        meta.pop(each, None)
    if key.namespace:
        meta["namespace"] = key.namespace
    return {**{name: value for name, value in body.items() if name != "status"}, "metadata": meta}


def _holds(value: object, wanted: object) -> bool:
    """Whether ``value`` says at least what ``wanted`` says; lists of named parts are compared by name."""
    if isinstance(wanted, Mapping):
        there = as_map(value)
        return all(_holds(there.get(name), inner) for name, inner in wanted.items() if inner is not None)
    if isinstance(wanted, list) and isinstance(value, list):
        if wanted and all(isinstance(each, Mapping) and "name" in each for each in [*wanted, *value]):
            by_name = {each["name"]: each for each in value}
            return all(_holds(by_name.get(each["name"]), each) for each in wanted)
        return len(value) == len(wanted) and all(map(_holds, value, wanted))
    return value == wanted or (not wanted and not value)
