"""What may stand behind a command that changes something: words, and options in any order, dashes or none."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from nimify_tui.base.clock import duration_s

#: Each replica ends before its successor starts.
STOP_FIRST = "stop-first"
FORCE = "force"
#: Each region has to be well for so long before the next one is touched.
SOAK = "soak"
#: Well means ready without restarts, where there are no numbers of errors and latency.
UNMEASURED = "unmeasured"
#: What every wave understands.
WAVE = (SOAK, UNMEASURED)
_FIELDS = {STOP_FIRST: "stop_first", FORCE: "force", UNMEASURED: "unmeasured"}


@dataclass(frozen=True)
class Wish:
    """The words, and the fields of the request that the options mean."""

    words: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)


def parse(text: str, options: Collection[str]) -> Wish:
    """``3 soak 5m`` with the options that a command knows. Raises ValueError in words for the operator."""
    try:
        given = shlex.split(text)
    except ValueError:
        given = text.split()
    words: list[str] = []
    fields: dict[str, Any] = {}
    rest = iter(given)
    for each in rest:
        dashed, (name, equals, value) = each.startswith("--"), each.removeprefix("--").partition("=")
        if name not in options or (equals and not dashed):
            if dashed:
                raise ValueError(
                    f"{each!r} is not known here; there are {', '.join(options) or 'no options'}"
                )
            words.append(each)
        elif name == SOAK:
            fields["soak_s"] = duration_s(value if equals else next(rest, ""))
        else:
            fields[_FIELDS[name]] = True
    return Wish(tuple(words), fields)
