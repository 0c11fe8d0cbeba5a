"""All that is known of one Docker host, and the services that its containers make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nimify_tui.backends.docker.groups import (
    ADMIN_PORT,
    FRONT,
    MODEL,
    OURS,
    Group,
    group_of,
    owner_of,
    passing,
)
from nimify_tui.backends.docker.kinds import Container, seconds
from nimify_tui.backends.docker.place import EnginePlace
from nimify_tui.base.text import clean_line
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, Service
from nimify_tui.domain.slos import ANNOTATION, ANNOTATION_CHARS
from nimify_tui.domain.updates import ReplicaGone, ReplicaSeen, ServiceGone, ServiceSeen, Update
from nimify_tui.domain.workloads import OwnerSeen, Surroundings
from nimify_tui.sources.docker.reach import port_words, published, url_of
from nimify_tui.sources.docker.words import YOUNG_S, gpus_of, idle, replica_of
from nimify_tui.sources.families import OTHER, Family, family_of, image_of, model_of

#: So many labels of a container are told, and so long.
_LABELS, _LABEL_CHARS = 40, 200
#: The engine may tell of a signal a little after the end that it made, seconds.
_LATE_S = 5.0


@dataclass(frozen=True)
class _Line:
    """What a container runs, as families are recognised."""

    image: str
    command: Sequence[str]
    args: Sequence[str]


@dataclass
class Known:
    """One container and what is remembered of it beyond what the engine says now."""

    one: Container
    group: Group
    seen_at: float
    #: When the engine was last asked to end it; 0: never seen.
    asked_at: float = 0.0
    #: The last lines of its newest ended run, and which run that was (its end).
    said: str = ""
    said_for: str = ""

    @property
    def asked(self) -> bool:
        """Whether the end of its last run was asked for, by a signal that came during this very run."""
        ended, started = seconds(self.one.state.finished_at), seconds(self.one.state.started_at)
        return ended is not None and started is not None and started <= self.asked_at <= ended + _LATE_S

    @property
    def wants_words(self) -> bool:
        """Whether its last lines say why it ended, and are not known yet."""
        state = self.one.state
        ended = state.status in ("exited", "restarting", "dead") and not self.asked
        return ended and self.said_for != state.finished_at and (state.exit_code != 0 or state.oom_killed)


@dataclass
class _Told:
    """What was told of a group."""

    service: Service
    replicas: dict[str, Replica] = field(default_factory=dict)


class Host:
    """Containers by id, services by their group's uid. Everything here is of one region."""

    def __init__(self, region: str, place: EnginePlace) -> None:
        self._region, self.place = region, place
        self.containers: dict[str, Known] = {}
        self._members: dict[str, set[str]] = {}
        self._names: dict[str, str] = {}
        self._uids: dict[str, str] = {}  # the other way round: no two groups share a name
        self._told: dict[str, _Told] = {}
        self._dirty: set[str] = set()
        self._asked: dict[str, float] = {}

    # -- what is known -------------------------------------------------------------------

    def seen(self, one: Container, now: float) -> Known | None:
        """A container is so; None for one that is no service."""
        if passing(one):
            return None
        group, before = group_of(one), self.containers.get(one.id)
        if before is not None and before.group != group:  # a lone one was renamed
            self.gone(one.id)
            before = None
        if before is None:
            known = Known(one, group, now, self._asked.get(one.id, 0.0))
            self.containers[one.id] = known
            self._members.setdefault(group.uid, set()).add(one.id)
            self._name_all()
        else:
            known = before
            if _state_of(one) != _state_of(before.one):
                known.seen_at = now
            known.one = one
        self._dirty.add(group.uid)
        self._told_front(one)
        return known

    def gone(self, container_id: str) -> None:
        """A container is no more."""
        known = self.containers.pop(container_id, None)
        self._asked.pop(container_id, None)
        if known is None:
            return
        self._told_front(known.one)
        uid = known.group.uid
        members = self._members[uid]
        members.discard(container_id)
        self._dirty.add(uid)
        if not members:
            del self._members[uid]
            self._name_all()

    def _told_front(self, one: Container) -> None:
        """The service behind a front has its address."""
        if name := one.labels.get(FRONT, ""):
            self._dirty.add(f"nimify:{name}")

    def _front(self, uid: str) -> list[Container]:
        """The front of a service of ours, where it has one."""
        kind, _, name = uid.partition(":")
        some = (each.one for each in self.containers.values()) if kind == "nimify" else ()
        return [each for each in some if each.labels.get(FRONT) == name]

    def keep_only(self, ids: Iterable[str]) -> None:
        """Everything that is not listed any more is gone."""
        for each in self.containers.keys() - set(ids):
            self.gone(each)

    def differs(self, container_id: str, state: str) -> bool:
        """Whether a listed container is new here, or in another state than it is known to be."""
        known = self.containers.get(container_id)
        return known is None or (bool(state) and known.one.state.status != state)

    def asked_to_end(self, container_id: str, at: float) -> None:
        """The engine was asked to end it: what follows is no crash."""
        self._asked[container_id] = at
        known = self.containers.get(container_id)
        if known is not None:
            known.asked_at = at
            self._dirty.add(known.group.uid)

    def heard(self, container_id: str, said: str, run: str) -> None:
        """The last lines of the run that ended at ``run``."""
        known = self.containers.get(container_id)
        if known is not None:
            known.said, known.said_for = said, run
            self._dirty.add(known.group.uid)

    def key_of(self, group: Group) -> ServiceKey:
        """The service's name; where two groups share one, the second shows its kind, too."""
        return ServiceKey(self._region, self._names.get(group.uid, group.name))

    def members(self, key: ServiceKey) -> list[Known]:
        """The containers of a service, by name."""
        found = [self.containers[each] for each in self._members.get(self._uids.get(key.name, ""), ())]
        return sorted(found, key=lambda each: each.one.plain_name)

    def running(self, row_id: str) -> list[tuple[ReplicaKey, str]]:
        """The running containers of a row: (replica, container id). Asked for every row that is looked at, often."""
        found = []
        for name in {row_id, row_id.removesuffix(f"@{self._region}")}:
            told = self._told.get(self._uids.get(name, ""))
            for uid, replica in told.replicas.items() if told is not None else ():
                known = self.containers.get(uid)
                if known is not None and known.one.state.status == "running":
                    found.append((replica.key, uid))
        return found

    def young(self, now: float) -> list[str]:
        """Containers that were made and are not started: of a start that fails the engine tells nothing by itself."""
        found = []
        for known in self.containers.values():
            if (
                known.one.state.status == "created"
                and not known.one.state.error
                and now - known.seen_at < 2 * YOUNG_S
            ):
                self._dirty.add(known.group.uid)  # it looks otherwise after a while, by time alone
                found.append(known.one.id)
        return found

    def _name_all(self) -> None:
        """Names for all groups: those that several containers share come first."""
        groups = {known.group.uid: known.group for known in self.containers.values()}
        names: dict[str, str] = {}
        taken: set[str] = set()
        for uid in sorted(groups, key=lambda each: (each.startswith("container:"), each)):
            group = groups[uid]
            name = group.name
            if name in taken:
                name = f"{name}.{group.kind.partition(' ')[0].lower()}"
            if name in taken:
                name = f"{name}-{uid.rpartition(':')[2][:12]}"
            taken.add(name)
            names[uid] = name
        self._dirty.update(uid for uid, name in names.items() if self._names.get(uid, name) != name)
        self._names = names
        self._uids = {name: uid for uid, name in names.items()}

    # -- telling -------------------------------------------------------------------------

    def everything(self, now: float) -> tuple[tuple[Service, ...], tuple[Replica, ...]]:
        """All services and replicas; from here on :meth:`news` tells what is other."""
        self._told.clear()
        self._dirty.update(self._members)
        self.news(now)
        told = self._told.values()
        return tuple(each.service for each in told), tuple(
            one for each in told for one in each.replicas.values()
        )

    def news(self, now: float) -> list[Update]:
        """What is other than it was told."""
        gone: list[Update] = []
        seen: list[Update] = []
        while self._dirty:
            self._one(self._dirty.pop(), now, gone, seen)
        return gone + seen  # a name that is free again may be another service's by now

    def _one(self, uid: str, now: float, gone: list[Update], seen: list[Update]) -> None:
        before, members = self._told.pop(uid, None), self._members.get(uid)
        if not members:
            if before is not None:
                gone.append(ServiceGone(now, before.service.key))
            return
        told = self._of([self.containers[each] for each in members], now)
        if before is not None and before.service.key != told.service.key:
            gone.append(ServiceGone(now, before.service.key))
            before = None
        self._told[uid] = told
        if before is None or before.service != told.service:
            seen.append(ServiceSeen(now, told.service))
        old = before.replicas if before is not None else {}
        gone += [ReplicaGone(now, old[each].key) for each in old.keys() - told.replicas.keys()]
        seen += [ReplicaSeen(now, one) for each, one in told.replicas.items() if old.get(each) != one]

    def _of(self, members: list[Known], now: float) -> _Told:
        members.sort(key=lambda each: (seconds(each.one.created) or 0.0, each.one.id))
        newest = members[-1]
        key = self.key_of(newest.group)
        wanted = [each for each in members if not idle(each.one, each.asked, now)]
        family, line = _family(newest.one)
        replicas = {}
        for each in wanted or members:
            name = clean_line(each.one.plain_name, 120)
            url = _metrics(each.one, family, self.place)
            stats = family.stats_port if family is not None else 0
            replicas[each.one.id] = replica_of(
                each.one, ReplicaKey(key, name), each.asked, each.said, each.seen_at, now, url,
                url_of(each.one, stats, self.place) if stats else "",
            )  # fmt: skip
        made = [at for each in members if (at := seconds(each.one.created)) is not None]
        ended = [at for each in members if (at := seconds(each.one.state.finished_at)) is not None]
        stopped = not wanted
        service = Service(
            key=key,
            uid=newest.group.uid,
            family=family.name if family is not None else OTHER,
            revision=0,
            desired_replicas=len(wanted) or len(members),
            generation=1,
            observed_generation=1,
            created_at=min(made, default=now),
            changed_at=max(ended if stopped and ended else made, default=now),
            stopped=stopped,
            endpoint=_endpoint([*self._front(newest.group.uid), *(each.one for each in wanted)], family, self.place),
            model_name=clean_line(_served(newest.one, line), 200),
            labels=_labels(newest, family),
            slo=clean_line(newest.one.labels.get(ANNOTATION, ""), ANNOTATION_CHARS + 1),
            around=_around(newest.one),
        )
        return _Told(service, replicas)


