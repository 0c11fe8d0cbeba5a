"""New services on a Docker host out of an image that somebody else has built, behind a front as our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.haproxy import FrontSettings, configuration
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.pulling import find, runnable
from nimify_tui.backends.docker.references import is_id
from nimify_tui.backends.docker.specs import MIN_MEMORY_BYTES, Caps, Health, Mount, Safety
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.docker.founding import draft_of, found, gpus_in
from nimify_tui.controllers.docker.imaging import pulled
from nimify_tui.controllers.docker.orders import ServiceOrder
from nimify_tui.controllers.docker.replicas import Replicas
from nimify_tui.controllers.imagespec import image_lines, read_secrets
from nimify_tui.controllers.wording import size_text
from nimify_tui.controllers.world import Draft, Say
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest
from nimify_tui.domain.services import ImageSpec

#: Who runs what an image would run as root.
NOBODY = "65532:65532"
_ROOT = ("", "0", "root")
#: A foreign server has threads of its own, some hundreds of them.
_PIDS = 4096


class _Config(msgspec.Struct):
    User: str = ""


class _Image(msgspec.Struct):
    Config: _Config | None = None


class Given:
    """Plans and makes services out of images. ``front_image`` finds that of a region."""

    def __init__(self, front_image: Callable[[str], str], clock: Clock) -> None:
        self._front_image, self._clock = front_image, clock

    async def draft_new(self, line: Connection, part: ActionRequest, key: ServiceKey) -> Draft:
        """A new service. Raises ValidationError, ClusterError, and EngineRefused for an image of another machine."""
        spec = _checked(part)
        it = await found(line, part, key, self._front_image(key.region))
        there = await find(line, part.image)
        if there is None and is_id(part.image):
            raise ClusterError(f"the engine has no image {clean_line(part.image, 80)}", "name one it can pull")
        user = spec.user or f"the image's own user, {NOBODY} where that is root"
        if there is not None:
            await runnable(line, part.image)
            user = await _user(line, part.image, spec)
        root = "writable root" if spec.writable else "read-only root but 64 MiB of /tmp"
        as_root = [("warning", "it runs as root in its container")] if is_root(spec.user) and spec.user else []
        facts = [
            ("image", f"{clean_line(part.image, 120)}{'' if there is not None else ', not on the engine yet: pulled'}"),
            ("serves", f"port {spec.port} of each replica, which its front asks GET {spec.health_path}"),
            ("safety", f"user {user}; {root}, no capabilities, no new privileges; restarts: {spec.restart}"),
            *as_root,
        ]
        if spec.secrets:
            facts.append(("secrets", (f"{', '.join(sorted(spec.secrets))}: read here when it is made, shown nowhere by "
                                      "us; who may inspect the containers reads them")))  # fmt: skip
        return await draft_of(
            line, part, it, facts=facts, capacity=_capacity(spec, it.replicas),
            wanted={"image": clean_line(part.image, 120), "user": user, **image_lines(spec)},
        )  # fmt: skip

    async def make(self, line: Connection, part: ActionRequest, key: ServiceKey, leave: Leave, say: Say) -> None:
        """Pull and start what a draft planned; a failure leaves nothing behind but the image."""
        spec, front_image = _checked(part), self._front_image(key.region)
        secrets = await asyncio.to_thread(read_secrets, spec)
        await pulled(line, front_image, leave, say)
        await pulled(line, part.image, leave, say)
        order = ServiceOrder(
            name=key.name, image=part.image, revision=1, replicas=part.replicas or 1, front_image=front_image,
            port=part.port or 0, inside=spec.port, command=spec.command, env={**spec.env, **secrets},
            caps=Caps(cpus=spec.cpus, memory_bytes=spec.memory_bytes, shm_bytes=spec.shm_bytes, pids=_PIDS),
            health=Health(command=spec.health, interval_s=2.0), gpus=gpus_in(part.gpus), restart=spec.restart,
            safety=Safety(user=await _user(line, part.image, spec), read_only=not spec.writable),
            front=FrontSettings(health_path=spec.health_path),
            mounts=tuple(
                Mount(kind="bind" if source.startswith("/") else "volume", target=target, source=source,
                      read_only=target not in spec.written)
                for target, source in spec.mounts.items()
            ),
        )  # fmt: skip
        await Replicas(line, key.name, leave, self._clock, say).create(order)


def is_root(user: str) -> bool:
    """Whether a container's user is root."""
    return user.partition(":")[0] in _ROOT


async def _user(line: Connection, image: str, spec: ImageSpec) -> str:
    """Who it runs as."""
    if spec.user:
        return spec.user
    config = (await line.get(f"/images/{image}/json", _Image)).Config
    own = clean_line(config.User, 120) if config is not None else ""
    return NOBODY if is_root(own) else own


def _checked(part: ActionRequest) -> ImageSpec:
    """Raises ValidationError."""
    spec = part.image_spec
    if spec is None or not part.image:
        raise ValidationError("the image is missing", "name one, for example vllm/vllm-openai:v0.9.1")
    if 0 < spec.memory_bytes < MIN_MEMORY_BYTES:
        raise ValidationError("a memory limit below 6 MiB is not possible", "use more, or none")
    configuration(FrontSettings(health_path=spec.health_path), ())  # a path that is none is said now
    return spec


def _capacity(spec: ImageSpec, replicas: int) -> str:
    each = [size_text(spec.memory_bytes) + " of memory"] if spec.memory_bytes else []
    each += [f"{spec.cpus:g} CPUs"] if spec.cpus else []
    if not each:
        return "no limit of memory and CPUs is set"
    return f"each replica may take {' and '.join(each)} ({replicas} of them)"
