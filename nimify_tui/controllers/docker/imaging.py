"""Another image for what runs: its plan, the pull before it, and whether it became true."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.groups import Owner
from nimify_tui.backends.docker.kinds import Container
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.pulling import find, pull, runnable
from nimify_tui.backends.docker.references import is_id
from nimify_tui.base.errors import ClusterError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.docker.facts import (
    UP,
    gpu_words,
    last_start,
    name_of,
    objects_of,
    owned,
)
from nimify_tui.controllers.docker.fronted import Fronted, check_serving
from nimify_tui.controllers.docker.looking import image_of
from nimify_tui.controllers.docker.orders import IMAGE_BEFORE, REVISION, Patience, calls_for
from nimify_tui.controllers.docker.reading import identity, inspected, path_of, serves
from nimify_tui.controllers.docker.single import SINGLE_CALLS
from nimify_tui.controllers.docker.telling import tell
from nimify_tui.controllers.wording import diff, size_text
from nimify_tui.controllers.world import Draft, Say, Standing
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Precondition, Verb

_KEPT = "mounts, environment, shm, ipc, ulimits, limits, networks, devices, ports and labels stay as inspect shows them"
#: Who would not let it stay so, by the kind of owner.
_STRONGER = ("Swarm service", "Kubernetes pod")


async def draft_image(
    line: Connection,
    part: ActionRequest,
    key: ServiceKey,
    service: Fronted | None,
    some: Sequence[Container],
    owner: Owner | None,
) -> Draft:
    """Another image, or (ROLLBACK) the one that the containers before had.

    Raises ValidationError, ClusterError, and EngineRefused for an image that this machine cannot run.
    """
    one = _one(key, service, some)
    part = _filled(part, key, one)
    touched = list(service.replicas) if service is not None else [one]
    ids = (service.identity, service.path) if service is not None else (identity(touched), path_of(touched))
    before = Precondition(key, ids[0], 0, ids[1])
    found = await find(line, part.image)
    if found is None and is_id(part.image):
        raise ClusterError(f"the engine has no image {clean_line(part.image, 80)} any more", "name one it can pull")
    if found is not None and all(each.image == found.Id for each in touched):
        return Draft(part=part, precondition=before, nothing_to_do=f"runs {clean_line(part.image, 120)} already")
    if found is not None:
        await runnable(line, part.image)
    mark = str(1 + max(revision_of(each) for each in touched)) if service is not None else one.plain_name
    facts = [
        ("objects", objects_of(some, service.front if service is not None else None)),
        ("change", f"image {clean_line(one.config.image, 120)} → {clean_line(part.image, 120)}; {_KEPT}"),
        *owned(part.verb, owner),
        *([] if found is not None else [("image", "not on the engine yet: pulled first, nothing stops for that")]),
        *(await rolling(line, part, touched) if service is not None else _swapped(one)),
    ]
    stronger = owner is not None and owner.kind in _STRONGER
    return Draft(
        part=msgspec.structs.replace(part, mark=mark),
        precondition=before,
        facts=tuple(facts),
        diff=diff(*_images(touched, part.image, found.Id if found is not None else "")),
        undo=ActionRequest(
            verb=Verb.SET_IMAGE, targets=(key,), image=await image_of(line, one.config.image, one.image)
        ),
        calls=1 + (calls_for(len(touched)) if service is not None else SINGLE_CALLS),
        obstacle=f"{owner.words} keeps it" if owner is not None and stronger else "",
        obstacle_remedy=f"change it there: `{owner.by}`" if owner is not None and stronger else "",
    )


async def pulled(line: Connection, image: str, leave: Leave, say: Say) -> None:
    """The engine has the image. Raises what :func:`nimify_tui.backends.docker.pulling.pull` does."""
    if await find(line, image) is not None:
        return
    name = clean_line(image, 120)
    say(f"pulls {name}", 0, 0)
    async with contextlib.aclosing(pull(line, image, leave)) as events:
        async for event in events:
            tell(event, f"pulls {name}", say)


async def look_single(line: Connection, part: ActionRequest, before: Precondition) -> Standing:
    """How far one container's new image is; RUNNING with ``done`` 0 when nothing of it was done."""
    name = clean_line(part.mark, 120)
    now = await inspected(line, part.mark)
    if now is None:
        return Standing(state=ActionState.UNKNOWN, text=f"there is no container {name}: look at docker ps --all")
    image, state = clean_line(now.config.image, 120), clean_line(now.state.status, 40)
    if now.id == before.path:
        return Standing(state=ActionState.RUNNING, text=f"{name} is {state} with {image} as before", total=1)
    if now.config.image != part.image:
        return Standing(state=ActionState.UNKNOWN, text=f"{name} has {image}, which somebody else set")
    if state not in UP or now.restart_count:
        return Standing(state=ActionState.FAILED, text=f"{name} has ended again with {image}", total=1)
    well = ActionState.OK if serves(now) else ActionState.RUNNING
    return Standing(state=well, text=f"{name} runs {image}", done=1, total=1)


