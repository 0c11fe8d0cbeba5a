"""Real Alertmanagers for tests: Debian's, alone or as a cluster of two, and what is posted to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nimify_tui.base.clock import rfc3339
from tests.serving.servers import listener
from tests.skips import lacking
from tests.support import freeze, wait_for

CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"


@dataclass
class Manager:
    """One, on ports of its own; it may be stopped, killed and started again."""

    folder: Path
    port: int
    cluster: str = ""
    peer: str = ""
    host: str = "127.0.0.1"
    #: A web.yml (exporter-toolkit): logins, TLS.
    web: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.speaks_tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def speaks_tls(self) -> bool:
        """Whether it takes nothing else."""
        return "tls_server_config" in self.web

    @property
    def origin(self) -> str:
        """What the console calls it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "am.yml").write_text(CONFIG)
        (self.folder / "web.yml").write_text(self.web)
        with (self.folder / "am.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus-alertmanager", f"--config.file={self.folder / 'am.yml'}",
                    f"--storage.path={self.folder / 'data'}", f"--web.listen-address={self.host}:{self.port}",
                    f"--cluster.listen-address={self.cluster}", "--cluster.settle-timeout=1s",
                    "--cluster.gossip-interval=50ms", *([f"--cluster.peer={self.peer}"] if self.peer else []),
                    *([f"--web.config.file={self.folder / 'web.yml'}"] if self.web else []),
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={"PATH": os.defpath},  # a test that starts it again does not end it with its private home
            )  # fmt: skip
        wait_for(self._ready, 30.0, why="Alertmanager", detail=(self.folder / "am.log").read_text)

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """It takes connections and says nothing (SIGSTOP)."""
        assert self.process is not None
        freeze(self.process.pid)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """What it answers, as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10.0)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        return json.loads(said) if said else None

    def post(self, *labels: dict[str, str], over: bool = False, **annotations: str) -> None:
        """Let alerts with these labels fire, or end."""
        now = time.time()
        ends = {"endsAt": rfc3339(now - 1.0)} if over else {}
        begun = {"startsAt": rfc3339(now - 3600.0)} if over else {}
        alerts = [{"labels": each, "annotations": annotations, **begun, **ends} for each in labels]
        self.ask("POST", "/api/v2/alerts", alerts)

    def amtool(self, *words: str) -> str:
        """Run amtool against it; what it printed."""
        command = ["amtool", f"--alertmanager.url={self.url}", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2.0)
            connection.request("GET", "/-/ready")
            # 400: it was spoken to without TLS.
            return connection.getresponse().status in ((400,) if self.speaks_tls else (200, 401))
        return False


@dataclass
class Lossy:
    """What stands before an Alertmanager and loses answers to changes: ``forwards`` or swallows them."""

    url: str = ""
    loses: bool = False
    forwards: bool = True
    changes: int = 0
    #: What it answers instead to a question, as a status and a body; None: what is behind it answers.
    instead: Callable[[str], tuple[int, bytes] | None] = lambda _: None
    #: What happens when an answer was lost.
    then: Callable[[], None] = lambda: None


@contextlib.contextmanager
def lossy(behind: Manager) -> Iterator[Lossy]:
    """A front before one."""
    made = Lossy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            change = self.command != "GET"
            made.changes += change
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            said, status = b"", 502
            instead = None if change else made.instead(self.path)
            if instead is not None:
                status, said = instead
            elif made.forwards or not change:
                connection = http.client.HTTPConnection("127.0.0.1", behind.port, timeout=10.0)
                connection.request(self.command, self.path, body or None, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said, status = answer.read(), answer.status
            if change and made.loses:
                made.then()
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = _pass  # noqa: N815 - names of the standard library

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def managers(
    folder: Path, count: int = 2, *, clustered: bool = True, host: str = "127.0.0.1", web: str = ""
) -> Iterator[list[Manager]]:
    """Ready ones; ``clustered``: they tell each other of their silences."""
    for program in ("prometheus-alertmanager", "amtool"):
        if shutil.which(program) is None:
            lacking("prometheus-alertmanager is not installed", "the Debian package prometheus-alertmanager")
    made: list[Manager] = []
    with contextlib.ExitStack() as ends:
        for index in range(count):
            with listener() as asked, listener() as gossip:
                ports = asked.getsockname()[1], gossip.getsockname()[1]
            one = Manager(folder / f"am{index}", ports[0], host=host, web=web)
            if clustered:
                one.cluster = f"127.0.0.1:{ports[1]}"
                one.peer = made[0].cluster if made else ""
            ends.callback(one.kill)
            one.start()
            made.append(one)
        if clustered and count > 1:
            seen = lambda: len(made[0].ask("GET", "/api/v2/status")["cluster"]["peers"]) == count  # noqa: E731 - one look
            wait_for(seen, 30.0, why="the cluster", every_s=0.1)
        yield made
