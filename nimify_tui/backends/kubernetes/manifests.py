"""Manifests out of YAML or JSON files that may be hostile: plain values, never an object of Python's."""

from __future__ import annotations

import os
import stat
from typing import Any

from nimify_tui.backends.kubernetes.yaml_tree import parse
from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line

#: A manifest is small; an object of a cluster cannot be larger than 1.5 MB.
MAX_BYTES = 2 * 1024 * 1024


def read_file(path: str) -> str:
    """The text of a manifest file, at most 2 MiB. Blocks on a slow disk only, never on a pipe.

    Raises ValidationError.
    """
    wanted = os.path.abspath(os.path.expanduser(path))
    shown = clean_line(path, 200)
    try:
        handle = os.open(wanted, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file name"
        raise ValidationError(f"{shown} cannot be read: {why}", "check the path") from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValidationError(f"{shown} is no regular file", "name a file of YAML or JSON")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValidationError(f"{shown} is larger than {MAX_BYTES} bytes", "apply its parts one by one")
    return data.decode("utf-8", errors="replace")


def read_manifests(text: str, name: str) -> list[dict[str, Any]]:
    """The objects in ``text``, documents and Lists taken apart; ``name`` is for messages.

    Raises ValidationError for what holds none, ConfigurationError (with the line) for what is no YAML.
    """
    import yaml

    if len(text.encode()) > MAX_BYTES:
        raise ValidationError(f"{name} is larger than {MAX_BYTES} bytes", "apply its parts one by one")
    base: Any = yaml.SafeLoader

    class Loader(base):  # type: ignore[misc]  # it comes with the import
        """As Kubernetes reads it: a date is text."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in base.yaml_implicit_resolvers.items()
    }
    found: list[dict[str, Any]] = []
    for part in _documents(text):
        parse(part, name)  # says where it is wrong, and refuses what only looks small
        try:
            body = yaml.load(part, Loader=Loader)  # noqa: S506 - a SafeLoader
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ValidationError(f"{name} holds something that is no plain value", "see `kubectl apply`") from error
        if body is None:
            continue
        if not isinstance(body, dict):
            raise ValidationError(f"{name} holds something that is no object")
        items = body.get("items") if str(body.get("kind", "")).endswith("List") else None
        found += [each for each in (items if isinstance(items, list) else [body]) if isinstance(each, dict)]
    if not found:
        raise ValidationError(f"{name} holds no object")
    return found


def _documents(text: str) -> list[str]:
    """The documents of a stream, cut at the lines that begin a new one."""
    parts: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if line.rstrip() == "---":
            parts.append([])
        else:
            parts[-1].append(line)
    return ["".join(part) for part in parts]
