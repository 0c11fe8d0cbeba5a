"""Where an engine is: what a region's ``url`` or ``context`` means, read as Docker's own command line reads it.

Contexts: https://docs.docker.com/engine/manage-resources/contexts/ (folders ``contexts/meta`` and ``contexts/tls``
under the configuration folder, named by the SHA-256 of the context's name).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.text import clean_line

SOCKET = "/var/run/docker.sock"
TLS_PORT, PLAIN_PORT = 2376, 2375
#: Plain HTTP goes only to where nobody else listens in.
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_MAX_BYTES = 1024 * 1024
_T = TypeVar("_T")


class Way(enum.StrEnum):
    """How an engine is reached."""

    SOCKET = "unix"
    TLS = "tcp"
    PLAIN = "http"
    SSH = "ssh"


@dataclass(frozen=True)
class EnginePlace:
    """One engine. ``address`` is for people; ``path`` is a socket (over SSH: on that host, "" for its default).

    ``ca_file``, ``cert_file`` and ``key_file`` "" where there is none; without ``verify`` any certificate will do.
    """

    way: Way
    address: str
    path: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify: bool = True

    @property
    def here(self) -> bool:
        """Whether its containers run on this machine."""
        return self.way is Way.SOCKET or self.host in _LOOPBACK

    @property
    def ssh_words(self) -> str:
        """What an operator types to log in there by hand."""
        target = f"{self.user}@{self.host}" if self.user else self.host
        return f"ssh -p {self.port} {target}" if self.port else f"ssh {target}"

    @property
    def ssh_name(self) -> str:
        """The host as known_hosts has it."""
        return f"[{self.host}]:{self.port}" if self.port not in (0, 22) else self.host


class _Meta(msgspec.Struct):
    Name: str = ""
    Endpoints: dict[str, dict[str, object]] = {}


def place_of(url: str, context: str, environ: Mapping[str, str]) -> EnginePlace:
    """The engine of a region; neither ``url`` nor ``context``: the one that `docker` itself would talk to.

    Reads files. Raises ConfigurationError.
    """
    folder = config_folder(environ)
    if url:
        return _of_url(url, folder, environ)
    if not context:
        if named := environ.get("DOCKER_HOST", ""):
            return _of_url(named, folder, environ)
        context = environ.get("DOCKER_CONTEXT", "") or _current(folder)
    if context in ("", "default"):
        return EnginePlace(Way.SOCKET, found := _found_socket(environ), path=found)
    return _of_context(context, folder, environ)


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where the docker command keeps contexts, certificates and logins."""
    return Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or "/root") / ".docker")


def _of_url(url: str, folder: Path, environ: Mapping[str, str]) -> EnginePlace:
    files = Path(environ.get("DOCKER_CERT_PATH") or folder)
    return _parsed(url, files, verify=True)


def _parsed(url: str, tls_files: Path, *, verify: bool) -> EnginePlace:
    shown = clean_line(url, 200)
    try:
        parts = urlsplit(url)
        port = parts.port or 0
    except ValueError as error:
        raise ConfigurationError(
            f"{shown!r} is no address of an engine", "for example tcp://host:2376"
        ) from error
    match parts.scheme:
        case "unix":
            if not parts.path:
                raise ConfigurationError(f"{shown!r} names no socket", f"for example unix://{SOCKET}")
            return EnginePlace(Way.SOCKET, parts.path, path=parts.path)
        case "ssh":
            return _ssh(parts, port, shown)
        case "http":
            if parts.hostname not in _LOOPBACK:
                raise ConfigurationError(
                    f"{shown!r} is plain HTTP: whoever listens in is root there",
                    "use tcp:// with TLS, or ssh://",
                )
            port = port or PLAIN_PORT
            return EnginePlace(
                Way.PLAIN, f"http://{parts.hostname}:{port}", host=parts.hostname or "", port=port
            )
        case "tcp" | "https":
            if not parts.hostname:
                raise ConfigurationError(f"{shown!r} names no host", "for example tcp://host:2376")
            return _tls(parts.hostname, port or TLS_PORT, tls_files, verify=verify)
        case _:
            raise ConfigurationError(
                f"{shown!r} is no address of an engine", "write unix://PATH, tcp://HOST:2376, ssh://USER@HOST"
            )


def _ssh(parts: SplitResult, port: int, shown: str) -> EnginePlace:
    host, user = parts.hostname or "", parts.username or ""
    if not host or host.startswith("-") or user.startswith("-") or parts.password:
        raise ConfigurationError(
            f"{shown!r} is no address for ssh", "write ssh://USER@HOST; keys belong to the agent"
        )
    at = f"{user}@{host}" if user else host
    address = f"ssh://{at}:{port}" if port else f"ssh://{at}"
    return EnginePlace(
        Way.SSH, address + parts.path, path=parts.path.rstrip("/"), host=host, port=port, user=user
    )


def _tls(host: str, port: int, files: Path, *, verify: bool) -> EnginePlace:
    ca, cert, key = (
        str(path) if (path := files / name).is_file() else "" for name in ("ca.pem", "cert.pem", "key.pem")
    )
    shown = f"[{host}]" if ":" in host else host
    return EnginePlace(
        Way.TLS, f"tcp://{shown}:{port}", host=host, port=port, ca_file=ca, cert_file=cert if key else "",
        key_file=key if cert else "", verify=verify,
    )  # fmt: skip


def _current(folder: Path) -> str:
    """The context that `docker context use` chose."""
    body = _json(folder / "config.json", dict[str, msgspec.Raw])
    try:
        return (
            msgspec.json.decode(body["currentContext"], type=str) if body and "currentContext" in body else ""
        )
    except msgspec.DecodeError:
        return ""


def _of_context(name: str, folder: Path, environ: Mapping[str, str]) -> EnginePlace:
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = _json(folder / "contexts" / "meta" / digest / "meta.json", _Meta)
    shown = clean_line(name, 80)
    if meta is None or meta.Name != name:
        known = ", ".join(contexts(folder)) or "none but default"
        raise ConfigurationError(f"there is no Docker context {shown!r}", f"there are: {known}")
    endpoint = meta.Endpoints.get("docker", {})
    host = str(endpoint.get("Host") or "")
    if not host:
        return EnginePlace(Way.SOCKET, found := _found_socket(environ), path=found)
    tls_files = folder / "contexts" / "tls" / digest / "docker"
    return _parsed(host, tls_files, verify=not endpoint.get("SkipTLSVerify"))


def contexts(folder: Path) -> list[str]:
    """The names of the Docker contexts in a configuration folder. Reads files."""
    found = (_json(path, _Meta) for path in (folder / "contexts" / "meta").glob("*/meta.json"))
    return sorted(clean_line(each.Name, 80) for each in found if each is not None and each.Name)


def _found_socket(environ: Mapping[str, str]) -> str:
    """The first socket that is there: Docker's, a rootless Docker's, Podman's; else Docker's."""
    own = environ.get("XDG_RUNTIME_DIR", "")
    candidates = [
        SOCKET,
        *([f"{own}/docker.sock", f"{own}/podman/podman.sock"] if own else []),
        "/run/podman/podman.sock",
    ]
    return next((path for path in candidates if Path(path).exists()), SOCKET)


def _json(path: Path, kind: type[_T]) -> _T | None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
