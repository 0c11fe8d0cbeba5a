"""What a console asks for, checked and made the wanted state; carried out by the services themselves."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from pathlib import Path
from typing import Protocol

import msgspec

from nimify_tui.base.errors import ClusterError, ValidationError
from nimify_tui.base.files import artifact_folder, cache_home, private_dir
from nimify_tui.base.text import clean_line
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.embedded import Apply, Delete, Leave, ReadLog, Reply, Restart, Rollback, SetStopped
from nimify_tui.domain.names import check_name
from nimify_tui.domain.services import Revision, ServiceSpec
from nimify_tui.supervisor import logs
from nimify_tui.supervisor.changes import Chronicle
from nimify_tui.supervisor.disk import RESERVED, Desired, ServiceFolder
from nimify_tui.supervisor.library import Library
from nimify_tui.supervisor.listening import listen
from nimify_tui.supervisor.options import Options
from nimify_tui.supervisor.service import ServiceKeeper

MAX_REPLICAS = 64
MAX_SERVICES = 200
_Change = Apply | Restart | Rollback | SetStopped | Delete


class House(Protocol):
    """What the operations need of the region."""

    options: Options
    chronicle: Chronicle
    library: Library
    services: dict[str, ServiceKeeper]

    def take_in(self, folder: ServiceFolder, desired: Desired, revision: Revision, listener: socket.socket) -> None:
        """A new service. Raises OSError when it cannot be written."""
        ...


class Operations:
    """Carries out change requests. Each raises NimifyError with category and remedy, or OSError."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._creating: set[str] = set()

    async def apply(self, request: Apply) -> Reply:
        """Create, or a new revision and/or another number of replicas."""
        if request.replicas is not None and not 0 <= request.replicas <= MAX_REPLICAS:
            raise ValidationError(f"{request.replicas} replicas are not possible", f"0 to {MAX_REPLICAS}")
        if not request.uid:
            return await self._create(request)
        async with self._checked(request) as keeper:
            desired = keeper.desired
            if request.port not in (None, 0, desired.port):
                raise ValidationError("the port of a service cannot be changed", "create it anew")
            spec = await self._take(request.name, request.spec) if request.spec is not None else None
            replicas = desired.replicas if request.replicas is None else request.replicas
            revision = None
            if spec is not None and spec != keeper.revisions[desired.revision].spec:
                revision = self._new_revision(keeper, spec, request.leave)
            self._go(keeper, request.leave, revision, replicas=replicas)
            if replicas != desired.replicas:
                text = f"replicas {desired.replicas} -> {replicas} by {request.leave.actor}"
                self._tell(keeper, ChangeKind.SCALE, text, request.leave)
            return _done(request.id, keeper)

    async def restart(self, request: Restart) -> Reply:
        """Replace each replica."""
        async with self._checked(request) as keeper:
            if keeper.desired.stopped:
                raise ValidationError(f"{request.name} is stopped", "start it")
            self._go(keeper, request.leave, epoch=keeper.desired.epoch + 1)
            self._tell(keeper, ChangeKind.RESTART, f"restart by {request.leave.actor}", request.leave)
            return _done(request.id, keeper)

    async def rollback(self, request: Rollback) -> Reply:
        """A new revision with an earlier one's content."""
        async with self._checked(request) as keeper:
            old = keeper.revisions.get(request.revision)
            if old is None:
                there = ", ".join(str(number) for number in sorted(keeper.revisions)[-12:])
                raise ValidationError(f"{request.name} has no revision {request.revision}", f"there are: {there}")
            if not self._house.library.path(old.spec.model_sha256).exists():
                raise ClusterError(f"the model of revision {request.revision} is not kept any more")
            revision = self._new_revision(keeper, old.spec, request.leave, f"back to revision {old.number}")
            self._go(keeper, request.leave, revision)
            return _done(request.id, keeper)

    async def set_stopped(self, request: SetStopped) -> Reply:
        """Stop or start."""
        async with self._checked(request) as keeper:
            self._go(keeper, request.leave, stopped=request.stopped)
            verb = "stopped" if request.stopped else "started"
            self._tell(keeper, ChangeKind.SCALE, f"{verb} by {request.leave.actor}", request.leave)
            return _done(request.id, keeper)

    async def delete(self, request: Delete) -> Reply:
        """Stop and forget."""
        async with self._checked(request) as keeper:
            self._go(keeper, request.leave, deleting=True, stopped=True)
            text = f"deleted by {request.leave.actor} at revision {keeper.desired.revision}"
            self._tell(keeper, ChangeKind.DELETE, text, request.leave)
            return _done(request.id, keeper)

    def read_log(self, request: ReadLog) -> Reply:
        """Where a run's log lies."""
        keeper = self._house.services.get(request.name)
        if keeper is None:
            raise ValidationError(f"there is no service {request.name[:80]!r}")
        paths: list[str] = []
        for name in [request.replica] if request.replica else list(keeper.slots):
            slot = keeper.slots.get(check_name(name, "replica name"))
            run = request.run
            if run == -1 and (slot is None or slot.instance.pid is None):
                run = None  # nothing runs: the run before is the one that ended last
            paths += logs.parts_of(keeper.folder.logs, name, run)
        if not paths and request.replica:
            raise ValidationError(f"there is no log of {request.replica} for that run")
        return Reply(id=request.id, ok=True, paths=tuple(paths))

    # -- parts ---------------------------------------------------------------------------

    async def _create(self, request: Apply) -> Reply:
        house, name = self._house, check_name(request.name, "service name")
        if name in RESERVED:
            raise ValidationError(f"a service cannot be called {name!r}", "choose another name")
        if name in house.services or name in self._creating:
            raise ValidationError(f"there is a service {name!r} already", "changed since the plan was made: plan again")
        if len(house.services) >= MAX_SERVICES:
            raise ValidationError(f"this region has {MAX_SERVICES} services, which is its limit")
        if request.spec is None:
            raise ValidationError("the model of the new service is missing")
        self._creating.add(name)
        try:
            spec = await self._take(name, request.spec)
            listener = self._bind(request.port or 0)
            now = time.time()
            revision = Revision(
                number=1, created_at=now, created_by=request.leave.actor, spec=spec, note="first revision"
            )
            desired = Desired(
                uid=secrets.token_hex(8),
                name=name,
                generation=1,
                observed_generation=0,
                revision=1,
                replicas=1 if request.replicas is None else request.replicas,
                port=int(listener.getsockname()[1]),
                created_at=now,
                changed_at=now,
                next_revision=2,
                changed_by=request.leave.actor,
            )
            folder = ServiceFolder(house.options.state_dir, name)
            house.take_in(folder, desired, revision, listener)
        finally:
            self._creating.discard(name)
        keeper = house.services[name]
        count = f"{desired.replicas} replica{'' if desired.replicas == 1 else 's'}"
        text = f"created by {request.leave.actor}: {count} of model {spec.model_sha256[:12]}"
        self._tell(keeper, ChangeKind.CREATE, text, request.leave)
        return _done(request.id, keeper)

    def _bind(self, port: int) -> socket.socket:
        """A listening socket on ``port`` (0: any) that no service of ours, stopped ones included, remembers."""
        if not 0 <= port <= 65535:
            raise ValidationError(f"{port} is no port")
        remembered = {keeper.desired.port: name for name, keeper in self._house.services.items()}
        if port in remembered:
            raise ClusterError(f"port {port} belongs to service {remembered[port]}", "choose another port, or none")
        try:
            made = listen(port)
            while made.getsockname()[1] in remembered:
                made.close()
                made = listen(0)
            return made
        except OSError as error:
            raise ClusterError(error.strerror or str(error), "choose another port, or none") from error

    def _checked(self, request: _Change) -> _Checked:
        return _Checked(self._house.services.get(request.name), request)

    async def _take(self, name: str, spec: ServiceSpec) -> ServiceSpec:
        """The spec of the service with its model in our library."""
        _check_spec(spec)
        if spec.limits.artifact_cache_bytes:
            await asyncio.to_thread(_make_artifacts, artifact_folder(self._house.options.state_dir, name))
        sha256 = await asyncio.to_thread(self._house.library.take, spec.model_path, spec.model_sha256)
        return msgspec.structs.replace(spec, model_sha256=sha256)

    def _new_revision(self, keeper: ServiceKeeper, spec: ServiceSpec, leave: Leave, why: str = "") -> Revision:
        desired = keeper.desired
        old = keeper.revisions[desired.revision].spec
        note = difference(old, spec)
        number = max(desired.next_revision, max(keeper.revisions) + 1)
        return Revision(
            number=number,
            created_at=time.time(),
            created_by=leave.actor,
            spec=spec,
            note=f"{why}: {note}" if why else note,
        )

    def _go(self, keeper: ServiceKeeper, leave: Leave, revision: Revision | None = None, **wanted: object) -> None:
        """Write the revision, then the wanted state that names it; tell the roll-out."""
        before = keeper.desired
        if revision is not None:
            wanted |= {"revision": revision.number, "next_revision": revision.number + 1}
            keeper.folder.write_revision(revision)
            keeper.revisions[revision.number] = revision
        try:
            keeper.want(
                msgspec.structs.replace(
                    before,
                    generation=before.generation + 1,
                    changed_at=time.time(),
                    changed_by=leave.actor,
                    **wanted,
                )
            )
        except OSError:
            if revision is not None:
                keeper.revisions.pop(revision.number)
                keeper.folder.drop_revision(revision.number)
            raise
        if revision is not None:
            old = keeper.revisions[before.revision].spec
            same = old.model_sha256 == revision.spec.model_sha256
            text = f"revision {before.revision} -> {revision.number} by {leave.actor}: {revision.note}"
            self._tell(keeper, ChangeKind.CONFIG if same else ChangeKind.ROLLOUT, text, leave)

    def _tell(self, keeper: ServiceKeeper, kind: ChangeKind, text: str, leave: Leave) -> None:
        evidence = f"plan {leave.plan_id}" + (f", because {leave.reason}" if leave.reason else "")
        self._house.chronicle.change(
            kind, keeper.key, text, evidence=evidence, by=leave.actor, revision=keeper.desired.revision
        )


