"""What is wrong with the values: unknown keys, wrong types, secrets in clear, and what no type can say."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from nimify_tui.backends.docker.place import place_of
from nimify_tui.backends.docker.references import check_reference
from nimify_tui.base.errors import ConfigurationError, ValidationError
from nimify_tui.base.redact import MASK, redact
from nimify_tui.base.text import clean_line
from nimify_tui.config.caching import caches
from nimify_tui.config.layers import PREFIX, Merged, Problem, path_text
from nimify_tui.config.lines import Path
from nimify_tui.config.monitoring import apart, servers
from nimify_tui.config.schema import SecretRef
from nimify_tui.domain.names import check_name

REMEDY = 'write {env = "NAME"}, {file = "PATH"}, {exec = ["COMMAND"]} or {keyring = "NAME"}'


def walk(path: Path, value: Any, kind: Any, merged: Merged) -> Iterator[Problem]:
    """Every key against the schema: unknown ones, wrong types, secrets that stand there in clear."""
    if SecretRef in (kind, *typing.get_args(kind)) and isinstance(value, str):
        yield Problem(merged.where(path), path_text(path), "a secret must not stand here in clear", REMEDY)
        return
    struct = table_of(kind)
    if struct is not None and isinstance(value, dict):
        yield from _walk_table(path, value, struct, merged)
        return
    if isinstance(value, str) and redact(value) != value:
        yield Problem(
            merged.where(path), path_text(path), "a credential must not stand here in clear", REMEDY
        )
        return
    element = _element_of(kind)
    if element is not None and table_of(element) is not None and isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk((*path, index), item, element, merged)
        return
    # Only the environment has nothing but strings; in a file "true" is no boolean.
    strict = not merged.where(path).startswith(PREFIX)
    value, separated = (
        (value.split(","), True) if not strict and element and isinstance(value, str) else (value, False)
    )
    try:
        msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        yield Problem(merged.where(path), path_text(path), _plain(str(error)), _allowed(kind, value))
    else:
        if separated:
            merged.put(path, [item.strip() for item in value], merged.where(path))


def _walk_table(path: Path, value: dict[str, Any], struct: Any, merged: Merged) -> Iterator[Problem]:
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    for key, item in value.items():
        here = (*path, key)
        if key not in fields:
            yield _unknown(here, item, list(fields), merged)
        else:
            yield from walk(here, item, fields[key].type, merged)
    missing = [name for name, field in fields.items() if field.required and name not in value]
    for name in missing:
        yield Problem(merged.where(path), path_text(path), f"the key {name!r} is missing")
    if struct is SecretRef and len(value) != 1 and not missing:
        yield Problem(
            merged.where(path), path_text(path), "a secret is one of env, file, exec and keyring, not several"
        )


def _unknown(path: Path, value: Any, known: list[str], merged: Merged) -> Problem:
    key = clean_line(str(path[-1]), 80)
    near = difflib.get_close_matches(key.replace("-", "_").lower(), known, 1, 0.5)
    table = path_text(path[:-1]) or "the file"
    if near:
        remedy = f"did you mean {near[0]!r}?"
    elif known:
        remedy = f"{table} knows: {', '.join(known)}"
    else:
        remedy = "nothing can be set there in this version"
    if isinstance(value, str) and MASK in redact(f"{key}=x"):
        remedy += "; and secrets must not stand in the configuration in clear"
    return Problem(merged.where(path), clean_line(path_text(path), 200), "unknown key", remedy)


def _plain(error: str) -> str:
    """Msgspec's words without its own idea of the path; it names types and bounds, never the value."""
    text = error.split(" - at `", maxsplit=1)[0]
    if text.startswith("Invalid enum value"):
        return "is none of the allowed words"
    return text[0].lower() + text[1:].replace("`", "")


def _allowed(kind: Any, value: Any) -> str:
    """The words that would do, the nearest one first when there is one."""
    words = [word for word in typing.get_args(kind) if isinstance(word, str)]
    if typing.get_origin(kind) is not typing.Literal or not words:
        return ""
    near = difflib.get_close_matches(value, words, 1, 0.5) if isinstance(value, str) else []
    return f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(words)}"


