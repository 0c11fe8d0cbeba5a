"""A supervisor as a process, a client of its socket, models, and load from yet another process."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from nimify_tui.base.files import supervisor_socket
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.embedded import (
    Apply,
    ChangeEvent,
    Delete,
    Event,
    FromSupervisor,
    Hello,
    Leave,
    Listed,
    ReadLog,
    ReplicaEvent,
    Reply,
    Request,
    Restart,
    Rollback,
    SecurityFound,
    ServiceEvent,
    SetStopped,
    Shutdown,
    Watch,
)
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.security import SecurityEvent
from nimify_tui.domain.services import Limits, Replica, ReplicaState, Service, ServiceSpec
from tests.support import PYTHON, REPO, Home, alive, freeze, wait_for

LEAVE = Leave(permit_id="permit", plan_id="plan", actor="ops@test")
_DECODER = msgspec.json.Decoder(FromSupervisor)


def make_model(path: Path, factor: float = 2.0) -> Path:
    """An ONNX model that multiplies four numbers by ``factor``; another factor is another hash."""
    from onnx import TensorProto, helper, save

    numbers = helper.make_tensor("w", TensorProto.FLOAT, [4], [factor] * 4)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numbers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    save(model, str(path))
    return path


class Wire:
    """A watching client. Keeps the newest facts; every wait has a deadline."""

    def __init__(self, path: Path, *, watch: bool = True) -> None:
        self.services: dict[str, Service] = {}
        self.replicas: dict[str, Replica] = {}
        self.changes: list[Change] = []
        self.security: dict[str, SecurityEvent] = {}
        #: Every state that a replica was told to be in, in order, as (replica, state).
        self.states: list[tuple[str, ReplicaState]] = []
        self.beats = 0
        self.listed = 0
        self._data = b""
        self._replies: dict[int, Reply] = {}
        self._number = 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.hello = self.ask(lambda number: Hello(id=number, client="test"))
        if watch:
            self.ask(lambda number: Watch(id=number))
            self.until(lambda: self.listed > 0, why="the list")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, request: Callable[[int], Request], deadline_s: float = 15.0) -> Reply:
        """Send a request and return its reply."""
        self._number += 1
        self.socket.sendall(msgspec.json.encode(request(self._number)) + b"\n")
        number = self._number
        self.until(lambda: number in self._replies, deadline_s, why="a reply")
        return self._replies.pop(number)

    def until(self, probe: Callable[[], Any], deadline_s: float = 15.0, why: str = "") -> Any:
        """Take in events until ``probe`` says yes; returns what it said."""
        end_s = time.monotonic() + deadline_s
        while not (answer := probe()):
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise AssertionError(f"{why or 'condition'}: not within {deadline_s} s; {self.told()}")
            self.take(min(left_s, 0.25))
        return answer

    def take(self, wait_s: float) -> None:
        """Take in what has come, waiting at most ``wait_s`` for the first of it."""
        if not select.select([self.socket], [], [], wait_s)[0]:
            return
        data = self.socket.recv(1024 * 1024)
        if not data:
            raise ConnectionError("the supervisor closed the connection")
        whole, found, rest = (self._data + data).rpartition(b"\n")
        self._data = rest
        for message in _DECODER.decode_lines(whole) if found else []:
            if isinstance(message, Reply):
                self._replies[message.id] = message
            else:
                self._note(message)

    def _note(self, event: Event) -> None:
        match event:
            case Listed():
                self.listed += 1
                self.services = {service.key.name: service for service in event.services}
                self.replicas = {replica.key.replica: replica for replica in event.replicas}
                self.changes = list(event.changes)
            case ServiceEvent():
                self.services.pop(event.key.name, None)
                if event.service is not None:
                    self.services[event.key.name] = event.service
            case ReplicaEvent():
                self.replicas.pop(event.key.replica, None)
                if event.replica is not None:
                    self.replicas[event.key.replica] = event.replica
                    self.states.append((event.key.replica, event.replica.state))
            case ChangeEvent():
                self.changes.append(event.change)
            case SecurityFound():
                self.security[event.event.id] = event.event
            case _:
                self.beats += 1

    def told(self) -> str:
        """What is known, for a failing test."""
        lines = [
            f"{each.key.replica}: {each.state} r{each.revision} run {each.run} {each.reason!r} {each.last_words!r}"
            for each in self.replicas.values()
        ]
        lines += [
            f"{each.key.name}: gen {each.generation}/{each.observed_generation} {each.progress!r} {each.failure!r}"
            for each in self.services.values()
        ]
        return "; ".join(lines)

    # -- requests ------------------------------------------------------------------------

    def apply(self, name: str = "demo", **wanted: Any) -> Reply:
        """Create or change a service as it is now."""
        known = self.services.get(name)
        uid, generation = (known.uid, known.generation) if known else ("", 0)
        return self.ask(
            lambda number: Apply(id=number, leave=LEAVE, name=name, uid=uid, generation=generation, **wanted)
        )

    def change(self, kind: type[Restart | Rollback | SetStopped | Delete], name: str = "demo", **fields: Any) -> Reply:
        """One of the other changes."""
        known = self.services[name]
        return self.ask(
            lambda number: kind(
                id=number, leave=LEAVE, name=name, uid=known.uid, generation=known.generation, **fields
            )
        )

    def log_paths(self, replica: str, run: int | None = None, name: str = "demo") -> tuple[str, ...]:
        """Where a log lies."""
        return self.ask(lambda number: ReadLog(id=number, name=name, replica=replica, run=run)).paths

    def shutdown(self, *, replicas: bool) -> None:
        """End the supervisor."""
        self.ask(lambda number: Shutdown(id=number, leave=LEAVE, replicas=replicas))

    # -- waits ---------------------------------------------------------------------------

    def settled(self, reply: Reply, name: str = "demo", deadline_s: float = 25.0) -> Service:
        """Wait until the change of ``reply`` is true."""
        assert reply.ok, reply.error

        def look() -> Service | None:
            service = self.services.get(name)
            return service if service and service.observed_generation >= reply.generation else None

        return self.until(look, deadline_s, why=f"generation {reply.generation}")  # type: ignore[no-any-return]  # what look() returns

    def replica(self, state: ReplicaState, name: str = "", deadline_s: float = 15.0) -> Replica:
        """Wait for a replica (of that name) in that state."""
        return self.until(  # type: ignore[no-any-return]  # a replica out of the generator
            lambda: next(
                (each for each in self.replicas.values() if each.state is state and name in ("", each.key.replica)),
                None,
            ),
            deadline_s,
            why=f"{name or 'a replica'} {state}",
        )

    def change_of(self, kind: ChangeKind, deadline_s: float = 10.0, words: str = "") -> Change:
        """Wait for a change of that kind with those words in its text."""
        return self.until(  # type: ignore[no-any-return]  # a change out of the generator
            lambda: next((each for each in self.changes if each.kind is kind and words in each.text), None),
            deadline_s,
            why=f"a change {kind} {words!r}",
        )


class Region:
    """A region folder in a private home, and the supervisor process that keeps it."""

    def __init__(self, home: Home, *flags: str, env: dict[str, str] | None = None) -> None:
        self.state_dir = home.state / "nimify-tui" / "embedded" / "test"
        self.models = home.root / "m"
        self.models.mkdir(exist_ok=True)
        self.flags = flags
        self.env = {**os.environ, **home.env, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        #: How it makes itself known.
        self.note = home.runtime / "nimify-tui" / "regions" / "test.json"
        self._output = home.root / "supervisor.out"

    def __enter__(self) -> Region:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._output.exists():
            error.add_note(f"supervisor: {self._output.read_text(encoding='utf-8')[-3000:]}")
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self.process is not None
        return self.process.pid

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return supervisor_socket(self.state_dir)

    def start(self, *more: str) -> None:
        """Start the supervisor and wait until it answers."""
        command = [PYTHON, "-m", "nimify_tui.supervisor", "--state-dir", str(self.state_dir), "--region", "test"]
        self.run([*command, *self.flags, *more])

    def run(self, command: list[str]) -> None:
        """Run a supervisor by that command line and wait until it answers."""
        with open(self._output, "ab") as output:
            self.process = subprocess.Popen(command, env=self.env, cwd=REPO, stdout=output, stderr=output)
        wait_for(
            lambda: self.note.exists() and json.loads(self.note.read_bytes())["pid"] == self.pid,
            10,
            why="the supervisor",
            detail=lambda: self._output.read_text(encoding="utf-8"),
        )

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wire(self, *, watch: bool = True) -> Wire:
        """A new client."""
        return Wire(self.socket, watch=watch)

    def spec(self, factor: float = 2.0, **fields: Any) -> ServiceSpec:
        """A service's content with a model of that factor."""
        path = self.models / f"{factor}.onnx"
        if not path.exists():
            make_model(path, factor)
        limits = fields.pop("limits", Limits(request_timeout_s=5.0))
        return ServiceSpec(model_path=str(path), limits=limits, **fields)

    def broken_spec(self) -> ServiceSpec:
        """A service whose model cannot be loaded: the runtime says why and ends."""
        path = self.models / "broken.onnx"
        path.write_bytes(b"this is no model")
        return ServiceSpec(model_path=str(path))


class Load:
    """Requests from another process: keep-alive connections and fresh ones, until :meth:`stop`."""

    def __init__(self, endpoint: str, model: str = "demo", kept: int = 4, fresh: int = 4) -> None:
        self._process = subprocess.Popen(
            [PYTHON, str(Path(__file__).with_name("load.py")), endpoint, model, str(kept), str(fresh)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._process.stdout.readline()  # the first answers have come

    def stop(self) -> dict[str, Any]:
        """End it; ``{"kept": n, "fresh": n, "failures": [...]}``."""
        said, _ = self._process.communicate("stop\n", timeout=20)
        return json.loads(said)  # type: ignore[no-any-return]  # a dict as it was printed

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def key(name: str = "demo") -> ServiceKey:
    """A service's key in the test's region."""
    return ServiceKey("test", name)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP while the block runs."""
    freeze(pid)
    try:
        yield
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGCONT)
