"""What all adapters need: sums, counters by a label and histograms out of a page; nothing absent becomes zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple, TypeVar

from nimify_tui.domain.measures import Histogram, ModelSample
from nimify_tui.sources.metrics.exposition import Labels, Page, Rows, Series
from nimify_tui.sources.metrics.labelled import Column, values_of

#: Label values are bounded by well-behaved runtimes; lying ones are bounded here.
MAX_KEYS = 64
MAX_KEY_CHARS = 64
MAX_BUCKETS = 128
_MAX_BOUNDS = 64
#: Orders of buckets that are remembered, and of how many buckets each may be: some 2 MB at most.
_MAX_PLANS, _MAX_PLANNED = 64, 512
#: Where a process tells of itself, as prometheus_client and others write it.
STARTED, CPU, RSS, FDS = (
    "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
)  # fmt: skip
#: "2xx", and Envoy's "2", as the status that is counted like all of them.
_CLASSES = {f"{first}{rest}": f"{first}00" for first in "12345" for rest in ("xx", "")}
PROCESS = frozenset({STARTED, CPU, RSS, FDS})
T = TypeVar("T", float, Histogram)
K = TypeVar("K", bound=Hashable)
Given = TypeVar("Given", bound=Hashable)


def parts(*names: str) -> frozenset[str]:
    """The sample names of histograms."""
    return frozenset(f"{name}_{part}" for name in names for part in ("bucket", "sum", "count"))


def there(page: Page, *names: str) -> bool:
    """Whether one of these families is announced, or one of these samples is there."""
    return any(name in page.families or name in page.series for name in names)


def begins(page: Page, prefix: str) -> bool:
    """Whether a family that is announced, or a sample that is there, has a name that begins so."""
    for names in (page.series, page.families):
        for name in names:
            if name.startswith(prefix):
                return True
    return False


def means(count: float | None, seconds: float | None) -> Histogram | None:
    """What only a counter and the sum of its durations are known of: a mean, and no percentile."""
    return Histogram((), (count,), seconds) if count is not None and seconds is not None else None


def by_model(
    page: Page, names: Iterable[str], sample: Callable[[Page], ModelSample], label: str = "model"
) -> dict[str, ModelSample] | None:
    """The numbers of each of several models (by a label) out of the samples ``names``; None where there is one."""
    names = tuple(names)
    if not _several(page, names, label):
        return None
    found: dict[str, dict[str, list[Series]]] = {}
    for name in names:
        for each in page.series.get(name, ()):
            model = each.label(label)[:MAX_KEY_CHARS]
            if model in found or len(found) < MAX_KEYS:
                found.setdefault(model, {}).setdefault(name, []).append(each)
    return {model: sample(Page(series, page.families)) for model, series in found.items()}


def _several(page: Page, names: Iterable[str], label: str) -> bool:
    """Whether a label has several values. What one page was found to have is known of those that have its labels."""
    found: set[str] = set()
    for name in names:
        series = page.series.get(name, ())
        if type(series) is Column:
            found |= series.sets.known(_two, label)
        else:
            found |= _two([labels for labels, _ in series], label)
    return len(found) > 1


def _two(sets: Iterable[Labels], label: str) -> set[str]:
    """Two of the values of a label, or as many as there are: every page is asked, and few have several models."""
    return set(sorted({text[:MAX_KEY_CHARS] for text in _texts(sets, label)})[:2])


def _texts(sets: Iterable[Labels], label: str) -> list[str]:
    """The value of one label in each, "" where it is not there."""
    found = []
    for labels in sets:
        value = ""
        for each, text in labels:
            if each == label:
                value = text
                break
        found.append(value)
    return found


class _Plan(NamedTuple):
    """How the buckets of one histogram, in the order in which they came, are put together."""

    bounds: tuple[float, ...]
    #: For each bound, +Inf as the last, the places of its buckets.
    places: tuple[tuple[int, ...], ...]
    #: Takes the values in the order of the bounds, where each has one bucket.
    order: Callable[[Sequence[float]], tuple[float, ...]] | None


class Histograms:
    """Reads histograms; samples share the tuple of their bounds. For one thread."""

    def __init__(self) -> None:
        self._bounds: dict[tuple[float, ...], tuple[float, ...]] = {}
        #: By the bounds as they are written: a replica sends the same ones each time. None: they make no sense.
        self._plans: dict[tuple[float, tuple[str, ...]], _Plan | None] = {}

    def read(
        self, page: Page, name: str, scale: float = 1.0, only: Callable[[Series], bool] | None = None
    ) -> Histogram | None:
        """All label sets of one histogram together; None when it is not there or makes no sense.

        ``scale`` makes seconds of its unit; series that ``only`` does not like are left out.
        """
        buckets: Iterable[Series] = page.series.get(f"{name}_bucket", ())
        sums: Iterable[Series] = page.series.get(f"{name}_sum", ())
        if type(buckets) is Column and only is None and len(buckets.values) <= _MAX_PLANNED:
            plan, values = buckets.sets.known(self._of_sets, scale), buckets.values
        else:
            told = list(buckets if only is None else filter(only, buckets))
            plan = self._plan(scale, tuple(_texts([labels for labels, _ in told], "le")))
            values = [each.value for each in told]
        if plan is None:
            return None
        if not _all_sound(values):
            return None
        if plan.order is not None:
            cumulative = plan.order(values)
        else:
            cumulative = tuple([sum([values[at] for at in places]) for places in plan.places])
        if tuple(sorted(cumulative)) != cumulative:
            return None
        if only is not None:
            sums = filter(only, sums)
        return Histogram(plan.bounds, cumulative, (total(sums) or 0.0) * scale)

    def _of_sets(self, sets: Iterable[Labels], scale: float) -> _Plan | None:
        return self._plan(scale, tuple(_texts(sets, "le")))

    def _plan(self, scale: float, written: tuple[str, ...]) -> _Plan | None:
        try:
            return self._plans[scale, written]
        except KeyError:
            plan = self._planned(scale, written)
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        if len(written) <= _MAX_PLANNED and all(len(text) <= MAX_KEY_CHARS for text in written):
            self._plans[scale, written] = plan
        return plan

    def _planned(self, scale: float, written: tuple[str, ...]) -> _Plan | None:
        places: dict[float, list[int]] = {}
        for at, text in enumerate(written):
            try:
                bound = float(text) * scale
            except ValueError:
                return None
            if math.isnan(bound):
                return None
            places.setdefault(bound, []).append(at)
        if math.inf not in places or not 1 < len(places) <= MAX_BUCKETS:
            return None
        bounds = sorted(places)
        told = tuple(tuple(places[bound]) for bound in bounds)
        order = itemgetter(*(each[0] for each in told)) if len(told) == len(written) else None
        return _Plan(self._shared(tuple(bounds[:-1])), told, order)

    def _shared(self, bounds: tuple[float, ...]) -> tuple[float, ...]:
        """The same tuple for the same bounds."""
        if len(self._bounds) > _MAX_BOUNDS:
            self._bounds.clear()
        return self._bounds.setdefault(bounds, bounds)


def sound(value: float) -> bool:
    """Whether a counter or a size can have this value."""
    return 0.0 <= value < math.inf  # NaN is neither


def _all_sound(values: Sequence[float]) -> bool:
    """Whether there are some, and each is sound."""
    if len(values) == 1:  # as nearly always
        return 0.0 <= values[0] < math.inf
    # The sum of what is finite may not be: then each is looked at.
    return bool(values) and ((min(values) >= 0.0 and math.isfinite(sum(values))) or all(map(sound, values)))


def one(series: Rows | None) -> float | None:
    """The value of the first of some series; None when there is none, or it makes no sense."""
    values = series.values if type(series) is Column else values_of(series or ())
    if not values:
        return None
    value = values[0]
    return value if 0.0 <= value < math.inf else None


def total(series: Iterable[Series] | None) -> float | None:
    """The sum of some series; None when there is none: absent is not zero."""
    values = series.values if type(series) is Column else values_of(series or ())
    if len(values) == 1:  # as nearly always
        value = values[0]
        return value if 0.0 <= value < math.inf else None
    values = [each for each in values if 0.0 <= each < math.inf]
    found = sum(values)
    return found if values and found < math.inf else None


def first(found: Iterable[T | None]) -> T | None:
    """The first of several names of one thing that is there."""
    return next((each for each in found if each is not None), None)


def mean(series: Iterable[Series] | None) -> float | None:
    """The mean of a ratio over the engines of a page; None when none tells one."""
    values = [each for each in values_of(series or ()) if sound(each) and each <= 1.0]
    return sum(values) / len(values) if values else None


def by_status(
    series: Iterable[Series], labels: Iterable[str], only: Callable[[Series], bool] = lambda _: True
) -> dict[str, float]:
    """Counters by status code: the first of ``labels`` that is there; a class ("2xx") as the code that counts alike."""
    found: dict[str, float] = {}
    names = tuple(labels)
    for each in series:
        if not only(each) or not sound(each.value):
            continue
        status = next(filter(None, map(each.label, names)), "")[:MAX_KEY_CHARS]
        status = _CLASSES.get(status, status)
        if status in found or len(found) < MAX_KEYS:
            found[status] = found.get(status, 0.0) + each.value
    return found


def known(page: Page, name: str) -> bool:
    """Whether the family is there, even if nothing was counted yet (a counter with labels has no line then)."""
    return name in page.series or name in page.families or name.removesuffix("_total") in page.families


def counts_by(page: Page, name: str, label: str) -> dict[str, float] | None:
    """A counter by one of its labels, None when it is not there."""
    series = page.series.get(name)
    if series is None and not known(page, name):
        return None
    return {} if series is None else _counted(series, _by_one, label)


def counts_by_two(page: Page, name: str, first: str, second: str) -> dict[tuple[str, str], float] | None:
    """A counter by two of its labels, None when it is not there."""
    series = page.series.get(name)
    if series is None and not known(page, name):
        return None
    return {} if series is None else _counted(series, _by_two, (first, second))


#: What each of some series is counted by, and whether that is another thing for each, and not too many.
_Keys = tuple[list[K], bool]


def _by_one(sets: Sequence[Labels], label: str) -> _Keys[str]:
    return _keys([text[:MAX_KEY_CHARS] for text in _texts(sets, label)])


def _by_two(sets: Sequence[Labels], labels: tuple[str, str]) -> _Keys[tuple[str, str]]:
    one_by, other_by = (_by_one(sets, label)[0] for label in labels)
    return _keys(list(zip(one_by, other_by, strict=True)))


def _keys(found: list[K]) -> _Keys[K]:
    return found, len(set(found)) == len(found) <= MAX_KEYS


def _counted(series: Rows, by: Callable[[Sequence[Labels], Given], _Keys[K]], given: Given) -> dict[K, float]:
    """The sum of what has the same key; values that make no sense are left out."""
    if type(series) is Column:
        (keys, plain), values = series.sets.known(by, given), series.values
    else:
        (keys, plain), values = by([labels for labels, _ in series], given), [value for _, value in series]
    if plain and _all_sound(values):
        return dict(zip(keys, values, strict=True))
    found: dict[K, float] = {}
    for key, value in zip(keys, values, strict=True):
        if 0.0 <= value < math.inf and (key in found or len(found) < MAX_KEYS):
            found[key] = found.get(key, 0.0) + value
    return found
