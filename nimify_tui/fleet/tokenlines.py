"""The numbers of language models in a detail: time to the first token, between tokens, tokens, caches; or why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.domain.rules import LANGUAGE_FAMILIES
from nimify_tui.domain.slos import Slo
from nimify_tui.fleet.numbers import QUANTILES, latencies, with_origin
from nimify_tui.fleet.quantiles import merge, quantile
from nimify_tui.fleet.tokens import TokenTrack
from nimify_tui.fleet.tracks import ReplicaTrack, ServiceTrack
from nimify_tui.fleet.words import seconds

_TWO = "two scrapes are needed, one answered so far"
_NOT_TOLD = "this runtime does not tell it"

Line = tuple[str, Measure]


def token_lines(track: ServiceTrack, fresh: Sequence[ReplicaTrack], base: Measure) -> list[Line]:
    """One line for each number of one service in one region; none for a server of something else.

    ``fresh`` are the replicas whose last scrape counts, ``base`` is the row's own number (its reason, if absent).
    """
    told = [(each.at, each.tokens) for each in fresh if each.tokens is not None]
    family = track.service.family if track.service is not None else ""
    if not told and family not in LANGUAGE_FAMILIES:
        return []
    newest = max((at for at, _ in told), default=None)
    return _Lines([each for _, each in told], newest, base.reason, track).all()


def first_token(track: ServiceTrack, fresh: Sequence[ReplicaTrack], base: Measure, q: float) -> Measure:
    """The ``q`` quantile (0 to 1) of the time to the first token of one service in one region; as in the lines."""
    told = [(each.at, each.tokens) for each in fresh if each.tokens is not None]
    newest = max((at for at, _ in told), default=None)
    return _Lines([each for _, each in told], newest, base.reason, track).percentiles("ttft", (q,))[0]


def late_first_token(track: ServiceTrack, fresh: Sequence[ReplicaTrack], slo: Slo | None) -> str:
    """How its first tokens are later than its objective allows, in words; "" where they are not, or it is not known."""
    if slo is None or slo.ttft_ms is None:
        return ""
    told = (each.tokens.buckets("ttft") for each in fresh if each.tokens is not None)
    together, limit_s = merge(each for each in told if each is not None), slo.ttft_ms / 1000
    value = quantile(slo.quantile, *together) if together is not None else None
    if together is None or value is None or together[1][-1] < slo.min_requests:
        return ""
    if value.value <= limit_s or value.at_most:
        return ""
    least = "at least " if value.bound else ""
    return f"first token p{slo.quantile * 100:g} {least}{seconds(value.value)} over {seconds(limit_s)} (SLO)"


class _Lines:
    """Of some replicas of one service; where who tells them told only a part, sums are at least that."""

    def __init__(self, tracks: Sequence[TokenTrack], at: float | None, why: str, service: ServiceTrack) -> None:
        self._tracks, self._at, self._why, self._service = tracks, at, why, service

    def all(self) -> list[Line]:
        """In the order of the screen."""
        return [
            *self._percentiles("time to first token", "ttft"),
            *self._percentiles("between tokens", "itl"),
            ("tokens generated a second", self._rate("generation_tokens")),
            ("prompt tokens a second", self._rate("prompt_tokens")),
            ("KV cache in use, mean", self._gauge(lambda values: sum(values) / len(values))),
            ("KV cache in use, fullest replica", self._gauge(max)),
            ("prefix cache hits", self._prefix()),
            ("preemptions a second", self._rate("preemptions")),
        ]

    def _source(self, count: int) -> str:
        every = len(self._tracks)
        of = f"{count} of {every}" if count < every else str(count)
        return with_origin(f"metrics of {of} replica{'' if every == 1 else 's'}", self._service)

    def _missing(self, unit: str, name: str) -> Measure:
        if not self._tracks:
            return absent(unit, self._why or _NOT_TOLD)
        known = any(each.now is not None and getattr(each.now.sample, name) is not None for each in self._tracks)
        return absent(unit, _TWO if known else _NOT_TOLD, self._source(len(self._tracks)))

    def _percentiles(self, words: str, name: str) -> list[Line]:
        measures = self.percentiles(name, QUANTILES)
        return [(f"{words} p{q * 100:g}", measure) for q, measure in zip(QUANTILES, measures, strict=True)]

    def percentiles(self, name: str, quantiles: Sequence[float]) -> list[Measure]:
        """Of a histogram, over all replicas that tell it."""
        parts = [found for each in self._tracks if (found := each.buckets(name)) is not None]
        if not parts:
            return [self._missing("s", name)] * len(quantiles)
        source, together = self._source(len(parts)), merge(parts)
        if together is None:
            missing = absent("s", "replicas have histograms without a common bucket bound", source)
            return [missing] * len(quantiles)
        return latencies(*together, self._at, source, reason=self._service.partial, quantiles=quantiles)

    def _rate(self, name: str) -> Measure:
        rates = [grown / each.span_s for each in self._tracks if (grown := each.grown(name)) is not None]
        if not rates:
            return self._missing("count", name)
        partial = self._service.partial
        state = MeasureState.BOUND if partial else MeasureState.FRESH
        return Measure(sum(rates), "count", self._at, self._source(len(rates)), state, partial)

    def _gauge(self, of: Callable[[list[float]], float]) -> Measure:
        values = [
            each.now.sample.kv_ratio
            for each in self._tracks
            if each.now is not None and each.now.sample.kv_ratio is not None
        ]
        if not values:
            return self._missing("ratio", "kv_ratio")
        return Measure(of(values), "ratio", self._at, self._source(len(values)), reason=self._service.partial)

    def _prefix(self) -> Measure:
        pairs = [
            (hits, asked)
            for each in self._tracks
            if (hits := each.grown("prefix_hits")) is not None and (asked := each.grown("prefix_queries")) is not None
        ]
        if not pairs:
            return self._own_prefix()
        source, asked_all = self._source(len(pairs)), sum(asked for _, asked in pairs)
        if asked_all <= 0.0:
            return absent("ratio", "nothing was looked up in the window", source)
        ratio = min(1.0, sum(hits for hits, _ in pairs) / asked_all)
        return Measure(ratio, "ratio", self._at, source, reason=self._service.partial)

    def _own_prefix(self) -> Measure:
        """A ratio that a server makes itself, where it is the only one: those of several are never averaged."""
        found = [each.now.sample.prefix_ratio for each in self._tracks if each.now is not None]
        told = [ratio for ratio in found if ratio is not None]
        if len(told) == 1 and len(self._tracks) == 1:
            return Measure(told[0], "ratio", self._at, f"{self._source(1)}, as it says itself")
        if told:
            why = "replicas tell ratios and count no hits: they cannot be added up"
            return absent("ratio", why, self._source(len(told)))
        return self._missing("ratio", "prefix_hits")
