"""The embedded region's controller: plans against the supervisor's facts, asks it, and knows when it is true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from nimify_tui.base.errors import ClusterError, NetworkError, ValidationError
from nimify_tui.controllers.checks import (
    check_arguments,
    check_limits,
    check_port,
    check_replicas,
    read_model,
)
from nimify_tui.controllers.drafts import (
    current,
    desired,
    draft_restart,
    draft_scale,
    draft_stop_or_start,
    memory_text,
    next_revision,
    nothing_text,
    objects,
    plural,
    start_text,
    surge_text,
    was,
)
from nimify_tui.controllers.goals import reality_of, standing_of
from nimify_tui.controllers.wording import caches_fact, diff, short_change, size_text, spec_lines
from nimify_tui.controllers.world import Draft, Receipt, Say, Standing, World, quiet
from nimify_tui.domain.embedded import Reply
from nimify_tui.domain.names import ServiceKey, check_name
from nimify_tui.domain.plans import ActionRequest, Permit, Plan, Precondition, Verb
from nimify_tui.domain.services import Replica, ReplicaState, Service, ServiceSpec


class EmbeddedBackend(Protocol):
    """What this controller needs of ``backends.local.LocalBackend``; each call takes one use of the permit.

    Raises GateRefused without a good permit, what the supervisor answered as its typed error, and
    NetworkError or DeadlineError when no answer came.
    """

    async def apply(
        self,
        name: str,
        uid: str,
        generation: int,
        *,
        spec: ServiceSpec | None = None,
        replicas: int | None = None,
        port: int | None = None,
        permit: Permit,
        plan: Plan,
    ) -> Reply:
        """Create, or set a new content and/or number of replicas."""
        ...

    async def restart(self, name: str, uid: str, generation: int, *, permit: Permit, plan: Plan) -> Reply:
        """Replace each replica."""
        ...

    async def rollback(
        self, name: str, uid: str, generation: int, revision: int, *, permit: Permit, plan: Plan
    ) -> Reply:
        """A new revision with an earlier one's content."""
        ...

    async def set_stopped(
        self, name: str, uid: str, generation: int, stopped: bool, *, permit: Permit, plan: Plan
    ) -> Reply:
        """Stop or start."""
        ...

    async def delete(self, name: str, uid: str, generation: int, *, permit: Permit, plan: Plan) -> Reply:
        """Stop and forget."""
        ...


