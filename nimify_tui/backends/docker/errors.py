"""What can go wrong on the way to a Docker engine, as typed errors that carry a remedy."""

from __future__ import annotations

import errno
import grp
import os
import ssl

import msgspec

from nimify_tui.backends.docker.place import EnginePlace, Way
from nimify_tui.base.errors import Category, ClusterError, NetworkError, NimifyError
from nimify_tui.base.redact import redact
from nimify_tui.base.text import clean_line, shorten_middle

_UNKNOWN_REMEDY = "look at what is so now before you try again"


class NoEngine(NetworkError):
    """Nobody listens there."""


class EngineSilent(NetworkError):
    """It takes the connection and does not answer: hung, stopped, or its host is overloaded."""


class BrokenOff(NetworkError):
    """The connection ended before its time."""


class BadAnswer(NetworkError):
    """What answers is no Docker engine, or its answer is cut, too large or garbled."""


class TlsFailed(NetworkError):
    """The engine is not who it should be, or does not accept us; nothing was sent to it."""

    category = Category.SECURITY


class AccessDenied(ClusterError):
    """This user may not talk to the engine: the region's state is AUTH."""

    category = Category.SECURITY


class EngineRefused(ClusterError):
    """The engine understood and said no. ``status`` is the HTTP status."""

    def __init__(self, message: str, remedy: str = "", status: int = 400) -> None:
        super().__init__(message, remedy)
        self.status = status


class NotThere(EngineRefused):
    """404: no such container, image, network."""


class OutcomeUnknown(NetworkError):
    """A change was sent and its answer never came: it may have happened. Never sent again by itself."""


class _Said(msgspec.Struct):
    message: str = ""
    cause: str = ""


_DECODE = msgspec.json.Decoder(_Said).decode
#: Words of the engine (20.10 to 28, and Podman's) and what helps; first match wins, all compared in lower case.
_REMEDIES = (
    (
        "no space left on device",
        "free disk space on the engine's host: `docker system df` shows what takes it",
    ),
    ("port is already allocated", "end what holds the port, or choose another one"),
    ("address already in use", "end what holds the port, or choose another one"),
    (
        "could not select device driver",
        "install the NVIDIA container toolkit on the engine's host, or ask for no GPU",
    ),
    ("no matching manifest", "build or pull the image for this host's architecture"),
    ("no such image", "pull or build the image first"),
    (
        "manifest unknown",
        "check the name and the tag; a private registry says this also without a login",
    ),
    ("pull access denied", "check the name; a private one needs `docker login` on this host"),
    ("unauthorized", "log in: `docker login` with the registry's name"),
    ("toomanyrequests", "wait, or log in at the registry: it allows more then"),
    ("connect: connection refused", "check the registry's name and that the engine's host reaches it"),
    ("no such host", "check the registry's name and that the engine's host reaches it"),
    ("exec format error", "the image is for another architecture: build or pull it for this one"),
    ("is already in use by container", "choose another name, or remove the container that has it"),
    ("bind source path does not exist", "make the folder on the engine's host first"),
    ("executable file not found", "check the command: the image has no such program"),
    ("removal of container", "it is being removed already; look again in a moment"),
    ("is paused", "unpause it first"),
)


def said_by(text: str, limit: int = 300) -> str:
    """The engine's words on one inert line without anything that looks like a secret."""
    return shorten_middle(redact(clean_line(text, 2000)), limit)


#: What nobody would understand, by a part of it.
_PLAIN = {"could not select device driver": "the engine has no driver for GPUs"}


def from_status(status: int, body: bytes, what: str) -> EngineRefused:
    """The error of an HTTP status; ``what`` names the request in words."""
    try:
        said = _DECODE(body)
        text = said.message or said.cause
    except msgspec.DecodeError:
        text = ""
    words = said_by(text) or f"status {status}"
    lower = words.lower()
    words = next((plain for part, plain in _PLAIN.items() if part in lower), words)
    remedy = next((remedy for part, remedy in _REMEDIES if part in lower), "")
    if not remedy and status >= 500:
        remedy = "look at the engine's own log (`journalctl -u docker`)"
    kind = NotThere if status == 404 else EngineRefused
    return kind(f"{what}: {words}", remedy, status)


def silent(place: EnginePlace, seconds: float) -> EngineSilent:
    """No answer within ``seconds``."""
    remedy = (
        "is its process stopped or its host overloaded? `systemctl status docker` there"
        if place.way is not Way.SSH
        else "check the network, the host and its engine"
    )
    return EngineSilent(f"the engine at {place.address} does not answer within {seconds:g} s", remedy)


