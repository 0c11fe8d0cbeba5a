"""One judge for each kind of rule: is it so, is it not so, or can that not be told, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nimify_tui.base.clock import rfc3339
from nimify_tui.base.text import clean_line
from nimify_tui.domain.caches import STEP_S, steps_in
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.gpus import Gpu
from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.domain.regions import CertificateSeen
from nimify_tui.domain.rules import CACHE_USUAL, LANGUAGE_FAMILIES, TTFT_S, Looks
from nimify_tui.domain.services import ReplicaState, ServiceState
from nimify_tui.fleet.baseline import Baseline
from nimify_tui.fleet.caches import CacheTracks
from nimify_tui.fleet.detect import HOSTILE_EVENTS, TRAFFIC_FACTOR
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.fleet.numbers import STALE_INTERVALS, fresh_of
from nimify_tui.fleet.quantiles import quantile
from nimify_tui.fleet.tokenlines import first_token
from nimify_tui.fleet.tracks import ServiceTrack
from nimify_tui.fleet.words import percent, seconds, short, span

#: A cache's usual hit ratio is known from so many steps (2 min), and a step from so many lookups.
CACHE_STEPS, CACHE_LOOKUPS = 6, 20.0
#: A degraded hit ratio that lasts so long is the new normal, seconds (as for latency, see fleet.detect).
CACHE_ACCEPT_S = 900.0
#: GPU numbers older than this, or than three of their own steps, are no judgement, seconds.
GPU_STALE_S = 30.0


class Verdict(NamedTuple):
    """``breach`` None: it cannot be judged, ``text`` says why. ``since``: known to be so for at least that long."""

    breach: bool | None
    text: str
    value: Measure = absent("count", "not measured")
    threshold: float | None = None
    since: float | None = None


class Usual(Baseline):
    """The usual hit ratio of one tier of one service."""

    __slots__ = ("low_at", "step", "tier")

    def __init__(self, tier: str) -> None:
        super().__init__()
        self.tier = tier
        self.step = -1
        self.low_at: float | None = None


class Memory:
    """What judging one service needs to remember."""

    __slots__ = ("tiers",)

    def __init__(self) -> None:
        self.tiers: tuple[Usual, ...] = ()

    def of(self, tier: str) -> Usual:
        """What is remembered of a tier."""
        for each in self.tiers:
            if each.tier == tier:
                return each
        self.tiers = (*self.tiers, Usual(tier))
        return self.tiers[-1]

    def renew(self, tier: str) -> None:
        """What was usual holds no more."""
        self.tiers = tuple(each if each.tier != tier else Usual(tier) for each in self.tiers)


class Look(NamedTuple):
    """What a judge looks at: one service in one region at ``at``, its row, and the rule's ``limit``."""

    track: ServiceTrack
    row: ServiceRow
    memory: Memory
    at: float
    scrape_s: float
    limit: float


#: None: the rule does not concern this service.
Judge = Callable[[Look], "Verdict | None"]


def state(look: Look) -> Verdict | None:
    """DOWN is a breach; one that starts or is not seen is not judged."""
    row = look.row
    if row.state in (ServiceState.UNKNOWN, ServiceState.STARTING):
        return Verdict(None, f"{row.state.lower()}: {row.reason}" if row.reason else row.state.lower())
    ready = Measure(float(row.ready or 0), "count", None, "the region")
    if row.state is not ServiceState.DOWN:
        return Verdict(False, "", ready, 1.0)
    staying = [each for each in look.track.facts if each.state is not ReplicaState.DRAINING]
    # No replica was ready from the newest of these moments on; how long before that is not known from facts.
    service = look.track.service
    changed_at = service.changed_at if service is not None else None
    since = max((each.since for each in staying), default=changed_at)
    return Verdict(True, row.reason or f"no replica, {row.desired} wanted", ready, 1.0, since)


def errors(look: Look) -> Verdict | None:
    """More than 5 % of requests fail."""
    limit = look.limit
    words = "{} of requests fail, more than {}"
    return _over(look.row.error_ratio, limit, lambda value: words.format(percent(value), percent(limit)))


