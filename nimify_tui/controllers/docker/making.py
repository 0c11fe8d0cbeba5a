"""New services on a Docker host, and new revisions of them: an image of our runtime with a model, behind a front."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nimify_tui.backends.docker.building import BuildOrder, build
from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.groups import FRONT, MODEL, Owner
from nimify_tui.backends.docker.kinds import Container
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.specs import Caps
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.checks import check_arguments, check_limits, read_model
from nimify_tui.controllers.docker.context import ImageOrder, build_context
from nimify_tui.controllers.docker.facts import objects_of, owned
from nimify_tui.controllers.docker.founding import draft_of, found, gpus_in
from nimify_tui.controllers.docker.fronted import Fronted, check_serving, look_fronted
from nimify_tui.controllers.docker.given import Given
from nimify_tui.controllers.docker.imaging import pulled, revision_of, rolling
from nimify_tui.controllers.docker.looking import image_of
from nimify_tui.controllers.docker.orders import ServiceOrder, calls_for
from nimify_tui.controllers.docker.reading import labelled, members
from nimify_tui.controllers.docker.replicas import Replicas
from nimify_tui.controllers.docker.telling import tell
from nimify_tui.controllers.drafts import memory_text
from nimify_tui.controllers.wording import diff, size_text, spec_lines
from nimify_tui.controllers.world import Draft, Say, Standing
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Precondition, Verb
from nimify_tui.domain.services import ServiceSpec

#: The HAProxy of a new service where the configuration names none: the maintained line of the official image.
FRONT_IMAGE = "haproxy:lts"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a region's images are made of. ``base_image`` "" is the Dockerfile's own; ``wheelhouse``: built offline."""

    front_image: str = FRONT_IMAGE
    base_image: str = ""
    wheelhouse: Path | None = None


class Making:
    """Plans and makes services out of models. ``recipe`` finds that of a region."""

    def __init__(self, recipe: Callable[[str], Recipe], clock: Clock) -> None:
        self._recipe, self._clock = recipe, clock
        self._given = Given(lambda region: recipe(region).front_image, clock)

    async def draft_new(self, line: Connection, part: ActionRequest, key: ServiceKey) -> Draft:
        """A new service of a model, or of an image that is made already. Raises ValidationError, ModelError."""
        if part.image_spec is not None:
            return await self._given.draft_new(line, part, key)
        recipe = self._recipe(key.region)
        it = await found(line, part, key, recipe.front_image)
        spec, size_bytes = await _content(part.spec)
        tag = _tag(key, 1)
        return await draft_of(
            line, msgspec.structs.replace(part, spec=spec, image=tag), it,
            facts=[
                *_model_facts(spec, size_bytes, recipe, gpu=bool(part.gpus)),
                ("safety",
                 "not root, read-only root, no capabilities, no new privileges; restarted unless it is stopped"),
            ],
            capacity=memory_text(spec, it.replicas, size_bytes),
            wanted={"image": f"{tag}, built from the model", **spec_lines(spec)},
        )  # fmt: skip

    async def draft_revision(
        self,
        line: Connection,
        part: ActionRequest,
        key: ServiceKey,
        service: Fronted | None,
        some: Sequence[Container],
        owner: Owner | None,
    ) -> Draft:
        """Another model, or other limits, for a service behind a front. Raises ValidationError, ModelError."""
        if service is None:
            raise ValidationError(f"{key.name} was not made by this console", "give it another image instead")
        check_serving(service)
        if part.gpus:
            raise ValidationError("the GPUs of a service stay as it was made with them", "delete it and deploy it anew")
        if part.replicas is not None and part.replicas != len(service.replicas):
            raise ValidationError("one thing at a time on a Docker host", "scale it in a change of its own")
        spec, size_bytes = await _content(part.spec)
        number, one = 1 + max(revision_of(each) for each in service.replicas), service.replicas[0]
        tag, was = _tag(key, number), clean_line(one.config.image, 120)
        now = {"image": was, "model sha256": clean_line(one.labels.get(MODEL, ""), 80) or "?"}
        lines = spec_lines(spec)
        return Draft(
            part=msgspec.structs.replace(part, spec=spec, replicas=None, image=tag, mark=str(number)),
            precondition=Precondition(key, service.identity, 0, service.path),
            facts=(
                ("objects", objects_of(some, service.front)),
                ("change", f"image {was} → {tag}, built from the model"),
                *owned(part.verb, owner),
                *_model_facts(spec, size_bytes, self._recipe(key.region), gpu=one.host_config.gpus is not None),
                *await rolling(line, part, service.replicas),
            ),
            diff=diff(now, {"image": tag, **lines}),
            undo=ActionRequest(
                verb=Verb.SET_IMAGE, targets=(key,), image=await image_of(line, one.config.image, one.image)
            ),
            calls=calls_for(len(service.replicas)) + 3,
        )

    async def make(self, line: Connection, part: ActionRequest, key: ServiceKey, leave: Leave, say: Say) -> None:
        """Build and start what a draft of a new service planned; a failure leaves nothing behind."""
        if part.image_spec is not None:
            await self._given.make(line, part, key, leave, say)
            return
        assert part.spec is not None
        recipe, limits = self._recipe(key.region), part.spec.limits
        order = ServiceOrder(
            name=key.name, image=part.image, revision=1, replicas=part.replicas or 1, front_image=recipe.front_image,
            port=part.port or 0, caps=Caps(memory_bytes=limits.memory_bytes, pids=1024),
            gpus=gpus_in(part.gpus),
        )  # fmt: skip
        await pulled(line, recipe.front_image, leave, say)
        await self.built(line, part, key, leave, say, gpu=bool(part.gpus))
        try:
            await Replicas(line, key.name, leave, self._clock, say).create(order)
        except NimifyError:
            await _forget(line, part.image, leave)
            raise

    async def built(
        self, line: Connection, part: ActionRequest, key: ServiceKey, leave: Leave, say: Say, *, gpu: bool
    ) -> None:
        """The image of ``part``, for GPUs or not; what the engine says meanwhile is said. Raises what a build does."""
        assert part.spec is not None
        recipe = self._recipe(key.region)
        order = ImageOrder(
            service=key.name, revision=int(part.mark), model=Path(part.spec.model_path), wheelhouse=recipe.wheelhouse,
            arguments=_arguments(part.spec), gpu=gpu,
        )  # fmt: skip
        say("packs the model", 0, 0)
        stack = contextlib.ExitStack()
        context = await asyncio.to_thread(stack.enter_context, build_context(order))
        try:
            if context.model_sha256 != part.spec.model_sha256:
                raise ValidationError("the model's file is another one since the plan", "plan it anew")
            arguments = {"BASE": recipe.base_image} if recipe.base_image else {}
            wanted = BuildOrder(
                tag=part.image, context=context.file, size_bytes=context.size_bytes, labels=context.labels,
                arguments=arguments | ({"OFFLINE": "1"} if context.offline else {}), offline=context.offline,
                base=recipe.base_image,
            )  # fmt: skip
            async with contextlib.aclosing(build(line, wanted, leave)) as events:
                async for event in events:
                    tell(event, "builds", say)
        finally:
            await asyncio.to_thread(stack.close)


