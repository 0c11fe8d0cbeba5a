"""JSON values as YAML lines in block style, the way kubectl prints them.

Small on purpose: what it has to print comes from JSON, and every string that is not plainly harmless is quoted
(YAML 1.2.2, 7.3.1; what older readers take for something else than text is quoted too).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

#: A longer text is cut, and it is said.
TEXT_CHARS = 8_192
# Its parts begin with different characters, so no hostile text makes it try again and again.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*(?: [A-Za-z0-9_./@+(),-]+)*\Z")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BAD = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me"})

#: So many lines of one object are shown.
MOST_LINES = 20_000


def yaml_lines(value: Any) -> Iterator[str]:
    """The lines of a value out of JSON. Raises RecursionError for one that is nested too deeply."""
    if isinstance(value, dict | list) and value:
        yield from _block(value, "")
    else:
        yield _scalar(value)


def lines_of(value: Any) -> list[str]:
    """The lines that an object is shown with; of one with too many the rest is cut, and said so."""
    lines: list[str] = []
    for line in yaml_lines(value):
        if len(lines) >= MOST_LINES:
            lines.append(f"# … cut: more than {MOST_LINES:,} lines")
            break
        lines.append(line)
    return lines


def _block(value: dict[str, Any] | list[Any], pad: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list) and item:
                lines = _block(item, f"{pad}  ")
                yield f"{pad}- {next(lines)[len(pad) + 2 :]}"
                yield from lines
            else:
                yield from _entry(f"{pad}- ", item, f"{pad}  ")
        return
    for key, item in value.items():
        if isinstance(item, dict | list) and item:
            yield f"{pad}{_scalar(key)}:"
            yield from _block(item, pad if isinstance(item, list) else f"{pad}  ")
        else:
            yield from _entry(f"{pad}{_scalar(key)}: ", item, f"{pad}  ")


def _entry(start: str, value: Any, pad: str) -> Iterator[str]:
    """A scalar after its key or dash; several lines of text stand below it."""
    if isinstance(value, str) and "\n" in value and len(value) <= TEXT_CHARS and _literal(value):
        keep = "" if value.endswith("\n") else "-"
        yield f"{start}|{keep}"
        for line in value.removesuffix("\n").split("\n"):
            yield f"{pad}{line}" if line else ""
    else:
        yield start + _scalar(value)


def _literal(text: str) -> bool:
    """Whether a text may stand line by line: nothing in it that is not seen, and nothing that needs more than that."""
    lines = text.removesuffix("\n").split("\n")
    return (
        bool(lines[0])
        and bool(lines[-1])
        and not any(line != line.rstrip() or line.startswith((" ", "\t")) for line in (lines[0], lines[-1]))
        and not any(line and not line.strip() for line in lines)
        and all(char in "\n\t" or unicodedata.category(char) not in _BAD for char in text)
    )


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if value == {}:
        return "{}"
    if value == []:
        return "[]"
    return json.dumps(value)


def _text(text: str) -> str:
    if len(text) > TEXT_CHARS:
        text = f"{text[:TEXT_CHARS]}… ({len(text) - TEXT_CHARS:,} more characters)"
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return text
    return f'"{"".join(_escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if unicodedata.category(char) not in _BAD:
        return char
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
