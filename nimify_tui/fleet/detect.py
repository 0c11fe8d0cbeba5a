"""What the numbers of a service show against its own recent past: slower, busier, attacked, failing.

The past is an exponentially weighted mean of logarithms (a median's little brother: one odd column
moves it by a bounded step), learnt from columns that are at least eight seconds old, and not while
something is found. Two columns are enough, so that it works some 16 to 20 s after the first scrape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nimify_tui.domain.changes import ChangeKind
from nimify_tui.fleet.baseline import ALPHA, Baseline
from nimify_tui.fleet.quantiles import bucketed, share_within
from nimify_tui.fleet.refusals import UNSURE_S, Refusals
from nimify_tui.fleet.series import (
    BATCH_ITEMS,
    BATCHES,
    COLUMN_S,
    COMPUTE_S,
    COMPUTES,
    COVERED_S,
    CPU_S,
    ERRORS,
    FAILED,
    HOSTILE,
    LIMITED,
    QUEUE_S,
    TOTAL,
    UNAVAILABLE,
    Series,
    Window,
)
from nimify_tui.fleet.words import percent, seconds, short, span

#: Requests in the newest columns without which nothing is said about latency.
MIN_REQUESTS = 8.0
#: What is usual is not known from fewer requests than these: the first ones after a start are like no others.
USUAL_REQUESTS = 24.0
SLOW_FACTOR, SLOW_CLEAR = 3.0, 1.7
#: A slowdown by this factor stands above lesser ones.
MUCH_SLOWER = 5.0
#: The median must be so much higher too, seconds.
SLOW_P50_S = 0.010
#: One slow replica of several leaves the median alone: then so many requests are beyond so many times the usual
#: p95 (and at least by so many seconds). A busy neighbour only makes the tail longer.
SLOW_SHARE, SLOW_SHARE_CLEAR, SLOW_BEYOND, SLOW_BEYOND_S = 0.25, 0.1, 3.0, 0.02
#: A column without a request is no reason to call the next one many times more.
LEAST_RPS = 0.1
TRAFFIC_FACTOR, TRAFFIC_RPS, TRAFFIC_CLEAR = 3.0, 8.0, 2.0
#: From this factor and this much more on, traffic alone makes the row show.
TRAFFIC_STRANGE, TRAFFIC_STRANGE_RPS = 5.0, 12.0
HOSTILE_EVENTS, HOSTILE_RATE, HOSTILE_FACTOR = 10.0, 1.5, 5.0
ERROR_RATIO, ERROR_COUNT, ERROR_CLEAR = 0.05, 5.0, 0.01
REFUSED_RATIO = 0.10
REJECTED_RATIO = 0.5
#: A level that lasts so long is the new normal, seconds.
ACCEPT_S = 900.0
TRAFFIC_ACCEPT_S = 300.0
#: How long it has to be over, seconds.
CLEAR_S = 8.0
#: What is found is worded anew so often, seconds.
WORD_S = 5.0


@dataclass(slots=True)
class Flag:
    """One thing that is found: since when, in which words, and whether it is still so."""

    kind: ChangeKind
    onset: float
    text: str
    evidence: str
    seen_at: float
    found_at: float
    #: Whether the row is unwell by it.
    unwell: bool = True
    #: The greatest factor so far by which it is more (or slower) than usual.
    factor: float = 0.0
    worded_at: float = 0.0
    #: How often such a mark was set before, and in how much time: how far it can be trusted.
    record: str = ""


class Detector:
    """The past of one service in one region and what is found now."""

    __slots__ = (
        "batch", "columns", "compute", "cpu", "flags", "hostile_rate", "learnt", "marked_slow", "marked_traffic", "p50",
        "p95", "refusals", "requests", "rps", "suspects",
    )  # fmt: skip

    def __init__(self) -> None:
        self.p50, self.p95, self.rps, self.compute = Baseline(), Baseline(), Baseline(), Baseline()
        self.cpu, self.batch = Baseline(), Baseline()
        self.refusals = Refusals()
        self.hostile_rate = 0.0
        self.learnt = 0
        #: Columns that were looked at, and in how many of them a mark stood.
        self.columns = self.marked_slow = self.marked_traffic = 0
        #: Requests behind the usual latencies.
        self.requests = 0.0
        self.flags: dict[ChangeKind, Flag] = {}
        #: Found once, not twice yet.
        self.suspects: dict[ChangeKind, float] = {}

    def learn(self, window: Window) -> None:
        """A column has become the past."""
        self.learnt += 1
        flags = self.flags
        self.columns += 1
        self.marked_slow += ChangeKind.SLOWDOWN in flags
        self.marked_traffic += ChangeKind.TRAFFIC in flags
        if not (ChangeKind.ATTACK in flags or ChangeKind.ATTACK in self.suspects or self.refusals.active):
            self.refusals.learn(window)
            weight = max(ALPHA, 1.0 / self.learnt)
            self.hostile_rate += weight * (window.rate(HOSTILE) - self.hostile_rate)
        if ChangeKind.TRAFFIC not in flags:
            self.rps.learn(max(window.rps, LEAST_RPS))
        if ChangeKind.SLOWDOWN in flags or window.total < 1.0:
            return
        p50, p95 = _quantiles(window)
        if p50 is not None and p95 is not None:
            self.p50.learn(p50)
            self.p95.learn(p95)
            self.requests += window.total
        compute = window.mean(COMPUTE_S, COMPUTES)
        if compute is not None:
            self.compute.learn(compute)
        self.cpu.learn(window.values[CPU_S] / window.values[COVERED_S])
        batch = window.mean(BATCH_ITEMS, BATCHES)
        if batch is not None:
            self.batch.learn(batch)

    def look(
        self, series: Series, at: float, *, young: bool = False, revision: int | None = None
    ) -> list[Flag]:
        """What has newly been found or is over (``seen_at`` 0) at ``at``; :attr:`flags` is what is so now.

        Of a ``young`` service only attacks are looked for. ``revision`` is the one that should run.
        """
        newest = series.newest
        recent = series.window(newest - 1, newest)
        if recent is None:
            return []
        self.refusals.look(series, at, revision)
        news: list[Flag] = []
        for kind, found in (
            (ChangeKind.SLOWDOWN, 0.0 if young else self._slow(recent)),
            (ChangeKind.TRAFFIC, 0.0 if young else self._traffic(recent)),
            (ChangeKind.ATTACK, 0.0 if self.refusals.active else self._attack(recent)),
        ):
            self._settle(kind, found, series, at, news)
        return news

    # -- one thing at a time -------------------------------------------------------------

    def _slow(self, recent: Window) -> float:
        """How many times slower, 0 when it is not."""
        p50, p95 = _quantiles(recent)
        usual50, usual95 = self.p50.value, self.p95.value
        if p50 is None or p95 is None or usual50 is None or usual95 is None or recent.total < MIN_REQUESTS:
            return 0.0
        if self.requests < USUAL_REQUESTS:
            return 0.0
        clear = ChangeKind.SLOWDOWN in self.flags
        factor = p50 / usual50
        if factor >= (SLOW_CLEAR if clear else SLOW_FACTOR) and (clear or p50 - usual50 >= SLOW_P50_S):
            return factor
        limit_s = max(usual95 * SLOW_BEYOND, usual95 + SLOW_BEYOND_S)
        within = share_within(limit_s, recent.bounds, recent.counts)
        beyond = 1.0 - within if within is not None else 0.0
        return p95 / usual95 if beyond >= (SLOW_SHARE_CLEAR if clear else SLOW_SHARE) else 0.0

    def _traffic(self, recent: Window) -> float:
        usual, now = self.rps.value, recent.rps
        if usual is None or (usual < 1.0 and now < 1.0):
            return 0.0
        need = TRAFFIC_CLEAR if ChangeKind.TRAFFIC in self.flags else TRAFFIC_FACTOR
        if now >= usual:
            # Out of (almost) nothing is a beginning, not a spike.
            if usual < 1.0 or now - usual < TRAFFIC_RPS or self.rps.factor(now) < need:
                return 0.0
            return now / usual
        missing = (usual - now) * recent.span_s
        low = max(now, 0.5 / max(recent.span_s, 1.0))
        return -usual / low if missing >= 20.0 and self.rps.factor(low) >= need else 0.0

    def _attack(self, recent: Window) -> float:
        events, rate = recent.values[HOSTILE], recent.rate(HOSTILE)
        if self.learnt < 1:
            return 0.0
        if ChangeKind.ATTACK in self.flags:
            return events if rate > max(0.5, 2.0 * self.hostile_rate) else 0.0
        enough = events >= HOSTILE_EVENTS and rate >= max(HOSTILE_RATE, HOSTILE_FACTOR * self.hostile_rate)
        return events if enough else 0.0

    def _settle(self, kind: ChangeKind, found: float, series: Series, at: float, news: list[Flag]) -> None:
        flag = self.flags.get(kind)
        if found and flag is None:
            first = self.suspects.setdefault(kind, at)
            wait_s = 1.5
            if kind is ChangeKind.ATTACK:
                wait_s = UNSURE_S if self.refusals.revised_recently(at) else 0.0
            if at - first < wait_s:
                return
            flag = self._flag(kind, found, series, at)
            self.flags[kind] = flag
            news.append(flag)
        elif found and flag is not None:
            flag.seen_at = at
            flag.factor = max(flag.factor, abs(found))
            # Words that change each second are no help: often at first, now and then later.
            if at - flag.worded_at >= (WORD_S if at - flag.found_at <= 4 * WORD_S else 6 * WORD_S):
                self._renew(flag, found, series, at)
            limit_s = TRAFFIC_ACCEPT_S if kind is ChangeKind.TRAFFIC else ACCEPT_S
            if at - flag.found_at > limit_s:
                self._accept(kind)
        elif flag is None:
            self.suspects.pop(kind, None)
        elif at - flag.seen_at >= CLEAR_S:
            del self.flags[kind]
            self.suspects.pop(kind, None)
            lasted = f"{flag.text}, for {short(flag.seen_at - flag.onset)} s"
            news.append(Flag(kind, at, _over(kind, series), lasted, 0.0, at))

    def _accept(self, kind: ChangeKind) -> None:
        """It has been so for so long that it is normal now."""
        del self.flags[kind]
        self.suspects.pop(kind, None)
        if kind is ChangeKind.SLOWDOWN:
            self.p50, self.p95, self.compute = Baseline(), Baseline(), Baseline()
            self.requests = 0.0
        elif kind is ChangeKind.TRAFFIC:
            self.rps = Baseline()
        else:
            self.learnt = 1

    # -- words ---------------------------------------------------------------------------

    def _flag(self, kind: ChangeKind, found: float, series: Series, at: float) -> Flag:
        flag = Flag(kind, self._onset(kind, series, at), "", "", at, at, record=self._record(kind))
        self._renew(flag, found, series, at)
        return flag

    def _renew(self, flag: Flag, found: float, series: Series, at: float) -> None:
        flag.worded_at = at
        newest = series.newest
        recent = series.window(newest - 1, newest)
        if recent is None:
            return
        flag.factor = max(flag.factor, abs(found))
        if flag.kind is ChangeKind.SLOWDOWN:
            flag.text, evidence = self._slow_words(recent)
            flag.evidence = f"{evidence}; {flag.record}"
        elif flag.kind is ChangeKind.TRAFFIC:
            usual = self.rps.value or 0.0
            left = recent.rps / usual if usual else 0.0
            times = f"x{short(found)}" if found > 0 else f"down to {percent(left)}"
            flag.text = f"traffic {short(usual)}/s -> {short(recent.rps)}/s ({times})"
            flag.evidence = f"{short(recent.total)} requests in {short(recent.span_s)} s; {flag.record}"
            flag.unwell = found >= TRAFFIC_STRANGE and recent.rps - usual >= TRAFFIC_STRANGE_RPS
        else:
            window = series.window(newest - 4, newest) or recent
            usual_events = self.hostile_rate * window.span_s
            flag.text = (
                f"{short(window.values[HOSTILE])} refused or malformed requests in {short(window.span_s)} s"
            )
            flag.evidence = (
                f"before about {short(usual_events)} in that time; {short(window.total)} inference requests"
            )

    def _record(self, kind: ChangeKind) -> str:
        marked = self.marked_slow if kind is ChangeKind.SLOWDOWN else self.marked_traffic
        before = f"of the {span(self.columns * COLUMN_S)} before"
        return f"such a mark stood in {percent(marked / max(1, self.columns))} {before}"

    def _slow_words(self, recent: Window) -> tuple[str, str]:
        p50, p95 = _quantiles(recent)
        compute, usual = recent.mean(COMPUTE_S, COMPUTES), self.compute.value
        text = f"p50 {_from_to(self.p50.value, p50)}, p95 {_from_to(self.p95.value, p95)}"
        if compute is not None and usual is not None and compute >= 2.0 * usual:
            text = f"compute time per request {seconds(usual)} -> {seconds(compute)}"
        parts = []
        before_rps = self.rps.value
        if before_rps is not None:
            same = 0.67 <= recent.rps / max(before_rps, 1e-9) <= 1.5
            traffic = f"{short(recent.rps)}/s"
            parts.append(
                f"at the same traffic ({traffic})" if same else f"traffic {short(before_rps)}/s -> {traffic}"
            )
        batch, before_batch = recent.mean(BATCH_ITEMS, BATCHES), self.batch.value
        if batch is not None and before_batch is not None:
            same = 0.67 <= batch / max(before_batch, 1e-9) <= 1.5
            parts.append(
                "the same batch size" if same else f"batch size {short(before_batch)} -> {short(batch)}"
            )
        waiting = recent.mean(QUEUE_S, COMPUTES)
        if waiting is not None and compute is not None and waiting > compute:
            parts.append(f"{seconds(waiting)} of waiting for a worker")
        cpu, before_cpu = recent.values[CPU_S] / recent.values[COVERED_S], self.cpu.value
        if before_cpu is not None and cpu > 0.0:
            parts.append(f"its processes use {percent(cpu)} of a CPU, before {percent(before_cpu)}")
        return text, ", ".join(parts)

    def _onset(self, kind: ChangeKind, series: Series, at: float) -> float:
        """When the first column of an unbroken run that is nearer to now than to the past began to be so."""
        newest = series.newest
        onset = newest
        recent = series.window(newest - 1, newest)
        if recent is None:
            return at
        for column in range(newest, newest - 15, -1):
            window = series.column(column)
            if window is None or not self._deviates(kind, window, recent):
                if column >= newest - 1:
                    continue
                break
            onset = column
        first = series.column(onset)
        share = self._share(kind, first, recent) if first is not None else 1.0
        return (onset + 1.0 - min(1.0, max(0.1, share))) * COLUMN_S

    def _share(self, kind: ChangeKind, first: Window, recent: Window) -> float:
        """Which part of the first column was already as it is now."""
        if kind is ChangeKind.ATTACK:
            return first.rate(HOSTILE) / max(recent.rate(HOSTILE), 1e-9)
        if kind is ChangeKind.TRAFFIC:
            usual = self.rps.value or 0.0
            return (first.rps - usual) / (recent.rps - usual) if recent.rps != usual else 1.0
        usual50, now50 = self.p50.value, _quantiles(recent)[0]
        if usual50 is None or now50 is None or now50 <= usual50:
            return 1.0
        within = share_within(math.sqrt(usual50 * now50), first.bounds, first.counts)
        return 1.0 - within if within is not None else 1.0

    def _deviates(self, kind: ChangeKind, window: Window, recent: Window) -> bool:
        if kind is ChangeKind.ATTACK:
            return window.rate(HOSTILE) > max(0.2 * recent.rate(HOSTILE), 2.0 * self.hostile_rate, 0.25)
        if kind is ChangeKind.TRAFFIC:
            return _nearer(window.rps, self.rps.value, recent.rps)
        now, here = _quantiles(recent), _quantiles(window)
        pairs = ((here[0], self.p50.value, now[0]), (here[1], self.p95.value, now[1]))
        return any(a is not None and c is not None and _nearer(a, b, c) for a, b, c in pairs)


def _nearer(value: float, usual: float | None, now: float) -> bool:
    """Whether ``value`` is nearer to ``now`` than to ``usual``, by factors."""
    if usual is None or now <= 0.0 or usual <= 0.0:
        return True
    middle = math.sqrt(usual * now)
    return value > middle if now > usual else value < middle


def _quantiles(window: Window) -> tuple[float | None, float | None]:
    counts = window.counts
    p50, p95 = bucketed(0.5, window.bounds, counts), bucketed(0.95, window.bounds, counts)
    return (p50[0] if p50 is not None else None), (p95[0] if p95 is not None else None)


def _from_to(before: float | None, now: float | None) -> str:
    return f"{seconds(before or 0.0)} -> {seconds(now or 0.0)}"


def _over(kind: ChangeKind, series: Series) -> str:
    newest = series.newest
    recent = series.window(newest - 1, newest)
    if recent is None:
        return f"{kind} is over"
    if kind is ChangeKind.SLOWDOWN:
        _, p95 = _quantiles(recent)
        return f"fast again: p95 {seconds(p95)}" if p95 is not None else "fast again"
    if kind is ChangeKind.TRAFFIC:
        return f"traffic is as before: {short(recent.rps)}/s"
    return "no more refused or malformed requests than before"


def failing(window: Window) -> tuple[float, str] | None:
    """(error ratio, words) when too many requests of ``window`` failed."""
    total, errors = window.total, window.values[ERRORS]
    if total <= 0.0 or errors < ERROR_COUNT or errors / total < ERROR_RATIO:
        return None
    ratio = errors / total
    if window.values[UNAVAILABLE] >= 0.8 * errors:
        return ratio, f"overloaded: {percent(ratio)} of requests answered 503"
    if window.values[FAILED] < 0.2 * errors:
        return ratio, f"errors {percent(ratio)} (5xx)"
    both = "" if window.values[FAILED] >= 0.8 * errors else "5xx, "
    return ratio, f"errors {percent(ratio)} ({both}422: the model cannot run the inputs)"


def refusing(window: Window) -> str:
    """Words when it turns many away for their rate, "" if not."""
    limited, total = window.values[LIMITED], window.values[TOTAL]
    asked = max(total, limited)
    if limited < ERROR_COUNT or not asked or limited / asked < REFUSED_RATIO:
        return ""
    return f"{percent(min(1.0, limited / (limited + total)))} of requests refused by the rate limit (429)"
