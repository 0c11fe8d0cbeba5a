"""Histories of several regions made into one: percentiles by merged buckets, and what is highest in a step."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from nimify_tui.domain.history import ChartMetric, History, Step
from nimify_tui.domain.promql import QUANTILES
from nimify_tui.fleet.quantiles import Bounds, merge, quantile


class Extent(NamedTuple):
    """A value over a step, and the lowest and highest within it as far as they are known.

    ``sign`` is ">" for one that is at least that, "<" for at most, else " ".
    """

    value: float
    low: float
    high: float
    sign: str = " "


class Stretch(NamedTuple):
    """One step that ends at ``at`` (unix seconds): an extent for each line of the metric, None where it has none."""

    at: float
    lines: tuple[Extent | None, ...]


def merged(histories: Sequence[History], metric: ChartMetric) -> list[Stretch]:
    """All steps of some histories of one metric, oldest first; a step that only some of them tell is of those.

    A sum is none where one of them lacks that tells steps before and after: it would look like a fall.
    """
    steps: dict[float, list[tuple[Bounds, Step]]] = {}
    for history in histories:
        for step in history.steps:
            steps.setdefault(_grid(step.at, history.step_s), []).append((history.bounds, step))
    made = {ChartMetric.LATENCY: _latency, ChartMetric.REQUESTS: _requests, ChartMetric.ERRORS: _errors}[metric]
    gaps = _gaps(histories, steps) if metric is ChartMetric.REQUESTS else frozenset[float]()
    return [Stretch(at, (None,) if at in gaps else made(steps[at])) for at in sorted(steps)]


def told_between(history: History) -> tuple[float, float] | None:
    """The ends (unix seconds) of the first and of the last step with requests; None where it tells none."""
    found = _totals(history)
    return (min(found), max(found)) if found else None


def _totals(history: History) -> frozenset[float]:
    return frozenset(_grid(each.at, history.step_s) for each in history.steps if each.total is not None)


def _gaps(histories: Sequence[History], steps: Collection[float]) -> frozenset[float]:
    found: set[float] = set()
    for history in histories:
        told = _totals(history)
        if told:
            first, last = min(told), max(told)
            found.update(at for at in steps if first < at < last and at not in told)
    return frozenset(found)


def _grid(at: float, step_s: float) -> float:
    """The whole multiple of the step: a server whose clock is apart has its own, which are no others."""
    return math.floor(at / step_s + 0.5) * step_s if step_s else at


def _latency(told: Sequence[tuple[Bounds, Step]]) -> tuple[Extent | None, ...]:
    """The highest is that of the region where it was highest."""
    together = merge((bounds, step.counts) for bounds, step in told if step.counts)
    lines: list[Extent | None] = []
    for number, q in enumerate(QUANTILES):
        found = quantile(q, *together) if together is not None else None
        highs = [step.high[number] for _, step in told if len(step.high) > number]
        if found is None:
            lines.append(None)
        else:
            lines.append(Extent(found.value, found.value, max((found.value, *highs)), found.sign))
    return tuple(lines)


def _requests(told: Sequence[tuple[Bounds, Step]]) -> tuple[Extent | None, ...]:
    """Of several regions at least: one where it was highest (lowest), the others where they were lowest (highest)."""
    known = [step for _, step in told if step.total is not None]
    if not known:
        return (None,)
    total = sum(step.total or 0.0 for step in known)
    lows = [step.low[0] if step.low else step.total or 0.0 for step in known]
    highs = [step.high[0] if step.high else step.total or 0.0 for step in known]
    high = max(highs[at] + sum(lows) - lows[at] for at in range(len(known)))
    low = min(lows[at] + sum(highs) - highs[at] for at in range(len(known)))
    return (Extent(total, min(total, low), max(total, high)),)


def _errors(told: Sequence[tuple[Bounds, Step]]) -> tuple[Extent | None, ...]:
    """The highest is that of the region where it was highest."""
    known = [step for _, step in told if step.total is not None and step.errors is not None]
    total = sum(step.total or 0.0 for step in known)
    if total <= 0.0:
        return (None,)
    ratio = min(1.0, sum(step.errors or 0.0 for step in known) / total)
    highs = [min(1.0, step.high[0]) for step in known if step.high]
    return (Extent(ratio, ratio, max((ratio, *highs))),)
