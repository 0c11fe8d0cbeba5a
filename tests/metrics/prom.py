"""A real Prometheus for tests, a front that refuses, delays or adds words, pages that grow with their clock, a load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

from tests.serving.servers import listener, tensor
from tests.skips import lacking
from tests.support import PYTHON, wait_for

#: A process of its own: fifty requests a second, until it is ended.
_LOAD = """
import http.client, sys, time
port, name, body = int(sys.argv[1]), sys.argv[2], sys.argv[3]
connection, due = http.client.HTTPConnection("127.0.0.1", port), time.monotonic()
while True:
    try:
        connection.request("POST", f"/v2/models/{name}/infer", body)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        connection.close()
    due += 0.02
    time.sleep(max(0.0, due - time.monotonic()))
"""
#: (status, body, seconds until it comes); None: the server's own answer.
Instead = tuple[int, bytes, float] | None


@dataclass
class Prometheus:
    """Debian's, on a port of its own; it may be killed and started again on what it wrote."""

    folder: Path
    port: int
    host: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = None
    flags: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with (self.folder / "prometheus.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={self.folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.folder / 'data'}", f"--web.listen-address={self.host}:{self.port}",
                    *self.flags,
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={"PATH": os.defpath},  # a test that starts it again does not end it with its private home
            )  # fmt: skip
        wait_for(self._ready, 30.0, why="Prometheus", detail=(self.folder / "prometheus.log").read_text)

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)

    def scraped(self, least: int) -> bool:
        """Whether it has read each target at least so often in the last minute."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        connection.request("GET", "/api/v1/query?query=count_over_time(up%5B1m%5D)")
        found = json.loads(connection.getresponse().read())["data"]["result"]
        return not least or (bool(found) and all(float(each["value"][1]) >= least for each in found))

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2.0)
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == 200
        return False


@contextlib.contextmanager
def prometheus(
    folder: Path,
    targets: list[tuple[str, dict[str, str]]],
    host: str = "127.0.0.1",
    least: int = 3,
    flags: tuple[str, ...] = (),
    port: int = 0,
    every_s: int = 1,
) -> Iterator[Prometheus]:
    """A ready one on ``host`` that scrapes ``targets`` (address, labels) each ``every_s``, and has ``least`` times.

    ``port`` 0 is a free one.

    What :func:`backfilled` has put into ``folder`` before, it has too.
    """
    if shutil.which("prometheus") is None:
        lacking("prometheus is not installed", "the Debian package prometheus")
    if find_spec("prometheus_api_client") is None:
        lacking("prometheus-api-client is not installed", "pip install -e '.[test]'")
    config = {
        "global": {"scrape_interval": f"{every_s}s", "scrape_timeout": f"{every_s}s"},
        "scrape_configs": [
            {"job_name": "models", "static_configs": [{"targets": [at], "labels": labels} for at, labels in targets]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    with listener() as taken:
        port = port or taken.getsockname()[1]
    made = Prometheus(folder, port, host, flags=flags)
    made.start()
    try:
        wait_for(lambda: made.scraped(least), 60.0 * every_s, why="its scrapes", every_s=0.1)
        yield made
    finally:
        made.kill()


def backfilled(folder: Path, lines: Iterable[str]) -> None:
    """Put samples of the past (OpenMetrics lines with timestamps) into blocks of the server of ``folder``.

    https://prometheus.io/docs/prometheus/latest/storage/#backfilling-from-openmetrics-format
    """
    if shutil.which("promtool") is None:
        lacking("promtool is not installed", "the Debian package prometheus")
    (folder / "past.om").write_text("\n".join([*lines, "# EOF", ""]))
    # Blocks of two hours would be 360 of them, and the file is read once for each.
    made = subprocess.run(
        [
            "promtool", "tsdb", "create-blocks-from", "--max-block-duration=120h", "openmetrics",
            str(folder / "past.om"), str(folder / "data"),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


@dataclass
class Front:
    """What stands before a server: it notes what it is asked, and answers in its stead where a test says so."""

    instead: Callable[[str, dict[str, str]], Instead] = lambda _path, _headers: None
    change: Callable[[bytes], bytes] = bytes
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def serving(
    handle: Callable[[BaseHTTPRequestHandler], tuple[int, bytes]], host: str = "127.0.0.1"
) -> Iterator[int]:
    """A small HTTP server on a free port of ``host``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = handle(self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            plain = status >= 400 and not body.startswith(b"{")
            self.send_header("Content-Type", "text/plain; charset=utf-8" if plain else "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def front(behind: str, at: str = "127.0.0.1") -> Iterator[Front]:
    """A front before the server at ``behind``; ``at`` is where it listens."""
    made = Front()
    host = behind.removeprefix("http://")
    enough = threading.Event()

    def handle(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        headers = {name.lower(): value for name, value in request.headers.items()}
        made.asked.append((request.path, headers))
        instead = made.instead(request.path, headers)
        if instead is not None:
            status, body, wait_s = instead
            enough.wait(wait_s)
            return status, body
        connection = http.client.HTTPConnection(host, timeout=10.0)
        connection.request("GET", request.path)
        answer = connection.getresponse()
        return answer.status, made.change(answer.read())

    with serving(handle, at) as port:
        made.url = f"http://127.0.0.1:{port}"
        try:
            yield made
        finally:
            enough.set()


@contextlib.contextmanager
def growing(page: str, per_s: float) -> Iterator[int]:
    """A page whose counters and buckets are ``per_s`` times what stands there, for each second since it began."""
    began = time.monotonic()
    grows = re.compile(r"^([^#\s]+(?:_total|_bucket|_sum|_count)(?:\{.*\})?) (\S+)$", re.MULTILINE)

    def handle(_: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        factor = (time.monotonic() - began) * per_s
        return 200, grows.sub(lambda found: f"{found[1]} {float(found[2]) * factor!r}", page).encode()

    with serving(handle) as port:
        yield port


@contextlib.contextmanager
def loaded(port: int, name: str) -> Iterator[None]:
    """Fifty requests a second from another process."""
    body = json.dumps({"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]})
    load = subprocess.Popen([PYTHON, "-c", _LOAD, str(port), name, body], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        load.send_signal(signal.SIGKILL)
        load.wait(10)
