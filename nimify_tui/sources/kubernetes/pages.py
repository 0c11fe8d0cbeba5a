"""A page of a list: whatever kind it is of, each of its objects is read by itself, so that one bad one costs itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from nimify_tui.sources.kubernetes.kinds import Kind
from nimify_tui.sources.kubernetes.parts import Part


class ListMeta(Part, frozen=True):
    """Metadata of a list: the version to watch from, and where the next page begins."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None


class Page(Part, frozen=True):
    """A page of a list, its items still as text: one that cannot be read must not cost the others."""

    metadata: ListMeta = ListMeta()
    items: list[msgspec.Raw] | None = None


PAGE = msgspec.json.Decoder(Page)


def read_items(
    kind: Kind, items: Iterable[msgspec.Raw], shared: dict[str, Any]
) -> tuple[list[Any], int]:
    """The objects of a page, and how many could not be read (a field of another type than the API says).

    ``shared``: see :meth:`Object.packed`.
    """
    found, bad = [], 0
    decode = kind.decoder.decode
    for item in items:
        try:
            found.append(decode(item).packed(shared))
        except (msgspec.MsgspecError, RecursionError):
            bad += 1
    return found, bad
