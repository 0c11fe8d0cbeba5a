"""How numbers, times and names look: every figure on the screen passes here.

Three significant digits at most. :data:`UNKNOWN` is "not known", an empty string is "does not apply",
0 is zero. Times are UTC.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable

from nimify_tui.base.text import ELLIPSIS, clean_line
from nimify_tui.domain.measures import Measure, MeasureState

UNKNOWN = "–"
#: Below this age (seconds) numbers count as new; their age is shown in steps so that it does not flicker.
FRESH_S = 5.0

_COUNT_UNITS = ("", "k", "M", "G", "T", "P")
_BYTE_UNITS = ("B", "K", "M", "G", "T", "P")


def significant(value: float) -> str:
    """At most three significant digits and at most two decimals: 1240 is not for here (see :func:`count`)."""
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:.0f}"
    text = f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if float(text) != 0 else "0"


def _scaled(value: float, step: float, units: tuple[str, ...]) -> tuple[float, str]:
    unit = 0
    # 999.5 would be printed as 1000: it belongs to the next unit.
    while abs(value) >= 999.5 and unit < len(units) - 1:
        value /= step
        unit += 1
    return value, units[unit]


def count(value: float) -> str:
    """A count or a rate: ``0.25``, ``47``, ``611``, ``1.24k``, ``3.1M``."""
    if not math.isfinite(value):
        return UNKNOWN
    number, unit = _scaled(value, 1000.0, _COUNT_UNITS)
    return significant(number) + unit


def rate(value: float) -> str:
    """Requests per second in a column: whole from 10 on, so that digits do not dance."""
    if not math.isfinite(value):
        return UNKNOWN
    if 0 < value < 0.05:
        return "<0.1"
    return f"{value:.0f}" if value == 0 or 9.95 <= value < 999.5 else f"{value:.1f}" if value < 9.95 else count(value)


def size(value: float) -> str:
    """Bytes: ``212M``, ``1.1G`` (1024 to the step)."""
    if not math.isfinite(value):
        return UNKNOWN
    number, unit = _scaled(value, 1024.0, _BYTE_UNITS)
    return (significant(number) if number >= 100 or unit == "B" else f"{number:.1f}".removesuffix(".0")) + unit


def latency(seconds: float) -> str:
    """``0.4ms``, ``9ms``, ``640ms``, ``1.9s``, ``12s``, ``3m``, ``2h``, ``3d``."""
    if not math.isfinite(seconds):
        return UNKNOWN
    milliseconds = seconds * 1000.0
    if milliseconds < 999.5:
        if milliseconds < 0.05:
            return "0ms" if milliseconds == 0 else "<0.1ms"
        return f"{milliseconds:.1f}ms" if milliseconds < 0.95 else f"{milliseconds:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    return f"{seconds:.0f}s" if seconds < 119.5 else span(seconds)


def percent(ratio: float, digits: int = 1) -> str:
    """A ratio as ``0.0%``, ``1.2%``, ``38%``; what is not zero never reads as zero."""
    if not math.isfinite(ratio):
        return UNKNOWN
    value = ratio * 100.0
    if value >= 9.95:
        return f"{value:.0f}%"
    least = 10.0**-digits
    if 0 < value < least / 2:
        return f"<{least:.{digits}f}%"
    return f"{value:.{digits}f}%"


def span(seconds: float) -> str:
    """How long: ``41s``, ``6m``, ``3h``, ``2d``."""
    seconds = max(0.0, seconds)
    if seconds < 99.5:
        return f"{seconds:.0f}s"
    if seconds < 5970:
        return f"{seconds / 60:.0f}m"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f}h"
    return f"{seconds / 86400:.0f}d"


def span_words(seconds: float) -> str:
    """How long, with room: ``41 s``, ``6 min``, ``3 h 10 min``, ``2 d``."""
    seconds = max(0.0, seconds)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"
    return f"{hours / 24:.0f} d"


def offset(seconds: float) -> str:
    """Distance from the onset: ``29 s before``, ``2 s after``, ``at the onset``."""
    if abs(seconds) < 0.5:
        return "at the onset"
    return f"{span_words(abs(seconds))} {'before' if seconds < 0 else 'after'}"


def age(seconds: float | None) -> str:
    """The age of a number in steps that do not flicker: ``<5 s``, ``10 s``, ``3 min``."""
    if seconds is None:
        return "no data yet"
    if seconds < FRESH_S:
        return "<5 s"
    if seconds < 60:
        return f"{int(seconds // 5) * 5} s"
    return span_words(seconds // 60 * 60)


def clock_minutes(at: float) -> str:
    """``18:42Z``: the screen's clock shows UTC minutes only."""
    return f"{moment(at):%H:%M}Z"


