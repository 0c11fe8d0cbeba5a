"""A manifest applied by the server (server-side apply): tried first, conflicts by field and owner, watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from nimify_tui.backends.kubernetes.errors import Conflict, NotFound
from nimify_tui.backends.kubernetes.rights import Access
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, ValidationError
from nimify_tui.controllers.kubernetes.facts import clock_text
from nimify_tui.controllers.kubernetes.objects import KINDS, Json, Live, as_map, difference, maps, text_of
from nimify_tui.controllers.kubernetes.reading import Line, read_object, segment
from nimify_tui.controllers.kubernetes.rollouts import rolled
from nimify_tui.controllers.kubernetes.trying import ask_rights, trial_plan, why_untried
from nimify_tui.controllers.kubernetes.writing import ATTEMPTS, unchanged
from nimify_tui.controllers.world import Draft, Receipt, Standing
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Permit, Plan, Precondition, Verb
from nimify_tui.gate.gate import Gate

_SETTLE_S = 3000.0


@dataclass(frozen=True)
class _Place:
    """Where the server keeps objects of a kind."""

    path: str
    access: Access


class Applying:
    """Drafts and carries out APPLY."""

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock

    async def draft(self, part: ActionRequest, key: ServiceKey, line: Line) -> Draft:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        body = manifest_of(part, key)
        place = await _place(line, body, key)
        live = await _there(line, place.path)
        uid, generation = (live.uid, live.generation) if live is not None else ("", 0)
        before = Precondition(key, uid, generation, place.path)
        space = f"{text_of(key.namespace)}/" if key.namespace else ""
        what = f"{text_of(body['kind'], 60)} {space}{text_of(key.name)}"
        facts = [("objects", what if live is not None else f"{what}, new")]
        if why := why_untried(self._gate, part, key.region):
            facts += [("rights", why), ("dry run", f"{why}; what the manifest says is shown")]
            after: Json = body
            lines = difference({}, after)
        else:
            facts.append(await ask_rights(line, self._clock, place.access, key.region))
            after, told = await self._tried(part, body, before, line)
            facts += told
            lines = difference(live.body if live is not None else {}, after)
            if live is not None and not lines:
                return Draft(part=part, precondition=before, nothing_to_do="is like that already")
        undo, no_undo = None, "cannot be undone from here: apply the manifest from before"
        if live is None:
            no_undo = "it is new: delete it again by hand"
            if body["kind"] in KINDS:
                undo, no_undo = ActionRequest(verb=Verb.DELETE, targets=(key,)), ""
        return Draft(
            part=part, precondition=before, facts=tuple(facts), diff=lines, destructive=part.force, undo=undo,
            no_undo=no_undo, calls=ATTEMPTS,
        )  # fmt: skip

    async def _tried(
        self, part: ActionRequest, body: Json, before: Precondition, line: Line
    ) -> tuple[Json, list[tuple[str, str]]]:
        """What the server would store, and whose fields that takes; others' fields need ``force`` (ClusterError)."""
        trial = trial_plan(part, before, self._clock.now(), calls=2)
        permit, writer = self._gate.preview(trial), line.writer(self._gate.verify)
        facts: list[tuple[str, str]] = []
        force = False
        try:
            answer = await writer.apply(before.path, body, permit=permit, plan=trial, dry_run=True)
        except Conflict as error:
            if not error.causes:
                raise
            owned = [text_of(each, 200) for each in error.causes[:8]]
            if not part.force:
                raise ClusterError(
                    f"others have set what it would set: {'; '.join(owned)}",
                    "leave these fields out of the manifest, or take them over with --force",
                ) from error
            facts += [("warning", f"takes over {each}") for each in owned]
            force = True
            answer = await writer.apply(
                before.path,
                body,
                permit=permit,
                plan=trial,
                force=True,
                dry_run=True,
            )
        how = "done by the server, taking fields over" if force else "done by the server"
        facts.append(("dry run", f"{how} ({clock_text(self._clock.now())})"))
        return as_map(msgspec.json.decode(answer.body)), facts

    async def send(
        self, plan: Plan, part: ActionRequest, before: Precondition, line: Line, permit: Permit
    ) -> Receipt:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        body, writer = manifest_of(part, before.key), line.writer(self._gate.verify)
        for attempt in range(1, ATTEMPTS + 1):
            version = ""
            if before.uid:
                version = (await unchanged(line, before)).version
            elif await _there(line, before.path) is not None:
                raise Conflict("somebody made it since the plan was made", "look again, then plan anew")
            try:
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
        """How far what was applied is."""
        if live is None or (uid and live.uid != uid):
            return Standing(state=ActionState.UNKNOWN, text="it is gone, or another one has its name now")
        if not _holds(live.body, manifest_of(part, before.key)):
            return Standing(state=ActionState.UNKNOWN, text="the object does not hold what was applied")
        kind = KINDS.get(str(live.body.get("kind")))
        if kind is None:
            return Standing(state=ActionState.OK, text="it is stored")
        state = rolled(live, kind)
        word = ActionState.FAILED if state.failed else ActionState.OK if state.over else ActionState.RUNNING
        return Standing(state=word, text=state.text, done=state.done, total=state.total)

    def reality(self, part: ActionRequest, before: Precondition, live: Live | None) -> Standing:
        """Whether an apply of which no end is known was done."""
        if live is None and not before.uid:
            return Standing(state=ActionState.FAILED, text="it is not there: it was not done")
        found = self.standing(part, before, before.uid, live)
        same = live is not None and (live.uid, live.generation) == (before.uid, before.generation)
        if found.state is ActionState.UNKNOWN and same:
            return Standing(state=ActionState.FAILED, text="nothing has changed since: it was not done")
        return found


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
    if body["kind"] == "Secret":
        raise ValidationError(
            "secrets are not applied from here: they would stand in the trail", "use kubectl"
        )
    meta = dict(as_map(body.get("metadata")))
    if meta.get("name") != key.name or (meta.get("namespace") or key.namespace) != key.namespace:
        raise ValidationError("the manifest is of another object than the target names")
    for each in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"):
        meta.pop(each, None)
    if key.namespace:
        meta["namespace"] = key.namespace
    return {**{name: value for name, value in body.items() if name != "status"}, "metadata": meta}


