"""The controller of Docker hosts: plans from what the engine has, asks once for each container, looks till it is so."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.groups import FRONT, Owner
from nimify_tui.backends.docker.kinds import Container, seconds
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.units import unit_of
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, NetworkError, ValidationError
from nimify_tui.controllers.docker.facts import UP, facts_of, name_of, owner_in
from nimify_tui.controllers.docker.fronted import (
    Fronted,
    again,
    draft_delete,
    draft_scale,
    fronted,
    look_fronted,
)
from nimify_tui.controllers.docker.imaging import draft_image, look_single, pulled
from nimify_tui.controllers.docker.kept import Kept
from nimify_tui.controllers.docker.making import Making, Recipe, look_made
from nimify_tui.controllers.docker.orders import calls_for
from nimify_tui.controllers.docker.reading import (
    identity,
    inspected,
    members,
    newest_start,
    path_of,
    serves,
)
from nimify_tui.controllers.docker.replicas import Replicas
from nimify_tui.controllers.docker.single import Single
from nimify_tui.controllers.wording import diff
from nimify_tui.controllers.world import Draft, Receipt, Say, Standing, World, quiet
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Permit, Plan, Precondition, Verb
from nimify_tui.gate.gate import Gate

#: How long one container may take to serve again before the next one is touched, and how often it is looked; seconds.
SETTLE_S, LOOK_S = 600.0, 0.3
#: A call may take so long beyond what its container has to end, seconds.
_MORE_S = 30.0
#: Without a health check: running for so long counts as serving, seconds.
STEADY_S = 2.0
_KEPT = 256
_IMAGES = (Verb.SET_IMAGE, Verb.ROLLBACK)
_MODELS = (Verb.CREATE, Verb.UPDATE)
_VERBS = (Verb.RESTART, Verb.STOP, Verb.START, Verb.DELETE, Verb.SCALE, *_IMAGES, *_MODELS)
#: What makes other containers: it is looked at what there is by name, not at those of before.
_OTHERS = (Verb.SCALE, *_IMAGES, *_MODELS)
_DONE = {Verb.STOP: "stopped", Verb.START: "started", Verb.DELETE: "removed"}


class DockerController:
    """Controller of Docker regions. ``line`` finds the open connection of a region, ``recipe`` what it builds with."""

    def __init__(
        self,
        line: Callable[[str], Connection | None],
        gate: Gate,
        clock: Clock,
        recipe: Callable[[str], Recipe] = lambda _: Recipe(),
    ) -> None:
        self._line, self._gate, self._clock = line, gate, clock
        self._making, self._kept = Making(recipe, clock), Kept()
        #: By run (container, its start): since when it has been seen running, monotonic seconds.
        self._running: dict[tuple[str, str], float] = {}

    async def draft(self, part: ActionRequest, key: ServiceKey, world: World) -> Draft:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        if part.verb not in _VERBS or part.kind:
            raise ValidationError(
                f"this version cannot {part.verb} on a Docker host", f"it can {', '.join(_VERBS)}"
            )
        if part.verb is Verb.CREATE and _again(part):
            return self._kept.draft(part, key)
        if part.verb is Verb.CREATE:
            return await self._making.draft_new(self._open(key.region), part, key)
        service = world.service(key)
        if service is None:
            raise ValidationError(
                f"there is no service {key.name!r} in {key.region}", "see `nimify-tui snapshot -o name`"
            )
        line = self._open(key.region)
        some = await members(line, service.uid)
        if not some:
            raise ClusterError(f"{key.name} has no container any more", "look again")
        behind = await fronted(line, some)
        if part.verb is Verb.SCALE:
            return draft_scale(part, key, behind, some, await _owner(line, some))
        if part.verb in _IMAGES:
            return await draft_image(line, part, key, behind, some, await _owner(line, some))
        if part.verb is Verb.UPDATE:
            return await self._making.draft_revision(line, part, key, behind, some, await _owner(line, some))
        if part.verb is Verb.DELETE and behind is not None:
            return draft_delete(part, key, behind, some, await _owner(line, some), secrets.token_hex(8))
        touched = _touched(part.verb, some)
        before = Precondition(key, identity(touched), 0, path_of(touched))
        if not touched:
            return self._idle(part, key, before)
        stop = part.verb is Verb.STOP
        undo, mark = None, f"{newest_start(some):.6f}"
        if part.verb is Verb.DELETE:
            mark = secrets.token_hex(8) if all(_comes_back(each) for each in some) else ""
        if part.verb is Verb.DELETE and mark:
            undo = ActionRequest(verb=Verb.CREATE, targets=(key,), mark=mark)
        if part.verb in (Verb.STOP, Verb.START):
            undo = ActionRequest(verb=Verb.START if stop else Verb.STOP, targets=(key,))
        return Draft(
            part=msgspec.structs.replace(part, mark=mark),
            precondition=before,
            facts=facts_of(part.verb, some, touched, await _owner(line, some), stop_first=part.stop_first),
            diff=diff({name_of(each): _is(each) for each in touched}, _after(part.verb, touched)),
            destructive=part.verb in (Verb.STOP, Verb.DELETE),
            undo=undo,
            no_undo={
                Verb.RESTART: "none needed: the content is the same",
                Verb.DELETE: "cannot be undone: what the container wrote outside of volumes is gone with it",
            }.get(part.verb, ""),
            calls=calls_for(len(some)) if behind is not None else len(touched) * (1 + (part.verb is Verb.DELETE)),
        )

    async def send(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, permit: Permit, say: Say = quiet
    ) -> Receipt:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        before = _before(plan, key)
        line = self._open(key.region)
        leave = Leave(permit, plan, self._gate.verify)
        if part.verb in _OTHERS:
            await self._change(line, part, before, leave, say)
            return Receipt(generation=0, uid=before.uid, deadline_s=SETTLE_S)
        some = [
            each
            for each in [await inspected(line, uid) for uid in before.path.split(",")]
            if each is not None
        ]
        if identity(some) != before.uid:
            raise _others(key)
        service = await fronted(line, some)
        if part.verb is Verb.DELETE and part.mark:
            await self._kept.keep(line, part.mark, some)
        if service is not None and part.verb is Verb.RESTART:
            await Replicas(line, service.name, leave, self._clock, say).restart()
            return Receipt(generation=0, uid=before.uid, deadline_s=SETTLE_S)
        if service is not None and part.verb is Verb.DELETE:
            await Replicas(line, service.name, leave, self._clock, say).delete()
            return Receipt(generation=0, uid=before.uid, deadline_s=SETTLE_S)
        for number, one in enumerate(some):
            say(f"{name_of(one)}: {part.verb}", number, len(some))
            await self._one(line, part.verb, one, permit, plan)
            if part.verb is Verb.RESTART and number + 1 < len(some):
                say(f"{name_of(one)}: waits until it serves", number, len(some))
                await self._until_it_serves(line, one, len(some) - number - 1)
        if part.verb is Verb.START and service is not None:
            await self._told(line, service, leave, say)
        return Receipt(generation=0, uid=before.uid, deadline_s=SETTLE_S)

    async def _change(
        self, line: Connection, part: ActionRequest, before: Precondition, leave: Leave, say: Say
    ) -> None:
        """What makes other containers: a new service, a number of replicas, an image."""
        if part.verb is Verb.CREATE:
            if _again(part):
                await self._kept.bring_back(line, part, before.key, leave, self._clock, say)
                return
            await self._making.make(line, part, before.key, leave, say)
            return
        if "," not in before.path:
            one = await inspected(line, before.path)
            if one is None:
                raise _others(before.key)
            await pulled(line, part.image, leave, say)
            await Single(line, one.plain_name, leave, self._clock, say).replace(one.id, part.image)
            return
        service = await again(line, before)
        if service is None or service.identity != before.uid:
            raise _others(before.key)
        replicas = Replicas(line, service.name, leave, self._clock, say)
        if part.verb is Verb.SCALE:
            await replicas.scale(part.replicas or 0)
            return
        if part.verb is Verb.UPDATE:
            gpu = any(each.host_config.gpus is not None for each in service.replicas)
            await self._making.built(line, part, before.key, leave, say, gpu=gpu)
        await pulled(line, part.image, leave, say)
        await replicas.replace(part.image, int(part.mark), stop_first=part.stop_first)

    async def _told(self, line: Connection, service: Fronted, leave: Leave, say: Say) -> None:
        """The front learns the addresses that replicas have since their start; one that does not run will not ask."""
        if service.front.state.status == "running":
            say(f"{name_of(service.front)}: learns their addresses", 0, 0)
            await Replicas(line, service.name, leave, self._clock, say).refresh()

    async def _one(self, line: Connection, verb: Verb, one: Container, permit: Permit, plan: Plan) -> None:
        path, name = f"/containers/{one.id}", name_of(one)
        grace_s = one.config.grace_s

        async def ask(method: str, where: str, word: str) -> None:
            query = {"t": str(grace_s)} if where.endswith(("/stop", "/restart")) else {}
            await line.change(
                method, where, query, what=f"{word} of {name}", permit=permit, plan=plan, verify=self._gate.verify,
                deadline_s=grace_s + _MORE_S,
            )  # fmt: skip

        match verb:
            case Verb.DELETE:
                if one.state.status in UP:
                    await ask("POST", f"{path}/stop", "stop")
                await ask("DELETE", path, "removal")
            case _:
                await ask("POST", f"{path}/{verb}", str(verb))

    async def _until_it_serves(self, line: Connection, one: Container, left: int) -> None:
        """Return when it serves. Raises ClusterError when it ends or does not come up: the others go on as they are."""
        deadline_s = self._clock.mono_s() + SETTLE_S
        rest = f"the other {left} were not touched"
        while True:
            now = await inspected(line, one.id)
            if now is not None and serves(now):
                return
            if now is None or now.state.status in ("exited", "dead", "removing"):
                code = f" (exit code {now.state.exit_code})" if now is not None else ""
                raise ClusterError(
                    f"{name_of(one)} does not run after its restart{code}; {rest}", "look at its log"
                )
            if self._clock.mono_s() > deadline_s:
                raise ClusterError(f"{name_of(one)} does not become healthy; {rest}", "look at its log")
            await asyncio.sleep(LOOK_S)

    async def standing(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, receipt: Receipt, world: World
    ) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        try:
            return await self._look(plan, part, key)
        except NetworkError as error:
            text = f"accepted; it cannot be looked at now: {error.message}"
            return Standing(state=ActionState.RUNNING, text=text)

    async def reality(self, plan: Plan, part: ActionRequest, key: ServiceKey, world: World) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        found = await self._look(plan, part, key)
        if part.verb in _OTHERS and found.state is ActionState.RUNNING and found.done:
            return Standing(state=ActionState.UNKNOWN, text=f"{found.text}: it was done in part")
        if found.state is ActionState.OK:
            return Standing(state=ActionState.OK, text=f"{found.text}: it was done")
        if found.state is ActionState.RUNNING and not found.done:
            return Standing(state=ActionState.FAILED, text=f"{found.text}: it was not done")
        return found

    async def _look(self, plan: Plan, part: ActionRequest, key: ServiceKey) -> Standing:
        """How far it is by what the engine has now; ``done`` counts containers that are as wanted."""
        before = _before(plan, key)
        line = self._open(key.region)
        if part.verb in _OTHERS:
            if part.verb is Verb.CREATE:
                if _again(part):
                    return await self._kept.look(line, part)
                return await look_made(line, part, key)
            look = look_fronted if "," in before.path else look_single
            return await look(line, part, before)
        ids = before.path.split(",")
        now = [await inspected(line, uid) for uid in ids]
        some = [each for each in now if each is not None]
        if part.verb is Verb.DELETE:
            return _counted(len(ids) - len(some), len(ids), "gone", "")
        if len(some) < len(ids):
            text = f"{len(ids) - len(some)} of {len(ids)} containers were removed by somebody else"
            return Standing(state=ActionState.UNKNOWN, text=text)
        if part.verb is Verb.STOP:
            running = [each for each in some if each.state.status in UP]
            return _counted(len(ids) - len(running), len(ids), "stopped", "")
        since = float(part.mark or 0.0) if part.verb is Verb.RESTART else 0.0
        wanted = [each for each in some if part.verb is Verb.START or _was_touched(each, since)]
        for each in wanted:
            state = each.state
            if _crashed(each):
                why = f"{name_of(each)} has ended again{_code(each)}"
                return Standing(state=ActionState.FAILED, text=why, total=len(ids))
            if state.health is not None and state.health.status == "unhealthy":
                return Standing(state=ActionState.FAILED, text=f"{name_of(each)}: its health check fails")
        steady = [self._steady(each) for each in wanted]
        up = sum(steady)
        waits = next((name_of(each) for each, well in zip(wanted, steady, strict=True) if not well), "")
        return _counted(up, len(ids), "running", f"; {waits} is not ready yet" if waits else "")

    def _steady(self, one: Container) -> bool:
        """Serving; without a health check it has to be seen running for a while: one that crashes at once runs, too."""
        if not serves(one):
            return False
        if one.state.health is not None:
            return True
        now_s, run = self._clock.mono_s(), (one.id, one.state.started_at)
        while len(self._running) >= _KEPT:
            self._running.pop(next(iter(self._running)))
        return now_s - self._running.setdefault(run, now_s) >= STEADY_S

    def _open(self, region: str) -> Connection:
        line = self._line(region)
        if line is None or not line.is_open:
            raise NetworkError(f"region {region} has no connection", "wait until it is LIVE again")
        return line

    @staticmethod
    def _idle(part: ActionRequest, key: ServiceKey, before: Precondition) -> Draft:
        if part.verb is Verb.RESTART:
            raise ValidationError(f"{key.name} is stopped", "start it instead")
        word = "is stopped already" if part.verb is Verb.STOP else "runs already"
        return Draft(part=part, precondition=before, nothing_to_do=word)


def _others(key: ServiceKey) -> ClusterError:
    return ClusterError(f"{key.name} has other containers now", "look again, then plan anew")


def _again(part: ActionRequest) -> bool:
    """Whether a new service is one that was removed before."""
    return bool(part.mark) and part.spec is None and part.image_spec is None


def _comes_back(one: Container) -> bool:
    """Whether it alone can be made again as it was: one that runs, does not remove itself and is nobody's front."""
    return one.state.status in UP and not one.host_config.auto_remove and not one.labels.get(FRONT)


