"""Services, their revisions and their replicas, as a region reports them."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.served import ServedModel
from nimify_tui.domain.workloads import Surroundings


class ServiceState(enum.StrEnum):
    """The words on the screen for a service."""

    OK = "OK"
    DEGRADED = "DEGRADED"
    DOWN = "DOWN"
    STARTING = "STARTING"
    STOPPED = "STOPPED"
    UNKNOWN = "UNKNOWN"


#: Worst first: the order of the service table.
STATE_RANK: dict[ServiceState, int] = {
    ServiceState.DOWN: 0,
    ServiceState.DEGRADED: 1,
    ServiceState.UNKNOWN: 2,
    ServiceState.STARTING: 3,
    ServiceState.OK: 4,
    ServiceState.STOPPED: 5,
}


class ReplicaState(enum.StrEnum):
    """The life of a replica. EXITED replicas are kept for a while with their last words."""

    STARTING = "STARTING"
    READY = "READY"
    NOT_READY = "NOT_READY"
    HUNG = "HUNG"
    DRAINING = "DRAINING"
    BACKOFF = "BACKOFF"
    EXITED = "EXITED"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one replica of our runtime. 0 means "no limit" where it is said so."""

    max_body_bytes: int = 8 * 1024 * 1024
    request_timeout_s: float = 30.0
    max_concurrency: int = 64
    max_queue: int = 256
    #: Requests per second and client; 0: no limit.
    rate_limit_rps: float = 0.0
    #: Address space limit of the process; 0: no limit.
    memory_bytes: int = 0
    threads: int = 1
    #: Answers that a replica keeps in memory for each model (the response cache, L1), and how long; 0 bytes: none.
    cache_bytes: int = 0
    cache_ttl_s: float = 60.0
    #: Optimised graphs that the replicas of a service keep on the disk together (the artifact cache); 0: none.
    artifact_cache_bytes: int = 0


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision of an embedded service runs; immutable once it is a revision.

    ``model_path`` is an absolute path; the supervisor keeps its own copy of the file, filed under
    ``model_sha256`` ("" in a request: the supervisor computes it). ``arguments`` are further
    arguments of ``nimify-tui serve`` as a list, never a shell line.
    """

    model_path: str
    model_sha256: str = ""
    limits: Limits = Limits()
    arguments: tuple[str, ...] = ()
    labels: dict[str, str] = {}


#: When a container is started again by its engine.
RestartPolicy = Literal["no", "on-failure", "always", "unless-stopped"]


class ImageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a service of a foreign image is given on a Docker host.

    ``port`` is where a replica listens, ``health_path`` what its front asks there, ``health`` a command that the engine
    runs in it and ``command`` what it runs (() of both: the image's own). ``user`` "" is the image's own, or nobody's
    where that is root. ``env`` are plain settings; ``secrets`` are references ("env:NAME", "file:PATH"), read on this
    machine when the replicas are made and never before. ``mounts`` are folders of the host or volumes by name, by their
    path inside; what is not in ``written`` is read-only. Sizes in bytes, 0: no limit (of ``shm_bytes``: 64 MiB).
    """

    port: int = 8000
    health_path: str = "/v2/health/ready"
    health: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    cpus: float = 0.0
    memory_bytes: int = 0
    shm_bytes: int = 0
    user: str = ""
    writable: bool = False
    restart: RestartPolicy = "unless-stopped"
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    mounts: dict[str, str] = {}
    written: tuple[str, ...] = ()


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a service. ``note`` says in words what differs ("model sha256 1f2e -> 9a0b")."""

    number: int
    created_at: float
    created_by: str
    spec: ServiceSpec
    note: str = ""


class Service(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A service in one region, desired and observed.

    ``generation`` counts changes of the desired state; ``observed_generation`` equals it when the
    region has made it true. ``progress`` says in words what a roll-out is doing ("1 of 3
    replaced"). ``endpoint`` is where this host reaches it ("http://127.0.0.1:43117"). ``around`` is what
    a cluster has around it. ``metrics_at`` ("8000/metrics", "https:8443/metrics") is where each replica tells its
    numbers to whoever asks through its region, "" if nowhere; ``stats_at`` is where it tells them in another way
    ("8000/v2/models/stats") should that not answer.
    ``slo`` is the objective that the object itself tells (:data:`nimify_tui.domain.slos.ANNOTATION`), unread.
    ``models`` are the names that its objects say it answers to, as far as they do;
    ``models_note`` says what is not known of them ("which adapters ..., the server alone knows").
    """

    key: ServiceKey
    uid: str
    family: str
    revision: int
    desired_replicas: int
    generation: int
    observed_generation: int
    created_at: float
    changed_at: float
    stopped: bool = False
    progress: str = ""
    failure: str = ""
    endpoint: str = ""
    metrics_at: str = ""
    stats_at: str = ""
    model_name: str = ""
    model_sha256: str = ""
    models: tuple[ServedModel, ...] = ()
    models_note: str = ""
    revisions: tuple[Revision, ...] = ()
    labels: dict[str, str] = {}
    slo: str = ""
    around: Surroundings = Surroundings()


class Replica(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One replica. ``reason`` is plain words, ``last_words`` the last line it (or its last run) wrote.

    ``exit_code`` and ``exit_signal`` are None unless the exit was really seen. ``run`` counts the
    starts of this replica: run 2 is the first restart; ``restarts`` those within memory.
    """

    key: ReplicaKey
    state: ReplicaState
    since: float
    revision: int
    pid: int | None = None
    run: int = 1
    restarts: int = 0
    reason: str = ""
    last_words: str = ""
    exit_code: int | None = None
    exit_signal: str | None = None
    exit_seen: bool = True
    next_start_at: float | None = None
    started_at: float | None = None
    ready_at: float | None = None
    #: Where this one replica answers metrics and health ("http://127.0.0.1:40111"), "" if nowhere.
    admin_url: str = ""
    #: Where it answers Triton's statistics and lists, where that is another place ("" if nowhere).
    stats_url: str = ""
