"""The way to an embedded region: its supervisor's socket, and the supervisor itself where none runs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from nimify_tui import __version__
from nimify_tui.base.errors import (
    Category,
    ClusterError,
    DeadlineError,
    InternalError,
    ModelError,
    NetworkError,
    NimifyError,
    RateLimited,
    SecurityError,
    ValidationError,
)
from nimify_tui.base.files import private_dir, supervisor_socket
from nimify_tui.base.process import importable, python_command, user_name
from nimify_tui.domain.embedded import (
    Apply,
    Delete,
    Event,
    FromSupervisor,
    Hello,
    Kept,
    Leave,
    ReadLog,
    Reply,
    Request,
    Restart,
    Rollback,
    SetStopped,
    Shutdown,
    Watch,
)
from nimify_tui.domain.plans import Permit, Plan
from nimify_tui.domain.services import ServiceSpec

#: Seconds to wait for the connection and the first answer.
HELLO_S = 2.0
#: A large model is copied and hashed before the answer comes.
CHANGE_S = 120.0
_CHUNK_BYTES = 256 * 1024
#: A supervisor never sends a longer line; a peer that does is none.
_MAX_LINE_BYTES = 64 * 1024 * 1024
_EXIT_KEPT = 75

_ENCODE = msgspec.json.Encoder().encode
_DECODER = msgspec.json.Decoder(FromSupervisor)

Verify = Callable[[Permit, Plan], None]


class Attachment:
    """One connection to a supervisor after Hello. ``keeper`` says in words who supervises."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = b""
        self._numbers = 0
        self._early: list[FromSupervisor] = []
        self.keeper = ""
        self.keeper_pid = 0

    async def ask(self, request: Callable[[int], Request], timeout_s: float) -> Reply:
        """Send a request (made with the id it is given) and wait for its reply; events are kept for later.

        Raises NetworkError when the connection breaks, DeadlineError when no reply comes.
        """
        self._numbers += 1
        number = self._numbers
        try:
            async with asyncio.timeout(timeout_s):
                self._writer.write(_ENCODE(request(number)) + b"\n")
                await self._writer.drain()
                while True:
                    messages = await self._receive()
                    for place, message in enumerate(messages):
                        if isinstance(message, Reply) and message.id == number:
                            self._early += messages[place + 1 :]
                            return message
                        self._early.append(message)
        except TimeoutError as error:
            raise DeadlineError(f"the supervisor did not answer within {timeout_s:g} s") from error
        except ConnectionError as error:
            raise NetworkError("the supervisor broke off the connection") from error

    async def events(self, timeout_s: float) -> Sequence[Event]:
        """The next events, at least one. Raises DeadlineError after ``timeout_s``, NetworkError at the end."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    messages = self._early or await self._receive()
                    self._early = []
                    if found := [message for message in messages if not isinstance(message, Reply)]:
                        return found
        except TimeoutError as error:
            raise DeadlineError(f"the supervisor said nothing for {timeout_s:g} s") from error
        except ConnectionError as error:
            raise NetworkError("the supervisor broke off the connection") from error

    def close(self) -> None:
        """Give the connection up."""
        self._writer.transport.abort()

    async def _receive(self) -> list[FromSupervisor]:
        """The messages of the next whole lines, at least one."""
        while True:
            data = await self._reader.read(_CHUNK_BYTES)
            if not data:
                raise NetworkError("the supervisor ended")
            head, found, tail = data.rpartition(b"\n")
            if not found:
                self._rest += data
                if len(self._rest) > _MAX_LINE_BYTES:
                    raise NetworkError("what answers at the supervisor's socket does not speak its language")
                continue
            lines, self._rest = self._rest + head, tail
            if messages := _decode(lines):
                return messages


class LocalBackend:
    """One embedded region.

    ``verify`` is the gate's check of a permit; every change asks it first. ``starter`` makes sure that
    a supervisor runs and returns its socket; without one a region whose supervisor is gone is not there.
    """

    def __init__(
        self, socket_path: Path, verify: Verify, *, starter: Callable[[], Awaitable[Path]] | None = None
    ) -> None:
        self.socket_path = socket_path
        self._verify = verify
        self._starter = starter

    async def attach(self, timeout_s: float = HELLO_S) -> Attachment:
        """Connect and say hello; starts the supervisor when there is none and we may.

        Raises NetworkError when nobody is there, DeadlineError when somebody does not answer, ClusterError
        when a supervisor cannot be started or speaks another protocol.
        """
        try:
            reader, writer = await self._connect(timeout_s)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if self._starter is None:
                raise NetworkError("no supervisor runs", "its console may have ended") from error
            self.socket_path = await self._starter()
            try:
                reader, writer = await self._connect(timeout_s)
            except OSError as again:
                raise NetworkError(f"the supervisor's socket: {again.strerror or again}") from again
        except OSError as error:
            raise NetworkError(f"the supervisor's socket: {error.strerror or error}") from error
        attachment = Attachment(reader, writer)
        try:
            who = f"nimify-tui {__version__} {user_name()}@{os.uname().nodename} pid {os.getpid()}"
            reply = _good(await attachment.ask(lambda number: Hello(id=number, client=who), timeout_s))
        except BaseException:
            attachment.close()
            raise
        attachment.keeper, attachment.keeper_pid = reply.keeper, reply.keeper_pid
        return attachment

    async def watch(self, timeout_s: float = HELLO_S) -> Attachment:
        """An attachment whose events begin with the list of everything. Raises like :meth:`attach`."""
        attachment = await self.attach(timeout_s)
        try:
            _good(await attachment.ask(lambda number: Watch(id=number), timeout_s))
        except BaseException:
            attachment.close()
            raise
        return attachment

    async def read_log_paths(self, name: str, replica: str, run: int | None = None) -> tuple[str, ...]:
        """The files of a replica's run, oldest part first; run None: the newest, -1: the one before it."""
        reply = await self._ask(lambda number: ReadLog(id=number, name=name, replica=replica, run=run), HELLO_S)
        return reply.paths

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
        """Create (``uid`` "") or change a service. Raises GateRefused, and what the supervisor refuses as its error."""
        leave = self._leave(permit, plan)
        return await self._ask(
            lambda number: Apply(
                id=number, leave=leave, name=name, uid=uid, generation=generation, spec=spec, replicas=replicas,
                port=port,
            ),
            CHANGE_S,
        )  # fmt: skip

    async def restart(self, name: str, uid: str, generation: int, *, permit: Permit, plan: Plan) -> Reply:
        """Replace each replica. Raises like :meth:`apply`."""
        leave = self._leave(permit, plan)
        return await self._ask(
            lambda number: Restart(id=number, leave=leave, name=name, uid=uid, generation=generation), CHANGE_S
        )

    async def rollback(
        self, name: str, uid: str, generation: int, revision: int, *, permit: Permit, plan: Plan
    ) -> Reply:
        """A new revision with the content of ``revision``. Raises like :meth:`apply`."""
        leave = self._leave(permit, plan)
        return await self._ask(
            lambda number: Rollback(
                id=number, leave=leave, name=name, uid=uid, generation=generation, revision=revision
            ),
            CHANGE_S,
        )

    async def set_stopped(
        self, name: str, uid: str, generation: int, stopped: bool, *, permit: Permit, plan: Plan
    ) -> Reply:
        """Stop or start. Raises like :meth:`apply`."""
        leave = self._leave(permit, plan)
        return await self._ask(
            lambda number: SetStopped(
                id=number, leave=leave, name=name, uid=uid, generation=generation, stopped=stopped
            ),
            CHANGE_S,
        )

    async def delete(self, name: str, uid: str, generation: int, *, permit: Permit, plan: Plan) -> Reply:
        """Stop and forget. Raises like :meth:`apply`."""
        leave = self._leave(permit, plan)
        return await self._ask(
            lambda number: Delete(id=number, leave=leave, name=name, uid=uid, generation=generation), CHANGE_S
        )

    async def shutdown(self, *, replicas: bool, grace_s: float = 2.0, permit: Permit, plan: Plan) -> Reply:
        """End the supervisor, and its replicas too if asked. Raises like :meth:`apply`."""
        leave = self._leave(permit, plan)
        return await self._ask(
            lambda number: Shutdown(id=number, leave=leave, replicas=replicas, grace_s=grace_s), CHANGE_S
        )

    def _leave(self, permit: Permit, plan: Plan) -> Leave:
        self._verify(permit, plan)
        return Leave(permit_id=permit.id, plan_id=plan.id, actor=permit.actor, reason=plan.request.reason)

    async def _ask(self, request: Callable[[int], Request], timeout_s: float) -> Reply:
        attachment = await self.attach()
        try:
            return _good(await attachment.ask(request, timeout_s))
        finally:
            attachment.close()

    async def _connect(self, timeout_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.open_unix_connection(str(self.socket_path), limit=_CHUNK_BYTES)
        except TimeoutError as error:
            raise DeadlineError(f"no connection to the supervisor within {timeout_s:g} s") from error


_KINDS: dict[str, type[NimifyError]] = {
    str(kind.category): kind
    for kind in (
        ValidationError, ModelError, SecurityError, NetworkError, DeadlineError, RateLimited, InternalError,
        ClusterError,
    )
}  # fmt: skip


def _good(reply: Reply) -> Reply:
    """The reply, or what it refuses as a typed error."""
    if reply.ok:
        return reply
    kind = _KINDS.get(reply.category or str(Category.CLUSTER), ClusterError)
    raise kind(reply.error or "the supervisor refused", reply.remedy)


def _decode(lines: bytes) -> list[FromSupervisor]:
    try:
        return _DECODER.decode_lines(lines)
    except msgspec.DecodeError:
        found = []
        for line in lines.splitlines():  # a newer supervisor may say what we do not know yet; that alone is lost
            with contextlib.suppress(msgspec.DecodeError):
                found.append(_DECODER.decode(line))
        return found


async def ensure_supervisor(
    region: str,
    state_dir: Path,
    *,
    demo: bool = False,
    guardian_pid: int = 0,
    idle_exit_s: float = 300.0,
    arguments: Sequence[str] = (),
    deadline_s: float = 15.0,
) -> Path:
    """The socket of the supervisor that keeps ``state_dir``; starts one, apart from us, when there is none.

    ``arguments`` are further flags of ``python -m nimify_tui.supervisor``. Raises ClusterError with the
    supervisor's own words when it cannot be started, DeadlineError when it does not come up in time.
    """
    state_dir = _made(state_dir)
    command = [*python_command("nimify_tui.supervisor"), "--detach"]
    command += ["--state-dir", str(state_dir), "--region", region, "--idle-exit-s", f"{idle_exit_s:g}"]
    command += ["--demo"] if demo else []
    command += ["--guardian-pid", str(guardian_pid)] if guardian_pid else []
    if _listens(kept := _kept_at(state_dir)):
        return kept
    process = await asyncio.create_subprocess_exec(
        *command, *arguments,
        cwd=state_dir, env=importable(os.environ), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(deadline_s):
            _, said = await process.communicate()
            if process.returncode == _EXIT_KEPT:  # another console started one in the same moment
                await _until_it_listens(state_dir)
    except TimeoutError as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise DeadlineError(f"the supervisor of {region} did not come up within {deadline_s:g} s") from error
    except asyncio.CancelledError:  # nobody waits for it any more; what reads its words ends before the loop does
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode not in (0, _EXIT_KEPT):
        words = said.decode("utf-8", "replace").strip().splitlines()
        why = words[-1] if words else "no reason given"
        raise ClusterError(f"the supervisor of {region} cannot be started: {why}")
    return _kept_at(state_dir)


async def _until_it_listens(state_dir: Path) -> None:
    for _ in itertools.count():
        if _listens(_kept_at(state_dir)):
            return
        await asyncio.sleep(0.05)


def _made(state_dir: Path) -> Path:
    return private_dir(state_dir).absolute()


def kept_model(state_dir: Path, sha256: str) -> Path | None:
    """The region folder's own copy of a model; None when it keeps none."""
    if not sha256:
        return None
    folder = state_dir / "models"
    return next((each for each in (folder / sha256, folder / f"{sha256}.onnx") if each.exists()), None)


def _kept_at(state_dir: Path) -> Path:
    """Where the supervisor of a folder listens: as its lock file says, else where ours would."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        kept = msgspec.json.decode((state_dir / "lock").read_bytes(), type=Kept)
        if kept.socket and Path(kept.socket).exists():
            return Path(kept.socket)
    return supervisor_socket(state_dir)


def _listens(path: Path) -> bool:
    """Whether somebody listens on a unix socket; also true for one who is stopped."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its queue is full: it is there, and does not answer
            return True
        except OSError:
            return False
    return True
