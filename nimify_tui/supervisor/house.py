"""The region a supervisor keeps: its services, its library, its chronicle, and who is told."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from nimify_tui.base.errors import Category, InternalError, NimifyError
from nimify_tui.base.files import artifact_folder
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.embedded import (
    HEARTBEAT_S,
    PROTOCOL,
    Apply,
    Delete,
    Event,
    Heartbeat,
    Hello,
    Kept,
    Listed,
    ReadLog,
    Reply,
    Request,
    Restart,
    Rollback,
    SecurityFound,
    ServiceEvent,
    SetStopped,
    Shutdown,
)
from nimify_tui.domain.services import Revision
from nimify_tui.supervisor.changes import Chronicle
from nimify_tui.supervisor.disk import Desired, ServiceFolder, service_names
from nimify_tui.supervisor.library import Library
from nimify_tui.supervisor.operations import Operations
from nimify_tui.supervisor.options import Options
from nimify_tui.supervisor.server import Server
from nimify_tui.supervisor.service import ServiceKeeper

log = logging.getLogger(__name__)


class House:
    """One region folder. :meth:`open` it, let it run, :meth:`leave` it (or :meth:`end` it with its replicas)."""

    def __init__(self, options: Options, kept: Kept) -> None:
        self.options = options
        self.services: dict[str, ServiceKeeper] = {}
        self.library = Library(options.state_dir, options.max_model_bytes)
        self.server = Server(self.answer, self._first)
        self.chronicle = Chronicle(options.state_dir / "changes.jsonl", options.region, self.server.emit)
        #: Set when somebody asked for the end; its value is whether replicas end too, and their time.
        self.shutdown: asyncio.Future[tuple[bool, float]] = asyncio.get_running_loop().create_future()
        self._kept = kept
        self._operations = Operations(self)
        self._busy_at_mono_s = time.monotonic()

    # -- life ----------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the folder and take over what runs. A service that cannot be read is told and left alone."""
        self.chronicle.load()
        for name in service_names(self.options.state_dir):
            folder = ServiceFolder(self.options.state_dir, name)
            try:
                folder.create()
                desired, revisions = folder.read_desired(), folder.read_revisions()
                if desired.revision not in {revision.number for revision in revisions}:
                    raise InternalError(f"{folder.path} has no revision {desired.revision}")
            except NimifyError as error:
                log.error("service %s is left alone: %s", name, error)
                self.chronicle.change(ChangeKind.CONFIG, None, f"service {name} is left alone: {error.message}")
                continue
            self.services[name] = ServiceKeeper(self, folder, desired, revisions)
        await asyncio.gather(*(keeper.open() for keeper in self.services.values()))
        await asyncio.to_thread(self.library.sweep, self._models())

    async def run(self) -> tuple[bool, float]:
        """Beat, look at logs, until the end is asked for or nobody needs us; see :attr:`shutdown`."""
        while not self.shutdown.done():
            await asyncio.wait([self.shutdown], timeout=HEARTBEAT_S)
            self.server.emit(Heartbeat(at=time.time()))
            for keeper in list(self.services.values()):
                try:
                    keeper.look_at_logs()
                except OSError as error:
                    log.warning("logs of %s: %s", keeper.key.name, error)
            self.chronicle.retell()
            if self._idle_s() > self.options.idle_exit_s > 0:
                return False, 0.0
        return self.shutdown.result()

    async def leave(self) -> None:
        """End and leave the replicas as they are."""
        self.server.close()
        await asyncio.gather(*(keeper.forsake() for keeper in self.services.values()))

    def kill(self) -> None:
        """SIGKILL to every replica, at once."""
        for keeper in self.services.values():
            keeper.kill()

    async def end(self, grace_s: float) -> None:
        """End every replica: SIGTERM, and SIGKILL after ``grace_s`` seconds; 0 kills at once."""
        slots = [slot for keeper in self.services.values() for slot in keeper.slots.values()]
        for keeper in self.services.values():
            keeper.close()
        for slot in slots:
            slot.leave()
        ends = [asyncio.create_task(slot.left()) for slot in slots]
        if ends and grace_s > 0:
            await asyncio.wait(ends, timeout=grace_s)
        self.kill()
        if ends:
            await asyncio.wait(ends, timeout=2.0)
        await self.leave()

    # -- for the services ----------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Tell the watchers."""
        self.server.emit(event)

    def model_path(self, sha256: str) -> Path:
        """Where the region keeps a model."""
        return self.library.path(sha256)

    def model_names(self, sha256: str) -> tuple[str, ...]:
        """The models of a folder that the region keeps; none for a single model."""
        return self.library.names(sha256)

    def take_in(self, folder: ServiceFolder, desired: Desired, revision: Revision, listener: socket.socket) -> None:
        """A new service. Raises OSError when it cannot be written."""
        try:
            folder.create()
            folder.write_revision(revision)
            keeper = ServiceKeeper(self, folder, desired, [revision])
            keeper.want(desired, listener)
        except OSError:
            listener.close()
            folder.remove()
            raise
        self.services[desired.name] = keeper

    def closed(self, keeper: ServiceKeeper) -> None:
        """A deleted service has no replica any more: forget it."""
        self.services.pop(keeper.key.name, None)
        for revision in keeper.revisions.values():
            self.library.touch(revision.spec.model_sha256)
        keeper.folder.remove()
        shutil.rmtree(artifact_folder(self.options.state_dir, keeper.key.name), ignore_errors=True)
        self.emit(ServiceEvent(at=time.time(), key=keeper.key, service=None))

    # -- requests ------------------------------------------------------------------------

    async def answer(self, request: Request) -> Reply:
        """Carry out one request. Raises NimifyError or OSError for what cannot be done."""
        self._busy_at_mono_s = time.monotonic()
        match request:
            case Hello():
                return self._hello(request)
            case ReadLog():
                return self._operations.read_log(request)
            case Shutdown():
                if not self.shutdown.done():
                    # After the answer has gone out.
                    asyncio.get_running_loop().call_later(0.05, self._shut, request)
                return Reply(id=request.id, ok=True)
            case _:
                return await self._change(request)

    async def _change(self, request: Request) -> Reply:
        operations = self._operations
        match request:
            case Apply():
                return await operations.apply(request)
            case Restart():
                return await operations.restart(request)
            case Rollback():
                return await operations.rollback(request)
            case SetStopped():
                return await operations.set_stopped(request)
            case Delete():
                return await operations.delete(request)
            case _:
                return Reply(id=request.id, ok=True)

    def _hello(self, request: Hello) -> Reply:
        if request.protocol > PROTOCOL:
            text = f"the supervisor speaks protocol {PROTOCOL}, the console {request.protocol}"
            return Reply(
                id=request.id, ok=False, error=text, category=str(Category.VALIDATION),
                remedy="restart the supervisor with this version", keeper=self._kept.text, keeper_pid=self._kept.pid,
            )  # fmt: skip
        return Reply(id=request.id, ok=True, keeper=self._kept.text, keeper_pid=self._kept.pid)

    def _shut(self, request: Shutdown) -> None:
        if not self.shutdown.done():
            self.shutdown.set_result((request.replicas, request.grace_s))

    def _first(self) -> Sequence[Event]:
        """What a new watcher gets."""
        at = time.time()
        keepers = list(self.services.values())
        listed = Listed(
            at=at,
            services=tuple(keeper.facts for keeper in keepers),
            replicas=tuple(replica for keeper in keepers for replica in keeper.replicas),
            changes=self.chronicle.newest,
            demo=self.options.demo,
        )
        return [listed, *(SecurityFound(at=event.at, event=event) for event in self.chronicle.security)]

    def _models(self) -> set[str]:
        return {
            revision.spec.model_sha256
            for keeper in self.services.values()
            for revision in keeper.revisions.values()
        }

    def _idle_s(self) -> float:
        if self.services or self.server.clients:
            self._busy_at_mono_s = time.monotonic()
        return time.monotonic() - self._busy_at_mono_s
