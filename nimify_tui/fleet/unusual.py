"""Which steps of a long history are unlike the rest of it: against the same hour of other days, where there are enough.

The number is taken as a logarithm, for what is twice as much and what is half as much are as far away. With a season
(a week, else a day) a step is compared with its own time of day in the *other* periods, by median and MAD, which one
bad day among several does not move; without one, with an exponentially weighted mean of what came before.

How far such marks can be trusted is told with them: the part of that history, itself, that they cover. Leys et al.,
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
#: 1 / the 0.75 quantile of the normal distribution: MAD times this is its standard deviation.
MAD_FACTOR = 1.4826
#: Without a season: the weight of a new step, and steps before anything is said.
ALPHA, MIN_STEPS = 0.12, 12
#: Smaller numbers are as good as nothing; so a zero has a logarithm.
FLOOR = 1e-3


class Unusual(NamedTuple):
    """``marks``: indices of steps. ``words`` say against what, and which part of the history is marked."""

    marks: tuple[int, ...]
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
    said = f"against {words}; marks {percent(ratio or 0.0)} of {span(known * step_s)}"
    return Unusual(marks, said, ratio)


def _seasonal(logs: Sequence[float | None], step_s: float, begin_s: float, season_s: float) -> tuple[int, ...]:
    slots = max(1, round(season_s / step_s))
    at = [round((begin_s + index * step_s) / step_s) for index in range(len(logs))]
    table: dict[int, list[tuple[int, float]]] = {}
    for index, value in enumerate(logs):
        if value is not None:
            table.setdefault(at[index] % slots, []).append((at[index] // slots, value))
    marks = []
    for index, value in enumerate(logs):
        if value is None:
            continue
        period, slot = divmod(at[index], slots)
        # The steps beside it belong to the same time of day, too: a peak is not at the same minute each day.
        beside = {(slot + shift) % slots for shift in (-1, 0, 1)}
        others = [each for near in beside for when, each in table.get(near, ()) if when != period]
        if len(others) < MIN_PERIODS:
            continue
        middle = statistics.median(others)
        spread = MAD_FACTOR * statistics.median(abs(each - middle) for each in others)
        if abs(value - middle) > LIMIT * max(spread, LEAST_SPREAD):
            marks.append(index)
    return tuple(marks)


def _recent(logs: Sequence[float | None]) -> tuple[int, ...]:
    mean, spread, seen, marks = 0.0, 0.0, 0, []
    for index, value in enumerate(logs):
        if value is None:
            continue
        away = value - mean if seen else 0.0
        limit = LIMIT * max(spread * MAD_FACTOR, LEAST_SPREAD)
        if seen >= MIN_STEPS and abs(away) > limit:
            marks.append(index)
        # One odd step moves the past by what is usual at most; a new level is the past after some steps.
        bounded = away if seen < MIN_STEPS else min(limit, max(-limit, away))
        weight = max(ALPHA, 1.0 / (seen + 1))
        mean = value if not seen else mean + weight * bounded
        spread += weight * (abs(bounded) - spread) if seen else 0.0
        seen += 1
    return tuple(marks)
