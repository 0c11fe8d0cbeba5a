"""What an engine answers, as far as it is read (API 1.41 to 1.47, and Podman's compatible one).

https://docs.docker.com/reference/api/engine/version/v1.47/. Fields that may be null say so. The environment of a
container is not read: secrets stand there.
"""

from __future__ import annotations

import datetime
import re

import msgspec

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")
#: Go's zero time: has not happened.
_NEVER = "0001-"
#: What Podman calls otherwise, and wants to be asked for so: it says "die" and filters by "died" (4.3).
_PODMANS = {"died": "die", "remove": "destroy"}


#: Docker's own, where a container says nothing, seconds (docs.docker.com, `docker stop`).
GRACE_S = 10


class Part(msgspec.Struct, frozen=True, rename="pascal"):
    """A part of an answer."""


class Listed(Part, frozen=True):
    """A container in ``/containers/json``: only who there is; all else is asked one by one."""

    id: str
    state: str = ""


class HealthRun(Part, frozen=True):
    """One run of a health check."""

    start: str = ""
    end: str = ""
    exit_code: int = 0
    output: str = ""


class Health(Part, frozen=True):
    """A health check; ``log`` holds its newest five runs."""

    status: str = ""
    failing_streak: int = 0
    log: list[HealthRun] | None = None


class State(Part, frozen=True):
    """``status``: created, running, paused, restarting, removing, exited, dead."""

    status: str = ""
    oom_killed: bool = msgspec.field(default=False, name="OOMKilled")
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = ""
    finished_at: str = ""
    health: Health | None = None


class RestartPolicy(Part, frozen=True):
    """``no``, ``on-failure``, ``always``, ``unless-stopped``."""

    name: str = ""
    maximum_retry_count: int = 0


class DeviceRequest(Part, frozen=True):
    """GPUs that are asked for: ``count`` -1 means all."""

    count: int = 0
    device_ids: list[str] | None = msgspec.field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None


class HostConfig(Part, frozen=True):
    """How it runs on its host."""

    network_mode: str = ""
    memory: int = 0
    nano_cpus: int = 0
    auto_remove: bool = False
    restart_policy: RestartPolicy | None = None
    device_requests: list[DeviceRequest] | None = None

    @property
    def gpus(self) -> DeviceRequest | None:
        """The GPUs that are asked for."""
        asked = self.device_requests or ()
        return next((each for each in asked if any("gpu" in group for group in each.capabilities or ())), None)


class Config(Part, frozen=True):
    """What it runs."""

    image: str = ""
    labels: dict[str, str] | None = None
    tty: bool = False
    stop_timeout: int | None = None

    @property
    def grace_s(self) -> int:
        """For how long it may end by itself, seconds; said with each stop, as Podman waits for nobody by itself."""
        return GRACE_S if self.stop_timeout is None else max(0, self.stop_timeout)


class Binding(Part, frozen=True):
    """Where a port is published."""

    host_ip: str = ""
    host_port: str = ""


class Network(Part, frozen=True):
    """A network that it is in."""

    ip_address: str = msgspec.field(default="", name="IPAddress")


class NetworkSettings(Part, frozen=True):
    """Where it is reached; ``ports`` by "8000/tcp", null where one is exposed only."""

    ports: dict[str, list[Binding] | None] | None = None
    networks: dict[str, Network] | None = None


class Container(Part, frozen=True):
    """A container in ``/containers/ID/json``."""

    id: str
    name: str = ""
    created: str = ""
    #: The image's id.
    image: str = ""
    path: str = ""
    args: list[str] | None = None
    restart_count: int = 0
    state: State = State()
    config: Config = Config()
    host_config: HostConfig = HostConfig()
    network_settings: NetworkSettings = NetworkSettings()

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.config.labels or {}

    @property
    def plain_name(self) -> str:
        """The name without its slash."""
        return self.name.lstrip("/") or self.id[:12]


class Actor(msgspec.Struct, frozen=True):
    """Whom an event is about; its attributes hold the labels, too."""

    uid: str = msgspec.field(default="", name="ID")
    attributes: dict[str, str] | None = msgspec.field(default=None, name="Attributes")


class Event(msgspec.Struct, frozen=True):
    """A line of ``/events``; ``nanoseconds`` since 1970."""

    action: str = msgspec.field(default="", name="Action")
    actor: Actor = msgspec.field(default=Actor(), name="Actor")
    nanoseconds: int = msgspec.field(default=0, name="timeNano")

    @property
    def uid(self) -> str:
        """The container's id."""
        return self.actor.uid

    @property
    def what(self) -> str:
        """The action without its details ("health_status"), as Docker calls it."""
        word = self.action.partition(":")[0].strip()
        return _PODMANS.get(word, word)

    @property
    def detail(self) -> str:
        """What stands behind the action's colon ("unhealthy")."""
        return self.action.partition(":")[2].strip()

    @property
    def at(self) -> float:
        """Unix seconds."""
        return self.nanoseconds / 1e9

    def attribute(self, name: str) -> str:
        """An attribute, "" where there is none."""
        return (self.actor.attributes or {}).get(name, "")


def seconds(text: str) -> float | None:
    """A time of the engine (with nanoseconds) as unix seconds; None for never and for what is no time."""
    match = _TIME.match(text)
    if match is None or text.startswith(_NEVER):
        return None
    try:
        whole = datetime.datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None
    return whole + float(match[2] or 0.0)


def unix_text(text: str) -> str:
    """The same time as ``since`` and ``until`` want it, to the nanosecond; "" for what is no time."""
    match = _TIME.match(text)
    at = seconds(text)
    if match is None or at is None:
        return ""
    return f"{int(at)}.{(match[2] or '.')[1:]:0<9}"
