"""Real runtime processes for tests, and raw sockets to talk to them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import PYTHON, REPO, wait_for

HOST = "127.0.0.1"


@dataclass
class Server:
    """One `python -m nimify_tui.serving` that is ready."""

    process: subprocess.Popen[bytes]
    log_path: Path
    name: str
    port: int = 0
    admin_port: int = 0
    ready: dict[str, Any] = field(default_factory=dict)

    def log(self) -> list[dict[str, Any]]:
        """All lines so far; every line must be a JSON object."""
        return [json.loads(line) for line in self.log_path.read_text(encoding="utf-8").splitlines()]

    def events(self, event: str) -> list[dict[str, Any]]:
        """Lines of one event."""
        return [line for line in self.log() if line["event"] == event]

    def connect(self, *, admin: bool = False, timeout_s: float = 10.0) -> socket.socket:
        """A raw connection."""
        return socket.create_connection((HOST, self.admin_port if admin else self.port), timeout_s)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        admin: bool = False,
    ) -> Answer:
        """One request on a connection of its own, written by hand."""
        head = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            head.append(f"Content-Length: {len(body)}")
        data = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (body or b"")
        with self.connect(admin=admin) as connection:
            connection.sendall(data)
            return read_answer(connection)

    def infer(self, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """POST a document (or bytes) to the model."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.ask("POST", f"/v2/models/{self.name}/infer", body, headers)

    def metrics(self) -> dict[str, float]:
        """The page on the admin listener: `name{labels}` to value."""
        page = self.ask("GET", "/metrics", admin=True).body.decode()
        lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def metric(self, start: str) -> float:
        """The sum of all series that start so."""
        return sum(value for name, value in self.metrics().items() if name.startswith(start))

    def end(self, number: int = signal.SIGTERM, deadline_s: float = 20.0) -> int:
        """Signal it and wait for its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(deadline_s)


@dataclass(frozen=True)
class Answer:
    """A parsed response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The words of a refusal, which every refusal has."""
        assert self.headers["content-type"] == "application/json", self
        text = self.json["error"]
        assert isinstance(text, str)
        assert text
        return text


def read_answer(connection: socket.socket) -> Answer:
    """Read one response. AssertionError when the connection ends before it is whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split()[1])
    if status == 100:
        return read_answer(_Again(connection, body))  # type: ignore[arg-type]  # only recv is used
    size = int(headers.get("content-length", "0"))
    while len(body) < size:
        piece = connection.recv(65536)
        assert piece, f"closed after {len(body)} of {size} bytes"
        body += piece
    assert len(body) == size, f"more than one answer: {body[size:]!r}"
    return Answer(status, headers, body)


class _Again:
    """A connection with bytes that were already read."""

    def __init__(self, connection: socket.socket, data: bytes) -> None:
        self._connection, self._data = connection, data

    def recv(self, size: int) -> bytes:
        data, self._data = self._data, b""
        return data or self._connection.recv(size)


def launch(
    model: Path,
    *arguments: str,
    name: str = "m",
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    code: str = "",
) -> Server:
    """Start a runtime; its log lies beside the model. ``code`` runs first in its process (for sabotage)."""
    handle, path = tempfile.mkstemp(suffix=".log", dir=model.parent)
    program = ["-c", f"{code}\nfrom nimify_tui.serving.main import run_as_program\nrun_as_program()"]
    command = [PYTHON, *(program if code else ["-m", "nimify_tui.serving"]), str(model), "--name", name, *arguments]
    process = subprocess.Popen(
        command, stdout=handle, stderr=handle, stdin=subprocess.DEVNULL, cwd=REPO, pass_fds=pass_fds,
        env={**os.environ, "PYTHONPATH": str(REPO), **(env or {})},
    )  # fmt: skip
    os.close(handle)
    return Server(process, Path(path), name)


def wait_ready(server: Server, deadline_s: float = 20.0) -> Server:
    """Wait for its line 'ready' and take the ports from it."""

    def look() -> dict[str, Any] | None:
        if server.process.poll() is not None:
            raise AssertionError(f"ended with {server.process.returncode}: {server.log_path.read_text()[-2000:]}")
        found = server.events("ready")
        return found[0] if found else None

    server.ready = wait_for(look, deadline_s, why="ready", detail=server.log_path.read_text)
    server.port, server.admin_port = server.ready["port"], server.ready["admin_port"] or server.ready["port"]
    return server


@contextlib.contextmanager
def running(
    model: bytes | Path, *arguments: str, name: str = "m", admin: bool = True, code: str = ""
) -> Iterator[Server]:
    """A ready runtime on free ports, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="nt-serve-", dir="/tmp") as folder:
        path = model if isinstance(model, Path) else Path(folder) / "model.onnx"
        if isinstance(model, bytes):
            path.write_bytes(model)
        ports = ["--port", "0", *(["--admin-port", "0"] if admin else [])]
        server = launch(path, *ports, *arguments, name=name, code=code)
        try:
            yield wait_ready(server)
        finally:
            server.process.kill()
            server.process.wait(10)


def listener(port: int = 0, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket as a supervisor makes it."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if reuse_port:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((HOST, port))
    made.listen(1024)
    return made


def tensor(name: str, shape: Sequence[int], datatype: str, data: Any, **more: Any) -> dict[str, Any]:
    """One input in JSON."""
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": data, **more}


def binary_body(document: dict[str, Any], *tensors: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the binary tensor extension."""
    head = json.dumps(document).encode()
    return head + b"".join(tensors), {"Inference-Header-Content-Length": str(len(head))}


def until(check: Callable[[], Any], deadline_s: float = 10.0, why: str = "") -> Any:
    """`wait_for` with a clearer name where a property of a running server is waited for."""
    return wait_for(check, deadline_s, why=why)


def now_s() -> float:
    """Monotonic seconds."""
    return time.monotonic()