def _one(key: ServiceKey, service: Fronted | None, some: Sequence[Container]) -> Container:
    """The container whose settings count."""
    if service is not None:
        check_serving(service)
        return service.replicas[0]
    if len(some) > 1:
        raise ValidationError(
            f"{key.name} has {len(some)} containers without a front", "change the image where they are written down"
        )
    if some[0].state.status not in UP:
        raise ClusterError(f"{name_of(some[0])} does not run", "start it first")
    if some[0].host_config.auto_remove:
        raise ClusterError("it removes itself when it ends (--rm)", "start the new one by hand")
    return some[0]


def _filled(part: ActionRequest, key: ServiceKey, one: Container) -> ActionRequest:
    if part.container:
        raise ValidationError("a container here has one image", "name the image alone")
    if part.verb is not Verb.ROLLBACK:
        return part
    if part.revision is not None:
        raise ValidationError("a Docker host keeps no numbered revisions", "roll back without a number")
    image = one.labels.get(IMAGE_BEFORE, "")
    if not is_id(image):
        raise ValidationError(f"{key.name} had no other image that is known", "set the image instead")
    return msgspec.structs.replace(part, image=image)


def revision_of(one: Container) -> int:
    """The revision that a container says it is; 0 where it says none."""
    text = one.labels.get(REVISION, "")
    return int(text[:9]) if text.isascii() and text[:9].isdigit() else 0


def _images(touched: Sequence[Container], image: str, image_id: str) -> tuple[dict[str, str], dict[str, str]]:
    before = {name_of(each): f"{clean_line(each.config.image, 120)} ({each.image[7:19]})" for each in touched}
    after = f"{clean_line(image, 120)} ({image_id[7:19] or 'as its registry has it then'})"
    return before, dict.fromkeys(before, after)


async def rolling(line: Connection, part: ActionRequest, touched: Sequence[Container]) -> list[tuple[str, str]]:
    """The lines of a plan about replicas that get another image one after the other. Raises NimifyError."""
    patience, ready = Patience(), sum(serves(each) for each in touched)
    capacity = f"each new replica is healthy before its old one is drained: {ready} serve all the time"
    if part.stop_first:
        rest = f"{max(0, ready - 1)} of {len(touched)} serve meanwhile" if ready > 1 else "nothing serves meanwhile"
        capacity = f"each replica ends before its successor starts: {rest}"
    return [
        ("capacity", capacity),
        *([] if part.stop_first else await _no_room(line, touched)),
        ("start", f"{last_start(touched)}; one after the other"),
        ("stop", f"no new request, up to {patience.drain_s:.0f} s for those it has, killed {patience.stop_s} s later"),
        ("on failure", f"not healthy in {patience.healthy_s:.0f} s: the old containers, kept so long, serve again"),
        ("lost", "what the old containers wrote outside of volumes, and their logs"),
    ]


async def _no_room(line: Connection, touched: Sequence[Container]) -> list[tuple[str, str]]:
    """Why a successor may find no room beside its predecessor, and what helps; nothing where it does.

    An engine gives no memory and no GPU away for one container alone: only what cannot be right is said.
    """
    one, found = touched[0], []
    if (gpus := one.host_config.gpus) is not None:
        found.append(f"old and new share {gpu_words(gpus.count, gpus.device_ids or ())} and the memory there")
    if limit := one.host_config.memory:
        has = (await line.get("/info", _Info)).MemTotal
        if 0 < has < limit * (len(touched) + 1):
            found.append(f"{len(touched) + 1} x {size_text(limit)} are more than the {size_text(has)} of its host")
    offer = "stop-first replaces each in its own place instead (:image IMAGE stop-first, --stop-first)"
    return [("offer", f"{'; '.join(found)}: {offer}")] if found else []


def _swapped(one: Container) -> list[tuple[str, str]]:
    healthy_s = Patience().healthy_s
    return [
        ("capacity", "nothing serves until the new one does: name and ports are free only when the old one ends"),
        ("stop", f"asked to end, killed after {one.config.grace_s} s"),
        ("start", last_start([one])),
        ("on failure", f"not serving within {healthy_s:.0f} s: it is removed, and the old container runs again"),
        ("lost", "what it wrote outside of volumes, and its log"),
    ]


class _Info(msgspec.Struct):
    MemTotal: int = 0
