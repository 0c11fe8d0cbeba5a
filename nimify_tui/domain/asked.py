"""Where numbers came from that a Prometheus told: the series of a replica, as matchers that can be asked again.

https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from nimify_tui.base.text import clean_line

#: What has a meaning in RE2 (https://github.com/google/re2/wiki/Syntax).
_MEANING = re.compile(r"[\\.+*?()|\[\]{}^$]")
#: Of a longer value of a label no more is looked at.
MOST_CHARS = 2000
#: The ``sign`` of what redis_exporter tells.
REDIS = "redis_up"


class Found(NamedTuple):
    """The series of one replica on a server.

    ``who`` is the server in words, ``sign`` a name of a metric by which the runtime is known (domain.promql; "": there
    is no expression for its numbers), ``labels`` those of (namespace, replica), the first "" where there are no
    namespaces. ``names`` are the values that the label of the replica may have; ``also`` more matchers of the server's.
    ``every_s`` is how often it is read, seconds.
    """

    region: str
    who: str
    sign: str
    labels: tuple[str, str]
    space: str
    names: tuple[str, ...]
    also: str
    every_s: float


class Asked(NamedTuple):
    """What is asked of one server for one panel: series by their ``matchers``, told apart by the labels ``by``.

    ``who`` "": nobody but what is measured itself has told it, and ``sign`` is who that is, in words.
    """

    region: str
    who: str
    sign: str
    matchers: str
    by: tuple[str, ...] = ()
    every_s: float = 0.0


def together(found: Iterable[Found | str]) -> tuple[Asked, ...]:
    """Replicas of one region that are found in one way as one; a region's name alone: its replica was read here."""
    kept: dict[tuple[str, ...], list[Found]] = {}
    for each in found:
        if isinstance(each, str):
            kept.setdefault((each,), [])
        else:
            kept.setdefault((each.region, each.who, each.sign, *each.labels, each.also), []).append(each)
    made = []
    for key, members in sorted(kept.items()):
        if not members:
            made.append(Asked(key[0], "", "metrics of its replicas", ""))
            continue
        space, name = members[0].labels
        matchers = both(
            matching(space, (each.space for each in members)) if space else "",
            matching(name, (value for each in members for value in each.names)), members[0].also,
        )  # fmt: skip
        by = tuple(filter(None, (space, name)))
        every_s = max(each.every_s for each in members)
        made.append(Asked(members[0].region, members[0].who, members[0].sign, matchers, by, every_s))
    return tuple(made)


def matching(label: str, values: Iterable[str]) -> str:
    """The matcher of exactly these values of a label."""
    every = sorted({each[:MOST_CHARS] for each in values})
    if len(every) == 1:
        return f"{label}={text_of(every[0])}"
    escaped = (_MEANING.sub(lambda char: f"\\{char[0]}", each) for each in every)
    return f"{label}=~{text_of('|'.join(escaped))}"


def text_of(value: str) -> str:
    """A PromQL string; what a terminal would obey, hide or reorder is written as its number."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped if escaped.isascii() and escaped.isprintable() else "".join(map(_plain, escaped))}"'


def both(*matchers: str) -> str:
    """Several matchers, of which some may be ""."""
    return ",".join(filter(None, matchers))


def _plain(char: str) -> str:
    if unicodedata.category(char)[0] != "M" and clean_line(f"a{char}") == f"a{char}":
        return char
    number = ord(char)
    return f"\\U{number:08x}" if number > 0xFFFF else f"\\u{number:04x}"
