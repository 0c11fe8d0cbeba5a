"""A service behind a front, as it is wanted: its replicas, its HAProxy, and the labels by which they are found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from nimify_tui.backends.docker.groups import ADMIN_PORT, FRONT, OURS
from nimify_tui.backends.docker.haproxy import FILE, FOLDER, PORT, FrontSettings, Server, archive, client
from nimify_tui.backends.docker.specs import (
    Caps,
    ContainerSpec,
    Gpus,
    Health,
    Mount,
    Published,
    Safety,
    Ulimit,
)
from nimify_tui.controllers.docker.context import PORT as RUNTIME_PORT
from nimify_tui.controllers.docker.replacing import Json
from nimify_tui.domain.services import RestartPolicy

REVISION = "nimify.dev/revision"
#: The id of the image that the container before it ran: what a roll-back goes to.
IMAGE_BEFORE = "nimify.dev/image-before"
_SETTINGS = "nimify.dev/front-settings"
#: Of a replica that is not our runtime: the port that it listens on, for requests and for the front's check.
_PORT = "nimify.dev/port"


@dataclass(frozen=True, kw_only=True)
class ServiceOrder:
    """A service that is wanted. ``port`` is the host's for the front (0: a free one), ``address`` the host's own.

    ``inside`` is the port that a replica listens on, 0: as our runtime does. ``command`` () is the image's own.
    """

    name: str
    image: str
    revision: int
    replicas: int
    front_image: str
    port: int = 0
    address: str = "127.0.0.1"
    caps: Caps = field(default_factory=Caps)
    gpus: Gpus = field(default_factory=Gpus)
    inside: int = 0
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    mounts: tuple[Mount, ...] = ()
    safety: Safety = field(default_factory=Safety)
    restart: RestartPolicy = "unless-stopped"
    health: Health = field(default_factory=lambda: Health(interval_s=2.0))
    front: FrontSettings = field(default_factory=FrontSettings)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long what may take, seconds: a replica until it is healthy, its requests until they are answered.

    ``stop_s`` is what a drained replica has between the request to end and its end by force; ``steady_s`` is how long
    a container without a health check has to run until that counts as serving.
    """

    healthy_s: float = 300.0
    drain_s: float = 60.0
    stop_s: int = 30
    steady_s: float = 2.0


@dataclass(frozen=True)
class Member:
    """A container of the service, as "inspect" shows it."""

    shown: Json

    @property
    def id(self) -> str:
        """The engine's id."""
        return str(self.shown["Id"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.shown["Name"]).lstrip("/")

    @property
    def image(self) -> str:
        """The id of its image."""
        return str(self.shown["Image"])

    @property
    def image_name(self) -> str:
        """What its image was called when it was made."""
        return str(self.shown["Config"].get("Image") or "")

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return bool(self.shown["State"].get("Running"))

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.shown["Config"].get("Labels") or {}

    def server(self, network: str) -> Server:
        """As HAProxy is told of it. Raises ValidationError when it has no address there."""
        networks = self.shown["NetworkSettings"].get("Networks") or {}
        address = (networks.get(network) or {}).get("IPAddress") or ""
        port = self.labels.get(_PORT, "")
        if port.isascii() and port.isdigit():
            return Server(self.name, address, int(port[:5]), int(port[:5]))
        return Server(self.name, address, RUNTIME_PORT, ADMIN_PORT)


def calls_for(replicas: int) -> int:
    """How often an engine is asked at most while a service of so many replicas is made, scaled or replaced."""
    return 200 + 1200 * replicas


def network_of(service: str) -> str:
    """The network of a service's containers."""
    return f"nimify-{service}"


def front_of(service: str) -> str:
    """The name of a service's HAProxy."""
    return f"{service}-front"


def labels_of(order: ServiceOrder) -> dict[str, str]:
    """The labels of everything that is made for ``order``."""
    return {
        "app.kubernetes.io/name": order.name, "app.kubernetes.io/managed-by": "nimify-tui",
        REVISION: str(order.revision),
    }  # fmt: skip


def replica_of(order: ServiceOrder, number: int, patience: Patience) -> ContainerSpec:
    """Replica ``number`` of a new service; it has no port of its own on the host."""
    scratch = Mount(kind="tmpfs", target="/tmp", size_bytes=64 << 20)  # noqa: S108  # in the container
    labels = {**labels_of(order), OURS: order.name, **({_PORT: str(order.inside)} if order.inside else {})}
    return ContainerSpec(
        name=f"{order.name}-r{order.revision}-{number}", image=order.image, labels=labels,
        networks={network_of(order.name): ()}, mounts=(scratch, *order.mounts), caps=order.caps, gpus=order.gpus,
        health=order.health, stop_s=patience.stop_s, command=order.command, env=order.env, safety=order.safety,
        restart=order.restart,
    )  # fmt: skip


def front_spec(order: ServiceOrder, servers: Sequence[Server]) -> ContainerSpec:
    """The HAProxy of a new service; it is a container of its own in the table, not a replica."""
    settings = msgspec.json.encode(order.front).decode()
    return ContainerSpec(
        name=front_of(order.name), image=order.front_image, entrypoint=("haproxy",),
        command=("-W", "-db", "-f", f"{FOLDER}/{FILE}"),
        labels={**labels_of(order), FRONT: order.name, _SETTINGS: settings},
        networks={network_of(order.name): ()}, safety=Safety(user="65532:65532"),
        mounts=(Mount(kind="volume", target=FOLDER, archive=archive(order.front, servers)),),
        ports=(Published(port=PORT, host_port=order.port, address=order.address),),
        caps=Caps(memory_bytes=512 << 20, pids=128, ulimits=(Ulimit(name="nofile", soft=20_000, hard=20_000),)),
        health=Health(command=tuple(client("show info")), interval_s=5.0, start_s=10.0),
    )  # fmt: skip


def settings_of(front: Member) -> FrontSettings:
    """What the front was made with."""
    try:
        return msgspec.json.decode(front.labels.get(_SETTINGS, "{}"), type=FrontSettings)
    except msgspec.DecodeError:
        return FrontSettings()


def by_number(name: str) -> tuple[str, int]:
    """Sorts replica 10 behind replica 9."""
    head, _, tail = name.rpartition("-")
    return (head, int(tail)) if tail.isdecimal() else (name, 0)


def free_name(service: str, revision: str, taken: Collection[str]) -> str:
    """A replica's name that is none of ``taken``."""
    number = 1
    while (name := f"{service}-r{revision}-{number}") in taken:
        number += 1
    return name
