"""Error budgets: bad and all requests of a service in a region, for as long as its budget's window.

Burn rates are taken over pairs of windows, a long one that shows that it matters and a short one that shows that it
still goes on (Google SRE Workbook, chapter 5, "multiwindow, multi-burn-rate alerts": 14.4, 6, 3 and 1 for a budget of
30 days). A window that was not watched whole says for how long it was, and nothing is made up for the rest.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from nimify_tui.base.errors import ValidationError
from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.domain.slos import Burning, Slo
from nimify_tui.fleet.quantiles import Bounds, at_most_within
from nimify_tui.fleet.series import COLUMN_S, ERRORS, Window
from nimify_tui.fleet.words import seconds, span

#: A window is whole when this part of it was watched: a console is started anew now and then.
WHOLE = 0.95
_DAY_S = 86400.0


class Pair(NamedTuple):
    """Both windows (seconds) have to burn at least ``limit`` times as fast as the budget allows."""

    long_s: float
    short_s: float
    limit: float
    says: Burning

    @property
    def name(self) -> str:
        """``1 h, 5 min``."""
        return f"{length(self.long_s)}, {length(self.short_s)}"


#: Fastest first; the first one is the row's.
PAIRS: tuple[Pair, ...] = (
    Pair(3600.0, 300.0, 14.4, Burning.FAST),
    Pair(6 * 3600.0, 1800.0, 6.0, Burning.FAST),
    Pair(_DAY_S, 2 * 3600.0, 3.0, Burning.SLOW),
    Pair(3 * _DAY_S, 6 * 3600.0, 1.0, Burning.SLOW),
)
#: (step, for how long it is kept), seconds: short windows need fine steps, the budget's own only hours.
_LEVELS = ((20.0, 2 * 3600.0), (300.0, 3 * _DAY_S + 600.0), (3600.0, 92 * _DAY_S))
_WIDTH = 3  # bad, total, watched seconds
#: The newest column closes some moments after its time; when it is older than this, nobody watches, seconds.
_LATE_S = 60.0


class Sum(NamedTuple):
    """Requests of a window, and for how long it was watched."""

    bad: float
    total: float
    have_s: float


class Kept(msgspec.Struct, frozen=True):
    """A ledger on the disk: for each level the numbers of its steps and (bad, total, watched s) of each."""

    service: str
    namespace: str
    steps: tuple[tuple[int, ...], ...]
    sums: tuple[tuple[float, ...], ...]


class _Level:
    """Sums for steps of one length, oldest first."""

    __slots__ = ("ids", "keep", "step_s", "sums")

    def __init__(self, step_s: float, keep_s: float) -> None:
        self.step_s = step_s
        self.keep = math.ceil(keep_s / step_s)
        self.ids = array("q")
        self.sums = array("d")

    def add(self, at: float, values: Sequence[float]) -> None:
        step = int(at // self.step_s)
        if not self.ids or step > self.ids[-1]:
            self.ids.append(step)
            self.sums.extend(values)
            surplus = bisect_left(self.ids, step - self.keep + 1)
            if surplus > max(8, self.keep // 8):
                del self.ids[:surplus]
                del self.sums[: surplus * _WIDTH]
            return
        index = bisect_left(self.ids, step)
        if self.ids[index] != step:  # a column closes after first tokens of later were told
            self.ids.insert(index, step)
            self.sums[index * _WIDTH : index * _WIDTH] = array("d", values)
            return
        for offset, value in enumerate(values):
            self.sums[index * _WIDTH + offset] += value

    def sum(self, since: float, until: float) -> Sum:
        """Of the steps that end after ``since`` and begin before ``until``."""
        begin, end = bisect_left(self.ids, int(since // self.step_s) + 1), bisect_left(self.ids, until / self.step_s)
        cut = self.sums[begin * _WIDTH : end * _WIDTH]
        return Sum(sum(cut[0::_WIDTH]), sum(cut[1::_WIDTH]), sum(cut[2::_WIDTH]))


class Ledger:
    """One service with an objective in one region."""

    __slots__ = ("_at", "_first_at", "_known", "_levels", "_unknown", "slo")

    def __init__(self, slo: Slo) -> None:
        self.slo = slo
        #: By part of the objective: why it cannot be measured, "" where it is. When a first token was told of last.
        self._unknown: dict[str, str] = {}
        self._first_at = -math.inf
        self._levels = tuple(_Level(*each) for each in _LEVELS)
        self._at = 0.0
        self._known: dict[float, Sum] = {}

    def learn(self, column: int, window: Window) -> None:
        """A column has closed: what failed, and what was slower than the objective."""
        slo, total, bad = self.slo, window.total, window.values[ERRORS]
        at = (column + 0.5) * COLUMN_S
        if slo.latency_ms is not None and total > 0.0:
            within, why = at_most_within(slo.latency_ms / 1000, window.bounds, window.counts)
            limit = seconds(slo.latency_ms / 1000)
            self._unknown["latency"] = f"whether it answers within {limit} ({why})" if why else ""
            bad = max(bad, min(total, bad + (1.0 - within) * total))
        if slo.ttft_ms is not None and total > 0.0 and at - self._first_at > _LATE_S:
            self._unknown["first token"] = f"when its first tokens come ({seconds(slo.ttft_ms / 1000)} are allowed)"
        self._add(at, bad, total, min(COLUMN_S, window.span_s))

    def first_tokens(self, at: float, bounds: Bounds, counts: Sequence[float]) -> None:
        """Requests whose first token came between two scrapes, by how long it took."""
        if self.slo.ttft_ms is None:
            return
        self._first_at = at
        if counts[-1] <= 0.0:
            return
        limit_s = self.slo.ttft_ms / 1000
        within, why = at_most_within(limit_s, bounds, counts)
        self._unknown["first token"] = f"whether first tokens come within {seconds(limit_s)} ({why})" if why else ""
        self._add(at, (1.0 - within) * counts[-1], 0.0, 0.0)

    @property
    def unknown(self) -> str:
        """What of the objective cannot be measured, so that more may be bad than is counted; "" where all is."""
        slo, wanted = self.slo, []
        wanted += ["latency"] if slo.latency_ms is not None else []
        wanted += ["first token"] if slo.ttft_ms is not None else []
        return ", ".join(filter(None, (self._unknown.get(each, "") for each in wanted)))

    def _add(self, at: float, bad: float, total: float, watched_s: float) -> None:
        for level in self._levels:
            level.add(at, (bad, total, watched_s))
        self._at = max(self._at, at)
        self._known.clear()

    def sum(self, length_s: float, at: float | None = None) -> Sum:
        """The last ``length_s`` seconds before ``at``, or before the newest column where that is as good as now."""
        if at is not None and at - self._at > _LATE_S:
            return self._level(length_s).sum(at - length_s, at)
        known = self._known.get(length_s)
        if known is None:
            level = self._level(length_s)
            known = self._known[length_s] = level.sum(self._at - length_s, self._at + COLUMN_S)
        return known

    def _level(self, length_s: float) -> _Level:
        return next((each for each in self._levels if each.keep * each.step_s >= length_s), self._levels[-1])

    def kept(self, service: str, namespace: str) -> Kept:
        """To be written down."""
        return Kept(
            service=service, namespace=namespace, steps=tuple(tuple(each.ids) for each in self._levels),
            sums=tuple(tuple(round(value, 3) for value in each.sums) for each in self._levels),
        )  # fmt: skip

    def restore(self, kept: Kept) -> None:
        """Go on from what was written down. Raises ValidationError when it cannot have been written by us."""
        if len(kept.steps) != len(self._levels) or len(kept.sums) != len(self._levels):
            return  # of a version with other levels
        for level, ids, sums in zip(self._levels, kept.steps, kept.sums, strict=True):
            sound = ids == tuple(sorted(set(ids))) and all(0 <= each < 2**40 for each in ids)
            if not sound or len(sums) != _WIDTH * len(ids) or not all(map(_amount, sums)):
                raise ValidationError(f"the kept error budget of {kept.service} is garbled", "delete the file")
            level.ids, level.sums = array("q", ids[-level.keep :]), array("d", sums[-level.keep * _WIDTH :])
            if ids:
                self._at = max(self._at, ids[-1] * level.step_s)
        self._known.clear()


def _amount(value: float) -> bool:
    return math.isfinite(value) and value >= 0.0


class Budget(NamedTuple):
    """One objective over one or several regions: their requests are added.

    ``at`` is now, None: as last watched. ``old``: why what it is made of is not new ("" where it is). ``idle``: those
    of where it is stopped, so that there is nothing to watch.
    """

    slo: Slo
    ledgers: tuple[Ledger, ...]
    at: float | None = None
    old: str = ""
    idle: tuple[Ledger, ...] = ()

    def told(
        self, value: float, unit: str, at: float | None, source: str, reason: str, *, most: bool = False
    ) -> Measure:
        """A number of it with how far it can be trusted; ``most``: unknown failures could only make it less."""
        unknown = next(filter(None, (each.unknown for each in self.ledgers)), "")
        if self.old:
            return Measure(value, unit, at, source, MeasureState.STALE, self.old)
        if not unknown:
            return Measure(value, unit, at, source, reason=reason)
        words = "; ".join(filter(None, (f"at {'most' if most else 'least'}: not known {unknown}", reason)))
        return Measure(value, unit, at, source, MeasureState.BOUND, words, "<" if most else ">")

    def sum(self, length_s: float) -> Sum:
        """Requests of all; watched for as long as the one that was watched least: of all no more is known."""
        sums = [each.sum(length_s, self.at) for each in self.ledgers]
        bad, total = sum(each.bad for each in sums), sum(each.total for each in sums)
        running = [each for ledger, each in zip(self.ledgers, sums, strict=True) if ledger not in self.idle]
        return Sum(min(bad, total), total, min(length_s, *(each.have_s for each in running or sums)))

    def _longest_s(self, length_s: float) -> float:
        """For how long the one was watched that was watched longest."""
        return min(length_s, max(each.sum(length_s, self.at).have_s for each in self.ledgers))

    def rate(self, of: Sum) -> float | None:
        """How many times faster than allowed; None below the least number of requests."""
        if of.total < max(0.5, self.slo.min_requests):
            return None
        return of.bad / of.total / max(1e-9, 1.0 - self.slo.objective)

    def burning(self) -> Burning:
        """What the fastest pair says that burns.

        The first pair is judged by what there is: a fast burn is better told early. Of the others what is not known
        counts as nothing bad, so that only what was really spent can say that it burns; over several regions by the
        one that was watched longest: another one that has just come does not undo what this one spent.
        """
        for number, pair in enumerate(PAIRS):
            long, short = self.sum(pair.long_s), self.sum(pair.short_s)
            rate, now = self.rate(long), self.rate(short)
            if rate is None or now is None:
                continue
            least = rate if number == 0 else rate * self._longest_s(pair.long_s) / pair.long_s
            if min(least, now) >= pair.limit:
                return pair.says
        return Burning.NO


def burn(budget: Budget | None, at: float | None, source: str, problem: str = "") -> Measure:
    """How many times faster than allowed the error budget is used up now: by the first pair of windows.

    1.0: exactly used up at the end of its window. ``problem``: why there is no objective although one is told.
    """
    if budget is None:
        return absent("count", problem or "no SLO")
    return _by_pair(budget, PAIRS[0], at, source)


def _by_pair(budget: Budget, pair: Pair, at: float | None, source: str) -> Measure:
    """The lesser rate of both windows; the reason says how much of the long one was watched, where not all."""
    long, short = budget.sum(pair.long_s), budget.sum(pair.short_s)
    rates = [rate for each in (long, short) if (rate := budget.rate(each)) is not None]
    if len(rates) < 2:
        return absent("count", lacking(budget, pair, long, short), source)
    return budget.told(min(rates), "count", at, source, have(long, pair.long_s))


def few(budget: Budget, of: Sum) -> str:
    """Why there is no rate."""
    if of.total < 0.5:
        return "no requests yet to measure the SLO with"
    return f"{of.total:.0f} requests: too few to measure the SLO with (at least {budget.slo.min_requests})"


def lacking(budget: Budget, pair: Pair, long: Sum, short: Sum) -> str:
    """Why a pair has no rate: of its long window, or of the short one alone."""
    if budget.rate(long) is None:
        return few(budget, long)
    if short.total < 0.5:
        return f"no requests for {length(pair.short_s)}"
    return f"{few(budget, short)} in {length(pair.short_s)}"


def have(of: Sum, length_s: float) -> str:
    """``have 12 min of 3 d``, "" when the window is whole."""
    return "" if of.have_s >= WHOLE * length_s else f"have {span(of.have_s)} of {length(length_s)}"


def length(seconds: float) -> str:
    """A window's own length: ``5 min``, ``1 h``, ``3 d``."""
    if seconds < 3600.0:
        return f"{seconds / 60:g} min"
    return f"{seconds / 3600:g} h" if seconds < _DAY_S else f"{seconds / _DAY_S:g} d"


