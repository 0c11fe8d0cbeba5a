"""A service behind a front as the operator changes it: its plans, and whether a change became true.

What is done to it is in :mod:`nimify_tui.controllers.docker.replicas`; here nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.groups import FRONT, OURS, Owner
from nimify_tui.backends.docker.haproxy import FILE as CONFIGURATION
from nimify_tui.backends.docker.haproxy import FOLDER, servers_in
from nimify_tui.backends.docker.kinds import Container
from nimify_tui.base.errors import ClusterError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.checks import check_replicas
from nimify_tui.controllers.docker.facts import UP, last_start, name_of, objects_of, owned
from nimify_tui.controllers.docker.orders import (
    REVISION,
    Patience,
    by_number,
    calls_for,
    free_name,
    network_of,
)
from nimify_tui.controllers.docker.reading import identity, inspected, labelled, members, path_of, serves
from nimify_tui.controllers.drafts import plural
from nimify_tui.controllers.wording import diff
from nimify_tui.controllers.world import Draft, Standing
from nimify_tui.domain.names import ServiceKey, check_name
from nimify_tui.domain.plans import ActionRequest, ActionState, Precondition, Verb

_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Fronted:
    """A service behind a front: ``replicas`` are those that run, in order; ``names`` of all its containers."""

    name: str
    front: Container
    replicas: Sequence[Container]
    names: frozenset[str]

    @property
    def identity(self) -> str:
        """What a plan is made for: these replicas behind this front."""
        return identity([*self.replicas, self.front])

    @property
    def path(self) -> str:
        """The same as a plan keeps it, the front last."""
        return path_of([*self.replicas, self.front])

    @property
    def replica_names(self) -> list[str]:
        """The replicas that run, in order."""
        return [name_of(each) for each in self.replicas]


async def fronted(line: Connection, some: Sequence[Container]) -> Fronted | None:
    """The service that the containers ``some`` are all of, when it is behind a front; else None. Raises NimifyError."""
    name = some[0].labels.get(OURS, "") if some else ""
    fronts = await labelled(line, f"{FRONT}={name}") if name else []
    if not fronts:
        return None
    front = next((each for each in fronts if each.state.status == "running"), fronts[0])
    running = [each for each in some if each.state.status in UP]
    running.sort(key=lambda each: by_number(each.plain_name))
    return Fronted(name, front, running, frozenset(each.plain_name for each in (*some, *fronts)))


def draft_scale(
    part: ActionRequest, key: ServiceKey, service: Fronted | None, some: Sequence[Container], owner: Owner | None
) -> Draft:
    """More or fewer replicas. Raises ValidationError where that makes no sense, ClusterError where it cannot be."""
    wanted = check_replicas(part.replicas)
    if service is None:
        raise ValidationError(f"{key.name} has no front, so it has no number of replicas", _other_way(some, wanted))
    check_serving(service)
    if wanted < 1:
        raise ValidationError("a service behind a front has at least one replica", "stop it instead")
    number, before = len(service.replicas), Precondition(key, service.identity, 0, service.path)
    if wanted == number:
        text = f"has {number} {plural('replica', number)} already"
        return Draft(part=part, precondition=before, nothing_to_do=text)
    going, coming = service.replicas[wanted:], _new_names(service, wanted - number)
    lines = {name_of(each): f"running, {_image(each)}" for each in service.replicas}
    after = {name: lines[name] for name in service.replica_names[:wanted]}
    after |= dict.fromkeys(coming, f"running, {_image(service.replicas[0])}")
    facts = [("objects", objects_of(some, service.front)), ("change", f"replicas {number} → {wanted}")]
    facts += owned(part.verb, owner)
    facts += _fewer_facts(service, going, wanted) if going else _more_facts(service, coming)
    return Draft(
        part=part,
        precondition=before,
        facts=tuple(facts),
        diff=diff({"replicas": str(number), **lines}, {"replicas": str(wanted), **after}),
        undo=ActionRequest(verb=Verb.SCALE, targets=(key,), replicas=number),
        calls=calls_for(max(wanted, number)),
    )


def draft_delete(
    part: ActionRequest, key: ServiceKey, service: Fronted, some: Sequence[Container], owner: Owner | None, mark: str
) -> Draft:
    """The whole service goes: replicas, front and network."""
    every = [*some, service.front]
    ready, patience = sum(serves(each) for each in some), Patience()
    return Draft(
        part=msgspec.structs.replace(part, mark=mark),
        precondition=Precondition(key, identity(every), 0, path_of(every)),
        facts=(
            ("objects", objects_of(some, service.front)),
            ("change", f"its replicas, its front and the network {network_of(service.name)} are removed"),
            *owned(part.verb, owner),
            ("capacity", f"nothing serves afterwards ({ready} {'serves' if ready == 1 else 'serve'} now)"),
            ("stop", f"asked to end, which answers what they have; killed after {patience.stop_s} s"),
            ("lost", "what they wrote outside of volumes with a name, and their logs; images stay"),
        ),
        diff=diff({name_of(each): f"{each.state.status}, {_image(each)}" for each in every}, {}),
        destructive=True,
        undo=ActionRequest(verb=Verb.CREATE, targets=(key,), mark=mark),
        calls=calls_for(len(some)),
    )


async def look_fronted(line: Connection, part: ActionRequest, before: Precondition) -> Standing:
    """How far a scaling or another image is; RUNNING with ``done`` 0 when nothing of it was done."""
    service = await again(line, before)
    if service is None:
        return Standing(state=ActionState.UNKNOWN, text="its front was removed by somebody else")
    scales = part.verb is Verb.SCALE
    wanted = (part.replicas or 0) if scales or part.verb is Verb.CREATE else before.path.count(",")
    ready = [
        each for each in await _serving(line, service) if scales or each.labels.get(REVISION) == part.mark
    ]
    there = len(service.replicas)
    image = "" if scales else f" {clean_line(part.image, 120)}"
    text = f"{len(ready)} of {wanted} {'serves' if wanted == 1 else 'serve'}{image} behind {name_of(service.front)}"
    if there == wanted == len(ready):
        return Standing(state=ActionState.OK, text=text, done=wanted, total=wanted)
    if service.identity == before.uid:
        return Standing(state=ActionState.RUNNING, text=f"it has {there} as before", total=wanted)
    return Standing(state=ActionState.RUNNING, text=text, done=max(1, len(ready)), total=wanted)


async def again(line: Connection, before: Precondition) -> Fronted | None:
    """The service of a plan as it is now, None when its front is no more. Raises NimifyError."""
    front = await inspected(line, before.path.rpartition(",")[2])
    if front is None or not (name := front.labels.get(FRONT, "")):
        return None
    some = await members(line, f"nimify:{name}")
    return await fronted(line, some) if some else Fronted(name, front, (), frozenset())


async def _serving(line: Connection, service: Fronted) -> list[Container]:
    """The replicas that serve and are kept in the front's configuration, which is in step with what it does."""
    packed = await line.read(
        f"/containers/{service.front.id}/archive", {"path": f"{FOLDER}/{CONFIGURATION}"}, _LIMIT_BYTES
    )
    known = servers_in(packed)
    return [each for each in service.replicas if serves(each) and each.plain_name in known]


