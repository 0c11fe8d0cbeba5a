"""What a run of n rows takes: t(n) = a + b * n, measured at load time and followed while serving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: A run counts this much less with each later run: about the last 50 decide.
FORGET = 0.98
#: Without an objective: batches grow while the work of a row can still be had for this much more than the least.
_NEAR_BEST = 1.1
#: From so much saved on on, a batch is worth that its rows wait for each other.
_PAYS = 1.2
#: A request that comes just after a run began waits for that run and then needs its own.
_RUNS_IN_OBJECTIVE = 2.0


class RunTime:
    """A line through the measured runs by least squares, older runs weighing exponentially less.

    Seconds; rows may be fractions, where a row is larger or smaller than the one measured at load time.
    """

    def __init__(self) -> None:
        self.a_s = self.b_s = 0.0
        self._weight = self._n = self._t = self._nn = self._nt = 0.0

    def add(self, rows: float, took_s: float) -> None:
        """A run of so many rows took so long."""
        self._weight = FORGET * self._weight + 1.0
        self._n = FORGET * self._n + rows
        self._t = FORGET * self._t + took_s
        self._nn = FORGET * self._nn + rows * rows
        self._nt = FORGET * self._nt + rows * took_s
        mean_n, mean_t = self._n / self._weight, self._t / self._weight
        spread = self._nn / self._weight - mean_n * mean_n
        if spread > 0.01 * mean_n * mean_n:
            slope = (self._nt / self._weight - mean_n * mean_t) / spread
            # Neither part can be negative: at most all of the time is the rows'.
            self.b_s = min(max(0.0, slope), mean_t / mean_n)
            self.a_s = max(0.0, mean_t - self.b_s * mean_n)
            return
        # Runs of one size say how fast, not what of it is constant: the shares stay as they were.
        before = self.a_s + self.b_s * mean_n
        if before > 0.0:
            self.a_s, self.b_s = self.a_s * mean_t / before, self.b_s * mean_t / before
        else:
            self.a_s = mean_t

    def of(self, rows: float) -> float:
        """Expected seconds of a run of so many rows; 0 while nothing was measured."""
        return self.a_s + self.b_s * rows


@dataclass(frozen=True, slots=True)
class BatchChoice:
    """The most rows of one run, and why, in words for the health page."""

    rows: int
    words: str


def measure(run_rows: Callable[[int], float], max_rows: int, budget_s: float) -> RunTime:
    """Run 1, 2, 4 ... ``max_rows`` rows (``run_rows`` gives the seconds) until the budget is spent."""
    made, spent_s, rows = RunTime(), 0.0, 1
    while rows <= max_rows:
        # The first run of a size also allocates; the least of two is free of that.
        took = [run_rows(rows), run_rows(rows)]
        made.add(rows, min(took))
        spent_s += sum(took)
        if spent_s + 4 * took[1] > budget_s:
            break
        rows = rows * 2 if rows * 2 <= max_rows or rows == max_rows else max_rows
    return made


def choose(time: RunTime, max_rows: int, objective_s: float | None) -> BatchChoice:
    """The most rows of a run: within half the objective, or as many as still make a row cheaper."""
    measured = f"a run takes {_ms(time.a_s)} and {_ms(time.b_s)} a row"
    sizes = [1 << at for at in range(max_rows.bit_length()) if 1 << at <= max_rows]
    if sizes[-1] != max_rows:
        sizes.append(max_rows)
    if sizes[-1] == 1:
        return BatchChoice(1, "batches of 1: that is the setting")
    gain = max_rows * time.of(1) / time.of(max_rows) if time.of(max_rows) > 0.0 else 1.0
    if gain < _PAYS:
        return BatchChoice(1, f"one request a run: {measured}, so that {max_rows} together save nothing")
    best = time.of(max_rows) / max_rows
    rows = next(size for size in sizes if time.of(size) / size <= _NEAR_BEST * best)
    if objective_s is None:
        return BatchChoice(rows, f"up to {rows} rows a run: {measured}, and more rows save little")
    room_s = objective_s / _RUNS_IN_OBJECTIVE
    within = max_rows if time.b_s == 0.0 else int((room_s - time.a_s) / time.b_s)
    if time.of(1) > room_s or within < 1:
        return BatchChoice(
            1, f"one request a run: {measured}, and two runs do not fit the objective of {_ms(objective_s)}"
        )
    if within < rows:
        words = f"up to {within} rows a run: {measured}, and two runs of more pass the objective of {_ms(objective_s)}"
        return BatchChoice(within, words)
    return BatchChoice(
        rows,
        f"up to {rows} rows a run: {measured}; two runs take {_ms(2 * time.of(rows))} of {_ms(objective_s)}",
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
