"""Prometheus' text format (0.0.4) and the basics of OpenMetrics: bytes in, the wanted series out.

Lines of families that nobody asked for are passed over without being looked at. Pages come from
processes that may lie, so everything is bounded. Grammar:
https://prometheus.io/docs/instrumenting/exposition_formats/ (text format) and OpenMetrics 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line

MAX_LINE_BYTES = 16 * 1024
MAX_SERIES = 20_000
MAX_LABELS = 64
#: Parsed label sets are remembered: a replica sends the same ones each time.
_MAX_REMEMBERED = 8192

_NAME = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(rb'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(,?)')
_END = re.compile(rb"[ \t]*\}")
_NUMBER = re.compile(rb"(?i)[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)\Z")
_ESCAPE = re.compile(r"\\([\\n\"])")

Labels = tuple[tuple[str, str], ...]


class ExpositionError(ValidationError):
    """A page that is not what it says, or too big to be one."""


class Series(NamedTuple):
    """One line: the labels in the order of the page, and the value."""

    labels: Labels
    value: float

    def label(self, name: str) -> str:
        """The value of a label, "" when it is not there (that is the same thing)."""
        for each, value in self.labels:
            if each == name:
                return value
        return ""


class Rows(Protocol):
    """The series of one name on one page, in its order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Series]: ...

    def __getitem__(self, at: int, /) -> Series: ...


class Page(NamedTuple):
    """``series`` by sample name (``x_bucket``, not ``x``); ``families`` are the names that TYPE lines announced."""

    series: Mapping[str, Rows]
    families: frozenset[str]


class Parser:
    """Reads pages for the sample names in ``wanted``. Keep one: it remembers label sets."""

    def __init__(self, wanted: Iterable[str], max_series: int = MAX_SERIES) -> None:
        self._wanted = {name.encode(): name for name in wanted}
        self._max_series = max_series
        self._remembered: dict[bytes, Labels] = {}

    def parse(self, data: bytes) -> Page:
        """Read one page. Raises ExpositionError for a wanted line that is malformed, and for what is out of bounds."""
        series: dict[str, list[Series]] = {}
        families: set[str] = set()
        wanted, count = self._wanted, 0
        for raw in data.split(b"\n"):
            line = raw.strip(b" \t\r")
            if not line:
                continue
            if line[0] == 0x23:  # "#"
                if line.startswith(b"# TYPE "):
                    _family(line, families)
                elif line == b"# EOF":
                    break
                continue
            brace = line.find(b"{")
            head = line[:brace].rstrip(b" \t") if brace > 0 else b""
            name = wanted.get(head)
            if name is None:  # no labels; a brace further on belongs to an exemplar
                brace = -1
                plain = _NAME.match(line)
                name = wanted.get(plain[0]) if plain is not None else None
                if name is None:
                    continue
            count += 1
            if count > self._max_series:
                raise ExpositionError(f"more than {self._max_series} series of wanted families")
            if len(line) > MAX_LINE_BYTES:
                raise ExpositionError(f"a line of {len(line)} bytes")
            labels, rest = self._labels(line, brace) if brace > 0 else ((), line[len(name) :])
            series.setdefault(name, []).append(Series(labels, _value(rest, line)))
        return Page(series, frozenset(families))

    def _labels(self, line: bytes, brace: int) -> tuple[Labels, bytes]:
        end = line.rfind(b"}")
        known = self._remembered.get(line[brace : end + 1])
        if known is not None:
            return known, line[end + 1 :]
        found: list[tuple[str, str]] = []
        at = brace + 1
        more = True
        while (close := _END.match(line, at)) is None:
            label = _LABEL.match(line, at) if more else None
            if label is None:
                raise _broken(line)
            found.append((label[1].decode(), _unescaped(label[2])))
            if len(found) > MAX_LABELS:
                raise ExpositionError(f"a series with more than {MAX_LABELS} labels")
            at, more = label.end(), bool(label[3])
        if len({name for name, _ in found}) != len(found):
            raise _broken(line)
        labels = tuple(found)
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        if close.end() == end + 1:  # no exemplar with labels of its own behind it
            self._remembered[line[brace : end + 1]] = labels
        return labels, line[close.end() :]


def _family(line: bytes, families: set[str]) -> None:
    words = line.split(None, 3)
    if len(words) == 4 and len(families) < MAX_SERIES and len(words[2]) < 256 and _NAME.fullmatch(words[2]):
        families.add(words[2].decode())


def _value(rest: bytes, line: bytes) -> float:
    """The value out of ``value [timestamp] [# exemplar]``."""
    rest, _, _exemplar = rest.partition(b"#")
    words = rest.split()
    if not 1 <= len(words) <= 2 or not all(map(_NUMBER.match, words)):
        raise _broken(line)
    return float(words[0])


def _unescaped(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], text)


def _broken(line: bytes) -> ExpositionError:
    return ExpositionError(f"not Prometheus' text format: {clean_line(line[:80].decode('utf-8', 'replace'), 80)!r}")
