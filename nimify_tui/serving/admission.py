"""How many requests are let in at once: a limit that follows the measured time in the house.

Additive increase, multiplicative decrease (Chiu and Jain 1989, as in TCP and in Netflix' concurrency-limits):
while answers come in the time they may take and the limit is used, it grows by about 1 in the time of one window;
an answer that is late cuts it, at most once for what was let in before the last cut - those are late for the same
reason, as a window of TCP is cut once in a round trip. The cut is a tenth or, as in the gradient limit of Netflix'
library, by how much too late the answer was, at most a half: else a limit of 200 falls to the right 8 in a minute.
"""

from __future__ import annotations

CUT, MOST = 0.9, 0.5


class AdaptiveLimit:
    """Requests waiting and running together, between ``low`` and ``high``; starts at ``high``."""

    def __init__(self, low: int, high: int, objective_s: float) -> None:
        self._low, self._high, self._objective_s = float(low), float(max(low, high)), objective_s
        self._limit = self._high
        self._cut_at_mono_s = float("-inf")

    @property
    def limit(self) -> int:
        """How many may be here now."""
        return int(self._limit)

    def answered(self, asked_mono_s: float, now_mono_s: float, here: int) -> None:
        """A request that was let in at ``asked_mono_s`` ended now, answered or too late; ``here`` are left."""
        took_s = now_mono_s - asked_mono_s
        if took_s > self._objective_s:
            if asked_mono_s >= self._cut_at_mono_s:
                cut = min(CUT, max(MOST, self._objective_s / took_s))
                self._limit = max(self._low, self._limit * cut)
                self._cut_at_mono_s = now_mono_s
        elif 2 * here >= self._limit:
            # A limit that nobody comes near was not tested by this answer.
            self._limit = min(self._high, self._limit + 1.0 / self._limit)
