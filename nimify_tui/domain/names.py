"""Names by the rules of Kubernetes, and the keys that facts are filed under."""

from __future__ import annotations

import re
from typing import NamedTuple

from nimify_tui.base.errors import ValidationError

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


class ServiceKey(NamedTuple):
    """One service in one region; ``namespace`` is "" where a region has none (embedded, Docker)."""

    region: str
    name: str
    namespace: str = ""

    @property
    def row_id(self) -> str:
        """Identity of this service's own row (one region)."""
        return f"{self.fold_id}@{self.region}"

    @property
    def fold_id(self) -> str:
        """Identity of the row that folds this service over all its regions."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def object_name(key: ServiceKey) -> str:
    """The name of the object in its cluster: where several kinds are in one plan, a key reads ``configmap/web``.

    No object's name can hold a slash (it is one segment of a path).
    """
    return key.name.rpartition("/")[2]


class ReplicaKey(NamedTuple):
    """One replica of one service; ``replica`` is unique in that service for ever, never used again."""

    service: ServiceKey
    replica: str


def check_name(name: str, what: str = "name") -> str:
    """Return ``name`` when it is a DNS label (RFC 1123, as Kubernetes wants it for a Service).

    Raises ValidationError that says what is wrong and offers a valid name.
    """
    if _LABEL.match(name):
        return name
    suggestion = suggest_name(name)
    remedy = f"use lower-case letters, digits and '-', at most 63, e.g. {suggestion!r}"
    raise ValidationError(f"{what} {name[:80]!r} is not a valid name", remedy)


def suggest_name(text: str) -> str:
    """A valid name near to ``text`` (a file's stem, say)."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    return name or "model"


#: Short region names for 80 columns: us-east-1 -> use1, ap-northeast-1 -> apne1.
_SHORT_PARTS = {
    "north": "n", "south": "s", "east": "e", "west": "w", "central": "c",
    "northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw",
}  # fmt: skip


def short_region(name: str) -> str:
    """``us-east-1`` as ``use1``; a name that is no cloud region stays as it is."""
    parts = name.split("-")
    if len(parts) == 3 and parts[1] in _SHORT_PARTS and parts[2].isdigit() and len(parts[0]) <= 3:
        return f"{parts[0]}{_SHORT_PARTS[parts[1]]}{parts[2]}"
    return name
