"""The controller of Kubernetes regions: plans from the server's answers, asks once, and looks until it is true."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from nimify_tui.backends.kubernetes.errors import Conflict, NotFound
from nimify_tui.base.clock import Clock, rfc3339
from nimify_tui.base.errors import ClusterError, NetworkError, NimifyError, ValidationError
from nimify_tui.controllers.kubernetes.applying import Applying
from nimify_tui.controllers.kubernetes.changes import ask_for, check, container_of, replicas_wanted, undo_of
from nimify_tui.controllers.kubernetes.circumstances import look_around
from nimify_tui.controllers.kubernetes.facts import workload_facts
from nimify_tui.controllers.kubernetes.objects import (
    KINDS,
    REVISION,
    Json,
    Live,
    WorkloadKind,
    difference,
    digest,
    text_of,
)
from nimify_tui.controllers.kubernetes.reading import Line, read_object, segment
from nimify_tui.controllers.kubernetes.revisions import (
    Earlier,
    chosen,
    current_number,
    earlier_revisions,
    number_of,
)
from nimify_tui.controllers.kubernetes.single import OtherObjects
from nimify_tui.controllers.kubernetes.trying import try_out
from nimify_tui.controllers.kubernetes.watching import Looks, reality_of, standing_of
from nimify_tui.controllers.kubernetes.writing import ATTEMPTS, unchanged, written
from nimify_tui.controllers.wording import diff
from nimify_tui.controllers.world import Draft, Receipt, Say, Standing, World, quiet
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, DiffLine, Permit, Plan, Precondition, Verb
from nimify_tui.domain.services import Service
from nimify_tui.gate.gate import Gate

#: How long a change may take to become true, seconds: large models take half an hour to start.
SETTLE_S = 3000.0


class KubernetesController:
    """Controller of Kubernetes regions. ``line`` finds the open connection of a region."""

    def __init__(self, line: Callable[[str], Line | None], gate: Gate, clock: Clock) -> None:
        self._line = line
        self._gate = gate
        self._clock = clock
        self._looks = Looks(clock)
        self._others = OtherObjects(gate, clock)
        self._applying = Applying(gate, clock)

    async def draft(self, part: ActionRequest, key: ServiceKey, world: World) -> Draft:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        if _by_manifest(part):
            return await self._applying.draft(part, key, self._open(key.region), world)
        if part.kind:
            return await self._others.draft(part, key, self._open(key.region), world)
        service = world.service(key)
        if service is None:
            raise ValidationError(
                f"there is no service {key.name!r} in {key.region}", "see `nimify-tui snapshot -o name`"
            )
        kind = KINDS.get(service.labels.get("kind", ""))
        if kind is None:
            what = text_of(service.labels.get("kind", "?"), 60)
            raise ValidationError(f"this version cannot change a {what}")
        line = self._open(key.region)
        live, name = await _found(line, service, kind)
        before = Precondition(key, live.uid, live.generation, live.path)
        part, idle, earlier, current = await self._filled(part, key, line, live, kind)
        if idle:
            return Draft(part=part, precondition=before, nothing_to_do=idle)
        ask = ask_for(part, live, kind, key.namespace, name, earlier)
        around = await look_around(line, live, kind, key.namespace, name)
        trial = await try_out(line, self._gate, self._clock, part, before, live, ask)
        if part.verb is Verb.ROLLBACK:
            part = msgspec.structs.replace(part, mark=digest(Live(trial.after, live.path).template))
            if digest(live.template) == part.mark:
                return Draft(part=part, precondition=before, nothing_to_do="has that pod template already")
        undo, no_undo = undo_of(part, key, live, current)
        note = "with another uid; its pods start anew, its earlier revisions do not come back"
        facts = workload_facts(part, live, kind, around, world.replicas(key), (earlier, current))
        return Draft(
            part=part,
            precondition=before,
            facts=(*facts, *trial.facts),
            diff=_diff(part, live, trial.after),
            destructive=part.verb in (Verb.DELETE, Verb.STOP) or part.replicas == 0,
            undo=undo,
            no_undo=no_undo,
            undo_note=note if part.verb is Verb.DELETE and undo is not None else "",
            calls=ATTEMPTS,
        )

    async def send(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, permit: Permit, say: Say = quiet
    ) -> Receipt:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        before = next(item for item in plan.preconditions if item.key == key)
        line = self._open(key.region)
        if _by_manifest(part):
            return await self._applying.send(plan, part, before, line, permit)
        if part.kind:
            return await self._others.send(plan, part, before, line, permit, say)
        kind, namespace, name = _located(before.path)
        writer = line.writer(self._gate.verify)
        for attempt in range(1, ATTEMPTS + 1):
            live = await unchanged(line, before)
            earlier = await self._earlier(part, key, line, live, kind)
            ask = ask_for(part, live, kind, namespace, name, earlier)
            try:
                generation = await written(writer, ask, live, permit, plan)
            except Conflict:
                # It was not done. Unless somebody changed what is wished (looked at next), only the status moved.
                if attempt == ATTEMPTS:
                    raise
            else:
                return Receipt(generation=generation, uid=before.uid, deadline_s=SETTLE_S)
        raise ClusterError("it changes faster than it can be changed", "try again")

    async def standing(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, receipt: Receipt, world: World
    ) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        before = next(item for item in plan.preconditions if item.key == key)
        line = self._open(key.region)
        look = self._looks.of(plan.id, key, line, before.path)
        if _by_manifest(part):
            try:
                return self._applying.standing(part, before, receipt.uid, await look())
            except NimifyError as error:
                return Standing(
                    state=ActionState.RUNNING, text=f"accepted; it cannot be read now: {error.message}"
                )
        if part.kind:
            return await self._others.standing(part, before, line, look)
        kind = _located(before.path)[0]
        return await standing_of(part, kind, receipt, world.service(key), world.replicas(key), look)

    async def reality(self, plan: Plan, part: ActionRequest, key: ServiceKey, world: World) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        before = next(item for item in plan.preconditions if item.key == key)
        line = self._open(key.region)
        try:
            live: Live | None = await read_object(line, before.path)
        except NotFound:
            live = None
        if _by_manifest(part):
            return self._applying.reality(part, before, live)
        if part.kind:
            return await self._others.reality(part, before, line, live)
        kind = _located(before.path)[0]
        return reality_of(part, before, kind, live)

    def _open(self, region: str) -> Line:
        line = self._line(region)
        if line is None or not line.is_open:
            raise NetworkError(f"region {region} has no connection", "wait until it is LIVE again")
        return line

    async def _filled(
        self, part: ActionRequest, key: ServiceKey, line: Line, live: Live, kind: WorkloadKind
    ) -> tuple[ActionRequest, str, Earlier | None, int | None]:
        """(the part with what it leaves open, why nothing is to be done, the revision gone back to, the current)."""
        if idle := check(part, live, kind):
            return part, idle, None, None
        current: int | None = number_of(live.annotations.get(REVISION)) or None
        match part.verb:
            case Verb.RESTART:
                part = msgspec.structs.replace(part, mark=rfc3339(self._clock.now()))
            case Verb.SCALE | Verb.START:
                part = msgspec.structs.replace(part, replicas=replicas_wanted(part, live))
            case Verb.SET_IMAGE:
                container = str(container_of(part, live).get("name"))
                part = msgspec.structs.replace(part, container=container)
            case Verb.ROLLBACK:
                found = await earlier_revisions(line, live, kind, key.namespace)
                earlier = chosen(found, part.revision, key)
                current = current_number(found) or current
                part = msgspec.structs.replace(part, revision=earlier.number)
                idle = f"runs revision {earlier.number} already" if earlier.is_now else ""
                return part, idle, earlier, current
            case _:
                pass
        return part, "", None, current

    async def _earlier(
        self, part: ActionRequest, key: ServiceKey, line: Line, live: Live, kind: WorkloadKind
    ) -> Earlier | None:
        if part.verb is not Verb.ROLLBACK:
            return None
        return chosen(await earlier_revisions(line, live, kind, key.namespace), part.revision, key)


def _by_manifest(part: ActionRequest) -> bool:
    """Whether the object is named by a manifest: one of any kind that the cluster knows."""
    return part.verb is Verb.APPLY or bool(part.manifest)


async def _found(line: Line, service: Service, kind: WorkloadKind) -> tuple[Live, str]:
    """The object of a service: where two kinds share a name, the second one is shown with its kind behind it."""
    key, names = service.key, [service.key.name]
    if key.name.endswith(f".{kind.name.lower()}"):
        names.append(key.name.removesuffix(f".{kind.name.lower()}"))
    for name in names:
        try:
            live = await read_object(line, kind.path(segment(key.namespace), segment(name)))
        except NotFound:
            continue
        if live.uid == service.uid:
            return live, name
    raise ClusterError(
        f"{kind.name} {key.fold_id} is not there any more, or is another one now",
        "look again, then plan anew",
    )


def _located(path: str) -> tuple[WorkloadKind, str, str]:
    """(kind, namespace, name) of an object's place. Raises ClusterError for what is none of ours."""
    parts = path.split("/")
    kind = next((each for each in KINDS.values() if len(parts) == 8 and parts[6] == each.plural), None)
    if kind is None:
        raise ClusterError("this version does not know what kind of object that is", "look by hand")
    return kind, parts[5], parts[7]


def _diff(part: ActionRequest, live: Live, after: Json) -> tuple[DiffLine, ...]:
    """What becomes other; of what is removed as a whole its main lines."""
    if part.verb is not Verb.DELETE:
        return difference(live.body, after)
    images = {
        f"image of {text_of(each.get('name'))}": text_of(each.get("image"), 300) for each in live.containers
    }
    lines = {"name": text_of(live.meta.get("name")), "replicas": str(live.replicas), **images}
    return diff({"kind": text_of(live.body.get("kind")), **lines}, {})