def latency(look: Look) -> Verdict | None:
    """Its own objectives, else the time to the first token of a language model, else p95."""
    track, row, slo = look.track, look.row, look.row.slo
    told: list[tuple[str, Measure, float, str]] = []
    if slo is not None and slo.latency_ms is not None:
        name, measure = f"p{slo.quantile * 100:g}", _at_quantile(track, row, slo.quantile)
        told.append((name, measure, slo.latency_ms / 1000, "its objective"))
    if slo is not None and slo.ttft_ms is not None:
        told.append((*_first_token(look, slo.quantile), slo.ttft_ms / 1000, "its objective"))
    if not told and (
        row.family in LANGUAGE_FAMILIES or any(each.tokens is not None for each in track.replicas.values())
    ):
        told = [(*_first_token(look, 0.95), TTFT_S, "the limit for language models")]
    verdicts = [_slow(*each) for each in told or [("p95", row.p95, look.limit, "the limit")]]
    return _worst(verdicts)


def _slow(name: str, measure: Measure, limit: float, of: str) -> Verdict:
    return _over(measure, limit, lambda value: f"{name} {seconds(value)}, over {seconds(limit)} ({of})")


def _first_token(look: Look, q: float) -> tuple[str, Measure]:
    """The time to the first token at a quantile, with its name."""
    fresh = fresh_of(look.track, look.at, look.scrape_s)
    return f"time to first token p{q * 100:g}", first_token(look.track, fresh, look.row.rps, q)


def _worst(verdicts: list[Verdict]) -> Verdict:
    """A breach, else one that can be judged."""
    breaches = [each for each in verdicts if each.breach]
    return (breaches or [each for each in verdicts if each.breach is not None] or verdicts)[0]


def _at_quantile(track: ServiceTrack, row: ServiceRow, q: float) -> Measure:
    known = {0.5: row.p50, 0.95: row.p95, 0.99: row.p99}.get(q)
    if known is not None or row.p95.value is None or track.window is None:
        return known if known is not None else row.p95
    found = quantile(q, track.window.bounds, track.window.counts)
    if found is None:
        return absent("s", "no latency buckets", row.p95.source)
    kind = MeasureState.BOUND if found.bound and row.p95.state is not MeasureState.STALE else row.p95.state
    why = found.bound or row.p95.reason
    return Measure(found.value, "s", row.p95.at, row.p95.source, kind, why, found.sign.strip())


def traffic(look: Look) -> Verdict | None:
    """What the detector has found against the service's own past: much more, much less, or many hostile requests."""
    row = look.row
    unknown = _unusable(row.rps)
    if unknown:
        return Verdict(None, unknown)
    detector = look.track.detector
    usual = detector.rps.value if detector is not None else None
    if detector is None or usual is None:
        return Verdict(None, "what is usual is not known yet")
    flag = detector.flags.get(ChangeKind.ATTACK)
    if flag is not None:
        value = Measure(flag.factor, "count", row.rps.at, row.rps.source)
        return Verdict(True, f"attacked: {flag.text}", value, HOSTILE_EVENTS, flag.onset)
    flag = detector.flags.get(ChangeKind.TRAFFIC)
    limit = usual * TRAFFIC_FACTOR
    if flag is None:
        return Verdict(False, "", row.rps, limit)
    less = row.rps.value is not None and row.rps.value < usual
    return Verdict(True, flag.text, row.rps, usual / TRAFFIC_FACTOR if less else limit, flag.onset)


def model(look: Look) -> Verdict | None:
    """A replica that serves other bytes than any revision of its service has."""
    track, service = look.track, look.track.service
    if not track.tells_digests:
        return Verdict(None, "its runtime tells no digest of what it serves")
    if service is None or not service.model_sha256 or service.models:
        return Verdict(None, "the digest of the model that it should serve is not known here")
    fresh_s = STALE_INTERVALS * (track.every_s or look.scrape_s)
    fresh = {name: one.at for name, one in track.replicas.items() if one.at and look.at - one.at <= fresh_s}
    if not fresh:
        return Verdict(None, "no replica has told it lately")
    strange = {name: digest for name, digest in (track.foreign or {}).items() if name in fresh}
    value = Measure(float(len(strange)), "count", max(fresh.values()), "metrics")
    if not strange:
        return Verdict(False, "", value, look.limit)
    name, digest = min(strange.items())
    more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
    text = f"{clean_line(name, 60)}{more} serves a model that no revision has: sha256 {clean_line(digest, 12)}"
    return Verdict(True, text, value, look.limit)


