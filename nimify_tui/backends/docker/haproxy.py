"""The HAProxy in front of a service's replicas, changed while it runs, through its runtime API (HAProxy 2.6 or newer).

Its control socket lies in the container's memory, where nobody but its own user gets at it; we reach it by running a
small client inside, so it works the same for an engine on another host. What is changed is also written into the
configuration in the container's volume: an HAProxy that is started again has the same servers.
https://docs.haproxy.org/2.6/management.html#9.3
"""

from __future__ import annotations

import csv
import io
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import said_by
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.running import run_inside
from nimify_tui.base.errors import ClusterError, ValidationError

PORT = 8080
FOLDER, FILE = "/etc/nimify-front", "haproxy.cfg"
#: In the container's own memory, which every engine gives it anew at each start, for all users to write to (a tmpfs
#: on a folder of ours would have the folder's mode from the second start on, and HAProxy is not root).
_SOCKET = "/dev/shm/nimify-front.sock"  # noqa: S108  # of the container, not of this machine
_BACKEND = "replicas"
_MARK = "\x1e"
#: A configuration of ours has some 100 bytes for each server.
_CONFIGURATION_BYTES = 1024 * 1024
#: Each argument after the socket is one command; each answer ends with a mark. Official images have perl, some socat.
_CLIENT = r"""s=$1; shift
if command -v socat >/dev/null; then
  for c in "$@"; do printf '%s\n' "$c" | socat -t 5 - "UNIX-CONNECT:$s" || exit 1; printf '\036'; done
elif command -v perl >/dev/null; then
  exec perl -MIO::Socket::UNIX -e '$p = shift; for (@ARGV) {
    $s = IO::Socket::UNIX->new(Peer => $p) or die "control socket: $!\n";
    $s->print("$_\n"); $s->flush; print while <$s>; print "\x1e"; }' "$s" "$@"
else
  echo "neither socat nor perl is in this image" >&2; exit 127
fi"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_ADDRESS = re.compile(r"[0-9a-fA-F:.]{2,45}\Z")
#: Of what HAProxy answers to a command that it carried out.
_FINE = ("", "new server registered.", "server deleted.", "no change")


@dataclass(frozen=True)
class Server:
    """A replica as HAProxy is told of it."""

    name: str
    address: str
    port: int
    health_port: int

    def __post_init__(self) -> None:
        """Raises ValidationError: a name or an address must not become a second command."""
        if not _NAME.match(self.name) or not _ADDRESS.match(self.address):
            raise ValidationError(
                "that is no server for HAProxy", "use a container's name and its IP address"
            )

    @property
    def place(self) -> str:
        """Address and port as HAProxy writes them."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    @property
    def words(self) -> str:
        """As in the configuration and after "add server"."""
        often = "inter 500ms fastinter 250ms fall 2 rise 1"
        return f"{self.place} check port {self.health_port} {often} pool-purge-delay 1s"


@dataclass(frozen=True, kw_only=True)
class FrontSettings:
    """What the front does for its service; seconds, bytes.

    ``timeout_s`` is how long an answer may take. A request up to ``retry_bytes`` that a replica left without an answer
    is sent to another one (inference changes nothing, so that is safe); ``retries`` 0: never.
    """

    health_path: str = "/v2/health/ready"
    timeout_s: float = 60.0
    connections: int = 4096
    retry_bytes: int = 64 * 1024
    retries: int = 3


class ServerStat(msgspec.Struct, frozen=True):
    """A server's line of "show stat". ``status`` is HAProxy's word: UP, DOWN, DRAIN, MAINT, UP 1/2 ...

    ``sessions`` are requests it has now, ``queued`` those that wait for it; ``address`` is "IP:PORT", "" where an
    older HAProxy does not tell.
    """

    name: str
    status: str
    sessions: int
    queued: int
    total: int
    errors: int
    check: str
    address: str = ""

    @property
    def up(self) -> bool:
        """Whether new requests go there."""
        return self.status.startswith("UP") or self.status == "no check"


def configuration(settings: FrontSettings, servers: Sequence[Server]) -> str:
    """The whole configuration with these servers."""
    path = settings.health_path
    if not re.match(r"/[A-Za-z0-9/_.-]{0,200}\Z", path):
        raise ValidationError("the health path is no plain path", "for example /v2/health/ready")
    timeout = round(settings.timeout_s * 1000)
    retries = (
        f"    retries {settings.retries}\n    option redispatch 1\n"
        "    retry-on conn-failure empty-response response-timeout\n"
        if settings.retries
        else "    retries 0\n"
    )
    lines = "".join(f"    server {server.name} {server.words}\n" for server in servers)
    return f"""\
# Written by nimify-tui. Servers come and go through the control socket; this file is kept in step.
global
    log stdout format raw daemon notice
    stats socket {_SOCKET} mode 600 level admin
    maxconn {settings.connections}
    tune.bufsize {max(16_384, settings.retry_bytes + 4096)}
    hard-stop-after {timeout}ms

defaults
    mode http
    log global
    option dontlognull
    timeout connect 2s
    timeout http-request 15s
    timeout queue 10s
    timeout http-keep-alive 30s
    timeout client {timeout}ms
    timeout server {timeout}ms
    timeout check 2s
{retries}
frontend service
    bind :{PORT}
    option forwardfor
    default_backend {_BACKEND}

backend {_BACKEND}
    balance leastconn
    option httpchk GET {path}
    http-check expect status 200
{lines}"""