def known(error: BaseException, place: EnginePlace, seconds: float, ssh_said: str = "") -> NimifyError | None:
    """The typed error for what aiohttp or the system raised; None for what is none of theirs (a cancel, a bug)."""
    import aiohttp

    if isinstance(error, NimifyError):
        return None
    if isinstance(error, TimeoutError):
        return silent(place, seconds)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return _tls_failed(error, place)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NoEngine(f"{place.address}: name not found", "check the region's url")
    if isinstance(error, aiohttp.ClientResponseError):
        return BadAnswer(f"what answers at {place.address} is no Docker engine", "check the region's url")
    if place.way is Way.TLS and not place.cert_file and isinstance(error, aiohttp.ServerDisconnectedError):
        # With TLS 1.3 the refusal of a client without a certificate comes after the handshake, and without words.
        return TlsFailed(
            f"the engine at {place.address} broke off the connection: it wants a client certificate",
            "put cert.pem and key.pem beside ca.pem (DOCKER_CERT_PATH, ~/.docker), or use a context that has them",
        )
    if place.way is Way.SSH and isinstance(error, aiohttp.ClientError | OSError):
        return _over_ssh(place, ssh_said)
    if isinstance(error, OSError):
        return _by_number(error, place)
    if isinstance(error, aiohttp.ClientError):
        return BrokenOff(
            f"the engine at {place.address} broke off the connection", "it is connected to again"
        )
    return None


def unknown_outcome(error: NimifyError, what: str) -> OutcomeUnknown:
    """A change was sent and no answer came."""
    return OutcomeUnknown(f"{what}: whether it was done is not known ({error.message})", _UNKNOWN_REMEDY)


def _by_number(error: OSError, place: EnginePlace) -> NimifyError:
    number = error.errno
    if number in (errno.EACCES, errno.EPERM):
        return AccessDenied(f"permission denied on {place.address}", _group_remedy(place.path))
    if number == errno.ENOENT:
        return NoEngine(
            f"there is no engine at {place.address} (no such socket)",
            "start it (`systemctl start docker`), or correct the region's url",
        )
    if number == errno.ECONNREFUSED:
        return NoEngine(
            f"no engine listens at {place.address} (connection refused)",
            "start it (`systemctl start docker`), or correct the region's url",
        )
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN):
        return NoEngine(f"{place.address}: no route", "check the network and the VPN")
    return BrokenOff(f"the engine at {place.address} broke off the connection", "it is connected to again")


def _group_remedy(path: str) -> str:
    """What gives this user access to a socket: its group, as it is called there."""
    try:
        found = os.stat(path)
        group = grp.getgrgid(found.st_gid).gr_name
    except (OSError, KeyError):
        return "ask for the right to use it, or run as a user that has it"
    if found.st_mode & 0o060 and group != "root":
        join = f"`sudo usermod -aG {group} $USER`, then log in again"
        return f"join the group {group} ({join}); that makes you root there"
    return "only its owner may use it: ask for the right, or reach it by ssh:// as a user that has it"


def _over_ssh(place: EnginePlace, said: str) -> NimifyError:
    words = said_by(said.strip().rpartition("\n")[2], 200)
    lower, login = words.lower(), place.ssh_words
    if "permission denied" in lower and "docker" in lower and "socket" in lower:
        return AccessDenied(f"{place.address}: {words}", "let the remote user join the group docker there")
    if "host identification has changed" in said.lower():
        return AccessDenied(
            f"{place.address}: the host shows another key than the one that is known: somebody may sit in between",
            f"ask who runs it; if its key was changed, `ssh-keygen -R {place.ssh_name}`, then `{login}` by hand",
        )
    if "host key" in lower:
        return AccessDenied(
            f"{place.address}: the host's key is not known on this machine ({words})",
            f"`{login}` once by hand, and compare the key before you say yes",
        )
    if "permission denied" in lower:
        return AccessDenied(
            f"{place.address}: ssh says: {words}", f"try `{login}` by hand: no question may be asked there"
        )
    if words:
        return NoEngine(f"{place.address}: ssh says: {words}", f"try `{login} docker version` by hand")
    return BrokenOff(f"the connection to {place.address} was broken off", "it is connected to again")


def _tls_failed(error: BaseException, place: EnginePlace) -> TlsFailed:
    inner: BaseException = (
        getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    )
    if isinstance(inner, ssl.SSLCertVerificationError):
        why = said_by(inner.verify_message, 160)
        remedy = (
            "its certificate must be renewed"
            if "expired" in why
            else "check ca.pem; somebody may sit in between"
        )
        return TlsFailed(f"{place.address}: its certificate is not accepted: {why}", remedy)
    reason = said_by(str(getattr(inner, "reason", "") or ""), 80).replace("_", " ").lower()
    if "wrong version" in reason or "record layer" in reason:
        return TlsFailed(
            f"{place.address} does not speak TLS", "check the port; plain engines listen on 2375"
        )
    return TlsFailed(
        f"{place.address}: TLS failed: {reason or 'no reason given'}",
        "check cert.pem and key.pem against the engine",
    )