def check_serving(service: Fronted) -> None:
    """Raises ValidationError, and ClusterError where there is nothing that serves."""
    check_name(service.name, "service name")
    if service.front.state.status != "running":
        raise ClusterError(f"{name_of(service.front)}, its front, does not run", "start that container first")
    if not service.replicas:
        raise ClusterError(f"{service.name} has no replica that runs", "start it first")


def _new_names(service: Fronted, count: int) -> list[str]:
    revision, taken = service.replicas[0].labels.get(REVISION, "1"), set(service.names)
    found: list[str] = []
    for _ in range(max(0, count)):
        found.append(free_name(service.name, revision, taken))
        taken.add(found[-1])
    return [clean_line(each, 120) for each in found]


def _more_facts(service: Fronted, coming: Sequence[str]) -> list[tuple[str, str]]:
    ready, number = sum(serves(each) for each in service.replicas), len(service.replicas)
    pattern = service.replicas[0]
    more = f"{len(coming)} more {'starts' if len(coming) == 1 else 'start'} beside"
    return [
        ("capacity", f"{ready} of {number} serve all the time; {more}, asked when healthy"),
        ("copy", f"of {name_of(pattern)}: its image ({_image(pattern)}), environment, limits, mounts and networks"),
        ("start", f"{last_start(service.replicas)}; one after the other"),
        ("on failure", f"not healthy within {Patience().healthy_s:.0f} s: the new ones are removed, the others stay"),
    ]


def _fewer_facts(service: Fronted, going: Sequence[Container], wanted: int) -> list[tuple[str, str]]:
    patience = Patience()
    ready = sum(serves(each) for each in service.replicas[:wanted])
    one = len(going) == 1
    ends = f"up to {patience.drain_s:.0f} s for those it has, then asked to end, killed after {patience.stop_s} s"
    return [
        ("capacity", f"{ready} of {wanted} serve all the time"),
        ("stop", f"no new request, {ends}; one after the other"),
        ("lost", f"what {'it' if one else 'they'} wrote outside of volumes, and {'its' if one else 'their'} log"),
    ]


def _other_way(some: Sequence[Container], wanted: int) -> str:
    labels = some[0].labels
    if service := labels.get("com.docker.compose.service", ""):
        return f"Compose counts it: docker compose up --detach --scale {clean_line(service, 60)}={wanted}"
    if service := labels.get("com.docker.swarm.service.name", ""):
        return f"Swarm counts it: docker service scale {clean_line(service, 60)}={wanted}"
    return "`nimify-tui deploy` makes services behind a front"


def _image(one: Container) -> str:
    return clean_line(one.config.image, 120)