def objective_words(slo: Slo) -> str:
    """All of an objective but its ratio: ``in 30 d; slow are answers over 80 ms; of at least 20 requests``."""
    parts = [f"in {length(slo.window_s)}"]
    slow = [f"answers over {seconds(slo.latency_ms / 1000)}"] if slo.latency_ms is not None else []
    slow += [f"first tokens over {seconds(slo.ttft_ms / 1000)}"] if slo.ttft_ms is not None else []
    parts += [f"slow are {' and '.join(slow)}, shown at p{slo.quantile * 100:g}"] if slow else []
    return "; ".join([*parts, f"of at least {slo.min_requests} requests"])


def budget_lines(budget: Budget, now: Measure, source: str) -> Iterable[tuple[str, Measure]]:
    """What the detail says: the objective, each pair, what is left, how long it lasts. ``now``: the row's own burn."""
    slo, at = budget.slo, now.at
    allowed = Measure(1.0 - slo.objective, "ratio", None, objective_words(slo))
    yield f"objective {slo.objective * 100:g} %: bad at most", allowed
    for pair in PAIRS:
        found, part = _by_pair(budget, pair, at, source), have(budget.sum(pair.long_s), pair.long_s)
        if found.value is not None and part and pair is not PAIRS[0]:
            found = absent("count", part, source)
        yield f"burn {pair.name} (limit {pair.limit:g})", found
    whole = budget.sum(slo.window_s)
    rate, told = budget.rate(whole), have(whole, slo.window_s)
    left: float | None = None
    name = f"error budget left of {length(slo.window_s)}"
    if rate is None or told:
        yield name, absent("ratio", told or few(budget, whole), source)
    else:
        left = 1.0 - rate
        yield name, budget.told(left, "ratio", at, source, "", most=True)
    if not now.value or now.value < 1.0:
        sure = now.value is not None and now.state is not MeasureState.BOUND
        why = "it burns no faster than it may" if sure else now.reason
        yield "budget gone in", absent("s", why, source)
    elif left is None:
        lasts = budget.told(slo.window_s / now.value, "s", at, source, "", most=True)
        yield "at this rate a whole budget lasts", lasts
    else:
        gone_s = max(0.0, left) * slo.window_s / now.value
        yield "budget gone in", budget.told(gone_s, "s", at, source, "", most=True)
