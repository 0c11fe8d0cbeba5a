"""Where the numbers of services came from: what can be asked of which Prometheus, and what was read by this console."""

from __future__ import annotations

from collections.abc import Iterable

from nimify_tui.domain.asked import Asked, Found, together
from nimify_tui.fleet.tracks import ServiceTrack


class Whereabouts:
    """Of some services; the same object as long as nothing of it is another."""

    def __init__(self) -> None:
        self._found: list[Found | str] = []
        self._asked: tuple[Asked, ...] = ()

    def of(self, tracks: Iterable[ServiceTrack]) -> tuple[Asked, ...]:
        """Of these services' replicas that were read."""
        found = [each.found or track.key.region for track in tracks for each in track.replicas.values() if each.at]
        if found != self._found:
            self._found, self._asked = found, together(found)
        return self._asked
