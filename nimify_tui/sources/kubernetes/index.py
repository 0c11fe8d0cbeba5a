"""Objects of a cluster by where they are looked for. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from nimify_tui.sources.kubernetes.kinds import Object

T = TypeVar("T", bound=Object)
Place = tuple[str, ...]


class Index(Generic[T]):
    """Objects by the places at which they are looked for; an object that changes moves."""

    def __init__(self, places: Callable[[T], Iterable[Place]]) -> None:
        self.by_uid: dict[str, T] = {}
        self._places = places
        self._at: dict[Place, dict[str, T]] = {}

    def take(self, one: T) -> None:
        """It is so now."""
        self.drop(one.metadata.uid)
        self.by_uid[one.metadata.uid] = one
        for place in self._places(one):
            self._at.setdefault(place, {})[one.metadata.uid] = one

    def drop(self, uid: str) -> None:
        """It is no more."""
        old = self.by_uid.pop(uid, None)
        if old is None:
            return
        for place in self._places(old):
            there = self._at.get(place, {})
            there.pop(uid, None)
            if not there:
                self._at.pop(place, None)

    def at(self, *place: str) -> list[T]:
        """What is there, in the order of names."""
        return sorted(self._at.get(place, {}).values(), key=lambda each: each.metadata.name)