class _Checked:
    """Holds a service for one change at a time and refuses what was planned for another state of it."""

    def __init__(self, keeper: ServiceKeeper | None, request: _Change) -> None:
        if keeper is None or keeper.desired.deleting:
            raise ValidationError(
                f"there is no service {request.name[:80]!r}", "changed since the plan was made: plan again"
            )
        self._keeper, self._request = keeper, request

    async def __aenter__(self) -> ServiceKeeper:
        await self._keeper.changing.acquire()
        desired = self._keeper.desired
        if (self._request.uid, self._request.generation) != (desired.uid, desired.generation) or desired.deleting:
            self._keeper.changing.release()
            by = f" by {desired.changed_by}" if desired.changed_by else ""
            raise ValidationError(f"{desired.name} was changed{by} since the plan was made", "plan again")
        return self._keeper

    async def __aexit__(self, *_: object) -> None:
        self._keeper.changing.release()


def difference(old: ServiceSpec, new: ServiceSpec) -> str:
    """In words what ``new`` has that ``old`` has not."""
    words = []
    if old.model_sha256 != new.model_sha256:
        words.append(f"model sha256 {old.model_sha256[:8]} -> {new.model_sha256[:8]}")
    for name in old.limits.__struct_fields__:
        before, after = getattr(old.limits, name), getattr(new.limits, name)
        if before != after:
            words.append(f"{name} {_number(before)} -> {_number(after)}")
    if old.arguments != new.arguments:
        words.append(f"arguments {' '.join(old.arguments) or 'none'} -> {' '.join(new.arguments) or 'none'}"[:200])
    if old.labels != new.labels:
        words.append("labels")
    return ", ".join(words) or "the same content"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _check_spec(spec: ServiceSpec) -> None:
    limits = spec.limits
    positive = {
        "max_body_bytes": limits.max_body_bytes, "request_timeout_s": limits.request_timeout_s,
        "max_concurrency": limits.max_concurrency, "threads": limits.threads, "cache_ttl_s": limits.cache_ttl_s,
    }  # fmt: skip
    for name, value in positive.items():
        if not 0 < value < 1e12:
            raise ValidationError(f"{name} is {value:g}", "use a positive number")
    for name in ("max_queue", "rate_limit_rps", "memory_bytes", "cache_bytes", "artifact_cache_bytes"):
        if not 0 <= getattr(limits, name) < 1e15:
            raise ValidationError(f"{name} is {getattr(limits, name):g}", "use 0 or a positive number")
    if 0 < limits.memory_bytes < 256 * 1024**2:
        raise ValidationError("memory_bytes is below 256 MiB, in which no runtime starts", "use more, or 0")
    if any("\0" in argument for argument in spec.arguments) or len(spec.arguments) > 64:
        raise ValidationError("the arguments cannot be given to a process", "at most 64, none with a NUL")


def _make_artifacts(folder: Path) -> None:
    """Raises ClusterError now for a folder that would end each replica at its start."""
    try:
        private_dir(cache_home())
        private_dir(folder)
    except OSError as error:
        raise ClusterError(
            clean_line(f"the artifact cache {folder} cannot be made: {error.strerror or error}", 400),
            "free its place, or deploy without an artifact cache (0)",
        ) from error


def _done(number: int, keeper: ServiceKeeper) -> Reply:
    return Reply(id=number, ok=True, generation=keeper.desired.generation, uid=keeper.desired.uid)