async def look_made(line: Connection, part: ActionRequest, key: ServiceKey) -> Standing:
    """How far a new service is; RUNNING with ``done`` 0 when there is nothing of it."""
    some = await members(line, f"nimify:{key.name}")
    fronts = await labelled(line, f"{FRONT}={key.name}")
    if not some or not fronts:
        left = len(some) + len(fronts)
        return Standing(state=ActionState.RUNNING, text=f"{key.name} is not there", done=left, total=part.replicas or 1)
    path = ",".join(each.id for each in (*some, fronts[0]))
    found = await look_fronted(line, part, Precondition(key, "", 0, path))
    return msgspec.structs.replace(found, text=f"{found.text}, {_reached(fronts[0])}")


def _reached(front: Container) -> str:
    ports = (front.network_settings.ports or {}).values()
    found = [f"{each.host_ip}:{each.host_port}" for some in ports for each in some or ()]
    return clean_line(f"on {found[0]}" if found else "on no port of its host", 80)


async def _content(spec: ServiceSpec | None) -> tuple[ServiceSpec, int]:
    if spec is None:
        raise ValidationError("the model is missing", "name an ONNX file")
    check_limits(spec.limits)
    check_arguments(spec)
    if spec.limits.artifact_cache_bytes:
        raise ValidationError(
            "an artifact cache is for embedded regions: what a container writes ends with it",
            "take none here (0)",
        )
    return await asyncio.to_thread(_read, spec)


def _read(spec: ServiceSpec) -> tuple[ServiceSpec, int]:
    if Path(spec.model_path).expanduser().is_dir():
        raise ValidationError("an image holds one model", "name one .onnx file, no folder")
    return read_model(spec)


def _model_facts(spec: ServiceSpec, size_bytes: int, recipe: Recipe, *, gpu: bool) -> list[tuple[str, str]]:
    base = f" on {recipe.base_image}" if recipe.base_image else ""
    source = "a folder of wheels, offline" if recipe.wheelhouse else "the package index, which the engine has to reach"
    cuda = [("build", "with onnxruntime-gpu, for which the region's base_image has to have CUDA")] if gpu else []
    return [
        ("model", f"{Path(spec.model_path).name}, {size_text(size_bytes)}, sha256 {spec.model_sha256[:12]}"),
        ("build", f"the engine builds our runtime with it{base}; what that needs comes from {source}"),
        *cuda,
    ]


def _arguments(spec: ServiceSpec) -> tuple[str, ...]:
    limits = spec.limits
    return (
        "--max-body-bytes", str(limits.max_body_bytes), "--request-timeout-s", f"{limits.request_timeout_s:g}",
        "--max-concurrency", str(limits.max_concurrency), "--max-queue", str(limits.max_queue),
        "--rate-limit-rps", f"{limits.rate_limit_rps:g}", "--threads", str(limits.threads),
        *(("--cache-bytes", str(limits.cache_bytes), "--cache-ttl-s", f"{limits.cache_ttl_s:g}")
          if limits.cache_bytes else ()),
        *spec.arguments,
    )  # fmt: skip


def _tag(key: ServiceKey, revision: int) -> str:
    return f"nimify/{key.name}:r{revision}"


async def _forget(line: Connection, tag: str, leave: Leave) -> None:
    """The image of a service that did not come up: its layers stay no longer than its name."""
    with contextlib.suppress(NimifyError):
        await line.change(
            "DELETE", f"/images/{tag}", {}, what=f"removal of {tag}", permit=leave.permit, plan=leave.plan,
            verify=leave.verify,
        )  # fmt: skip
