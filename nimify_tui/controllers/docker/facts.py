"""What a plan on a Docker host tells: what is touched, who keeps it, what serves meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.backends.docker.groups import FRONT, Owner, group_of, owner_of
from nimify_tui.backends.docker.kinds import GRACE_S, Container, seconds
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.docker.reading import serves
from nimify_tui.controllers.drafts import plural
from nimify_tui.domain.plans import Verb

#: States in which a container has a process.
UP = ("running", "paused", "restarting")
_NAMED = 6


def name_of(one: Container) -> str:
    """A container's name for people."""
    return clean_line(one.plain_name, 120)


def owner_in(some: Sequence[Container], unit: str) -> Owner | None:
    """Who keeps them; ``unit`` is the systemd unit that was found for them."""
    found = next((owner for each in some if (owner := owner_of(each.labels)) is not None), None)
    if found is None and unit:
        return Owner("systemd unit", clean_line(unit, 120), "", "systemctl")
    return found


def facts_of(
    verb: Verb,
    some: Sequence[Container],
    touched: Sequence[Container],
    owner: Owner | None,
    *,
    stop_first: bool = False,
) -> tuple[tuple[str, str], ...]:
    """The lines of a plan."""
    found = [("objects", objects_of(some)), ("change", _change(verb, touched)), *owned(verb, owner)]
    found += _address_of(some)
    found.append(("capacity", _capacity(verb, some, touched)))
    if stop_first and verb is Verb.RESTART:
        found.append(("stop-first", "a restart here is always that: each container ends before it starts again"))
    if verb in (Verb.RESTART, Verb.STOP, Verb.DELETE):
        grace = max((each.config.grace_s for each in touched), default=GRACE_S)
        found.append(("stop", f"asked to end, killed after {grace} s"))
    if verb in (Verb.RESTART, Verb.START):
        found.append(("start", last_start(touched)))
    if verb is Verb.STOP and (policy := _policy(touched)):
        found.append(("engine", policy))
    return tuple(found)


def owned(verb: Verb, owner: Owner | None) -> list[tuple[str, str]]:
    """The line that names who keeps them, and what that means; none where nobody does."""
    return [("owner", f"{owner.words}; {_reverted(verb, owner)}")] if owner is not None else []


def objects_of(some: Sequence[Container], front: Container | None = None) -> str:
    """What is touched, in words; ``front`` is the HAProxy before them."""
    names = ", ".join(name_of(each) for each in some[:_NAMED])
    more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    kind = group_of(some[0]).kind
    ready = sum(serves(each) for each in some)
    if len(some) == 1 and kind == "Container" and front is None:
        return f"container {names}, {'serving' if ready else some[0].state.status}"
    kind = f"service behind {name_of(front)}," if front is not None else f"{kind} of"
    return f"{kind} {len(some)} {plural('container', len(some))} ({names}{more}), {ready} of {len(some)} serving"


def _address_of(some: Sequence[Container]) -> list[tuple[str, str]]:
    """What it means that one of them is a front."""
    names = [each.labels[FRONT] for each in some if each.labels.get(FRONT)]
    text = "it is the address of {}: nothing of it is reached while this does not run"
    return [("front", text.format(clean_line(name, 80))) for name in names]


def _change(verb: Verb, touched: Sequence[Container]) -> str:
    many = len(touched) > 1
    match verb:
        case Verb.RESTART:
            if many:
                return "each container is restarted, one after the other, the next when the one before serves"
            return "the container is restarted, its content is the same"
        case Verb.STOP:
            return (
                "every container is stopped and stays there"
                if many
                else "the container is stopped and stays there"
            )
        case Verb.START:
            return "every container is started" if many else "the container is started"
        case _:
            word = "every container is" if many else "the container is"
            return f"{word} stopped and removed with what it wrote; volumes stay"


def _reverted(verb: Verb, owner: Owner) -> str:
    match owner.kind:
        case "Compose project":
            if verb in (Verb.SET_IMAGE, Verb.ROLLBACK, Verb.UPDATE):
                return f"the project's file is not changed: `{owner.by}` goes back to its image"
            if verb is Verb.DELETE:
                return f"`{owner.by}` makes it again"
            return (
                f"`{owner.by}` starts it again" if verb is Verb.STOP else "the project's file is not changed"
            )
        case "systemd unit":
            if verb in (Verb.SET_IMAGE, Verb.ROLLBACK, Verb.UPDATE):
                return f"the unit is not changed: `systemctl restart {owner.name}` may go back to its image"
            if verb is Verb.RESTART:
                return (
                    f"`systemctl restart {owner.name}` would do the same; systemd may take this for a failure"
                )
            return f"systemd may start it again: better `systemctl stop {owner.name}`"
        case "Swarm service":
            if verb in (Verb.RESTART, Verb.START):
                return f"`docker service update --force {owner.name}` would do the same"
            return f"Swarm replaces what is stopped or removed: better `{owner.by} {owner.name}`"
        case _:
            return "the cluster replaces what is stopped or removed"


def _capacity(verb: Verb, some: Sequence[Container], touched: Sequence[Container]) -> str:
    ready = sum(serves(each) for each in some)
    match verb:
        case Verb.RESTART:
            if ready > 1:
                return f"{ready - 1} of {len(some)} serve all the time"
            return "nothing serves until it is back" if ready else "nothing serves now"
        case Verb.START:
            return f"{ready} of {len(some)} serve now" if ready else "nothing serves until the first is ready"
        case _:
            return f"nothing serves afterwards ({ready} {'serves' if ready == 1 else 'serve'} now)"


def last_start(touched: Sequence[Container]) -> str:
    """How long a start took last: until the first health check of now that passed."""
    took = []
    for each in touched:
        health, started = each.state.health, seconds(each.state.started_at)
        first = (
            next((run for run in (health.log or ()) if not run.exit_code), None)
            if health is not None
            else None
        )
        at = seconds(first.end) if first is not None else None
        if at is not None and started is not None and 0.0 <= at - started < 3600.0:
            took.append(at - started)
    if took:
        return f"last start took at most {max(took):.1f} s"
    checked = any(each.state.health is not None for each in touched)
    return "how long a start takes is not known" if checked else "no health check: running counts as ready"


def _policy(touched: Sequence[Container]) -> str:
    names = {
        each.host_config.restart_policy.name
        for each in touched
        if each.host_config.restart_policy is not None
    }
    if "always" in names:
        return "restart policy always: it is started again when the engine itself is"
    return ""


def gpu_words(count: int, ids: Sequence[str]) -> str:
    """GPUs of a host in words; -1 is all of them, () by number alone."""
    if ids:
        return f"GPU {clean_line(', '.join(ids), 120)}"
    return "all GPUs" if count < 0 else f"{count} {plural('GPU', count)}"
