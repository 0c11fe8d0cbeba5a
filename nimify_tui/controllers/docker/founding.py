"""What every new service on a Docker host has, whatever it is made of: a name, replicas, a front, GPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.groups import FRONT, OURS
from nimify_tui.backends.docker.pulling import find
from nimify_tui.backends.docker.specs import Gpus
from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.checks import check_port, check_replicas
from nimify_tui.controllers.docker.facts import gpu_words
from nimify_tui.controllers.docker.orders import Patience, calls_for, front_of, network_of
from nimify_tui.controllers.docker.reading import labelled
from nimify_tui.controllers.drafts import plural
from nimify_tui.controllers.wording import diff
from nimify_tui.controllers.world import Draft
from nimify_tui.domain.names import ServiceKey, check_name
from nimify_tui.domain.plans import ActionRequest, Precondition, Verb

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/=-]{0,127}\Z")
_MOST_GPUS = 1024


@dataclass(frozen=True)
class Founding:
    """A new service that can be: its number of replicas, the host's port (None: a free one), GPUs of each replica."""

    key: ServiceKey
    replicas: int
    port: int | None
    gpus: Gpus
    front_image: str


class _Info(msgspec.Struct):
    Runtimes: dict[str, object] | None = None


async def found(line: Connection, part: ActionRequest, key: ServiceKey, front_image: str) -> Founding:
    """Raises ValidationError for what cannot be."""
    check_name(key.name, "service name")
    if await labelled(line, f"{OURS}={key.name}") or await labelled(line, f"{FRONT}={key.name}"):
        remedy = "choose another name, or update it"
        raise ValidationError(f"there is a service {key.name!r} in {key.region} already", remedy)
    replicas = check_replicas(1 if part.replicas is None else part.replicas)
    if replicas < 1:
        raise ValidationError("a new service has at least one replica", "use a number from 1 on")
    return Founding(key, replicas, check_port(part.port), gpus_in(part.gpus), front_image)


def gpus_in(text: str) -> Gpus:
    """``all``, a number, or ``device=0,1``, as Docker's own command line has it. Raises ValidationError."""
    if text in ("", "0"):
        return Gpus()
    if text == "all":
        return Gpus(count=-1)
    if text.isascii() and text.isdigit() and int(text[:5]) <= _MOST_GPUS:
        return Gpus(count=int(text[:5]))
    ids = tuple(text.removeprefix("device=").split(","))
    if not text.startswith("device=") or not all(_ID.match(each) for each in ids):
        raise ValidationError(f"{clean_line(text, 60)!r} are no GPUs", "use all, a number, or device=0,1")
    return Gpus(ids=ids)


async def draft_of(
    line: Connection,
    part: ActionRequest,
    it: Founding,
    *,
    facts: Sequence[tuple[str, str]],
    capacity: str,
    wanted: Mapping[str, str],
) -> Draft:
    """The plan: ``facts`` say what it is made of, ``wanted`` are further lines of the diff. Raises NimifyError."""
    name, gpus = it.key.name, it.gpus
    lines = {"name": name, **wanted, "replicas": str(it.replicas), "port": f"127.0.0.1:{it.port or 'a free one'}"}
    lines["front"] = it.front_image
    more: list[tuple[str, str]] = []
    if gpus.count or gpus.ids:
        lines["gpus"] = gpu_words(gpus.count, gpus.ids)
        more = await _gpu_facts(line, it)
    all_facts = [
        ("objects", (f"new service {name}: {it.replicas} {plural('replica', it.replicas)}, the front "
                     f"{front_of(name)} and the network {network_of(name)}")),
        *facts,
        ("capacity", capacity),
        *more,
        ("on failure", f"not healthy within {Patience().healthy_s:.0f} s: nothing of it is left"),
    ]  # fmt: skip
    if await find(line, it.front_image) is None:
        all_facts.append(("front", f"{clean_line(it.front_image, 120)} is not on the engine yet: pulled first"))
    return Draft(
        part=msgspec.structs.replace(part, replicas=it.replicas, mark="1"),
        precondition=Precondition(it.key, "", 0),
        facts=tuple(all_facts),
        diff=diff({}, lines),
        undo=ActionRequest(verb=Verb.DELETE, targets=(it.key,)),
        calls=calls_for(it.replicas) + 3,
    )


async def _gpu_facts(line: Connection, it: Founding) -> list[tuple[str, str]]:
    words = gpu_words(it.gpus.count, it.gpus.ids)
    shared = "; an engine counts none out: all replicas get the same ones" if it.replicas > 1 else ""
    told = [("gpus", f"{words} for {'each replica' if it.replicas > 1 else 'it'}{shared}")]
    known = (await line.get("/info", _Info)).Runtimes or {}
    if not any("nvidia" in each for each in known):
        told.append(("warning", "the engine names no NVIDIA runtime: without its container toolkit nothing starts"))
    return told
