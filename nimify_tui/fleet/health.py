"""The state of a service in one region, out of its replicas and of what its numbers show. Pure, but for Episode."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.services import STATE_RANK, Replica, ReplicaState, Service, ServiceState

#: A replica that only just stopped being ready is not unwell yet (an adopted one is asked first).
NOT_READY_GRACE_S = 2.0
#: How long a service has to be well before its row says so: a crash loop must not flap.
HOLD_CRASH_S = 30.0
HOLD_S = 12.0

_OVER = "well again"
UNWELL = frozenset({ServiceState.DOWN, ServiceState.DEGRADED})
_TROUBLE = (ReplicaState.BACKOFF, ReplicaState.HUNG, ReplicaState.NOT_READY, ReplicaState.EXITED)


class Finding(NamedTuple):
    """What is the matter. ``at`` is when it began as far as it is known, ``hold_s`` how long it has to be over."""

    state: ServiceState
    reason: str = ""
    at: float | None = None
    hold_s: float = HOLD_S
    #: When the same facts would be judged otherwise by time alone.
    again_at: float = float("inf")
    #: Among equally bad states: 0 is told by the region itself (replicas, roll-outs), then what fails, is
    #: attacked or flooded, then what is much slower, slower, and what is over. A service that is slow because
    #: its neighbour starts again and again on the same host must not stand above that neighbour.
    gravity: int = 0
    #: Finer than gravity: how many times too much.
    weight: float = 0.0
    #: The words of before, if there are any, tell more than these.
    soft: bool = False


WELL = Finding(ServiceState.OK)
GRAVITY_FAILING, GRAVITY_PRESSED, GRAVITY_MUCH_SLOWER, GRAVITY_SLOWER, GRAVITY_OVER = 1, 2, 3, 4, 5


def ready_count(replicas: Iterable[Replica]) -> int:
    """Replicas that serve."""
    ready = ReplicaState.READY
    return len([None for replica in replicas if replica.state is ready])


def judge(service: Service, replicas: Sequence[Replica], at: float) -> Finding:
    """What the replicas say."""
    if service.stopped or service.desired_replicas == 0:
        return _stopped(service)
    staying = [each for each in replicas if each.state is not ReplicaState.DRAINING]
    ready = ready_count(staying)
    wanted = service.desired_replicas
    trouble = [each for each in staying if _in_trouble(each, at)]
    if trouble:
        worst = min(trouble, key=_severity)
        state = ServiceState.DOWN if ready == 0 else ServiceState.DEGRADED
        hold_s = HOLD_S if worst.state is ReplicaState.NOT_READY else HOLD_CRASH_S
        since, soft = min(each.since for each in trouble), worst.state is ReplicaState.STARTING
        return Finding(state, _words(service, worst, trouble, ready), since, hold_s, soft=soft)
    if service.failure:
        state = ServiceState.DOWN if ready == 0 else ServiceState.DEGRADED
        return Finding(state, service.failure, service.changed_at)
    doubtful = [each.since + NOT_READY_GRACE_S for each in staying if each.state is ReplicaState.NOT_READY]
    again_at = min(doubtful, default=float("inf"))
    if ready:
        return WELL if again_at == float("inf") else WELL._replace(again_at=again_at)
    if staying:
        newest = min(staying, key=lambda each: each.since)
        return Finding(ServiceState.STARTING, newest.reason or "starting", newest.since, again_at=again_at)
    if service.observed_generation < service.generation or at - service.changed_at < 5.0:
        return Finding(ServiceState.STARTING, service.progress or "no replica yet", service.changed_at, 0.0,
                       service.changed_at + 5.0)  # fmt: skip
    return Finding(ServiceState.DOWN, f"no replica, {wanted} wanted", service.changed_at)


def _stopped(service: Service) -> Finding:
    if service.stopped:
        return Finding(ServiceState.STOPPED, "stopped", service.changed_at, 0.0)
    return Finding(ServiceState.STOPPED, "scaled to 0", service.changed_at, 0.0)


def _in_trouble(replica: Replica, at: float) -> bool:
    state = replica.state
    if state is ReplicaState.NOT_READY:
        return at - replica.since >= NOT_READY_GRACE_S
    if state is ReplicaState.STARTING:
        return replica.run > 1 and replica.restarts > 0
    return state in _TROUBLE


def _severity(replica: Replica) -> tuple[int, float, str]:
    state = replica.state
    rank = _TROUBLE.index(state) if state in _TROUBLE else len(_TROUBLE)
    return rank, replica.since, replica.key.replica


def short_name(replica: ReplicaKey) -> str:
    """A replica's name where its service stands beside it: of ``llama-6d766cfdf6-fjnrb`` the last part is enough."""
    template_hash, dash, own = replica.replica.removeprefix(f"{replica.service.name}-").partition("-")
    return own if dash and own and template_hash != replica.service.name else replica.replica


