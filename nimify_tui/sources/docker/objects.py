"""Containers as their engine has them (inspect): read once for each demand, with what the engine said of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from nimify_tui.backends.docker.errors import BadAnswer, NoEngine, NotThere
from nimify_tui.backends.docker.groups import owner_of
from nimify_tui.backends.docker.kinds import Container, Event
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import Looks, ObjectDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.objects import ObjectEvent, ObjectText
from nimify_tui.sources.answering import Answering, Sink
from nimify_tui.sources.docker.host import Known
from nimify_tui.sources.docker.reach import port_words
from nimify_tui.sources.docker.region import Link
from nimify_tui.sources.docker.words import gpus_of, size
from nimify_tui.sources.exits import exit_words
from nimify_tui.sources.masking import shown
from nimify_tui.sources.yaml_text import lines_of

_MOST_BYTES, _MOST_EVENTS = 4 * 1024 * 1024, 200
_STEPS = ("exec_create", "exec_start", "exec_die", "top", "resize")


class ContainerReader:
    """Answers every ObjectDemand of Docker regions; see :class:`nimify_tui.sources.answering.Answering`."""

    def __init__(
        self,
        looks: Looks,
        members: Callable[[ServiceKey], Sequence[Known]],
        link: Callable[[str], Link | None],
        ours: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._members, self._link, self._clock = members, link, clock
        self._answering = Answering(looks, ours, self._read, clock)

    async def run(self, sink: Sink) -> None:
        """Answer until cancelled."""
        await self._answering.run(sink)

    async def _read(self, demand: ObjectDemand) -> ObjectText:
        """The replica's container; without a replica the first of the service."""
        link = self._link(demand.key.region)
        if link is None:
            raise NoEngine(f"no contact with {demand.key.region} yet", "wait until the region is LIVE")
        some = self._members(demand.key)
        fitting = [each for each in some if demand.replica in ("", clean_line(each.one.plain_name, 120))]
        if not fitting:
            raise NotThere(f"{demand.replica or demand.key.name} is not there (any more)", "esc goes back")
        one = fitting[0].one
        body = await link.read(f"/containers/{one.id}/json", {}, _MOST_BYTES)
        lines, words = await asyncio.to_thread(_printed, body)
        events: tuple[ObjectEvent, ...] = ()
        events_error = ""
        try:
            events = await self._events(link, one.id)
        except NimifyError as error:
            events_error = error.message
        return ObjectText(
            at=self._clock.now(), name=clean_line(one.plain_name, 120), kind="Container", yaml=lines, words=words,
            events=events, events_error=events_error,
        )  # fmt: skip

    async def _events(self, link: Link, container_id: str) -> tuple[ObjectEvent, ...]:
        """What the engine still remembers (its newest 256 events, of all containers together)."""
        query = {
            "since": "0", "until": f"{self._clock.now():.6f}", "filters": json.dumps({"container": [container_id]}),
        }  # fmt: skip
        data = await link.read("/events", query, _MOST_BYTES)
        found = []
        for line in data.splitlines():
            try:
                event = msgspec.json.decode(line, type=Event)
            except msgspec.DecodeError:
                continue
            if event.what not in _STEPS:
                found.append(_event(event))
        return tuple(reversed(found[-_MOST_EVENTS:]))


def _event(event: Event) -> ObjectEvent:
    code = event.attribute("exitCode")
    bad = (
        event.what == "oom" or event.detail == "unhealthy" or (event.what == "die" and code not in ("", "0"))
    )
    said = [event.detail, exit_words(int(code)) if code.isdecimal() and len(code) < 6 else ""]
    if number := event.attribute("signal"):
        said.append(f"signal {number}")
    return ObjectEvent(
        at=event.at, type="Warning" if bad else "Normal", reason=clean_line(event.what, 80),
        text=clean_line(", ".join(filter(None, said)), 300),
    )  # fmt: skip


def _printed(body: bytes) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The container as YAML lines, credentials masked, and in words. Raises BadAnswer."""
    try:
        made = msgspec.json.decode(body)
        one = msgspec.json.decode(body, type=Container)
        if not isinstance(made, dict):
            raise BadAnswer("the engine answers with something that is no container")
        masked: dict[str, Any] = shown(made)
        return tuple(lines_of(masked)), tuple(_words(one, masked))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadAnswer("the engine answers with something that is no container") from error
    except RecursionError as error:
        raise BadAnswer("the object is nested too deeply to be shown") from error


def _words(one: Container, masked: dict[str, Any]) -> list[tuple[str, str]]:
    """What matters, for people; out of ``masked`` what may hold a credential."""
    state, host, policy = one.state, one.host_config, one.host_config.restart_policy
    health = state.health.status if state.health is not None else "no check"
    command = [str(masked.get("Path") or ""), *(str(each) for each in masked.get("Args") or ())]
    owner = owner_of(one.labels)
    networks = one.network_settings.networks or {}
    mounts = [each for each in masked.get("Mounts") or () if isinstance(each, dict)]
    lines = [
        ("Name", one.plain_name),
        ("Image", one.config.image),
        ("Command", " ".join(filter(None, command))),
        ("State", f"{state.status}{f', {exit_words(state.exit_code)}' if state.status == 'exited' else ''}"),
        ("Health", health),
        ("Created", one.created),
        ("Started", state.started_at),
        ("Restart policy", f"{policy.name if policy is not None else 'no'}, {one.restart_count} restarts"),
        ("Owner", owner.words if owner is not None else "nobody says so"),
        ("Ports", port_words(one) or "none"),
        (
            "Networks",
            ", ".join(f"{name} {each.ip_address}".strip() for name, each in networks.items()) or "none",
        ),
        ("Memory limit", size(host.memory) if host.memory else "none"),
        ("CPU limit", f"{host.nano_cpus / 1e9:g}" if host.nano_cpus else "none"),
        ("GPUs", gpus_of(one) or "none"),
        ("Mounts", "" if mounts else "none"),
    ]
    lines += [_mount(each) for each in mounts]
    lines.append(("Labels", "" if one.labels else "none"))
    labels = masked.get("Config", {}).get("Labels") or {}
    lines += [(f"  {name}", str(value)) for name, value in labels.items()]
    return [(clean_line(name, 120), clean_line(text, 400)) for name, text in lines]


def _mount(mount: dict[str, Any]) -> tuple[str, str]:
    access = "" if mount.get("RW", True) else " (read-only)"
    return (
        f"  {mount.get('Type', '?')}",
        f"{mount.get('Source', '')} -> {mount.get('Destination', '')}{access}",
    )
