"""Data on stdout as a table, JSON, YAML or names; everything else goes to stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nimify_tui.base.text import clean_line

#: Any JSON value.
Data = Any

# JSON leaves these as they are; a terminal obeys or hides them (DEL, C1, bidi controls, zero width, BOM).
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def _escape(text: str) -> str:
    return _UNSEEN.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def to_json(data: Data) -> str:
    """``data`` (plain or msgspec) as indented JSON, safe for a terminal (non-printables escaped)."""
    return _escape(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())


def to_json_line(data: Data) -> str:
    """``data`` as one line of JSON, safe for a terminal."""
    return _escape(msgspec.json.encode(data).decode())


def to_yaml(data: Data) -> str:
    """``data`` as YAML that reads back to the same values.

    Strings are written as JSON strings, which YAML 1.2 reads alike, so that no text from outside is
    ever interpreted.
    """
    return "\n".join(_yaml(msgspec.to_builtins(data), 0)) + "\n"


def _yaml(value: Data, depth: int) -> list[str]:
    pad = "  " * depth
    if isinstance(value, Mapping) and value:
        lines: list[str] = []
        for key, item in value.items():
            lines += _entry(f"{pad}{_scalar(str(key))}:", item, depth)
        return lines
    if isinstance(value, list | tuple) and value:
        lines = []
        for item in value:
            lines += _entry(f"{pad}-", item, depth)
        return lines
    return [pad + _scalar(value)]


def _entry(head: str, item: Data, depth: int) -> list[str]:
    if isinstance(item, Mapping | list | tuple) and item:
        return [head, *_yaml(item, depth + 1)]
    return [f"{head} {_scalar(item)}"]


def _scalar(value: Data) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    return _escape(msgspec.json.encode(value).decode())


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; foreign text is cleaned here."""
    cells = [[clean_line(cell, 200) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [list(headers), *cells]
    ]
    return "\n".join(lines) + "\n"


def emit(
    style: str, data: Data, headers: Sequence[str], rows: Sequence[Sequence[str]], names: Sequence[str]
) -> None:
    """Print one answer in the wanted style ("table", "json", "yaml" or "name")."""
    if style == "json":
        text = to_json(data) + "\n"
    elif style == "yaml":
        text = to_yaml(data)
    elif style == "name":
        text = "".join(f"{clean_line(name, 300)}\n" for name in names)
    else:
        text = table(headers, rows)
    sys.stdout.write(text)
    sys.stdout.flush()


def say(text: str) -> None:
    """One line of progress or explanation on stderr."""
    sys.stderr.write(clean_line(text, 2000) + "\n")
    sys.stderr.flush()
