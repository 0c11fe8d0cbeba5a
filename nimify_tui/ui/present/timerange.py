"""Which time a chart shows: ranges, zooming around a cursor, panning into the past, back to now. No drawing."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: name -> seconds, the shortest first.
RANGES: dict[str, float] = {
    "5m": 300.0, "15m": 900.0, "1h": 3600.0, "6h": 21600.0, "1d": 86400.0, "7d": 604800.0, "30d": 2592000.0,
}  # fmt: skip
_WINDOWS = tuple(RANGES.values())
#: Nobody pans further back than this, seconds.
FARTHEST_S = 366 * 86400.0


@dataclass(frozen=True)
class TimeView:
    """The ``window_s`` seconds that end at ``end_at`` (unix seconds; None: now, and it goes on). ``cursor_at``: pointed
    at, None for no cursor.
    """

    window_s: float = 3600.0
    end_at: float | None = None
    cursor_at: float | None = None

    @property
    def live(self) -> bool:
        """Whether it ends now."""
        return self.end_at is None

    @property
    def name(self) -> str:
        """``6h``."""
        return next((name for name, window_s in RANGES.items() if window_s == self.window_s), f"{self.window_s:.0f}s")

    def end(self, now: float) -> float:
        """Where it ends."""
        return now if self.end_at is None else self.end_at

    def zoomed(self, closer: int, now: float) -> TimeView:
        """The next shorter (``closer`` 1) or longer (-1) range; what is pointed at stays where it stands."""
        place = _WINDOWS.index(self.window_s) if self.window_s in _WINDOWS else 0
        return self.ranged(_WINDOWS[min(len(_WINDOWS) - 1, max(0, place - closer))], now)

    def ranged(self, window_s: float, now: float) -> TimeView:
        """A range so long, around the cursor, or with the same end where there is none."""
        end = self.end(now)
        if self.cursor_at is not None:
            after_s = (end - self.cursor_at) * window_s / self.window_s
            end = self.cursor_at + min(window_s, max(0.0, after_s))
        return self._ending(end, now, window_s)

    def panned(self, share: float, now: float) -> TimeView:
        """Moved by a share of the window: negative into the past; never beyond now."""
        moved = self._ending(self.end(now) + share * self.window_s, now, self.window_s)
        if self.cursor_at is None:
            return moved
        end = moved.end(now)
        return replace(moved, cursor_at=min(end, max(end - moved.window_s, self.cursor_at)))

    def back(self) -> TimeView:
        """To now, with no cursor."""
        return TimeView(self.window_s)

    def _ending(self, end: float, now: float, window_s: float) -> TimeView:
        end = max(end, now - FARTHEST_S)
        return TimeView(window_s, None if end >= now else end, self.cursor_at)
