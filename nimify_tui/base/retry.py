"""Back-off with jitter, in one place."""

from __future__ import annotations

import random


class Backoff:
    """Exponential back-off: ``first_s``, doubled up to ``cap_s``, each wait drawn from its upper half.

    Half jitter keeps two clients apart and still never retries at once (AWS Architecture Blog,
    "Exponential Backoff and Jitter", calls it equal jitter).
    """

    def __init__(self, first_s: float = 0.5, cap_s: float = 30.0, rng: random.Random | None = None) -> None:
        self.first_s = first_s
        self.cap_s = cap_s
        self.failures = 0
        self._rng = rng or random.Random()

    def next_s(self) -> float:
        """Seconds to wait before the next try; counts one more failure."""
        ceiling = min(self.cap_s, self.first_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return ceiling / 2 + self._rng.random() * ceiling / 2

    def reset(self) -> None:
        """Forget the failures: it worked."""
        self.failures = 0
