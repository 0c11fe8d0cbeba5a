"""What containers belong together and who keeps them, by their labels.

Compose: https://docs.docker.com/reference/compose-file/; Podman's units: podman-systemd.unit(5); Swarm and cri-dockerd
write theirs likewise. The labels of our own containers stand in the product's list of names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nimify_tui.backends.docker.kinds import Container
from nimify_tui.base.text import clean_line

OURS = "nimify.dev/service"
#: On the HAProxy of a service of ours: which one.
FRONT = "nimify.dev/front"
#: On an image of ours: the hash of its model. Such an image answers metrics and health on a port of its own.
MODEL = "nimify.dev/model-sha256"
ADMIN_PORT = 8001
_COMPOSE = "com.docker.compose."
_SWARM = "com.docker.swarm.service.name"
_UNITS = ("PODMAN_SYSTEMD_UNIT", "systemd.unit")
_POD = "io.kubernetes.pod.name"


@dataclass(frozen=True)
class Group:
    """Containers that are one service. ``uid`` stays while they come and go; that of a lone one ends with it.

    ``kind`` is for people, ``name`` without regard to other groups.
    """

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class Owner:
    """Who made a container and would make it again.

    ``by`` is what it is changed with, ``detail`` where it is written.
    """

    kind: str
    name: str
    detail: str = ""
    by: str = ""

    @property
    def words(self) -> str:
        """In one line."""
        return f"{self.kind} {self.name}{f' ({self.detail})' if self.detail else ''}"


def group_of(one: Container) -> Group:
    """The service that a container belongs to."""
    labels = one.labels
    if name := labels.get(OURS, ""):
        return Group("Container", clean_line(name, 120), f"nimify:{name}")
    project, service = labels.get(f"{_COMPOSE}project", ""), labels.get(f"{_COMPOSE}service", "")
    if project and service and labels.get(f"{_COMPOSE}oneoff", "").lower() != "true":
        return Group(
            "Compose service", clean_line(f"{project}-{service}", 120), f"compose:{project}/{service}"
        )
    if name := labels.get(_SWARM, ""):
        return Group("Swarm service", clean_line(name, 120), f"swarm:{name}")
    return Group("Container", clean_line(one.plain_name, 120), f"container:{one.id}")


def labels_of(uid: str) -> tuple[str, ...]:
    """The labels by which the engine finds the containers of a group that has several."""
    kind, _, name = uid.partition(":")
    if kind == "compose":
        project, _, service = name.partition("/")
        return f"{_COMPOSE}project={project}", f"{_COMPOSE}service={service}"
    return (f"{OURS if kind == 'nimify' else _SWARM}={name}",)


def passing(one: Container) -> bool:
    """Whether it is no service at all: a single run of Compose, the pause container of a pod."""
    labels = one.labels
    return (
        labels.get(f"{_COMPOSE}oneoff", "").lower() == "true"
        or labels.get("io.kubernetes.docker.type") == "podsandbox"
    )


def owner_of(labels: Mapping[str, str]) -> Owner | None:
    """Who keeps a container with these labels; None where nobody says so."""
    if project := labels.get(f"{_COMPOSE}project", ""):
        service = labels.get(f"{_COMPOSE}service", "")
        files = labels.get(f"{_COMPOSE}project.config_files", "")
        detail = ", ".join(
            filter(None, [f"service {clean_line(service, 80)}" if service else "", clean_line(files, 160)])
        )
        return Owner("Compose project", clean_line(project, 80), detail, "docker compose up")
    for name in _UNITS:
        if unit := labels.get(name, ""):
            return Owner("systemd unit", clean_line(unit, 120), "", "systemctl")
    if service := labels.get(_SWARM, ""):
        return Owner("Swarm service", clean_line(service, 120), "", "docker service update")
    if pod := labels.get(_POD, ""):
        return Owner("Kubernetes pod", clean_line(pod, 120), "", "the cluster")
    return None
