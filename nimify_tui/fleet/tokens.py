"""What a replica of a language model's server said of tokens, lately: its last scrape, and one to compare it with."""

from __future__ import annotations

from operator import sub
from typing import NamedTuple

from nimify_tui.domain.measures import Histogram, TokenSample

#: The window is once to twice as long, seconds.
WINDOW_S = 12.0
#: Start times of one process differ less than this between scrapes, seconds.
_SAME_START_S = 1.0
_COUNTERS = ("prompt_tokens", "generation_tokens", "prefix_queries", "prefix_hits", "preemptions")
_HISTOGRAMS = ("ttft", "itl")


class Told(NamedTuple):
    """One scrape."""

    at: float
    sample: TokenSample


class TokenTrack:
    """One replica. A restarted process, a gap and a counter that goes back are new beginnings: never a spike."""

    __slots__ = ("_begin", "_mid", "_started_at", "first_tokens", "now")

    def __init__(self) -> None:
        self.now: Told | None = None
        self._mid: Told | None = None
        self._begin: Told | None = None
        self._started_at: float | None = None
        #: Bounds (seconds) and cumulative counts of what the last scrape has added to the time to first token.
        self.first_tokens: tuple[tuple[float, ...], list[float]] | None = None

    def observe(self, sample: TokenSample, at: float, started_at: float | None, gap_s: float) -> None:
        """Take in one scrape; those further apart than ``gap_s`` are not compared."""
        before = self.now
        same = (
            started_at is None
            or self._started_at is None
            or abs(started_at - self._started_at) < _SAME_START_S
        )
        self.first_tokens = None
        if before is None or not same or at - before.at > gap_s or not _follows(before.sample, sample):
            self._mid = self._begin = None
        elif before.sample.ttft is not None and sample.ttft is not None:
            grown = list(map(sub, sample.ttft.counts, before.sample.ttft.counts))
            self.first_tokens = (sample.ttft.bounds_s, grown)
        self.now, self._started_at = Told(at, sample), started_at
        if self._mid is None or at - self._mid.at >= WINDOW_S:
            self._begin, self._mid = self._mid, self.now

    @property
    def span_s(self) -> float:
        """How long its window is now; 0.0 while there is nothing to compare with."""
        begin = self._begin or self._mid
        return self.now.at - begin.at if begin is not None and self.now is not None else 0.0

    def grown(self, name: str) -> float | None:
        """By how much a counter grew over the window; None when it is not told, or nothing is to compare with."""
        begin = self._begin or self._mid
        if begin is None or self.now is None or not self.span_s:
            return None
        now, then = getattr(self.now.sample, name), getattr(begin.sample, name)
        return now - then if now is not None and then is not None else None

    def buckets(self, name: str) -> tuple[tuple[float, ...], list[float]] | None:
        """Bounds and cumulative counts of a histogram over the window; None as in :meth:`grown`."""
        begin = self._begin or self._mid
        if begin is None or self.now is None or not self.span_s:
            return None
        now: Histogram | None = getattr(self.now.sample, name)
        then: Histogram | None = getattr(begin.sample, name)
        return (now.bounds_s, list(map(sub, now.counts, then.counts))) if now is not None and then is not None else None


def _follows(before: TokenSample, now: TokenSample) -> bool:
    """Whether ``now`` can be of the same process: what was counted is still there, and nothing is less."""
    for name in _COUNTERS:
        old, new = getattr(before, name), getattr(now, name)
        if (old is None) != (new is None) or (old is not None and new < old):
            return False
    for name in _HISTOGRAMS:
        old, new = getattr(before, name), getattr(now, name)
        if (old is None) != (new is None):
            return False
        if old is not None and (old.bounds_s != new.bounds_s or min(map(sub, new.counts, old.counts)) < 0.0):
            return False
    return True
