"""Ordinary clients that are refused since a roll-out: the new revision does not take what they send.

By their count alone these refusals look like an attack. Four facts tell them apart: whether the revision
changed here shortly before, which part of the inference requests is refused, whether the usual well-formed
traffic goes on, and whether more is turned away than inference requests. An attack comes on top of that traffic
and tries other doors, too; these stand in its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain

from nimify_tui.fleet.baseline import ALPHA, Baseline
from nimify_tui.fleet.series import CLIENT_ERRORS, COLUMN_S, HOSTILE, Series, Window
from nimify_tui.fleet.words import percent

#: A revision explains refusals that begin within this time of it: large models load for minutes.
REVISED_S = 300.0
#: So many requests, and this part of all, have to be refused; then until it is less than the second part.
REFUSED_COUNT, REFUSED_SHARE, REFUSED_CLEAR = 5.0, 0.10, 0.05
#: This part of the refusals has to be missing from the well-formed traffic, or this part of that traffic.
IN_PLACE, GONE = 0.5, 0.5
#: So much for each refused inference request is turned away elsewhere only in an attack: paths, headers, sizes.
ELSEWHERE = 0.5
#: What is missing has to stand so far above the scatter of counting, standard deviations (of a Poisson count).
SCATTER = 2.0
#: Found when it has been so for so long, over when it has not been so for so long, seconds.
CONFIRM_S, CLEAR_S = 3.0, 8.0
#: While old and new replicas answer side by side their columns mislead: an attack has to last so long, seconds.
UNSURE_S = 10.0
_LEAST_RPS = 0.1
_WORD_S = 5.0
_COLUMNS = 5
#: Refusals by status are remembered so long, seconds.
_CODES_S = 12.0
_GROWN = 64


@dataclass(slots=True)
class Refused:
    """Ordinary clients are refused since ``onset`` (unix seconds); ``share`` is the newest part, 0 to 1."""

    onset: float
    revision: int
    text: str
    share: float
    seen_at: float
    worded_at: float


class Refusals:
    """The usual well-formed traffic of one service in one region, and whether refusals stand in its place."""

    __slots__ = ("_elsewhere", "_grown", "_revised_at", "_revision", "_suspect_at", "found", "usual")

    def __init__(self) -> None:
        #: Well-formed requests per second, answered or failed.
        self.usual = Baseline()
        #: What is usually turned away and is no inference request, per second: the internet's noise.
        self._elsewhere = 0.0
        self.found: Refused | None = None
        self._revision: int | None = None
        self._revised_at: float | None = None
        self._suspect_at: float | None = None
        #: Refusals that came: (at, code, count). Few, and there is one of these for each service: a deque weighs 600 B.
        self._grown: list[tuple[float, str, float]] = []

    @property
    def active(self) -> bool:
        """Whether refusals stand, or may stand, in the place of usual traffic: nothing is learnt then."""
        return self.found is not None or self._suspect_at is not None

    def learn(self, window: Window) -> None:
        """A column has become the past."""
        self.usual.learn(max((window.total - window.values[CLIENT_ERRORS]) / window.span_s, _LEAST_RPS))
        self._elsewhere += max(ALPHA, 1.0 / self.usual.n) * (_elsewhere(window) / window.span_s - self._elsewhere)

    def note(
        self, before: tuple[str | float, ...] | None, requests: dict[str, float], at: float
    ) -> tuple[str | float, ...]:
        """Take a replica's cumulative counts by status; the first ones (``before`` None) only begin the count.

        Returns its refusals as (code, count, code, count ...), to be given back the next time: small, because there
        is one for each replica.
        """
        now = {code: count for code, count in requests.items() if _refusal(code)}
        if before is not None:
            known = dict(zip(before[::2], before[1::2], strict=True))
            for code, count in now.items():
                if (more := count - float(known.get(code, 0.0))) > 0.0:
                    self._grown.append((at, code, more))
                    del self._grown[:-_GROWN]
        return tuple(chain.from_iterable(now.items()))

    def revised_recently(self, at: float) -> bool:
        """Whether the revision changed so shortly before ``at`` that it may explain refusals."""
        return self._revised_at is not None and at - self._revised_at <= REVISED_S

    def look(self, series: Series, at: float, revision: int | None) -> None:
        """Judge anew at ``at``; :attr:`found` is what is so now."""
        if revision is not None and revision != self._revision:
            # The first one seen is no change.
            self._revised_at = at if self._revision is not None else None
            self._revision = revision
        newest = series.newest
        recent = series.window(newest - 1, newest)
        found = self.found
        if recent is not None and self._in_place(recent, series, at):
            share = recent.values[CLIENT_ERRORS] / recent.total
            if found is not None:
                found.seen_at, found.share = at, share
                if at - found.worded_at >= _WORD_S:
                    found.text, found.worded_at = self._words(found.revision, share, at), at
                return
            if self._suspect_at is None:
                self._suspect_at = at
            if at - self._suspect_at >= CONFIRM_S:
                self.found = self._begin(series, share, at)
        else:
            self._suspect_at = None
            if found is not None and at - found.seen_at >= CLEAR_S:
                self.found = None

    def _in_place(self, recent: Window, series: Series, at: float) -> bool:
        """Whether what is refused is missing from the usual well-formed traffic."""
        usual, refused = self.usual.value, recent.values[CLIENT_ERRORS]
        least = REFUSED_SHARE if self.found is None else REFUSED_CLEAR
        if usual is None or refused < REFUSED_COUNT or refused / recent.total < least:
            return False
        if self.found is not None:
            return recent.total - refused < usual * recent.span_s * (1.0 - REFUSED_CLEAR)
        if self._revised_at is None or at - self._revised_at > REVISED_S:
            return False
        if _elsewhere(recent) - self._elsewhere * recent.span_s > ELSEWHERE * refused:
            return False
        # More columns scatter less; those before the change say nothing.
        first = max(series.newest - _COLUMNS + 1, int(self._revised_at // COLUMN_S) + 1)
        window = series.window(min(first, series.newest - 1), series.newest) or recent
        refused, expected = window.values[CLIENT_ERRORS], usual * window.span_s
        missing = expected - (window.total - refused)
        if missing < SCATTER * math.sqrt(expected):
            return False
        return missing >= IN_PLACE * refused or missing >= GONE * expected

    def _begin(self, series: Series, share: float, at: float) -> Refused:
        """Found: since the first column of an unbroken run of refusals, but not before the new revision."""
        revised_at = self._revised_at if self._revised_at is not None else 0.0
        onset = newest = series.newest
        for column in range(newest, newest - 15, -1):
            window = series.column(column)
            if window is None or window.total < 1.0:
                continue
            if window.values[CLIENT_ERRORS] / window.total < max(REFUSED_CLEAR, share / 4):
                break
            onset = column
        revision = self._revision or 0
        return Refused(
            max(onset * COLUMN_S, revised_at), revision, self._words(revision, share, at), share, at, at
        )

    def _words(self, revision: int, share: float, at: float) -> str:
        counts: dict[str, float] = {}
        for seen_at, code, count in self._grown:
            if at - seen_at <= _CODES_S:
                counts[code] = counts.get(code, 0.0) + count
        most = sorted(counts, key=lambda code: (-counts[code], code))[:2]
        told = [code for code in most if counts[code] >= 0.1 * sum(counts.values())]
        return f"clients refused since r{revision}: {percent(min(1.0, share))} {' and '.join(told) or '4xx'}"


def _elsewhere(window: Window) -> float:
    """How many were turned away that are no inference requests."""
    return max(0.0, window.values[HOSTILE] - window.values[CLIENT_ERRORS])


def _refusal(code: str) -> bool:
    """Whether a status is a refusal; codes are foreign text."""
    return len(code) == 3 and code[0] == "4" and code.isascii() and code.isdigit() and code != "499"
