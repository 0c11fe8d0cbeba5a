"""Drafts of changes that need nothing but the facts of now, and the words that all drafts share."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.base.errors import ValidationError
from nimify_tui.controllers.checks import check_replicas
from nimify_tui.controllers.wording import diff, size_text, spec_lines
from nimify_tui.controllers.world import Draft
from nimify_tui.domain.plans import ActionRequest, DiffLine, Precondition, Verb
from nimify_tui.domain.services import Replica, ReplicaState, Revision, Service, ServiceSpec


def draft_scale(part: ActionRequest, service: Service, replicas: Sequence[Replica]) -> Draft:
    """More or fewer replicas."""
    number, before = check_replicas(part.replicas), service.desired_replicas
    if number == before:
        return Draft(
            part=part,
            precondition=was(service),
            nothing_to_do=f"has {number} {plural('replica', number)} already",
        )
    ready = ready_count(replicas)
    if service.stopped:
        capacity = "it is stopped: the number counts from its next start"
    elif number > before:
        serving = "the 1 that serves goes on" if ready == 1 else f"the {ready} that serve go on"
        goes_on = serving if ready else "none serves now"
        more = number - before
        capacity = f"{goes_on}; {more} more {'starts' if more == 1 else 'start'} beside"
    elif number == 0:
        capacity = nothing_text(replicas)
    else:
        fewer = before - number
        words = "1 drains and ends" if fewer == 1 else f"{fewer} drain and end"
        capacity = f"{words}; {min(ready, number)} of {number} serve all the time"
    return Draft(
        part=part,
        precondition=was(service),
        facts=(
            ("objects", objects(service, replicas)),
            ("change", f"replicas {before} → {number}"),
            ("capacity", capacity),
            ("start", start_text(replicas)),
        ),
        diff=diff(desired(service), {**desired(service), "replicas": str(number)}, context=("revision",)),
        destructive=number == 0,
        undo=ActionRequest(verb=Verb.SCALE, targets=(service.key,), replicas=before),
    )


def draft_restart(part: ActionRequest, service: Service, replicas: Sequence[Replica]) -> Draft:
    """Every replica replaced, content unchanged."""
    if service.stopped:
        raise ValidationError(f"{service.key.name} is stopped", "start it instead")
    if service.desired_replicas == 0:
        raise ValidationError(f"{service.key.name} has no replicas to restart", "scale it up instead")
    return Draft(
        part=part,
        precondition=was(service),
        facts=(
            ("objects", f"{objects(service, replicas)} stays"),
            ("change", "every replica is replaced, one after the other"),
            ("capacity", surge_text(service, replicas)),
            ("start", start_text(replicas)),
        ),
        diff=(DiffLine(" ", f"revision: {service.revision}"), DiffLine("+", "replaced: every replica")),
        no_undo="none needed: the content is the same",
    )


def draft_stop_or_start(part: ActionRequest, service: Service, replicas: Sequence[Replica]) -> Draft:
    """All replicas ended, or started again."""
    stop = part.verb is Verb.STOP
    if stop == service.stopped:
        word = "is stopped already" if stop else "is started already"
        return Draft(part=part, precondition=was(service), nothing_to_do=word)
    number = service.desired_replicas
    if stop:
        change, capacity = "every replica drains and ends; its address stays its own", nothing_text(replicas)
    else:
        change, capacity = (
            "1 replica starts" if number == 1 else f"{number} replicas start",
            "nothing serves until the first is ready",
        )
    return Draft(
        part=part,
        precondition=was(service),
        facts=(
            ("objects", objects(service, replicas)),
            ("change", change),
            ("capacity", capacity),
            ("start", start_text(replicas)),
        ),
        diff=diff(
            desired(service),
            {**desired(service), "stopped": "yes" if stop else "no"},
            context=("replicas",),
        ),
        destructive=stop,
        undo=ActionRequest(verb=Verb.START if stop else Verb.STOP, targets=(service.key,)),
    )


def was(service: Service) -> Precondition:
    """The state that a plan is made for."""
    return Precondition(service.key, service.uid, service.generation)


def current(service: Service) -> Revision | None:
    """The revision that runs."""
    return next((item for item in service.revisions if item.number == service.revision), None)


def next_revision(service: Service) -> int:
    """The number that the next revision gets."""
    return max([service.revision, *(item.number for item in service.revisions)]) + 1


def desired(service: Service) -> dict[str, str]:
    """The desired state as lines of a diff."""
    now = current(service)
    lines = {
        "name": service.key.name,
        "replicas": str(service.desired_replicas),
        "stopped": "yes" if service.stopped else "no",
        "revision": str(service.revision),
    }
    return lines | (spec_lines(now.spec) if now is not None else {})


def ready_count(replicas: Sequence[Replica]) -> int:
    """How many replicas serve."""
    return sum(replica.state is ReplicaState.READY for replica in replicas)


def objects(service: Service, replicas: Sequence[Replica]) -> str:
    """What is touched, in words."""
    ready, number = ready_count(replicas), service.desired_replicas
    replica_words = f"{ready} of {number} {plural('replica', number)} ready"
    return f"service {service.key.name}, {replica_words}, revision {service.revision}"


def surge_text(service: Service, replicas: Sequence[Replica]) -> str:
    """Capacity while each replica is replaced by a new one that is ready first."""
    ready, number = ready_count(replicas), service.desired_replicas
    if service.stopped or number == 0:
        return "no replica runs now: nothing is replaced"
    if ready == 0:
        return f"0 of {number} serve now"
    return f"new replica ready before the old one drains: {ready} of {number} serve all the time"


def nothing_text(replicas: Sequence[Replica]) -> str:
    """Capacity when all replicas go."""
    return f"nothing serves afterwards ({ready_count(replicas)} serve now)"


def start_text(replicas: Sequence[Replica]) -> str:
    """How long a start takes, from the replicas of now."""
    return took_text(
        [
            replica.ready_at - replica.started_at
            for replica in replicas
            if replica.ready_at is not None
            and replica.started_at is not None
            and replica.ready_at >= replica.started_at
        ]
    )


def took_text(took_s: Sequence[float], *, at_most: bool = False) -> str:
    """How long a start takes (or takes ``at_most``), from those that were seen, seconds."""
    if not took_s:
        return "how long a start takes is not known (none was seen)"
    return f"last start took {'at most ' if at_most else ''}{max(took_s):.1f} s"


def memory_text(spec: ServiceSpec, replicas: int, size_bytes: int) -> str:
    """What a new service will take of memory."""
    if spec.limits.memory_bytes:
        return f"each replica may take {size_text(spec.limits.memory_bytes)} ({replicas} of them)"
    most = spec.limits.cache_bytes
    kept = f" and keeps at most {size_text(most)} of answers for each" if most else ""
    return f"each replica loads {size_text(size_bytes)} of model{kept}; no memory limit is set"


def plural(word: str, number: int) -> str:
    """``word``, with an s unless there is one of it."""
    return word if number == 1 else f"{word}s"
