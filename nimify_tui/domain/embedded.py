"""The language between a console and the supervisor of an embedded region.

One JSON object a line over a unix socket (0600). A client sends requests with an ``id``; the
supervisor answers each with one :class:`Reply` of the same id. After :class:`Watch` the supervisor
also sends events (:class:`Listed` first, then what changes, and a :class:`Heartbeat` each second).
"""

from __future__ import annotations

import datetime

import msgspec

from nimify_tui.domain.changes import Change
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.security import SecurityEvent
from nimify_tui.domain.services import Replica, Service, ServiceSpec

#: Raised when the meaning of a message changes; additions do not raise it.
PROTOCOL = 1
#: Seconds between heartbeats; three missed ones mean "no contact".
HEARTBEAT_S = 1.0


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """First request. ``client`` is for the log ("nimify-tui 0.1.0 ops@host pid 4711")."""

    id: int
    client: str
    protocol: int = PROTOCOL


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag="watch"):
    """Send events from now on."""

    id: int


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """Who may change something and by which permit; goes with every change and into its revision."""

    permit_id: str
    plan_id: str
    actor: str
    reason: str = ""


class Apply(msgspec.Struct, frozen=True, kw_only=True, tag="apply"):
    """Create a service or give it a new revision (``spec``), and/or set ``replicas``.

    ``uid`` and ``generation`` are preconditions ("" and 0: it must not exist yet).
    """

    id: int
    leave: Leave
    name: str
    uid: str
    generation: int
    spec: ServiceSpec | None = None
    replicas: int | None = None
    port: int | None = None


class Restart(msgspec.Struct, frozen=True, kw_only=True, tag="restart"):
    """Replace each replica, new one ready before the old one drains."""

    id: int
    leave: Leave
    name: str
    uid: str
    generation: int


class Rollback(msgspec.Struct, frozen=True, kw_only=True, tag="rollback"):
    """Make a new revision with the content of ``revision``."""

    id: int
    leave: Leave
    name: str
    uid: str
    generation: int
    revision: int


class SetStopped(msgspec.Struct, frozen=True, kw_only=True, tag="set_stopped"):
    """Stop a service (replicas drained, socket kept closed) or start it again."""

    id: int
    leave: Leave
    name: str
    uid: str
    generation: int
    stopped: bool


class Delete(msgspec.Struct, frozen=True, kw_only=True, tag="delete"):
    """Stop a service and forget it; its revisions and logs are removed."""

    id: int
    leave: Leave
    name: str
    uid: str
    generation: int


class ReadLog(msgspec.Struct, frozen=True, kw_only=True, tag="read_log"):
    """Where the log of a replica's run lies; the answer is ``Reply.paths`` (oldest part first).

    Files are named ``REPLICA.RUN.log``, older parts ``REPLICA.RUN.log.1``.
    """

    id: int
    name: str
    #: "": every replica that is there now.
    replica: str
    #: None: the newest run; -1: the run before the one that runs now (the newest, when none runs).
    run: int | None = None


class Shutdown(msgspec.Struct, frozen=True, kw_only=True, tag="shutdown"):
    """End the supervisor; with ``replicas`` also every replica (kill -9 after ``grace_s``)."""

    id: int
    leave: Leave
    replicas: bool
    grace_s: float = 2.0


Request = Hello | Watch | Apply | Restart | Rollback | SetStopped | Delete | ReadLog | Shutdown


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag="reply"):
    """The answer to the request ``id``. With ``ok`` false ``error`` and ``remedy`` say why.

    ``category`` is an error category of base.errors. ``generation`` is the service's new one.
    """

    id: int
    ok: bool
    error: str = ""
    remedy: str = ""
    category: str = ""
    generation: int = 0
    uid: str = ""
    paths: tuple[str, ...] = ()
    keeper: str = ""
    keeper_pid: int = 0


class Listed(msgspec.Struct, frozen=True, kw_only=True, tag="listed"):
    """Everything there is."""

    at: float
    services: tuple[Service, ...]
    replicas: tuple[Replica, ...]
    changes: tuple[Change, ...]
    demo: bool = False


class ServiceEvent(msgspec.Struct, frozen=True, kw_only=True, tag="service", gc=False):
    """A service is so; ``service`` None: it is gone."""

    at: float
    key: ServiceKey
    service: Service | None


class ReplicaEvent(msgspec.Struct, frozen=True, kw_only=True, tag="replica", gc=False):
    """A replica is so; ``replica`` None: it is gone."""

    at: float
    key: ReplicaKey
    replica: Replica | None


class ChangeEvent(msgspec.Struct, frozen=True, kw_only=True, tag="change"):
    """Something happened."""

    at: float
    change: Change


class SecurityFound(msgspec.Struct, frozen=True, kw_only=True, tag="security"):
    """A security event (a crash; what a replica's log reported)."""

    at: float
    event: SecurityEvent


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """Still here."""

    at: float


Event = Listed | ServiceEvent | ReplicaEvent | ChangeEvent | SecurityFound | Heartbeat
FromSupervisor = Reply | Listed | ServiceEvent | ReplicaEvent | ChangeEvent | SecurityFound | Heartbeat


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """A supervisor makes itself known to the other consoles of this user: ``regions/NAME.json``.

    ``pid``, ``start_time_ticks`` and ``boot_id`` tell a living announcer from a dead one's file.
    """

    name: str
    socket: str
    pid: int
    start_time_ticks: int
    boot_id: str
    demo: bool
    state_dir: str
    #: Who started it ("ops@host") and when.
    by: str = ""
    since: float = 0.0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Who keeps a region folder: the content of its lock file."""

    pid: int
    user: str
    host: str
    since: float
    #: Where it listens (consoles with another runtime folder find it so).
    socket: str = ""

    @property
    def text(self) -> str:
        """For people: ``pid 4711, started by ops@host at 2026-11-23 18:42 UTC``."""
        at = datetime.datetime.fromtimestamp(self.since, datetime.UTC)
        return f"pid {self.pid}, started by {self.user}@{self.host} at {at:%Y-%m-%d %H:%M} UTC"
