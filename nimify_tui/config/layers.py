"""The raw values of all layers of the configuration, and where each came from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from nimify_tui.config.lines import Path

PREFIX = "NIMIFY_"
#: Arrays of tables, and the key by which one of their tables is told from another.
IDENTITY = {"region": "name", "slo": "service", "feed": "name"}
LISTS = tuple(IDENTITY)


@dataclass(frozen=True)
class Problem:
    """One thing wrong: ``where`` ("/path/config.toml line 7", "NIMIFY_GATE__READONLY"), ``key``, words, remedy."""

    where: str
    key: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.where}: {key}{self.text}"


class Merged:
    """The raw values of all layers, and for each the place it came from."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.origins: dict[Path, str] = {}

    def put(self, path: Path, value: Any, origin: str) -> None:
        """Set one value, making the tables on the way to it."""
        here: Any = self.data
        for key, following in itertools.pairwise(path):
            if isinstance(here, list) and isinstance(key, int):
                while len(here) <= key:
                    here.append({})
                here = here[key]
            elif isinstance(here, dict):
                empty: Any = [] if isinstance(following, int) else {}
                if not isinstance(here.get(str(key)), (dict, list)):
                    here[str(key)] = empty
                here = here[str(key)]
        if isinstance(here, dict):
            here[str(path[-1])] = value
        self.origins[path] = origin

    def where(self, path: Path) -> str:
        """The place of a key, or of the nearest table around it that is known."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path[:-1]
        return "configuration"


def path_text(path: Path) -> str:
    """``region[0].name`` for ``("region", 0, "name")``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
