"""The samples of some series by columns: a list of times and one of values for each scrape, no object for each sample.

A region tells ten thousand samples in a turn. As objects they are scattered over megabytes, and waiting for memory was
most of what a sample cost. So the text of all series that were scraped together is read as one list of numbers, with a
mark between two series by which it is known that each has the same number of samples; where it isn't so (a series that
came or went), they are read one by one.

What is no number is none: VictoriaMetrics tells so that a series has ended, by a sample of a time at which nothing was
scraped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

#: Stands between two series: a number that no counter, size or time has.
_MARK = -3.0e-305
_BETWEEN = f",{_MARK!r},".encode()
_plain = msgspec.json.Decoder(list[float]).decode
#: Numbers that come as text: NaN and infinite ones among them.
_any = msgspec.json.Decoder(list[float], strict=False).decode
#: Prometheus writes +Inf, which is no number to msgspec; Inf is.
_INFINITE, _KNOWN = b'"+Inf"', b'"Inf"'
_NONE = (math.nan, math.nan)
_one = msgspec.json.Decoder(list[tuple[float, float]], strict=False).decode


class _Scrape(msgspec.Struct, gc=False):
    """The samples of all series that have the same place from the end; NaN where a series has none there."""

    #: Their time where it is one and the same, else None.
    when: float | None
    ats: list[float]
    values: list[float]

    def there(self) -> int:
        """How many there are."""
        return len(self.ats) - (0 if self.when is not None else sum(map(math.isnan, self.ats)))


class Columns:
    """Times (unix seconds) and values of some series, in their order: the newest sample of each, the one before, ..."""

    __slots__ = ("_scrapes", "count")

    def __init__(self, texts: Sequence[msgspec.Raw], ahead_s: float = 0.0) -> None:
        """Of the samples of each as they came, oldest first: ``[[time, "value"], ...]``.

        ``ahead_s`` is how far the clock of the times is ahead. Raises msgspec's errors.
        """
        #: How many series there are.
        self.count = len(texts)
        self._scrapes = []
        for ats, values in (_together(texts) or _one_by_one(texts)) if texts else ():
            mine = [at - ahead_s for at in ats] if ahead_s else ats
            first = mine[0]
            # NaN may be equal to itself in a list.
            one = mine.count(first) == len(mine) and not math.isnan(first)
            self._scrapes.append(_Scrape(first if one else None, mine, values))

    @property
    def samples(self) -> int:
        """How many samples all series have together."""
        return sum([each.there() for each in self._scrapes])

    def times(self) -> list[float]:
        """All times, newest first."""
        found = {each.when for each in self._scrapes}
        if None in found:
            found.update(*[each.ats for each in self._scrapes if each.when is None])
        return sorted([at for at in found if at is not None and not math.isnan(at)], reverse=True)

    def whole(self, when: float) -> list[float] | None:
        """The value of each series at this time; None where one has none, or has it at another place than the rest."""
        for each in self._scrapes:
            if each.when == when:
                return each.values
        return None

    def at(self, when: float) -> list[float | None]:
        """The value of each series at this time, None where it has none."""
        found: list[float | None] = [None] * self.count
        for each in reversed(self._scrapes):
            for place, at in enumerate(each.ats):
                if at == when:
                    found[place] = each.values[place]
        return found

    def told(self, when: float) -> int:
        """How many series have a value at this time."""
        return sum(
            [each.ats.count(when) if each.when is None else self.count * (each.when == when) for each in self._scrapes]
        )


def _together(texts: Sequence[msgspec.Raw]) -> list[tuple[list[float], list[float]]] | None:
    """(times, values) of each scrape, newest first; None where the series have not as many samples each."""
    text, odd = _BETWEEN.join(texts), False
    try:
        flat = _plain(b"[" + text.translate(None, b'[]"') + b"]")
    except msgspec.MsgspecError:
        odd = True
        try:
            flat = _any(b"[" + text.translate(None, b"[]").replace(_INFINITE, _KNOWN) + b"]")
        except msgspec.MsgspecError:
            return None
    count = len(texts)
    width = (len(flat) + 1) // count
    if width < 3 or width % 2 == 0 or len(flat) + 1 != width * count:
        return None
    if flat[width - 1 :: width].count(_MARK) != count - 1:
        return None
    found = [(flat[at::width], flat[at + 1 :: width]) for at in range(width - 3, -1, -2)]
    return [(_there(ats, values), values) for ats, values in found] if odd else found


def _one_by_one(texts: Sequence[msgspec.Raw]) -> list[tuple[list[float], list[float]]]:
    told = [_one(bytes(text).replace(_INFINITE, _KNOWN)) for text in texts]
    rows = [[(at, value) for at, value in row if not math.isnan(value)] for row in told]
    found = []
    for back in range(1, max(map(len, rows)) + 1):
        pairs = [row[-back] if back <= len(row) else _NONE for row in rows]
        found.append(([at for at, _ in pairs], [value for _, value in pairs]))
    return found


def _there(ats: list[float], values: list[float]) -> list[float]:
    """The times of what is a number."""
    return [math.nan if math.isnan(value) else at for at, value in zip(ats, values, strict=True)]
