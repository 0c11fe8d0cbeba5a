"""What a service of a foreign image is given, from words: one table for the command line and the screen."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nimify_tui.base.errors import ConfigurationError, ValidationError
from nimify_tui.base.redact import redact
from nimify_tui.base.text import clean_line
from nimify_tui.controllers.checks import check_port
from nimify_tui.domain.names import suggest_name
from nimify_tui.domain.services import ImageSpec

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)([kmgt]?)(i?b|)\Z", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_USER = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,63}(:[a-z0-9_][a-z0-9_.-]{0,63})?\Z")
_SOURCE = re.compile(r"/[^\0:]{0,1000}\Z|[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}\Z")
_RESTARTS = ("no", "on-failure", "always", "unless-stopped")
#: What a secret's value may have, bytes.
_SECRET_BYTES = 64 * 1024


def size_bytes(text: str) -> int:
    """``8g``, ``8GiB`` (powers of 1024), ``8GB`` (of 1000). Raises ValidationError."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise ValidationError(f"{clean_line(text, 40)!r} is no size", "for example 8GiB or 512m")
    base = 1000 if match[3].lower() == "b" else 1024
    factor: int = base ** _POWERS[match[2].lower()]
    return round(float(match[1]) * factor)


def _port(text: str) -> int:
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    return check_port(found) or 0


def _cpus(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.01 <= found <= 4096:
        raise ValidationError(f"{clean_line(text, 40)!r} is no number of processors", "use 0.01 or more")
    return found


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValidationError(f"{clean_line(text, 80)!r} is no command line", "close its quotes") from error


def _user(text: str) -> str:
    if not _USER.match(text):
        raise ValidationError(f"{clean_line(text, 40)!r} is no user", "for example 65532:65532")
    return text


def _restart(text: str) -> str:
    if text not in _RESTARTS:
        raise ValidationError(f"there is no restart policy {clean_line(text, 40)!r}", f"use {', '.join(_RESTARTS)}")
    return text


def _env(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _NAME.match(name) or "\0" in value:
        raise ValidationError(f"{clean_line(name, 80)!r} sets no variable", "write NAME=VALUE")
    if redact(text) != text:
        raise ValidationError(
            f"{name} looks like a secret", f"give a reference instead: secret {name}=env:NAME or {name}=file:PATH"
        )
    return name, value


def _secret(text: str) -> tuple[str, str]:
    name, equals, reference = text.partition("=")
    kind, colon, where = reference.partition(":")
    if not equals or not _NAME.match(name):
        raise ValidationError(f"{clean_line(name, 80)!r} sets no variable", "write NAME=env:NAME or NAME=file:PATH")
    if kind not in ("env", "file") or not colon or not where or (kind == "env" and not _NAME.match(where)):
        raise ValidationError(f"the secret {name} is no reference", f"write {name}=env:NAME or {name}=file:PATH")
    return name, reference


def _mount(text: str) -> tuple[str, str]:
    source, _, rest = text.partition(":")
    target, _, how = rest.partition(":")
    if not target.startswith("/") or not _SOURCE.match(source) or how not in ("", "ro", "rw"):
        raise ValidationError(
            f"{clean_line(text, 120)!r} mounts nothing", "write FOLDER:PATH or VOLUME:PATH, with :rw to write to it"
        )
    return target, f"{source}:rw" if how == "rw" else source


#: What can be said, by its word: (field, how it is read, whether it may be said again and again, example).
OPTIONS: Mapping[str, tuple[str, Callable[[str], Any], bool, str]] = {
    "container-port": ("port", _port, False, "8000"),
    "health-path": ("health_path", str, False, "/health"),
    "health-cmd": ("health", _words, False, "COMMAND"),
    "command": ("command", _words, False, "WORDS"),
    "cpus": ("cpus", _cpus, False, "4"),
    "memory": ("memory_bytes", size_bytes, False, "8GiB"),
    "shm-size": ("shm_bytes", size_bytes, False, "1GiB"),
    "user": ("user", _user, False, "UID:GID"),
    "restart": ("restart", _restart, False, "POLICY"),
    "env": ("env", _env, True, "NAME=VALUE"),
    "secret": ("secrets", _secret, True, "NAME=env:NAME"),
    "mount": ("mounts", _mount, True, "FOLDER:PATH"),
}
#: Said alone: the root file system may be written to.
WRITABLE = "writable"


def image_spec(said: Iterable[tuple[str, str]], *, writable: bool = False) -> ImageSpec:
    """The spec of (word, text) pairs. Raises ValidationError for what makes no sense."""
    fields: dict[str, Any] = {"writable": writable}
    for word, text in said:
        field, read, many, _ = OPTIONS[word]
        value = read(text)
        if many:
            name, one = value
            fields.setdefault(field, {})[name] = one
        else:
            fields[field] = value
    mounts: dict[str, str] = fields.pop("mounts", {})
    written = tuple(target for target, source in mounts.items() if source.endswith(":rw"))
    mounts = {target: source.removesuffix(":rw") for target, source in mounts.items()}
    made = ImageSpec(**fields, mounts=mounts, written=written)
    if both := made.env.keys() & made.secrets.keys():
        raise ValidationError(f"{min(both)} is set twice", "as a setting or as a secret")
    return made


def name_of_image(image: str) -> str:
    """A name for a service of it."""
    return suggest_name(image.rpartition("/")[2].partition("@")[0].partition(":")[0])


def image_lines(spec: ImageSpec) -> dict[str, str]:
    """Its content as lines of a diff; of a secret only where it comes from."""
    lines = {"container port": str(spec.port), "health path": spec.health_path, "restart": spec.restart}
    if spec.health:
        lines["health command"] = clean_line(shlex.join(spec.health), 200)
    if spec.command:
        lines["command"] = clean_line(shlex.join(spec.command), 300)
    numbers = {"cpus": spec.cpus, "memory bytes": spec.memory_bytes, "shm bytes": spec.shm_bytes}
    lines |= {name: f"{value:.12g}" for name, value in numbers.items() if value}
    lines["root file system"] = "writable" if spec.writable else "read-only"
    for target, source in sorted(spec.mounts.items()):
        how = "written to" if target in spec.written else "read-only"
        lines[f"mount {clean_line(target, 200)}"] = f"{clean_line(source, 200)}, {how}"
    lines |= {f"env {name}": clean_line(value, 200) for name, value in sorted(spec.env.items())}
    lines |= {f"env {name}": f"the secret of {clean_line(ref, 200)}" for name, ref in sorted(spec.secrets.items())}
    return lines


def read_secrets(spec: ImageSpec) -> dict[str, str]:
    """The values, by variable. Reads files: call it in a thread. Raises ConfigurationError, never with a value."""
    found = {}
    for name, reference in spec.secrets.items():
        kind, _, where = reference.partition(":")
        shown = clean_line(where, 200)
        if kind == "env":
            if where not in os.environ:
                raise ConfigurationError(f"the secret {name}: there is no variable {shown} here", "set it, then again")
            value = os.environ[where]
        else:
            value = _file(name, os.path.expanduser(where), shown)
        if not value or "\0" in value:
            raise ConfigurationError(f"the secret {name} is empty, or holds a NUL", f"look at {kind}:{shown}")
        found[name] = value
    return found


def _file(name: str, path: str, shown: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            data = file.read(_SECRET_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"the secret {name}: {shown} cannot be read: {error.strerror}") from error
    if len(data) > _SECRET_BYTES:
        raise ConfigurationError(f"the secret {name}: {shown} is larger than 64 KiB", "name the right file")
    try:
        return data.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the secret {name}: {shown} is no text", "name the right file") from error