def cache(look: Look) -> Verdict | None:
    """The worst of its tiers against the usual hit ratio of each; None where it tells of no cache."""
    at, tracks = look.at, look.track.caches
    if tracks is None or not tracks.tiers:
        return None
    if at - tracks.at > tracks.fresh_s(STEP_S):
        return Verdict(None, f"cache counters are {at - tracks.at:.0f} s old")
    verdicts = [_tier(tracks, look.memory, tier, at, look.limit) for tier in tracks.tiers]
    return _worst(verdicts)


def _tier(tracks: CacheTracks, memory: Memory, tier: str, at: float, part: float) -> Verdict:
    usual = memory.of(tier)
    step = int(at // STEP_S)
    # The step that is not over yet tells of a part only, and the one before of a whole one.
    sums, back = tracks.sums(tier, at), steps_in(tracks.fresh_s(0.0))
    hits, lookups = (sum(sums.get(each, (0.0, 0.0))[index] for each in range(step - back, step)) for index in (0, 1))
    if lookups < CACHE_LOOKUPS:
        return Verdict(None, f"{short(lookups)} lookups in {back * STEP_S:.0f} s: too few to judge")
    ratio = hits / lookups
    normal = usual.value
    known = normal is not None and usual.n >= CACHE_STEPS
    low = known and normal is not None and normal >= CACHE_USUAL and ratio < part * normal
    if low and usual.low_at is not None and at - usual.low_at > CACHE_ACCEPT_S:
        memory.renew(tier)
        usual, low, known = memory.of(tier), False, False
    usual.low_at = (usual.low_at if usual.low_at is not None else at) if low else None
    if step != usual.step:
        usual.step = step
        if not low:
            usual.learn(ratio)
    if not known or normal is None:
        return Verdict(None, "what is usual is not known yet")
    value = Measure(ratio, "ratio", tracks.at, "metrics")
    text = f"cache {tier}: {percent(ratio)} hits, usually {percent(normal)}" if low else ""
    return Verdict(low, text, value, part * normal)


def gpu(one: Gpu, at: float, limit: float) -> Verdict:
    """Busy for more than so much of the time (percent)."""
    measure = one.utilisation
    if measure.value is not None and measure.at is not None and at - measure.at > max(GPU_STALE_S, 3 * one.every_s):
        return Verdict(None, f"last told {at - measure.at:.0f} s ago")
    return _over(measure, limit, lambda value: f"busy {short(value)} % of the time, more than {short(limit)} %")


def certificate(one: CertificateSeen, at: float, limit: float) -> Verdict:
    """Ends within so many seconds, or has ended."""
    left_s = one.ends_at - at
    told = Measure(left_s // 60 * 60, "s", None, "TLS")  # whole minutes: not another alert each second
    if left_s >= limit:
        return Verdict(False, "", told, limit)
    when = f"{rfc3339(one.ends_at)[:16]}Z".replace("T", " ")
    return Verdict(True, f"ends in {span(left_s)}, {when}" if left_s > 0 else f"has ended, {when}", told, limit)


def _over(measure: Measure, limit: float, words: Callable[[float], str]) -> Verdict:
    """Whether a number that can be trusted is above its limit."""
    unknown = _unusable(measure)
    if unknown or measure.value is None:
        return Verdict(None, unknown or "not measured", measure, limit)
    over = measure.value > limit
    if measure.sign == ("<" if over else ">"):
        return Verdict(None, measure.reason, measure, limit)
    return Verdict(over, words(measure.value) if over else "", measure, limit)


def _unusable(measure: Measure) -> str:
    """Why a number is no ground for a judgement, "" when it is one."""
    if measure.state is MeasureState.ABSENT or measure.value is None:
        return measure.reason or "not measured"
    if measure.state is MeasureState.STALE:
        return f"stale: {measure.reason}" if measure.reason else "stale"
    return ""


#: A kind of rule about services has its judge here.
JUDGES: dict[Looks, Judge] = {
    Looks.STATE: state, Looks.ERRORS: errors, Looks.LATENCY: latency, Looks.TRAFFIC: traffic, Looks.CACHE: cache,
    Looks.MODEL: model,
}  # fmt: skip