async def _owner(line: Connection, some: Sequence[Container]) -> Owner | None:
    """Who keeps them: their labels say so, or a systemd unit of this machine does."""
    unit = await asyncio.to_thread(unit_of, some[0].plain_name) if line.place.here else ""
    return owner_in(some, unit)


def _before(plan: Plan, key: ServiceKey) -> Precondition:
    return next(item for item in plan.preconditions if item.key == key)


def _touched(verb: Verb, some: Sequence[Container]) -> list[Container]:
    """The containers that the verb is for."""
    match verb:
        case Verb.DELETE:
            return list(some)
        case Verb.START:
            return [each for each in some if each.state.status not in UP]
        case _:
            return [each for each in some if each.state.status in UP]


def _was_touched(one: Container, since: float) -> bool:
    started = seconds(one.state.started_at)
    return started is not None and started > since + 1e-5


def _crashed(one: Container) -> bool:
    """Ended, or started again by the engine since it was started by hand (which sets the count to 0)."""
    return one.state.status in ("exited", "dead", "removing", "restarting") or one.restart_count > 0


def _code(one: Container) -> str:
    """How its last run ended, while that is told: a new run hides it."""
    return f" (exit code {one.state.exit_code})" if one.state.status != "running" else ""


def _is(one: Container) -> str:
    return one.state.status


def _after(verb: Verb, touched: Sequence[Container]) -> dict[str, str]:
    if verb is Verb.DELETE:
        return {}
    return {name_of(each): "restarted" if verb is Verb.RESTART else _DONE[verb] for each in touched}


def _counted(done: int, total: int, word: str, more: str) -> Standing:
    state = ActionState.OK if done == total else ActionState.RUNNING
    return Standing(state=state, text=f"{done} of {total} {word}{more}", done=done, total=total)
