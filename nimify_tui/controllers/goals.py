"""When a change of an embedded service is true, cannot become true, or is overtaken: read from facts alone."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.controllers.world import Receipt, Standing
from nimify_tui.domain.plans import ActionRequest, ActionState, Precondition, Verb
from nimify_tui.domain.services import Replica, ReplicaState, Service


def standing_of(
    part: ActionRequest, service: Service | None, replicas: Sequence[Replica], receipt: Receipt
) -> Standing:
    """How far the change that made ``receipt.generation`` is."""
    here = [replica for replica in replicas if replica.state is not ReplicaState.EXITED]
    if part.verb is Verb.DELETE:
        return _deleting(service, here, receipt)
    if service is None:
        if part.verb is Verb.CREATE:
            return Standing(state=ActionState.RUNNING, text="the supervisor is making it")
        return Standing(state=ActionState.UNKNOWN, text="the service is gone: somebody deleted it")
    if service.uid != receipt.uid:
        return Standing(
            state=ActionState.UNKNOWN, text="the service was deleted and made again by somebody else"
        )
    if service.generation < receipt.generation:
        return Standing(state=ActionState.RUNNING, text="accepted")
    if service.generation > receipt.generation and service.observed_generation < receipt.generation:
        text = f"overtaken by another change (generation {service.generation})"
        return Standing(state=ActionState.UNKNOWN, text=text)
    return _converging(service, here, receipt.generation)


def reality_of(
    part: ActionRequest, was: Precondition, service: Service | None, replicas: Sequence[Replica]
) -> Standing:
    """Whether a change of which no end is known was done: OK, FAILED (was not done), RUNNING or UNKNOWN."""
    here = [replica for replica in replicas if replica.state is not ReplicaState.EXITED]
    if service is None:
        if part.verb is Verb.DELETE:
            return Standing(state=ActionState.OK, text="the service is gone: it was done")
        if part.verb is Verb.CREATE:
            return Standing(state=ActionState.FAILED, text="there is no such service: it was not done")
        return Standing(state=ActionState.UNKNOWN, text="the service is gone: somebody deleted it since")
    if was.uid and service.uid != was.uid:
        text = "the service was deleted and made again since"
        return Standing(state=ActionState.OK if part.verb is Verb.DELETE else ActionState.UNKNOWN, text=text)
    if was.uid and service.generation == was.generation:
        if part.verb is Verb.DELETE and len(here) == 0 and service.desired_replicas:
            return Standing(state=ActionState.RUNNING, text="it is being removed")
        return Standing(
            state=ActionState.FAILED,
            text=f"nothing has changed since: it was not done ({_is(service, here)})",
        )
    if not _wanted(part, service):
        text = f"it was changed since, and is not as this action wanted it ({_is(service, here)})"
        return Standing(state=ActionState.UNKNOWN, text=text)
    standing = _converging(service, here, service.generation)
    if standing.state is ActionState.OK:
        return Standing(state=ActionState.OK, text=f"{_is(service, here)}: it was done")
    if standing.state is ActionState.FAILED:
        return Standing(
            state=ActionState.UNKNOWN, text=f"it was begun and does not end well: {standing.text}"
        )
    return Standing(state=ActionState.RUNNING, text=f"it was begun and goes on: {standing.text}")


def _deleting(service: Service | None, here: Sequence[Replica], receipt: Receipt) -> Standing:
    if service is None or (receipt.uid and service.uid != receipt.uid):
        if here and service is None:
            return Standing(state=ActionState.RUNNING, text=_many(here, "still ends", "still end"))
        return Standing(state=ActionState.OK, text="it is gone")
    return Standing(state=ActionState.RUNNING, text=service.progress or _many(here, "drains", "drain"))


def _converging(service: Service, here: Sequence[Replica], generation: int) -> Standing:
    """Towards ``observed_generation >= generation`` with every replica ready (or none, when stopped)."""
    wanted = 0 if service.stopped else service.desired_replicas
    fitting = [replica for replica in here if replica.revision == service.revision]
    ready = sum(replica.state is ReplicaState.READY for replica in fitting)
    observed = service.observed_generation >= generation
    if service.failure and not observed:
        return Standing(state=ActionState.FAILED, text=service.failure, done=ready, total=wanted)
    if wanted == 0:
        if observed and not here:
            return Standing(state=ActionState.OK, text="no replica runs")
        text = service.progress or _many(here, "drains", "drain")
        return Standing(state=ActionState.RUNNING, text=text)
    if observed and ready == wanted and len(here) == wanted:
        text = f"revision {service.revision} runs on {ready} of {wanted}"
        return Standing(state=ActionState.OK, text=text, done=ready, total=wanted)
    text = service.progress or f"{ready} of {wanted} ready"
    if trouble := trouble_of(here, service.revision):
        text += f"; {trouble}"
    return Standing(state=ActionState.RUNNING, text=text, done=min(ready, wanted), total=wanted)


def _many(here: Sequence[Replica], one: str, many: str) -> str:
    return f"1 replica {one}" if len(here) == 1 else f"{len(here)} replicas {many}"


def trouble_of(here: Sequence[Replica], revision: int) -> str:
    """What the worst replica of this revision says."""
    bad = (ReplicaState.BACKOFF, ReplicaState.HUNG)
    for replica in here:
        if replica.state in bad and replica.revision == revision:
            words = replica.reason or str(replica.state)
            return f"{replica.key.replica}: {words}" + (
                f" ({replica.last_words})" if replica.last_words else ""
            )
    return ""


def _wanted(part: ActionRequest, service: Service) -> bool:
    """Whether the desired state of now is what ``part`` asked for."""
    current = next((item for item in service.revisions if item.number == service.revision), None)
    match part.verb:
        case Verb.SCALE:
            return service.desired_replicas == part.replicas
        case Verb.STOP:
            return service.stopped
        case Verb.START:
            return not service.stopped
        case Verb.CREATE | Verb.UPDATE:
            if part.replicas is not None and service.desired_replicas != part.replicas:
                return False
            if part.spec is None:
                return True
            return current is not None and (
                current.spec.model_sha256 == part.spec.model_sha256
                and current.spec.limits == part.spec.limits
            )
        case Verb.ROLLBACK:
            old = next((item for item in service.revisions if item.number == part.revision), None)
            return (
                current is not None
                and old is not None
                and (
                    current.spec.model_sha256 == old.spec.model_sha256
                    and current.spec.limits == old.spec.limits
                )
            )
        case _:
            return True


def _is(service: Service, here: Sequence[Replica]) -> str:
    ready = sum(replica.state is ReplicaState.READY for replica in here)
    if service.stopped:
        return "stopped"
    return f"revision {service.revision} runs on {ready} of {service.desired_replicas}"
