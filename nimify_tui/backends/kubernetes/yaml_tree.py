"""YAML as a plain tree with line numbers, for files that may be hostile.

Built from the parser's events, so nothing is ever constructed: no tags, no types, no objects. An alias costs
what it stands for, a cycle is refused, and depth and size have limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from nimify_tui.base.errors import ConfigurationError
from nimify_tui.base.text import clean_line

MAX_DEPTH = 40
#: Nodes of a tree, aliases counted as often as they are used: 1,000 clusters have some 30,000.
MAX_NODES = 200_000


@dataclass
class Node:
    """A scalar (``text``), a mapping (``fields``) or a list (``items``); ``line`` counts from 1.

    ``null`` is a plain null, ~ or nothing at all.
    """

    line: int
    text: str | None = field(default=None, repr=False)
    null: bool = False
    fields: dict[str, Node] | None = field(default=None, repr=False)
    items: list[Node] | None = field(default=None, repr=False)
    size: int = 1


class YamlMistake(ConfigurationError):
    """The text is no YAML, or YAML of a kind that is not read; the message begins with file and line."""


def parse(text: str, name: str) -> Node:
    """The tree of the first document in ``text``; an empty text is a null node. ``name`` is for the message.

    Raises YamlMistake with ``name`` and the line.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(name)
    try:
        events = iter(yaml.parse(text, Loader=loader))
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                return builder.node(next(events), events, 0)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark is not None else _line_at(text, getattr(error, "position", 0))
        # Only the parser's own words: its excerpt may hold a token.
        problem = clean_line(
            str(getattr(error, "problem", None) or getattr(error, "reason", "") or "no YAML"), 120
        )
        raise YamlMistake(f"{name} line {line}: {problem}", "correct the YAML") from None
    return Node(1, null=True)


class _Builder:
    def __init__(self, name: str) -> None:
        self._name = name
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0

    def node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        import yaml

        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._fail(line, f"the tag {clean_line(str(tag), 40)} is not read here", "remove it")
        if depth > MAX_DEPTH:
            self._fail(line, f"more than {MAX_DEPTH} levels deep", "")
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None  # known, and not complete: an alias to it now is a cycle
        self._count(1, line)
        made = Node(line)
        if isinstance(event, yaml.ScalarEvent):
            made.text = event.value
            made.null = bool(event.implicit[0]) and event.value in ("", "~", "null", "Null", "NULL")
        elif isinstance(event, yaml.MappingStartEvent):
            made.fields = self._mapping(events, depth, made)
        else:
            made.items = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                made.items.append(child := self.node(event, events, depth + 1))
                made.size += child.size
        if anchor is not None:
            self._anchors[anchor] = made
        return made

    def _mapping(self, events: Iterator[Any], depth: int, made: Node) -> dict[str, Node]:
        import yaml

        fields: dict[str, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.node(event, events, depth + 1)
            if key.text is None:
                self._fail(key.line, "a key is no word", "")
            if key.text == "<<":
                self._fail(key.line, "merge keys (<<) are not read here", "write the fields out")
            if key.text in fields:
                self._fail(
                    key.line, f"the key {clean_line(key.text, 60)} is there twice", "keep one of the two"
                )
            value = self.node(next(events), events, depth + 1)
            fields[key.text] = value
            made.size += value.size
        return fields

    def _alias(self, anchor: str, line: int) -> Node:
        found = self._anchors.get(anchor)
        if found is None:
            self._fail(
                line, f"*{clean_line(anchor, 40)} stands for something that contains it, or for nothing", ""
            )
        self._count(found.size, line)
        return found

    def _count(self, more: int, line: int) -> None:
        self._nodes += more
        if self._nodes > MAX_NODES:
            self._fail(line, f"more than {MAX_NODES} values", "split the file")

    def _fail(self, line: int, what: str, remedy: str) -> NoReturn:
        raise YamlMistake(f"{self._name} line {line}: {what}", remedy)


def _line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