def _words(service: Service, worst: Replica, trouble: Sequence[Replica], ready: int) -> str:
    name = short_name(worst.key)
    alone = worst.key.replica == service.key.name  # a container by itself: its service has its name
    text = _replica_words(worst, "" if alone or name != worst.key.replica else f"{name} ")
    if name != worst.key.replica:
        text += f" ({name})"  # a pod's name says nothing that the reason does not say better
    if len(trouble) > 1:
        text += f"; {len(trouble)} of {len(trouble) + ready} replicas in trouble"
    if service.failure:
        text = service.failure if worst.revision == service.revision else f"{text}; {service.failure}"
    return text


def _replica_words(one: Replica, name: str) -> str:
    """What is the matter with one replica; ``name`` is "" or ends with a space."""
    reason, said = one.reason, f": {one.last_words}" if one.last_words else ""
    match one.state:
        case ReplicaState.HUNG:
            return f"{name}hangs: {reason}" if reason else f"{name}hangs"
        case ReplicaState.BACKOFF:
            return f"{name}{reason or 'crashed'}{said}" + (
                f" ({one.restarts} restarts)" if one.restarts > 1 else ""
            )
        case ReplicaState.STARTING:
            return f"{name}starts again after a crash{said}"
        case ReplicaState.EXITED:
            return f"{name}{reason or 'exited'}"
        case _ if name or not reason:
            return f"{name}is not ready{f': {reason}' if reason else ''}"
        case _:
            return reason


def worst_of(findings: Iterable[Finding]) -> Finding:
    """The worst finding; of equally bad ones the first."""
    return min(findings, key=lambda each: (STATE_RANK[each.state], each.gravity, -each.weight), default=WELL)


def known_onset(changes: Collection[Change], replicas: Sequence[Replica], since: float) -> float:
    """Since when replicas have been in trouble: before ``since`` when a chain of crashes began earlier.

    ``changes`` are those of this service. A recovery of a replica ends its chain.
    """
    names = {each.key.replica for each in replicas if each.state is not ReplicaState.READY}
    begun: dict[str, float] = {}
    for change in sorted(changes, key=lambda each: each.at):
        if change.replica not in names:
            continue
        if change.kind in (ChangeKind.CRASH, ChangeKind.HANG):
            begun.setdefault(change.replica, change.at)
        elif change.kind is ChangeKind.RECOVERY:
            begun.pop(change.replica, None)
    return min([since, *begun.values()])


class Episode:
    """How long a service has been as it is; keeps it unwell until it has been well for a while."""

    __slots__ = ("begun", "over_at", "reason", "since", "state")

    def __init__(self) -> None:
        self.state = ServiceState.UNKNOWN
        self.reason = ""
        self.since: float | None = None
        self.begun = False
        #: When the trouble was last seen, and how long it has to be over.
        self.over_at = 0.0

    def forget_if(self, was_last_known: bool) -> None:
        """Rows from the disk have no history here: what comes now is a beginning."""
        if was_last_known:
            self.state, self.reason, self.since, self.begun = ServiceState.UNKNOWN, "", None, False

    def settle(self, finding: Finding, at: float) -> Finding:
        """The state to show at ``at``; ``again_at`` is when to ask again."""
        state = finding.state
        if state in UNWELL:
            began = finding.at if finding.at is not None else at
            if self.state in UNWELL and self.since is not None:
                began = min(began, self.since)
                if finding.soft and not self.reason.startswith(_OVER):
                    finding = finding._replace(reason=self.reason)
            self._become(state, finding.reason, began)
            self.over_at = at + finding.hold_s
            return finding if finding.at == began else finding._replace(at=began)
        if self.state in UNWELL and at < self.over_at and state in (ServiceState.OK, ServiceState.STARTING):
            reason = self.reason if self.reason.startswith(_OVER) else f"{_OVER}; before: {self.reason}"
            self._become(ServiceState.DEGRADED, reason, self.since)
            again_at = min(self.over_at, finding.again_at)
            return Finding(ServiceState.DEGRADED, reason, self.since, again_at=again_at, gravity=GRAVITY_OVER)
        since = finding.at if state is not ServiceState.OK else None
        self._become(state, finding.reason, since)
        return finding if finding.at == since else finding._replace(at=since)

    def _become(self, state: ServiceState, reason: str, since: float | None) -> None:
        self.state, self.reason, self.since, self.begun = state, reason, since, True


def unseen(episode_state: ServiceState | None, cause: str, traffic: bool) -> str:
    """The reason of a service whose region is not seen: it never claims that the service is down."""
    was = f"; was {episode_state}" if episode_state not in (None, ServiceState.UNKNOWN) else ""
    return f"{cause}{was}{', traffic goes on' if traffic else ''}"
