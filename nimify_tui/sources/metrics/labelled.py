"""The series of one name at one scrape, as two columns: labels that stay the same for hours, and the values of now.

What the labels of a replica's series say (the bounds of its buckets, its models) is found out once and kept with them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, final

import msgspec

from nimify_tui.sources.metrics.exposition import Labels, Series

T = TypeVar("T")
Given = TypeVar("Given", bound=Hashable)
#: As a series is made of a pair, without the call that Python makes of it: there is one for each series.
_series: Callable[[tuple[Labels, float]], Series] = partial(tuple.__new__, Series)


class LabelSets:
    """The runtime's own labels of all series of one name; they are the same ones turn after turn."""

    __slots__ = ("_found", "all", "count")

    def __init__(self, labels: Sequence[Labels]) -> None:
        self.all = tuple(labels)
        self.count = len(self.all)
        self._found: dict[Hashable, Any] = {}

    def known(self, find: Callable[[Sequence[Labels], Given], T], given: Given) -> T:
        """What ``find`` makes of the labels with what it is ``given``, found out once; both are kept as a key."""
        try:
            found: T = self._found[find, given]
        except KeyError:
            found = self._found[find, given] = find(self.all, given)
        return found


@final
class Column(msgspec.Struct, gc=False):
    """The series of one name at one scrape, as any :class:`Rows`. Who needs labels or values alone takes those.

    There are twenty on a page, and each is made in C: a class of Python's takes three times as long.
    """

    sets: LabelSets
    values: list[float]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Series]:
        return map(_series, zip(self.sets.all, self.values, strict=True))

    def __getitem__(self, at: int, /) -> Series:
        return Series(self.sets.all[at], self.values[at])


def values_of(series: Iterable[Series]) -> list[float]:
    """The values alone."""
    if type(series) is Column:
        return series.values
    return [value for _, value in series]
