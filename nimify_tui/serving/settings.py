"""What one model of a repository is told: its `nimify.toml` over the flags of the process.

Sizes in bytes, times in seconds or as the key's name says. Every key may be left out; one that is not known is an
error with the nearest one that is, because a setting that is silently not obeyed is found out in production.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.text import clean_line
from nimify_tui.serving.options import Options

FILE_NAME = "nimify.toml"
MAX_FILE_BYTES = 64 * 1024
MAX_VERSION = 10**9


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """``versions``: the numbers to serve, None for all. ``load`` false: only when somebody asks for it.

    ``max_batch`` 0, ``latency_objective_ms`` 0 and ``sessions`` 0: decided by measurement.
    """

    cache_bytes: int
    cache_ttl_s: float
    max_batch: int
    latency_objective_ms: float
    sessions: int
    threads: int
    versions: tuple[int, ...] | None = None
    latest_only: bool = False
    load: bool = True

    def options(self, base: Options, name: str, version: str, path: Path) -> Options:
        """The options of one model version."""
        return dataclasses.replace(
            base, name=name, version=version, model=path, cache_bytes=self.cache_bytes, cache_ttl_s=self.cache_ttl_s,
            max_batch=self.max_batch, latency_objective_ms=self.latency_objective_ms, sessions=self.sessions,
            threads=self.threads,
        )  # fmt: skip


def from_flags(options: Options) -> ModelSettings:
    """The settings of a model that has no file of its own."""
    return ModelSettings(
        options.cache_bytes, options.cache_ttl_s, options.max_batch, options.latency_objective_ms, options.sessions,
        options.threads,
    )  # fmt: skip


def read_settings(path: Path, base: ModelSettings) -> ModelSettings:
    """``base`` with what the file says. Raises ConfigurationError naming file, line or key, and what would do."""
    where = f"{clean_line(path.parent.name, 64)}/{FILE_NAME}"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigurationError(f"{where} is larger than {MAX_FILE_BYTES} bytes")
        values = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{where} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{where} is not TOML: {clean_line(str(error), 200)}") from error
    made: dict[str, Any] = {}
    for key, value in values.items():
        if key not in _KEYS:
            raise ConfigurationError(f"{where}: unknown key {clean_line(key, 80)!r}", _nearest(key))
        words, check = _KEYS[key]
        if not check(value):
            raise ConfigurationError(f"{where}: {key} must be {words}, not {clean_line(repr(value), 80)}")
        made[key] = value
    return dataclasses.replace(base, **_shaped(made))


def _shaped(made: dict[str, Any]) -> dict[str, Any]:
    versions = made.pop("versions", "all")
    if versions == "latest":
        made["latest_only"] = True
    elif versions != "all":
        made["versions"] = tuple(sorted(set(versions)))
    return made


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(clean_line(key, 80).replace("-", "_").lower(), list(_KEYS), 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else f"the file knows: {', '.join(_KEYS)}"


def _whole(low: int, high: int) -> tuple[str, Callable[[Any], bool]]:
    return f"a whole number of {low} to {high}", lambda value: type(value) is int and low <= value <= high


def _real(low: float, high: float) -> tuple[str, Callable[[Any], bool]]:
    return (
        f"a number of {low:g} to {high:g}",
        lambda value: type(value) in (int, float) and low <= value <= high,
    )


def _versions(value: Any) -> bool:
    if value in ("all", "latest"):
        return True
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(each) is int and 0 < each < MAX_VERSION for each in value)
    )


#: Key: (what it must be, the check).
_KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "cache_bytes": _whole(0, 10**12),
    "cache_ttl_s": _real(0.05, 86400),
    "max_batch": _whole(0, 4096),
    "latency_objective_ms": _real(0, 600_000),
    "sessions": _whole(0, 64),
    "threads": _whole(1, 1024),
    "versions": ('"all", "latest" or a list of version numbers', _versions),
    "load": ("true or false", lambda value: isinstance(value, bool)),
}