async def _place(line: Line, body: Json, key: ServiceKey) -> _Place:
    """Where objects of the manifest's kind lie, by the server's own list of kinds."""
    version, kind = str(body["apiVersion"]), str(body["kind"])
    group = version.rpartition("/")[0]
    parts = [segment(each) for each in version.split("/")]
    root = f"/apis/{'/'.join(parts)}" if group else f"/api/{parts[0]}"
    try:
        listed = await read_object(line, root)
    except NotFound as error:
        raise ValidationError(f"this cluster does not know {text_of(version)}") from error
    for each in maps(listed.body.get("resources")):
        if each.get("kind") != kind or "/" in str(each.get("name")):
            continue
        namespaced = bool(each.get("namespaced"))
        if namespaced != bool(key.namespace):
            wants = "a namespace is missing" if namespaced else "it has no namespace"
            raise ValidationError(f"{kind} {key.name}: {wants}", "see --namespace")
        plural = str(each.get("name"))
        inside = f"/namespaces/{segment(key.namespace)}" if namespaced else ""
        path = f"{root}{inside}/{segment(plural)}/{segment(key.name)}"
        return _Place(path, Access("patch", group, plural, key.namespace, key.name))
    raise ValidationError(f"this cluster knows no {text_of(kind, 60)} in {text_of(version)}")


async def _there(line: Line, path: str) -> Live | None:
    try:
        return await read_object(line, path)
    except NotFound:
        return None


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
