"""Which steps of a long history are unlike the rest of it: against the same hour of other days, where there are enough.

The number is taken as a logarithm, for what is twice as much and what is half as much are as far away. With a season
(a week, else a day) a step is compared with its own time of day in the *other* periods, by median and MAD, which one
bad day among several does not move; without one, with an exponentially weighted mean of what came before.

How far such marks can be trusted is told with them: the part of that history, itself, that they cover. Were nothing in
it really strange, all of that were false alarms; there are no more. Leys et al.,
"Detecting outliers" (J. Exp. Soc. Psychol. 49, 2013) for the median and the factor 1.4826.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from nimify_tui.fleet.words import percent, span

DAY_S, WEEK_S = 86_400.0, 604_800.0
#: Other periods that a season needs, so that one odd one is a minority.
MIN_PERIODS = 3
#: A step is marked from so many (robust) standard deviations on.
LIMIT = 6.0
#: Steps scatter at least so much (as logarithms: 10 %): what is very even is not strange at its first flutter.
LEAST_SPREAD = 0.1
#: Steps up to so long (seconds) have the ones beside them at the same time of day.
NEAR_S = 3600.0
#: 1 / the 0.75 quantile of the normal distribution: MAD times this is its standard deviation.
MAD_FACTOR = 1.4826
#: Without a season: the weight of a new step, and steps before anything is said.
ALPHA, MIN_STEPS = 0.12, 12
#: Smaller numbers are as good as nothing; so a zero has a logarithm.
FLOOR = 1e-3


class Mark(NamedTuple):
    """The number of a step that is unlike the others, and what is usual then."""

    step: int
    usual: float


class Unusual(NamedTuple):
    """``words`` say against what the steps were held, and which part of the history is marked."""

    marks: tuple[Mark, ...]
    words: str
    #: Marked steps of the known ones; None when nothing can be said.
    ratio: float | None


def unusual(values: Sequence[float | None], step_s: float, begin_s: float = 0.0) -> Unusual:
    """Marks of a history in equal steps of ``step_s`` seconds, ``begin_s`` the time of the first; None is a gap."""
    logs = [None if value is None or not math.isfinite(value) else math.log(max(value, FLOOR)) for value in values]
    known = sum(each is not None for each in logs)
    fitting = (
        each for each in (WEEK_S, DAY_S)
        if step_s <= each / 4 and len(values) * step_s >= (MIN_PERIODS + 1) * each
    )  # fmt: skip
    season_s = next(fitting, None)
    if season_s is not None:
        words = f"the same time of other {'weeks' if season_s == WEEK_S else 'days'}"
        marks = _seasonal(logs, step_s, begin_s, season_s)
    elif known < 2 * MIN_STEPS:
        return Unusual((), f"have {span(known * step_s)}: too little to say what is usual", None)
    else:
        marks, words = _recent(logs), "what came before"
    ratio = len(marks) / known if known else None
    said = f"against {words}; marks {percent(ratio or 0.0)} of {span(known * step_s)}, false alarms at most that"
    return Unusual(marks, said, ratio)


def _seasonal(logs: Sequence[float | None], step_s: float, begin_s: float, season_s: float) -> tuple[Mark, ...]:
    slots = max(1, round(season_s / step_s))
    at = [round((begin_s + index * step_s) / step_s) for index in range(len(logs))]
    table: dict[int, list[tuple[int, float]]] = {}
    for index, value in enumerate(logs):
        if value is not None:
            table.setdefault(at[index] % slots, []).append((at[index] // slots, value))
    # A peak is not at the same minute each day: short steps beside it belong to the same time of day, too.
    near = range(-1, 2) if step_s <= NEAR_S else range(1)
    found: list[tuple[int, float, float, float]] = []
    for index, value in enumerate(logs):
        if value is None:
            continue
        period, slot = divmod(at[index], slots)
        others = [each for shift in near for when, each in table.get((slot + shift) % slots, ()) if when != period]
        if len(others) < MIN_PERIODS:
            continue
        middle = statistics.median(others)
        spread = MAD_FACTOR * statistics.median(abs(each - middle) for each in others)
        found.append((index, middle, spread, abs(value - middle)))
    # A few others may lie together by chance: nothing scatters less than all do.
    least = MAD_FACTOR * statistics.median(away for *_, away in found) if found else 0.0
    return tuple(
        Mark(index, math.exp(middle))
        for index, middle, spread, away in found
        if away > LIMIT * max(spread, least, LEAST_SPREAD)
    )


def _recent(logs: Sequence[float | None]) -> tuple[Mark, ...]:
    mean, spread, seen = 0.0, 0.0, 0
    marks: list[Mark] = []
    for index, value in enumerate(logs):
        if value is None:
            continue
        away = value - mean if seen else 0.0
        limit = LIMIT * max(spread * MAD_FACTOR, LEAST_SPREAD)
        if seen >= MIN_STEPS and abs(away) > limit:
            marks.append(Mark(index, math.exp(mean)))
        # One odd step moves the past by what is usual at most; a new level is the past after some steps.
        bounded = away if seen < MIN_STEPS else min(limit, max(-limit, away))
        weight = max(ALPHA, 1.0 / (seen + 1))
        mean = value if not seen else mean + weight * bounded
        spread += weight * (abs(bounded) - spread) if seen else 0.0
        seen += 1
    return tuple(marks)