def archive(settings: FrontSettings, servers: Sequence[Server]) -> bytes:
    """The configuration as the tar archive that goes into FOLDER."""
    made = io.BytesIO()
    data = configuration(settings, servers).encode()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo(FILE)
        info.size, info.mode = len(data), 0o644
        tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def servers_in(packed: bytes) -> frozenset[str]:
    """The names of the servers in a configuration as :func:`archive` packs it (and an engine gives it back).

    Raises ClusterError when it is none.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            file = tar.extractfile(FILE)
            lines = file.read(_CONFIGURATION_BYTES).decode("utf-8", "replace").splitlines() if file else []
    except (tarfile.TarError, KeyError) as error:
        raise ClusterError("the front's configuration cannot be read", "make the service anew") from error
    words = [line.split() for line in lines]
    return frozenset(each[1] for each in words if len(each) > 2 and each[0] == "server")


def client(*commands: str) -> list[str]:
    """The program that gives ``commands`` to the HAProxy of the container it runs in."""
    return ["/bin/sh", "-c", _CLIENT, "front", _SOCKET, *commands]


class Front:
    """The runtime API of the HAProxy in ``container``. Every call takes two uses of the permit."""

    def __init__(self, connection: Connection, container: str, leave: Leave) -> None:
        self._connection = connection
        self.container = container
        self._leave = leave

    async def stats(self) -> list[ServerStat]:
        """All servers as they are. Raises ClusterError when HAProxy cannot be asked."""
        (text,) = await self._ask(f"show stat {_BACKEND} 4 -1")
        return parse_stat(text)

    async def add(self, server: Server) -> None:
        """A new server, checked from now on; requests go there as soon as its check says yes."""
        at = f"{_BACKEND}/{server.name}"
        await self._do(f"add server {at} {server.words}", f"enable health {at}", f"enable server {at}")

    async def drain(self, name: str) -> None:
        """No new requests for this server; what it has, it finishes."""
        await self._do(f"set server {_BACKEND}/{_checked(name)} state drain")

    async def undrain(self, name: str) -> None:
        """Requests again."""
        await self._do(f"set server {_BACKEND}/{_checked(name)} state ready")

    async def remove(self, name: str) -> bool:
        """Forget a server; False when HAProxy still has connections to it: try again."""
        at = f"{_BACKEND}/{_checked(name)}"
        first, second = await self._ask(f"set server {at} state maint", f"del server {at}")
        for answer in (first, second):
            if "still has" in answer:
                return False
            if "no such server" not in answer.lower():
                _fine(answer)
        return True

    async def save(self, settings: FrontSettings, servers: Sequence[Server]) -> None:
        """Keep the servers for an HAProxy that is started again."""
        async with self._connection.changing(
            "PUT", f"/containers/{self.container}/archive", {"path": FOLDER}, what=f"configuration of {self.container}",
            leave=self._leave, data=archive(settings, servers), content_type="application/x-tar",
        ) as pieces:  # fmt: skip
            async for _ in pieces:
                pass

    async def _do(self, *commands: str) -> None:
        for answer in await self._ask(*commands):
            _fine(answer)

    async def _ask(self, *commands: str) -> list[str]:
        ran = await run_inside(self._connection, self.container, client(*commands), self._leave)
        answers = [part.strip("\n") for part in ran.out.decode("utf-8", "replace").split(_MARK)[:-1]]
        if ran.code != 0 or len(answers) != len(commands):
            words = said_by(ran.err.decode("utf-8", "replace"), 160) or f"exit code {ran.code}"
            remedy = (
                "look at its log"
                if ran.code != 127
                else "use an image that has one of them, as haproxy:lts has"
            )
            raise ClusterError(f"the HAProxy in {self.container} cannot be asked: {words}", remedy)
        return answers


def parse_stat(text: str) -> list[ServerStat]:
    """The servers in what "show stat" says (CSV; lines that are cut or foreign are left out)."""
    found = []
    for row in csv.DictReader(io.StringIO(text.lstrip("# "))):
        name, status = row.get("svname"), row.get("status")
        if name and status and name not in ("FRONTEND", "BACKEND"):
            number = {key: _int(row.get(key)) for key in ("scur", "qcur", "stot", "econ", "eresp")}
            found.append(
                ServerStat(
                    said_by(name, 130), said_by(status, 40), number["scur"], number["qcur"], number["stot"],
                    number["econ"] + number["eresp"], said_by(row.get("check_status") or "", 40),
                    said_by(row.get("addr") or "", 80),
                )
            )  # fmt: skip
    return found


def _int(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise ValidationError("that is no server's name", "use a container's name")
    return name


def _fine(answer: str) -> None:
    if answer.strip().lower() not in _FINE:
        raise ClusterError(f"HAProxy says: {said_by(answer, 200)}", "HAProxy 2.6 or newer is needed")
