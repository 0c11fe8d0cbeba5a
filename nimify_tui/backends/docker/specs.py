"""What a container shall be, typed, and the engine's words for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nimify_tui.backends.docker.references import check_reference, is_id
from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.services import RestartPolicy

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}\Z")
_NS = 1_000_000_000
#: The engine takes no less.
MIN_MEMORY_BYTES = 6 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Health:
    """A check that the engine runs in the container; seconds. ``command`` () is the image's own check."""

    command: tuple[str, ...] = ()
    interval_s: float = 5.0
    timeout_s: float = 3.0
    start_s: float = 120.0
    retries: int = 3


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """GPUs of the host: ``count`` of them (-1: all), or those named by ``ids``."""

    count: int = 0
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Published:
    """A port of the container on the host; ``host_port`` 0: a free one, ``address`` "" would be all of the host's."""

    port: int
    host_port: int = 0
    address: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A volume by its name ("": one of the container's own, that goes with it), a folder of the host, or memory.

    ``size_bytes`` is for memory; 0: without a limit of its own. ``archive`` is a tar archive that is unpacked into a
    volume before the start.
    """

    kind: Literal["volume", "bind", "tmpfs"]
    target: str
    source: str = ""
    read_only: bool = False
    size_bytes: int = 0
    archive: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class Ulimit:
    """A limit of the container's processes ("nofile"); -1: none."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, kw_only=True)
class Caps:
    """What a container may take. 0: no limit (``shm_bytes`` 0: the engine's 64 MiB)."""

    cpus: float = 0.0
    memory_bytes: int = 0
    pids: int = 0
    shm_bytes: int = 0
    ulimits: tuple[Ulimit, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Safety:
    """Tight as a model server can be; loosen what an image of somebody else needs. ``user`` "" is the image's."""

    user: str = ""
    read_only: bool = True
    no_new_privileges: bool = True
    drop: tuple[str, ...] = ("ALL",)
    add: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """A container. ``networks`` are names with the aliases there; () is the engine's default network.

    ``command`` () is the image's own; ``devices`` are paths, the same inside. Values of ``env`` are not shown by us,
    but whoever may inspect the container reads them.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[Published, ...] = ()
    mounts: tuple[Mount, ...] = ()
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    gpus: Gpus = Gpus()
    caps: Caps = Caps()
    safety: Safety = Safety()
    health: Health | None = None
    restart: RestartPolicy = "unless-stopped"
    max_restarts: int = 0
    stop_s: int = 30
    ipc: str = ""
    init: bool = True

    def check(self) -> None:
        """Raises ValidationError for what no engine would take, or would take as something else."""
        check_container_name(self.name)
        if not is_id(self.image):
            check_reference(self.image)
        words = [
            *self.command,
            *self.entrypoint,
            *self.env,
            *self.env.values(),
            *self.labels,
            *self.labels.values(),
        ]
        if any("\0" in word for word in words) or any("=" in name or not name for name in self.env):
            raise ValidationError("a NUL or a name with '=' cannot be given to a container", "leave it out")
        if 0 < self.caps.memory_bytes < MIN_MEMORY_BYTES or self.caps.memory_bytes < 0 or self.caps.cpus < 0:
            raise ValidationError(
                "that limit is not possible", "memory from 6 MiB and CPUs from 0.01 on, or 0: none"
            )
        for port in self.ports:
            if not (1 <= port.port <= 65535 and 0 <= port.host_port <= 65535):
                raise ValidationError(f"port {port.host_port}:{port.port} is not possible", "use 1 to 65535")
        for mount in self.mounts:
            if mount.archive and mount.kind != "volume":
                raise ValidationError("files are unpacked into a volume only", "use a volume")
            if not mount.target.startswith("/") or (
                mount.kind == "bind" and not mount.source.startswith("/")
            ):
                raise ValidationError(
                    f"{clean_line(mount.target, 80)!r} is no absolute path", "name the whole path"
                )
        if self.max_restarts and self.restart != "on-failure":
            raise ValidationError("only on-failure takes a number of restarts", "leave it out")

    def body(self) -> dict[str, Any]:
        """For POST /containers/create; the networks after the first are joined one by one."""
        host: dict[str, Any] = {
            "RestartPolicy": {"Name": self.restart, "MaximumRetryCount": self.max_restarts},
            "PortBindings": _bindings(self.ports), "Mounts": [_mount(each) for each in self.mounts],
            "ReadonlyRootfs": self.safety.read_only, "CapDrop": list(self.safety.drop), "CapAdd": list(self.safety.add),
            "SecurityOpt": ["no-new-privileges"] if self.safety.no_new_privileges else [], "Init": self.init,
            "NanoCpus": round(self.caps.cpus * _NS), "Memory": self.caps.memory_bytes,
            # Swap would only hide that a model does not fit: the same number means none.
            "MemorySwap": self.caps.memory_bytes, "ShmSize": self.caps.shm_bytes, "IpcMode": self.ipc,
            "PidsLimit": self.caps.pids or None, "DeviceRequests": _gpus(self.gpus),
            "Ulimits": [{"Name": each.name, "Soft": each.soft, "Hard": each.hard} for each in self.caps.ulimits],
            "Devices": [
                {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"} for path in self.devices
            ],
        }  # fmt: skip
        body: dict[str, Any] = {
            "Image": self.image, "Labels": dict(self.labels), "User": self.safety.user, "StopTimeout": self.stop_s,
            "Env": [f"{name}={value}" for name, value in self.env.items()], "HostConfig": host,
            "ExposedPorts": {f"{port.port}/tcp": {} for port in self.ports},
        }  # fmt: skip
        if self.command:
            body["Cmd"] = list(self.command)
        if self.entrypoint:
            body["Entrypoint"] = list(self.entrypoint)
        if self.health is not None:
            body["Healthcheck"] = _health(self.health)
        if self.networks:
            first, aliases = next(iter(self.networks.items()))
            host["NetworkMode"] = first
            body["NetworkingConfig"] = {"EndpointsConfig": {first: {"Aliases": list(aliases)}}}
        return body

    def archives(self) -> dict[str, bytes]:
        """What is unpacked into its volumes before the start."""
        return {mount.target: mount.archive for mount in self.mounts if mount.archive}

    def further_networks(self) -> dict[str, dict[str, Any]]:
        """The networks to join after the container is made, with their settings."""
        return {name: {"Aliases": list(aliases)} for name, aliases in list(self.networks.items())[1:]}


def check_container_name(name: str) -> str:
    """``name`` when an engine takes it. Raises ValidationError."""
    if not _NAME.match(name):
        raise ValidationError(
            f"{clean_line(name, 80)!r} is no name of a container",
            "use letters, digits, '_', '.' and '-', at most 128",
        )
    return name


def _bindings(ports: tuple[Published, ...]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for each in ports:
        place = {"HostIp": each.address, "HostPort": str(each.host_port or "")}
        found.setdefault(f"{each.port}/tcp", []).append(place)
    return found


def _mount(mount: Mount) -> dict[str, Any]:
    made: dict[str, Any] = {"Type": mount.kind, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.kind == "tmpfs":
        made["TmpfsOptions"] = {
            "Mode": 0o1777,
            **({"SizeBytes": mount.size_bytes} if mount.size_bytes else {}),
        }
    elif mount.source:
        made["Source"] = mount.source
    return made


def _gpus(gpus: Gpus) -> list[dict[str, Any]]:
    if not gpus.count and not gpus.ids:
        return []
    wanted = {"DeviceIDs": list(gpus.ids)} if gpus.ids else {"Count": gpus.count}
    return [{"Driver": "", "Capabilities": [["gpu"]], **wanted}]


def _health(health: Health) -> dict[str, Any]:
    return {
        "Test": ["CMD", *health.command] if health.command else [],
        "Interval": round(health.interval_s * _NS), "Timeout": round(health.timeout_s * _NS),
        "StartPeriod": round(health.start_s * _NS), "Retries": health.retries,
    }  # fmt: skip
