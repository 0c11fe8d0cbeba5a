"""In which line of a TOML text each key stands. The standard parser does not say; errors must.

Works on a text that ``tomllib`` has accepted, so it only has to find its way, not to judge.
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|("(?:[^"\\\n]|\\.)*"|'[^'\n]*'))[ \t]*""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")' + r"|'''.*?'{3,5}(?!')" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[Path, int]:
    """Line (1-based) of every key and table, by path; elements of arrays of tables have their index in it."""
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}  # arrays of tables: path -> tables so far
        self._line_at, self._line = 0, 1

    def run(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if self.at >= len(self.text):
                return self.found
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        line, many = self._now(), self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        keys = self._keys()
        self.at += 2 if many else 1
        path: Path = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            last = position == len(keys) - 1
            if last and many:
                self.found.setdefault(path, line)
                self.counts[path] = self.counts.get(path, 0) + 1
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
            self.found.setdefault(path, line)
        return path

    def _pair(self, table: Path) -> None:
        line = self._now()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.found.setdefault(path, line)
        self.at += 1  # "="
        self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while match := _KEY.match(self.text, self.at):
            bare, quoted = match[1], match[2]
            keys.append(bare if bare is not None else str(tomllib.loads(f"k={quoted}")["k"]))
            self.at = match.end()
            if self.text[self.at : self.at + 1] != ".":
                break
            self.at += 1
        return keys

    def _value(self, path: Path) -> None:
        self._skip_blank()
        char = self.text[self.at]
        if char == "{":
            self.at += 1
            self._items("}", lambda _: self._pair(path))
        elif char == "[":
            self.at += 1
            self._items("]", lambda index: self._element((*path, index)))
        else:
            match = (_STRING if char in "\"'" else _BARE).match(self.text, self.at)
            self.at = match.end() if match else len(self.text)

    def _element(self, path: Path) -> None:
        self.found.setdefault(path, self._now())
        self._value(path)

    def _items(self, closing: str, one: object) -> None:
        index = 0
        while True:
            self._skip_blank()
            if self.at >= len(self.text) or self.text[self.at] == closing:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            assert callable(one)
            one(index)
            index += 1

    def _skip_blank(self) -> None:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _now(self) -> int:
        self._line += self.text.count("\n", self._line_at, self.at)
        self._line_at = self.at
        return self._line