def clock(at: float) -> str:
    """``18:42:07`` (UTC)."""
    return f"{moment(at):%H:%M:%S}"


def date_clock(at: float, now: float | None = None) -> str:
    """``18:42:07`` for today, otherwise ``11-23 18:42`` (UTC)."""
    then = moment(at)
    if now is not None and then.date() == moment(now).date():
        return f"{then:%H:%M:%S}"
    return f"{then:%m-%d %H:%M}"


def moment(at: float) -> datetime.datetime:
    """Unix seconds as a time in UTC; out of range is the nearest that can be shown."""
    return datetime.datetime.fromtimestamp(min(max(at, 0.0), 253402300799.0), datetime.UTC)


def measure(value: Measure, digits: int = 1) -> str:
    """A measure in a cell. BOUND reads ``>1.9s`` (``<0.1ms`` for "at most"), also when it is old; ABSENT is UNKNOWN."""
    if value.value is None or value.state is MeasureState.ABSENT:
        return UNKNOWN
    text = plain_value(value.value, value.unit, digits)
    return text if text.startswith("<") else f"{value.sign}{text}"


def plain_value(value: float, unit: str, digits: int = 1) -> str:
    """A number of a known unit (see :class:`~nimify_tui.domain.measures.Measure`)."""
    match unit:
        case "s":
            return latency(value)
        case "rps":
            return rate(value)
        case "ratio":
            return percent(value, digits)
        case "bytes":
            return size(value)
        case "percent":
            return f"{value:.0f}%"
        case "celsius":
            return f"{value:.0f}°C"
        case "watt":
            return f"{value:.0f}W"
        case "megahertz":
            return f"{value:.0f} MHz"
        case "bytes_per_second":
            return f"{size(value)}/s"
        case _:
            return count(value)


def is_old(value: Measure) -> bool:
    """Whether a number is to be dimmed."""
    return value.state is MeasureState.STALE


def style_of(value: Measure) -> str:
    """The style name of a measure's cell: old ones dim, unknown ones too."""
    return "stale" if is_old(value) else "dim" if value.value is None else ""


def shorten_names(names: Iterable[str], width: int) -> dict[str, str]:
    """Each name at ``width`` cells at most, shortened in its middle, never two of them the same.

    Names are cleaned first; two names that are the same when cleaned get their number (``~2``).
    """
    shown: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        if name in shown:
            continue
        clean = clean_line(name, 256) or "(no name)"
        short = next((each for each in _shortenings(clean, width) if each not in taken), "")
        number = 2
        while not short or short in taken:
            mark = f"~{number}"
            short = clean[: max(0, width - len(mark))] + mark
            number += 1
        taken.add(short)
        shown[name] = short
    return shown


def _shortenings(name: str, width: int) -> Iterable[str]:
    """Ways to shorten ``name``, the balanced one first."""
    if len(name) <= width:
        yield name
        return
    if width < 3:
        yield name[: max(0, width)]
        return
    kept = width - 1
    half = kept // 2
    order = [half]
    for step in range(1, kept):
        order += [tail for tail in (half + step, half - step) if 0 < tail < kept]
    for tail in order:
        yield name[: kept - tail] + ELLIPSIS + name[-tail:]


def plural(number: int, word: str, many: str = "") -> str:
    """``1 service``, ``14 services``."""
    return f"{number} {word if number == 1 else many or word + 's'}"
