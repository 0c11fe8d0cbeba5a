"""What is usual for one number of one service: a robust moving mean of its logarithm."""

from __future__ import annotations

import math

#: Weight of a new column once the past is known.
ALPHA = 0.12
#: It is known with so many columns: until then each weighs as much as any.
_KNOWN = math.ceil(1.0 / ALPHA)
#: What is less is taken as this: it has no logarithm.
_LEAST = 1e-6
#: At most so much a column moves the past (a factor of two).
_STEP = math.log(2.0)
#: Columns without which nothing is usual.
MIN_COLUMNS = 2


class Baseline:
    """The past of one positive number."""

    __slots__ = ("log", "n", "spread")

    def __init__(self) -> None:
        self.log = 0.0
        self.spread = 0.0
        self.n = 0

    def learn(self, value: float) -> None:
        """One more column."""
        x = math.log(max(_LEAST, value))
        self.n = n = self.n + 1
        if n == 1:
            self.log = x
            return
        weight = ALPHA if n >= _KNOWN else 1.0 / n
        away = x - self.log
        self.log += weight * (away if n <= 3 or -_STEP < away < _STEP else math.copysign(_STEP, away))
        self.spread += weight * (abs(away) - self.spread)

    @property
    def value(self) -> float | None:
        """What is normal, None while that is not known."""
        return math.exp(self.log) if self.n >= MIN_COLUMNS else None

    def factor(self, value: float) -> float:
        """How many times the normal ``value`` is, less what it scatters anyway."""
        return math.exp(abs(math.log(max(value, _LEAST)) - self.log) - min(self.spread, 1.0))
