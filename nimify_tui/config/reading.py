"""From files, environment and flags to one checked configuration. Every problem names its place and what helps."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import msgspec

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.files import config_home
from nimify_tui.config.checking import sense, table_of, walk
from nimify_tui.config.layers import IDENTITY, LISTS, PREFIX, Merged, Problem, path_text
from nimify_tui.config.lines import Path, lines_of
from nimify_tui.config.schema import Config, Settings

#: Variables of ours that are no configuration keys.
#: Variables of ours that are no part of the configuration (marks of a demo, switches of the tests).
OTHER_VARIABLES = frozenset({"NIMIFY_CONFIG", "NIMIFY_DEMO_ID", "NIMIFY_TEST_NO_DRAIN"})
MAX_FILE_BYTES = 1024 * 1024


def default_paths(env: Mapping[str, str] | None = None) -> list[FilePath]:
    """``$NIMIFY_CONFIG``, else ``$XDG_CONFIG_HOME/nimify-tui/config.toml`` when it is there."""
    named = (os.environ if env is None else env).get("NIMIFY_CONFIG", "")
    if named:
        return [FilePath(named)]
    usual = config_home() / "config.toml"
    return [usual] if usual.exists() else []


def load(
    paths: Sequence[FilePath | str] | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration: flags (``overrides``, dotted keys) over ``env`` over files over defaults.

    ``paths`` None: :func:`default_paths`; a later file wins over an earlier one. ``env`` None: this
    process's. Raises ConfigurationError naming the first problem and how many more there are.
    """
    config, problems = _load(paths, env, overrides)
    if problems or config is None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more: see `nimify-tui config check`)" if len(problems) > 1 else ""
        raise ConfigurationError(f"{first}{more}", first.remedy)
    return config


def check(
    paths: Sequence[FilePath | str] | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """All problems, none when the configuration is good."""
    return _load(paths, env, overrides)[1]


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the file."""
    made = msgspec.json.schema(Settings)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nimify-tui configuration",
        **made,
    }


def _load(
    paths: Sequence[FilePath | str] | None, env: Mapping[str, str] | None, overrides: Mapping[str, Any] | None
) -> tuple[Config | None, list[Problem]]:
    env = os.environ if env is None else env
    chosen = default_paths(env) if paths is None else [FilePath(path) for path in paths]
    merged, problems = Merged(), list[Problem]()
    for path in chosen:
        _read_file(path, merged, problems)
    if not merged.data.get("region") and not problems:
        merged.put(("region", 0, "name"), "local", "default")
        merged.put(("region", 0, "kind"), "embedded", "default")
    _read_env(env, merged, problems)
    for key, value in (overrides or {}).items():
        merged.put(_dotted(key), value, "command line")
    problems += walk((), merged.data, Settings, merged)
    if not problems:
        problems += sense(merged)
    if problems:
        return None, problems
    settings = msgspec.convert(merged.data, Settings, strict=False)
    fields = {name: getattr(settings, name) for name in Settings.__struct_fields__}
    origins = {path_text(path): origin for path, origin in merged.origins.items()}
    return Config(**fields, origins=origins, files=tuple(str(path) for path in chosen)), []


def _read_file(path: FilePath, merged: Merged, problems: list[Problem]) -> None:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            problems.append(Problem(str(path), "", f"is larger than {MAX_FILE_BYTES} bytes"))
            return
        text = raw.decode("utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        problems.append(
            Problem(str(path), "", f"cannot be read ({error.strerror})", "see `nimify-tui config path`")
        )
        return
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        # tomllib's messages name line and column, and never a value.
        problems.append(Problem(str(path), "", f"is no TOML: {error}"))
        return
    lines = lines_of(text.replace("\r\n", "\n"))
    for name, value in data.items():
        if name in LISTS and isinstance(value, list):
            _merge_list(name, value, lines, path, merged)
        else:
            _merge((name,), (name,), value, lines, path, merged)


def _merge_list(name: str, items: list[Any], lines: dict[Path, int], path: FilePath, merged: Merged) -> None:
    """Tables of a later file replace keys of the one with the same name, else they are added."""
    before = list(merged.data.get(name, []))
    identity = IDENTITY[name]
    for index, item in enumerate(items):
        known = [
            place
            for place, other in enumerate(before)
            if isinstance(item, dict)
            and isinstance(other, dict)
            and other.get(identity) == item.get(identity)
        ]
        place = known[0] if known else len(merged.data.get(name, []))
        if not isinstance(item, dict):
            merged.data.setdefault(name, []).append(item)
            merged.origins[(name, place)] = _place(path, lines, (name, index))
            continue
        if not known:
            merged.data.setdefault(name, []).append({})
            merged.origins[(name, place)] = _place(path, lines, (name, index))
        for key, value in item.items():
            _merge((name, place, key), (name, index, key), value, lines, path, merged)


def _merge(
    target: Path, source: Path, value: Any, lines: dict[Path, int], path: FilePath, merged: Merged
) -> None:
    if isinstance(value, dict):
        merged.origins[target] = _place(path, lines, source)
        if not value:
            merged.put(target, {}, _place(path, lines, source))
        for key, item in value.items():
            _merge((*target, key), (*source, key), item, lines, path, merged)
    else:
        merged.put(target, value, _place(path, lines, source))


def _place(path: FilePath, lines: dict[Path, int], key: Path) -> str:
    while key:
        if key in lines:
            return f"{path} line {lines[key]}"
        key = key[:-1]
    return str(path)


def _read_env(env: Mapping[str, str], merged: Merged, problems: list[Problem]) -> None:
    for name in sorted(env):
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        words = name[len(PREFIX) :].lower().split("__")
        path = _env_path(words, merged, name, problems)
        if path is not None:
            merged.put(path, _env_value(env[name]), name)


def _env_path(words: list[str], merged: Merged, name: str, problems: list[Problem]) -> Path | None:
    tables = Settings.__struct_fields__
    if words[0] not in tables:
        near = difflib.get_close_matches("__".join(words), _variables(), 1, 0.6)
        remedy = f"did you mean {PREFIX}{near[0].upper()}?" if near else "unset it"
        problems.append(Problem(name, "", "is no variable of the configuration", remedy))
        return None
    if words[0] not in LISTS:
        return tuple(words)
    items = merged.data.get(words[0], [])
    for index, item in enumerate(items):
        wanted = str(item.get(IDENTITY[words[0]], "")) if isinstance(item, dict) else ""
        if len(words) > 2 and wanted.lower().replace("-", "_") == words[1]:
            return (words[0], index, *words[2:])
    there = ", ".join(str(item.get(IDENTITY[words[0]])) for item in items if isinstance(item, dict)) or "none"
    problems.append(Problem(name, "", f"names no {words[0]} of the configuration", f"there is: {there}"))
    return None


def _variables() -> list[str]:
    names = []
    for field in msgspec.structs.fields(Settings):
        inner = table_of(field.type)
        names += [f"{field.name}__{name}" for name in inner.__struct_fields__] if inner else [field.name]
    return names


def _env_value(text: str) -> Any:
    if text[:1] in "[{":
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            return text
    return text


def _dotted(key: str) -> Path:
    return tuple(
        int(part) if part.isdigit() else part for part in key.replace("[", ".").replace("]", "").split(".")
    )
