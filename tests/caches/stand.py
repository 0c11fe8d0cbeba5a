"""A real Redis for tests, its exporter, and a cache before an origin; each on ports of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.serving.servers import listener
from tests.skips import lacking
from tests.support import wait_for

PASSWORD = "correct-horse"


def port() -> int:
    """A free one."""
    with listener() as taken:
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def running(words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program until the block is left."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={"PATH": os.defpath + ":/usr/sbin:/sbin"}
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


@dataclass
class Redis:
    """Debian's: in the clear and with TLS, with a user that may only ask how it does."""

    port: int
    tls_port: int
    socket: Path

    def ask(self, *words: str) -> bytes:
        """A command as its administrator: whole answers of one line or one text."""
        body = b""
        with socket.create_connection(("127.0.0.1", self.port), 5.0) as line, line.makefile("rb") as answers:
            for each in (("AUTH", PASSWORD), words):
                line.sendall(b"*%d\r\n" % len(each) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in each))
                head = answers.readline()
                body = answers.read(int(head[1:]) + 2) if head[:1] == b"$" and head != b"$-1\r\n" else head
        return body


@contextlib.contextmanager
def redis(folder: Path, certificate: Path, key: Path) -> Iterator[Redis]:
    """A ready one, with 2 MB for its keys."""
    if shutil.which("redis-server") is None:
        lacking("redis-server is not installed", "the Debian package redis-server")
    made = Redis(port(), port(), folder / "redis.sock")
    config = folder / "redis.conf"
    config.write_text(
        f"port {made.port}\nbind 127.0.0.1\nunixsocket {made.socket}\nsave \"\"\ndir {folder}\n"
        f"tls-port {made.tls_port}\ntls-cert-file {certificate}\ntls-key-file {key}\ntls-auth-clients no\n"
        f"requirepass {PASSWORD}\nmaxmemory 2mb\nmaxmemory-policy allkeys-lru\n"
        f"user watcher on >{PASSWORD} +info +ping\nuser nobody on >{PASSWORD} +ping\n"
    )  # fmt: skip
    log = folder / "redis.log"
    with running(["redis-server", str(config)], log):

        def ready() -> bool:
            with contextlib.suppress(OSError, ValueError):
                return made.ask("PING") == b"+PONG\r\n"
            return False

        wait_for(ready, 30.0, why="Redis", detail=log.read_text)
        yield made


@contextlib.contextmanager
def exporter(folder: Path, of: Redis) -> Iterator[int]:
    """redis_exporter beside it, on the port that is given."""
    if shutil.which("prometheus-redis-exporter") is None:
        lacking("prometheus-redis-exporter is not installed", "the Debian package prometheus-redis-exporter")
    at, log = port(), folder / "exporter.log"
    words = [
        "prometheus-redis-exporter", f"-web.listen-address=127.0.0.1:{at}", f"-redis.addr=redis://127.0.0.1:{of.port}",
        f"-redis.password={PASSWORD}",
    ]  # fmt: skip
    with running(words, log):

        def ready() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", at), 1.0):
                return True
            return False

        wait_for(ready, 30.0, why="redis_exporter", detail=log.read_text)
        yield at


@contextlib.contextmanager
def cache(folder: Path, origin: int) -> Iterator[int]:
    """Debian's HAProxy with a cache of a minute before an origin; it says by X-Cache which it was (its manual)."""
    program = shutil.which("haproxy", path=os.defpath + ":/usr/sbin:/sbin")
    if program is None:
        lacking("haproxy is not installed", "the Debian package haproxy")
    at, config, log = port(), folder / "haproxy.cfg", folder / "haproxy.log"
    config.write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"
        "cache small\n total-max-size 1\n max-age 60\n"
        f"frontend edge\n bind 127.0.0.1:{at}\n http-request cache-use small\n http-response cache-store small\n"
        " http-response set-header X-Cache HIT if !{ srv_id -m found }\n"
        " http-response set-header X-Cache MISS if { srv_id -m found }\n"
        " default_backend origin\nbackend origin\n http-response set-header Cache-Control max-age=60\n"
        f" server one 127.0.0.1:{origin}\n"
    )
    with running([program, "-db", "-f", str(config)], log):

        def ready() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", at), 1.0):
                return True
            return False

        wait_for(ready, 30.0, why="HAProxy", detail=log.read_text)
        yield at
