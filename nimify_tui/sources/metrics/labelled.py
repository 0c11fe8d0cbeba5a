"""The series of one name at one scrape, as two columns: labels that stay the same for hours, and the values of now.

What the labels of a replica's series say (the bounds of its buckets, its models) is found out once and kept with them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, final, overload

from nimify_tui.sources.metrics.exposition import Labels, Series

T = TypeVar("T")
#: As a series is made of a pair, without the call that Python makes of it: there is one for each series.
_series: Callable[[tuple[Labels, float]], Series] = partial(tuple.__new__, Series)


class LabelSets:
    """The runtime's own labels of all series of one name; they are the same ones turn after turn."""

    __slots__ = ("_found", "all")

    def __init__(self, labels: Sequence[Labels]) -> None:
        self.all = tuple(labels)
        self._found: dict[Hashable, Any] = {}

    def known(self, what: Hashable, find: Callable[[Sequence[Labels]], T]) -> T:
        """What ``find`` makes of the labels, found out once. ``what`` is one thing, and its answer of one type."""
        try:
            found: T = self._found[what]
        except KeyError:
            found = self._found[what] = find(self.all)
        return found


@final
class Column(Sequence[Series]):
    """The series of one name at one scrape. Who needs labels or values alone takes those."""

    __slots__ = ("sets", "values")

    def __init__(self, sets: LabelSets, values: Sequence[float]) -> None:
        self.sets, self.values = sets, values

    def __len__(self) -> int:
        return len(self.values)

    def __bool__(self) -> bool:
        return bool(self.values)

    def __iter__(self) -> Iterator[Series]:
        return map(_series, zip(self.sets.all, self.values, strict=True))

    @overload
    def __getitem__(self, at: int) -> Series: ...

    @overload
    def __getitem__(self, at: slice) -> list[Series]: ...

    def __getitem__(self, at: int | slice) -> Series | list[Series]:
        if isinstance(at, slice):
            return list(self)[at]
        return Series(self.sets.all[at], self.values[at])


def values_of(series: Iterable[Series] | None) -> Iterable[float]:
    """The values alone."""
    if type(series) is Column:
        return series.values
    return [each.value for each in series or ()]