def table_of(kind: Any) -> Any:
    """The table type in ``kind`` (also in a union), None when there is none."""
    options = (
        typing.get_args(kind)
        if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
        else (kind,)
    )
    for option in options:
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option
    return None


def _element_of(kind: Any) -> Any:
    """What a list holds, also where it is one of several kinds; None for what is no list."""
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return next((found for each in arguments if (found := _element_of(each)) is not None), None)
    return arguments[0] if typing.get_origin(kind) is tuple and len(arguments) == 2 else None


_BUILDING = ("front_image", "base_image", "wheelhouse")


def sense(merged: Merged) -> Iterator[Problem]:
    """What no type can say: names, repeats, and what this version cannot do."""
    seen: dict[str, str] = {}
    for index, item in enumerate(merged.data.get("region", [])):
        path: Path = ("region", index)
        where, name = merged.where((*path, "name")), item["name"]
        try:
            check_name(name, "region name")
        except ValidationError as error:
            yield Problem(where, path_text((*path, "name")), error.message, error.remedy)
        if name in seen:
            yield Problem(
                where, path_text((*path, "name")), f"the region {name!r} is there twice", f"see {seen[name]}"
            )
        seen.setdefault(name, where)
        yield from _beyond(path, item, merged)
    yield from apart(merged)
    for index, _ in enumerate(merged.data.get("feed", [])):
        where = merged.where(("feed", index))
        yield Problem(where, f"feed[{index}]", "this version reads no further security feeds", "remove it")
    names: dict[str, int] = {}
    for index, item in enumerate(merged.data.get("slo", [])):
        if item["service"] in names:
            text = f"a second objective for {clean_line(item['service'], 80)!r}"
            yield Problem(merged.where(("slo", index)), f"slo[{index}]", text, "keep one of them")
        names[item["service"]] = index


def _beyond(path: Path, item: Mapping[str, Any], merged: Merged) -> Iterator[Problem]:
    """Keys whose meaning is settled and which this version cannot honour: said, never passed over."""
    kind = item.get("kind", "embedded")
    yield from caches(path, item, merged)
    for key in _BUILDING:
        if item.get(key) and kind != "docker":
            text = "only a Docker region builds images"
            yield Problem(merged.where((*path, key)), path_text((*path, key)), text, "remove it")
    if kind == "kubernetes":
        yield from _cluster(path, item, merged)
        return
    if kind == "docker":
        yield from _engine(path, item, merged)
        return
    yield from servers(path, item, merged)
    for key in ("context", "url", "namespaces", "token"):
        if item.get(key):
            text = "means nothing for an embedded region"
            yield Problem(merged.where((*path, key)), path_text((*path, key)), text, "remove it")


def _cluster(path: Path, item: Mapping[str, Any], merged: Merged) -> Iterator[Problem]:
    for key in ("url", "token"):
        if item.get(key):
            text = "a Kubernetes region is reached by a context of the kubeconfig"
            yield Problem(merged.where((*path, key)), path_text((*path, key)), text, "name it with context")
    yield from servers(path, item, merged)
    for namespace in item.get("namespaces") or ():
        try:
            check_name(namespace, "namespace")
        except ValidationError as error:
            place = (*path, "namespaces")
            yield Problem(merged.where(place), path_text(place), error.message, error.remedy)


def _engine(path: Path, item: Mapping[str, Any], merged: Merged) -> Iterator[Problem]:
    if item.get("url") and item.get("context"):
        text = "a Docker region is reached by a url or by a context, not by both"
        yield Problem(merged.where((*path, "context")), path_text((*path, "context")), text, "keep one of them")
    if item.get("url"):
        try:
            place_of(item["url"], "", {})
        except ConfigurationError as error:
            place = (*path, "url")
            yield Problem(merged.where(place), path_text(place), error.message, error.remedy)
    for key in _BUILDING[:2]:
        try:
            check_reference(item.get(key) or "scratch")
        except ValidationError as error:
            yield Problem(merged.where((*path, key)), path_text((*path, key)), error.message, error.remedy)
    yield from servers(path, item, merged)
    for key, remedy in (
        ("namespaces", "remove it"),
        ("token", "an engine is guarded by its socket, by certificates or by ssh"),
    ):
        if item.get(key):
            text = "this version does not read it for a Docker region"
            yield Problem(merged.where((*path, key)), path_text((*path, key)), text, remedy)
