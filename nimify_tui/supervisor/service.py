"""One service: what is wanted of it, its replicas and its listening socket, and the way from one to the other."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from nimify_tui.base.files import artifact_folder, private_dir, runtime_home
from nimify_tui.base.process import boot_id, start_ticks
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.embedded import Event, ReplicaEvent, ServiceEvent
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.served import ServedModel
from nimify_tui.domain.services import Replica, Revision, Service, ServiceSpec
from nimify_tui.domain.slos import ANNOTATION
from nimify_tui.supervisor import logs, process
from nimify_tui.supervisor.changes import Chronicle
from nimify_tui.supervisor.command import Handed, replica_command
from nimify_tui.supervisor.disk import Desired, Instance, ServiceFolder
from nimify_tui.supervisor.listening import get_back, listen
from nimify_tui.supervisor.options import Options
from nimify_tui.supervisor.process import Watched
from nimify_tui.supervisor.reconcile import Seen, next_steps
from nimify_tui.supervisor.replica import Slot

#: The word in the table's column for services of our own runtime.
FAMILY = "ours"
#: Starts in a row without ever being ready after which a roll-out counts as failed.
FAILED_STARTS = 3
#: After the disk refused a write it is tried again so often, seconds.
_DISK_RETRY_S = 2.0
#: Revisions that are told to consoles; all are on disk.
_TOLD_REVISIONS = 100


class House(Protocol):
    """What a service needs of its region."""

    options: Options
    chronicle: Chronicle

    def emit(self, event: Event) -> None:
        """Tell the watchers."""
        ...

    def model_path(self, sha256: str) -> Path:
        """Where the region keeps a model."""
        ...

    def model_names(self, sha256: str) -> tuple[str, ...]:
        """The models of a folder that the region keeps; none for a single model."""
        ...

    def closed(self, keeper: ServiceKeeper) -> None:
        """The service has been deleted."""
        ...


class ServiceKeeper:
    """Keeps one service as it is wanted. All calls from the loop."""

    def __init__(self, house: House, folder: ServiceFolder, desired: Desired, revisions: Sequence[Revision]) -> None:
        self.house = house
        self.options = house.options
        self.chronicle = house.chronicle
        self.folder = folder
        self.key = ServiceKey(house.options.region, desired.name)
        self.desired = desired
        self.revisions = {revision.number: revision for revision in revisions}
        self.slots: dict[str, Slot] = {}
        self.changing = asyncio.Lock()
        self._listener: socket.socket | None = None
        #: By hash: the models of a folder; it does not change, and is asked for at each event.
        self._names: dict[str, tuple[str, ...]] = {}
        self._listener_lock = asyncio.Lock()
        self._progress = ""
        self._failure = ""
        self._failed_generation = 0
        self._told: Service | None = None
        self._told_replicas: dict[str, Replica] = {}
        self._scheduled = False
        self._closing = False
        self._ages = itertools.count()
        self._age: dict[str, int] = {}
        self._security: dict[str, tuple[Path, logs.SecurityLines]] = {}

    # -- facts ---------------------------------------------------------------------------

    @property
    def facts(self) -> Service:
        """The service as everybody sees it."""
        desired = self.desired
        current = self.revisions[desired.revision]
        names = self._model_names(current.spec.model_sha256)
        return Service(
            key=self.key,
            uid=desired.uid,
            family=FAMILY,
            revision=desired.revision,
            desired_replicas=desired.replicas,
            generation=desired.generation,
            observed_generation=desired.observed_generation,
            created_at=desired.created_at,
            changed_at=desired.changed_at,
            stopped=desired.stopped,
            progress=self._progress,
            failure=self._failure,
            endpoint="" if desired.stopped else f"http://127.0.0.1:{desired.port}",
            model_name=names[0] if names else desired.name,
            models=tuple(ServedModel(name=name, source="its folder") for name in names),
            model_sha256=current.spec.model_sha256,
            revisions=tuple(self.revisions[number] for number in sorted(self.revisions)[-_TOLD_REVISIONS:]),
            labels=current.spec.labels,
            slo=current.spec.labels.get(ANNOTATION, ""),
        )

    def _model_names(self, sha256: str) -> tuple[str, ...]:
        if sha256 not in self._names:
            self._names = {sha256: self.house.model_names(sha256)}
        return self._names[sha256]

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """Its replicas as everybody sees them."""
        return tuple(slot.facts for slot in self.slots.values())

    # -- life ----------------------------------------------------------------------------

    async def open(self) -> None:
        """Take over what an earlier supervisor left: adopt living replicas and get the listening socket back."""
        for instance in self.folder.read_instances():
            spec = self.revisions.get(instance.revision, self.revisions[self.desired.revision]).spec
            adopted, missing = _find(instance)
            if instance.draining and adopted is None:
                self.folder.forget_instance(instance.replica)
                continue
            slot = self._add(_with_pid(instance, adopted), spec)
            slot.begin(adopted, missing)
        await self._get_listener_back()
        looks = [asyncio.create_task(slot.looked.wait()) for slot in self.slots.values()]
        if looks:
            await asyncio.wait(looks, timeout=2.0 * self.options.probe_timeout_s)
            for look in looks:
                look.cancel()
        logs.prune_gone(self.folder.logs, set(self.slots))
        self.wake()

    def want(self, desired: Desired, listener: socket.socket | None = None) -> None:
        """Make ``desired`` the truth (on the disk when this returns) and go there. Raises OSError."""
        self._write(desired)
        self._failure = ""
        if listener is not None:
            self._listener = listener
        self._tell()
        self.wake()

    def wake(self) -> None:
        """Look at what is to be done, soon and once."""
        if not self._scheduled and not self._closing:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._reconcile)

    def close(self) -> None:
        """From now on start nothing and drain nothing."""
        self._closing = True

    async def forsake(self) -> None:
        """The supervisor ends; replicas go on."""
        self.close()
        await asyncio.gather(*(slot.forsake() for slot in self.slots.values()))
        if self._listener is not None:
            self._listener.close()

    def kill(self) -> None:
        """SIGKILL to every replica, and none comes back."""
        self.close()
        for slot in list(self.slots.values()):
            slot.leave()
            slot.kill()

    def look_at_logs(self) -> None:
        """Bound the logs and pass on the security lines in them; called about once a second."""
        for slot in self.slots.values():
            path = slot.log
            known = self._security.get(slot.name)
            if known is None or known[0] != path:
                # What an adopted replica wrote before now, an earlier supervisor has told.
                adopted = slot.watched is not None and slot.watched.adopted
                known = (path, logs.SecurityLines(path, from_end=adopted))
                self._security[slot.name] = known
            for record in known[1].look():
                self.chronicle.reported(self.key, record)
            logs.cut_when_long(path, self.options.log_bytes)

    # -- for its replicas ----------------------------------------------------------------

    async def launch(self, instance: Instance, spec: ServiceSpec) -> tuple[Instance, Watched]:
        """Start the process of the run that ``instance`` describes. Raises OSError."""
        listener = await self._listening()
        if self._closing:
            raise OSError(errno.ESHUTDOWN, "the supervisor ends")
        admin = listen(0)
        with admin:
            control = _control_path(self.folder.path, instance)
            named = msgspec.structs.replace(
                instance, control_socket=str(control), admin_port=int(admin.getsockname()[1])
            )
            self.folder.write_instance(named)
            drain_s = self.options.drain_of(spec.limits.request_timeout_s)
            model = self.house.model_path(spec.model_sha256)
            artifacts = artifact_folder(self.options.state_dir, self.key.name)
            handed = Handed(model, listener.fileno(), admin.fileno(), str(control), drain_s, artifacts)
            watched = process.start(
                process.Start(
                    command=replica_command(self.key, instance.revision, spec, handed),
                    log=logs.log_path(self.folder.logs, instance.replica, instance.run),
                    fds=(listener.fileno(), admin.fileno()),
                    cwd=self.folder.path,
                    memory_bytes=spec.limits.memory_bytes,
                    dies_with_us=self.options.demo,
                )
            )
        started = msgspec.structs.replace(named, pid=watched.pid, start_ticks=watched.start_ticks)
        self.folder.write_instance(started)
        return started, watched

    def moved(self, slot: Slot) -> None:
        """A replica is different now."""
        facts = slot.facts
        if self._told_replicas.get(slot.name) != facts:
            before = self._told_replicas.get(slot.name)
            self._told_replicas[slot.name] = facts
            self.house.emit(ReplicaEvent(at=time.time(), key=facts.key, replica=facts))
            if before is None or before.state is not facts.state:
                self.wake()

    def gone(self, slot: Slot) -> None:
        """A replica has ended for good."""
        self.slots.pop(slot.name, None)
        self._told_replicas.pop(slot.name, None)
        self._security.pop(slot.name, None)
        self.folder.forget_instance(slot.name)
        self.house.emit(ReplicaEvent(at=time.time(), key=ReplicaKey(self.key, slot.name), replica=None))
        logs.prune_gone(self.folder.logs, set(self.slots))
        self.wake()

    # -- the way to what is wanted -------------------------------------------------------

    def _reconcile(self) -> None:
        self._scheduled = False
        if self._closing:
            return
        try:
            self._step()
        except OSError as error:
            self._failure = f"the supervisor cannot write its state: {error.strerror or error}"
            self._tell()
            asyncio.get_running_loop().call_later(_DISK_RETRY_S, self.wake)

    def _step(self) -> None:
        desired = self.desired
        wanted = 0 if desired.stopped or desired.deleting else desired.replicas
        seen = [
            Seen(
                slot.name, slot.instance.revision, slot.instance.epoch, slot.state, slot.leaving,
                self._age[slot.name],
            )
            for slot in self.slots.values()
        ]  # fmt: skip
        steps = next_steps(desired.revision, desired.epoch, wanted, seen)
        for name in steps.drain:
            self.slots[name].leave()
        if steps.start:
            self._start(steps.start)
        self._progress = steps.progress
        if desired.observed_generation < desired.generation:
            self._judge(steps.settled)
        if wanted == 0 and not self.slots:
            self._close_listener()
            if desired.deleting:
                self._closing = True
                self.house.closed(self)
                return
        self._tell()

    def _judge(self, settled: bool) -> None:
        if settled:
            self._failure = ""
            self._write(msgspec.structs.replace(self.desired, observed_generation=self.desired.generation))
            return
        fresh = [
            slot
            for slot in self.slots.values()
            if slot.instance.revision == self.desired.revision and slot.failed_starts >= FAILED_STARTS
        ]
        self._failure = ""
        if fresh and not self.desired.stopped and not self.desired.deleting:
            facts, reason = fresh[0].facts, fresh[0].crash_reason
            words = f" ({facts.last_words})" if facts.last_words else ""
            self._failure = f"revision {facts.revision} does not become ready: {reason}{words}"
            old = {slot.instance.revision for slot in self.slots.values()} - {self.desired.revision}
            if old:
                self._failure += f"; revision {max(old)} goes on serving"
            if self._failed_generation != self.desired.generation:
                self._failed_generation = self.desired.generation
                text = f"revision {facts.revision} stopped at {self._progress or 'the start'}: {reason}"
                self.chronicle.change(
                    ChangeKind.ROLLOUT, self.key, text, evidence=self._failure, revision=facts.revision
                )

    def _start(self, count: int) -> None:
        desired, first = self.desired, self.desired.next_replica
        self._write(msgspec.structs.replace(desired, next_replica=first + count))
        for number in range(first, first + count):
            instance = Instance(
                replica=f"{desired.name}-{number}",
                revision=desired.revision,
                epoch=desired.epoch,
                created_at=time.time(),
            )
            self._add(instance, self.revisions[desired.revision].spec).begin()

    def _write(self, desired: Desired) -> None:
        self.folder.write_desired(desired)
        self.desired = desired

    def _add(self, instance: Instance, spec: ServiceSpec) -> Slot:
        slot = Slot(self, instance, spec)
        self.slots[slot.name] = slot
        self._age[slot.name] = next(self._ages)
        self.moved(slot)
        return slot

    def _tell(self) -> None:
        facts = self.facts
        if facts != self._told:
            self._told = facts
            self.house.emit(ServiceEvent(at=time.time(), key=self.key, service=facts))

    # -- the listening socket ------------------------------------------------------------

    async def _listening(self) -> socket.socket:
        """The socket; got back or made when there is none. Raises OSError."""
        await self._get_listener_back()
        if self._listener is None:
            self._listener = listen(self.desired.port)
        return self._listener

    async def _get_listener_back(self) -> None:
        async with self._listener_lock:
            if self._listener is None:
                living = [
                    (slot.instance.control_socket, slot.watched)
                    for slot in self.slots.values()
                    if slot.watched is not None
                ]
                self._listener = await get_back(self.desired.port, living) if living else None

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def _find(instance: Instance) -> tuple[Watched | None, str]:
    """The process of ``instance`` if it still runs; else in words why it cannot."""
    pid, ticks = instance.pid, instance.start_ticks
    if pid is None and instance.control_socket and instance.boot_id == boot_id():
        # Its supervisor was killed between starting it and writing down its pid.
        pid = process.find_by_argument(instance.control_socket)
        ticks = (start_ticks(pid) or 0) if pid is not None else 0
    if pid is None:
        return None, ""
    adopted = process.adopt(pid, ticks, instance.boot_id)
    if adopted is None and instance.boot_id != boot_id():
        return None, "ended when this host went down; exit code unknown"
    return adopted, "ended while nobody watched; exit code unknown"


def _with_pid(instance: Instance, adopted: Watched | None) -> Instance:
    if adopted is None:
        return instance
    return msgspec.structs.replace(instance, pid=adopted.pid, start_ticks=adopted.start_ticks)


def _control_path(folder: Path, instance: Instance) -> Path:
    """A short path that no other run has."""
    name = f"{folder}/{instance.replica}.{instance.run}"
    return private_dir(runtime_home() / "s") / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.ctl"