def _state_of(one: Container) -> tuple[str, str]:
    return one.state.status, one.state.health.status if one.state.health is not None else ""


def _family(one: Container) -> tuple[Family | None, _Line]:
    line = _Line(one.config.image, (one.path,), one.args or ())
    if one.labels.get(FRONT):
        return None, line  # it has the labels of what it stands before
    return family_of(one.labels, [line])[0], line


def _metrics(one: Container, family: Family | None, place: EnginePlace) -> str:
    """Where its metrics are, without the ``/metrics`` at the end; "" where nobody knows or reaches it."""
    if family is None or not family.metrics_port:
        return ""
    url = url_of(one, ADMIN_PORT if one.labels.get(MODEL) else family.metrics_port, place)
    return url + family.metrics_path.removesuffix("/metrics") if url else ""


def _endpoint(some: Sequence[Container], family: Family | None, place: EnginePlace) -> str:
    for one in some:
        for _, url in published(one, place):
            return url
        if family is not None and family.metrics_port and (url := url_of(one, family.metrics_port, place)):
            return url
    return ""


def _served(one: Container, line: _Line) -> str:
    """The model's name: on the command line, in an image of ours the service's, else what the image is called."""
    named = model_of((*line.command, *line.args))
    return named or (one.labels.get(OURS, "") if one.labels.get(MODEL) else "") or _image_words(one)


