"""What all adapters need: sums, counters by a label and histograms out of a page; nothing absent becomes zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TypeVar

from nimify_tui.domain.measures import Histogram, ModelSample
from nimify_tui.sources.metrics.exposition import Page, Series

#: Label values are bounded by well-behaved runtimes; lying ones are bounded here.
MAX_KEYS = 64
MAX_KEY_CHARS = 64
MAX_BUCKETS = 128
_MAX_BOUNDS = 64
#: Where a process tells of itself, as prometheus_client and others write it.
STARTED, CPU, RSS, FDS = (
    "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
)  # fmt: skip
#: "2xx", and Envoy's "2", as the status that is counted like all of them.
_CLASSES = {f"{first}{rest}": f"{first}00" for first in "12345" for rest in ("xx", "")}
PROCESS = frozenset({STARTED, CPU, RSS, FDS})
T = TypeVar("T", float, Histogram)


def parts(*names: str) -> frozenset[str]:
    """The sample names of histograms."""
    return frozenset(f"{name}_{part}" for name in names for part in ("bucket", "sum", "count"))


def there(page: Page, *names: str) -> bool:
    """Whether one of these families is announced, or one of these samples is there."""
    return any(name in page.families or name in page.series for name in names)


def means(count: float | None, seconds: float | None) -> Histogram | None:
    """What only a counter and the sum of its durations are known of: a mean, and no percentile."""
    return Histogram((), (count,), seconds) if count is not None and seconds is not None else None


def by_model(
    page: Page, names: Iterable[str], sample: Callable[[Page], ModelSample], label: str = "model"
) -> dict[str, ModelSample] | None:
    """The numbers of each of several models (by a label) out of the samples ``names``; None where there is one."""
    found: dict[str, dict[str, list[Series]]] = {}
    for name in names:
        for each in page.series.get(name, ()):
            model = each.label(label)[:MAX_KEY_CHARS]
            if model in found or len(found) < MAX_KEYS:
                found.setdefault(model, {}).setdefault(name, []).append(each)
    if len(found) < 2:
        return None
    return {model: sample(Page(series, page.families)) for model, series in found.items()}


class Histograms:
    """Reads histograms; samples share the tuple of their bounds. For one thread."""

    def __init__(self) -> None:
        self._bounds: dict[tuple[float, ...], tuple[float, ...]] = {}

    def read(
        self, page: Page, name: str, scale: float = 1.0, only: Callable[[Series], bool] = lambda _: True
    ) -> Histogram | None:
        """All label sets of one histogram together; None when it is not there or makes no sense.

        ``scale`` makes seconds of its unit; series that ``only`` does not like are left out.
        """
        counts: dict[float, float] = {}
        for each in page.series.get(f"{name}_bucket", ()):
            if not only(each):
                continue
            try:
                bound = float(each.label("le")) * scale
            except ValueError:
                return None
            if math.isnan(bound) or not sound(each.value):
                return None
            counts[bound] = counts.get(bound, 0.0) + each.value
        if math.inf not in counts or not 1 < len(counts) <= MAX_BUCKETS:
            return None
        bounds = sorted(counts)
        cumulative = tuple(counts[bound] for bound in bounds)
        if any(later < earlier for earlier, later in pairwise(cumulative)):
            return None
        known = filter(only, page.series.get(f"{name}_sum", ()))
        return Histogram(self._shared(tuple(bounds[:-1])), cumulative, (total(known) or 0.0) * scale)

    def _shared(self, bounds: tuple[float, ...]) -> tuple[float, ...]:
        """The same tuple for the same bounds."""
        if len(self._bounds) > _MAX_BOUNDS:
            self._bounds.clear()
        return self._bounds.setdefault(bounds, bounds)


def sound(value: float) -> bool:
    """Whether a counter or a size can have this value."""
    return math.isfinite(value) and value >= 0.0


def one(series: list[Series] | None) -> float | None:
    """The value of the first of some series; None when there is none, or it makes no sense."""
    return series[0].value if series and sound(series[0].value) else None


def total(series: Iterable[Series] | None) -> float | None:
    """The sum of some series; None when there is none: absent is not zero."""
    values = [each.value for each in series or () if sound(each.value)]
    found = sum(values) if values else None
    return found if found is not None and sound(found) else None


def first(found: Iterable[T | None]) -> T | None:
    """The first of several names of one thing that is there."""
    return next((each for each in found if each is not None), None)


def mean(series: Iterable[Series] | None) -> float | None:
    """The mean of a ratio over the engines of a page; None when none tells one."""
    values = [each.value for each in series or () if sound(each.value) and each.value <= 1.0]
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
    if not known(page, name):
        return None
    found: dict[str, float] = {}
    for each in page.series.get(name, ()):
        key = each.label(label)[:MAX_KEY_CHARS]
        if sound(each.value) and (key in found or len(found) < MAX_KEYS):
            found[key] = found.get(key, 0.0) + each.value
    return found


def counts_by_two(page: Page, name: str, first: str, second: str) -> dict[tuple[str, str], float] | None:
    """A counter by two of its labels, None when it is not there."""
    if not known(page, name):
        return None
    found: dict[tuple[str, str], float] = {}
    for each in page.series.get(name, ()):
        key = (each.label(first)[:MAX_KEY_CHARS], each.label(second)[:MAX_KEY_CHARS])
        if sound(each.value) and (key in found or len(found) < MAX_KEYS):
            found[key] = found.get(key, 0.0) + each.value
    return found