class LocalController:
    """Controller of embedded regions.

    ``backend`` finds a region's backend; ``kept_model`` the file in which a region keeps the model of
    a SHA-256 (None when it keeps none or is not on this host).
    """

    def __init__(
        self,
        backend: Callable[[str], EmbeddedBackend | None],
        kept_model: Callable[[str, str], Path | None] = lambda _region, _sha256: None,
    ) -> None:
        self._backend = backend
        self._kept_model = kept_model

    async def draft(self, part: ActionRequest, key: ServiceKey, world: World) -> Draft:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        if part.image_spec is not None or part.gpus:
            what = "images run" if part.image_spec is not None else "GPUs are given to a replica"
            raise ValidationError(f"{what} on a Docker host only", f"{key.region} runs models as processes")
        if part.stop_first:
            raise ValidationError("a process here ends after its successor serves", "leave stop-first out")
        service = world.service(key)
        if part.verb is Verb.CREATE:
            return await self._create(part, key, service)
        if service is None:
            raise ValidationError(
                f"there is no service {key.name!r} in {key.region}", "see `nimify-tui snapshot -o name`"
            )
        replicas = [replica for replica in world.replicas(key) if replica.state is not ReplicaState.EXITED]
        match part.verb:
            case Verb.UPDATE:
                return await self._update(part, service, replicas)
            case Verb.ROLLBACK:
                return self._rollback(part, service, replicas)
            case Verb.SCALE:
                return draft_scale(part, service, replicas)
            case Verb.RESTART:
                return draft_restart(part, service, replicas)
            case Verb.STOP | Verb.START:
                return draft_stop_or_start(part, service, replicas)
            case Verb.DELETE:
                return self._delete(part, service, replicas)
            case _:
                raise ValidationError(
                    f"{part.verb} is not for an embedded service", "a new revision of it: `nimify-tui deploy`"
                )

    async def send(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, permit: Permit, say: Say = quiet
    ) -> Receipt:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        backend = self._backend(key.region)
        if backend is None:
            raise NetworkError(f"region {key.region} has no connection")
        before = next(item for item in plan.preconditions if item.key == key)
        name, uid, generation = key.name, before.uid, before.generation
        match part.verb:
            case Verb.CREATE | Verb.UPDATE | Verb.SCALE:
                reply = await backend.apply(
                    name,
                    uid,
                    generation,
                    spec=part.spec,
                    replicas=part.replicas,
                    port=part.port,
                    permit=permit,
                    plan=plan,
                )
            case Verb.RESTART:
                reply = await backend.restart(name, uid, generation, permit=permit, plan=plan)
            case Verb.ROLLBACK:
                revision = part.revision or 0
                reply = await backend.rollback(name, uid, generation, revision, permit=permit, plan=plan)
            case Verb.STOP | Verb.START:
                stopped = part.verb is Verb.STOP
                reply = await backend.set_stopped(name, uid, generation, stopped, permit=permit, plan=plan)
            case _:
                reply = await backend.delete(name, uid, generation, permit=permit, plan=plan)
        if not reply.ok:
            kind = ValidationError if reply.category == "validation" else ClusterError
            raise kind(reply.error or "the supervisor refused", reply.remedy)
        return Receipt(generation=reply.generation, uid=reply.uid or uid)

    async def standing(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, receipt: Receipt, world: World
    ) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        return standing_of(part, world.service(key), world.replicas(key), receipt)

    async def reality(self, plan: Plan, part: ActionRequest, key: ServiceKey, world: World) -> Standing:
        """See :class:`nimify_tui.controllers.world.Controller`."""
        before = next(item for item in plan.preconditions if item.key == key)
        return reality_of(part, before, world.service(key), world.replicas(key))

    async def _create(self, part: ActionRequest, key: ServiceKey, service: Service | None) -> Draft:
        check_name(key.name, "service name")
        if service is not None:
            raise ValidationError(
                f"there is a service {key.name!r} in {key.region} already",
                "choose another name, or update it",
            )
        if part.spec is None:
            raise ValidationError("the model is missing", "name an ONNX file")
        replicas = check_replicas(1 if part.replicas is None else part.replicas)
        spec, size_bytes = await self._content(part.spec)
        port = check_port(part.port)
        wanted = {
            "name": key.name,
            "replicas": str(replicas),
            "port": str(port or "a free one"),
            **spec_lines(spec),
        }
        facts = (
            ("objects", f"new service {key.name}, {replicas} {plural('replica', replicas)}, revision 1"),
            (
                "model",
                f"{Path(spec.model_path).name}, {size_text(size_bytes)}, sha256 {spec.model_sha256[:12]}",
            ),
            *caches_fact(spec.limits),
            ("capacity", memory_text(spec, replicas, size_bytes)),
        )
        return Draft(
            part=msgspec.structs.replace(part, spec=spec, replicas=replicas),
            precondition=Precondition(key, "", 0),
            facts=facts,
            diff=diff({}, wanted),
            undo=ActionRequest(verb=Verb.DELETE, targets=(key,)),
        )

    async def _update(self, part: ActionRequest, service: Service, replicas: Sequence[Replica]) -> Draft:
        now = current(service)
        if part.spec is None and part.replicas is None:
            raise ValidationError(
                "nothing to change is given", "name a model, limits or a number of replicas"
            )
        before, after = desired(service), desired(service)
        facts = [("objects", objects(service, replicas))]
        spec = None
        if part.spec is not None:
            spec, size_bytes = await self._content(part.spec)
            after |= spec_lines(spec)
            if now is None or short_change(now.spec, spec) != "the same content":
                change = "" if now is None else f": {short_change(now.spec, spec)}"
                facts.append(("change", f"revision {service.revision} → {next_revision(service)}{change}"))
                facts.append(("model", f"{Path(spec.model_path).name}, {size_text(size_bytes)}"))
            else:
                spec = None
        number = None if part.replicas is None else check_replicas(part.replicas)
        if number is not None and number != service.desired_replicas:
            after["replicas"] = str(number)
            facts.append(("change", f"replicas {service.desired_replicas} → {number}"))
        else:
            number = None
        kept = msgspec.structs.replace(part, spec=spec, replicas=number)
        if spec is None and number is None:
            return Draft(part=kept, precondition=was(service), nothing_to_do="is like that already")
        facts += [("capacity", surge_text(service, replicas)), ("start", start_text(replicas))]
        undo: ActionRequest | None = ActionRequest(
            verb=Verb.ROLLBACK, targets=(service.key,), revision=service.revision
        )
        if spec is None:
            undo = ActionRequest(verb=Verb.SCALE, targets=(service.key,), replicas=service.desired_replicas)
        elif number is not None:
            undo = self._recreate(service, Verb.UPDATE)
        return Draft(
            part=kept,
            precondition=was(service),
            facts=tuple(facts),
            diff=diff(before, after, context=("revision",)),
            undo=undo,
            no_undo=""
            if undo
            else "cannot be undone in one step: the model file of now is not kept anywhere",
        )

    def _rollback(self, part: ActionRequest, service: Service, replicas: Sequence[Replica]) -> Draft:
        earlier = [revision for revision in service.revisions if revision.number < service.revision]
        if part.revision is None and not earlier:
            raise ValidationError(f"{service.key.name} has no earlier revision than {service.revision}")
        number = earlier[-1].number if part.revision is None else part.revision
        kept = msgspec.structs.replace(part, revision=number)
        if number == service.revision:
            return Draft(
                part=kept, precondition=was(service), nothing_to_do=f"runs revision {number} already"
            )
        wanted = next((revision for revision in service.revisions if revision.number == number), None)
        if wanted is None:
            there = ", ".join(str(revision.number) for revision in service.revisions[-12:])
            raise ValidationError(f"{service.key.name} has no revision {number}", f"there are: {there}")
        now = current(service)
        change = "" if now is None else f": {short_change(now.spec, wanted.spec)}"
        text = f"new revision {next_revision(service)} with the content of revision {number}{change}"
        return Draft(
            part=kept,
            precondition=was(service),
            facts=(
                ("objects", objects(service, replicas)),
                ("change", text),
                ("capacity", surge_text(service, replicas)),
                ("start", start_text(replicas)),
            ),
            diff=diff(desired(service), {**desired(service), **spec_lines(wanted.spec)}),
            undo=ActionRequest(verb=Verb.ROLLBACK, targets=(service.key,), revision=service.revision),
        )

    def _delete(self, part: ActionRequest, service: Service, replicas: Sequence[Replica]) -> Draft:
        count = len(service.revisions)
        undo = self._recreate(service, Verb.CREATE)
        return Draft(
            part=part,
            precondition=was(service),
            facts=(
                ("objects", objects(service, replicas)),
                ("change", f"the service, its {count} {plural('revision', count)} and its logs are removed"),
                ("capacity", nothing_text(replicas)),
            ),
            diff=diff(desired(service), {}),
            destructive=True,
            undo=undo,
            no_undo="" if undo else "cannot be undone: no copy of its model file survives",
        )

    def _recreate(self, service: Service, verb: Verb) -> ActionRequest | None:
        """The request that brings the service's present content back, when its model is still somewhere."""
        now = current(service)
        if now is None:
            return None
        kept = self._kept_model(service.key.region, now.spec.model_sha256)
        path = kept if kept is not None else Path(now.spec.model_path)
        if not path.exists():
            return None
        spec = msgspec.structs.replace(now.spec, model_path=str(path))
        port = urlsplit(service.endpoint).port if verb is Verb.CREATE and service.endpoint else None
        return ActionRequest(
            verb=verb, targets=(service.key,), spec=spec, replicas=service.desired_replicas, port=port
        )

    @staticmethod
    async def _content(spec: ServiceSpec) -> tuple[ServiceSpec, int]:
        check_limits(spec.limits)
        check_arguments(spec)
        return await asyncio.to_thread(read_model, spec)