def _image_words(one: Container) -> str:
    image = image_of(one.config.image)
    name = image.path.rpartition("/")[2]
    return f"{name} {image.version}" if image.version else name


def _labels(known: Known, family: Family | None) -> dict[str, str]:
    """Kind, image, version, ports and GPUs, then the container's own labels."""
    one = known.one
    image = image_of(one.config.image)
    policy = one.host_config.restart_policy
    told = {
        "kind": known.group.kind,
        "image": clean_line(image.path, _LABEL_CHARS),
        "version": clean_line(image.version, 80),
        "metrics": f"{family.metrics_port}{family.metrics_path}" if family is not None else "",
        "ports": clean_line(port_words(one), _LABEL_CHARS),
        "gpus": gpus_of(one),
        "restart": clean_line(policy.name if policy is not None else "", 40),
    }
    told = {name: value for name, value in told.items() if value}
    for name, value in list(one.labels.items())[:_LABELS]:
        told.setdefault(clean_line(name, _LABEL_CHARS), clean_line(value, _LABEL_CHARS))
    return told


def _around(one: Container) -> Surroundings:
    owner = owner_of(one.labels)
    if owner is None:
        return Surroundings()
    return Surroundings(
        owners=(OwnerSeen(kind=owner.kind, name=owner.name, state=owner.detail or "keeps it"),)
    )
