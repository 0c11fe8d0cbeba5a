"""The cache panel: each tier with its hit ratio, size and trend, or plainly why it is not known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nimify_tui.domain.asked import REDIS, Asked
from nimify_tui.domain.caches import PREFIX, READINGS, STEP_S, steps_in
from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.fleet.caches import CacheTracks
from nimify_tui.fleet.frames import CacheStat
from nimify_tui.fleet.shared import SharedCache, once

#: (tier, its name on the screen), in the order of the screen; others come last, by their own names.
NAMES = (
    ("l1", "response L1"), ("l2", "redis L2"), ("l3", "edge L3"), (PREFIX, "prefix"),
    ("artifact", "model artifacts"),
)  # fmt: skip
#: Why a tier that is always shown is not there.
_MISSING = {"l1": "not used", "l2": "not used", "l3": "not probed", "artifact": "no region tells"}
#: A KV cache that is so full makes the next requests wait, or drops others.
FULL_RATIO = 0.9
#: How full one was longer ago is no state of it, seconds; of one that is read seldom, a few readings ago.
KV_S = 30.0
#: Our own probes are compared over so many.
_PROBES = 10.0

Sums = dict[int, tuple[float, float]]


def stats(
    tracks: Sequence[CacheTracks],
    at: float,
    source: str,
    shared: Sequence[SharedCache] = (),
    parts: Iterable[CacheTracks] | None = None,
) -> tuple[CacheStat, ...]:
    """The tiers of all ``tracks`` and of the ``shared`` caches, and plainly what is not there.

    ``parts`` are the services, which know their sizes, KV caches and paces, where the tracks are sums of them.
    """
    each_of = list(parts) if parts is not None else tracks
    told = {tier for track in tracks for tier in track.tiers}
    order = dict(NAMES)
    beside: dict[str, list[SharedCache]] = {}
    for each in shared:
        beside.setdefault(each.key.tier, []).append(each)
    found = []
    for tier in [*order, *sorted((told | beside.keys()) - order.keys())]:
        name = order.get(tier, tier)
        if tier == PREFIX and (kv := _kv(tracks, at, each_of)) is not None:
            found.append(kv)
        if tier in beside:
            found.append(_shared(name, beside[tier], at))
        elif tier in told:
            found.append(_told(tier, name, tracks, at, source, each_of))
        elif tier in _MISSING:
            found.append(_missing(name, _MISSING[tier]))
    return tuple(found)


def _told(
    tier: str, name: str, tracks: Sequence[CacheTracks], at: float, source: str, parts: Sequence[CacheTracks]
) -> CacheStat:
    """A tier in the replicas."""
    newest = max((track.at for track in tracks if tier in track.tiers), default=at)
    paces_s = [track.fresh_s(0.0) for track in parts if tier in track.tiers]
    seldom_s = max(paces_s, default=0.0)
    state = MeasureState.FRESH if at - newest <= max(STEP_S, seldom_s) else MeasureState.STALE
    steps = _together([track.sums(tier, at) for track in tracks])
    return CacheStat(
        tier=name, hit_ratio=_ratio(steps, at, newest, steps_in(seldom_s), source, state),
        size=_size(tier, parts, at, newest, source, state), trend=_trend(steps, at),
    )  # fmt: skip


def _size(
    tier: str, parts: Sequence[CacheTracks], at: float, newest: float, source: str, state: MeasureState
) -> Measure:
    """All that is held; what was told longer ago is not known to be held any more, and all is at least the rest."""
    sizes = [(track, size) for track in parts if (size := track.size_bytes(tier)) is not None]
    told = [(at - track.at <= track.fresh_s(KV_S), size) for track, size in sizes]
    if not told:
        return absent("bytes", "not told", source)
    now = [size for fresh, size in told if fresh]
    if state is MeasureState.STALE or not now:
        return Measure(sum(size for _, size in told), "bytes", newest, source, MeasureState.STALE, "as told last")
    if len(now) < len(told):
        part = f"at least: {len(now)} of {len(told)} services tell it"
        return Measure(sum(now), "bytes", newest, source, MeasureState.BOUND, part)
    return Measure(sum(now), "bytes", newest, source, state)


def _kv(tracks: Sequence[CacheTracks], at: float, parts: Sequence[CacheTracks]) -> CacheStat | None:
    """How full the fullest KV cache is: a mean would hide the one that makes requests wait."""
    told = [(each, track) for track in parts for each in track.filled(at - track.fresh_s(KV_S))]
    steps: dict[int, float] = {}
    for track in tracks:
        for step, ratio in track.kv_steps(at).items():
            steps[step] = max(steps.get(step, 0.0), ratio)
    if not steps:
        return None
    none = absent("ratio", "a KV cache is used, and looked up for prefixes alone")
    now = int(at // STEP_S)
    trend = tuple(steps.get(step) for step in range(min(steps), now + 1))
    if not told:
        why = f"not told for {max((track.fresh_s(KV_S) for track in parts if track.at), default=KV_S):.0f} s"
        return CacheStat(tier="KV", hit_ratio=none, use=absent("ratio", why), size=absent("bytes", why), trend=trend)
    newest, fullest = max(when for (when, _), _ in told), max(ratio for (_, ratio), _ in told)
    source = f"the fullest of {len(told)} replicas" if len(told) > 1 else "metrics of 1 replica"
    state = MeasureState.FRESH if at - newest <= max(track.fresh_s(STEP_S) for _, track in told) else MeasureState.STALE
    return CacheStat(
        tier="KV", hit_ratio=none, use=Measure(fullest, "ratio", newest, source, state),
        size=absent("bytes", "servers tell a ratio", source), trend=trend,
        note="full soon" if fullest >= FULL_RATIO else "",
    )  # fmt: skip


def _shared(name: str, caches: Sequence[SharedCache], at: float) -> CacheStat:
    """A tier of caches beside the services, all together; what one cannot say is said for all of them."""
    caches = once(caches)
    known = [(cache, told) for cache in caches if (told := cache.known(at)) is not None]
    failed = [cache for cache in caches if cache.failed]
    trouble = failed[0].failed if failed else "not asked yet"
    if not known:
        why = trouble if len(caches) == 1 else f"none of {len(caches)} answers: {trouble}"
        return _missing(name, why)
    part = f"{len(known)} of {len(caches)}: {trouble}" if len(known) < len(caches) else ""
    newest = min(cache.at for cache, _ in known)
    source = known[0][1].source if len(known) == 1 else f"{len(known)} caches"
    late = failed or any(at - cache.at > READINGS * told.every_s for cache, told in known)
    state = MeasureState.STALE if late else MeasureState.FRESH
    span = max((_PROBES if told.probes else READINGS) * told.every_s for _, told in known)
    steps = _together([cache.steps.sums(at) for cache, _ in known])
    counted = all(told.hits is not None and told.misses is not None for _, told in known)
    ratio = _ratio(steps, at, newest, steps_in(span), source, state, trouble if failed else "")

    def total(values: list[float | None], unit: str) -> Measure:
        there = [value for value in values if value is not None]
        if len(there) < len(values) or not there:
            return absent(unit, "not told", source)
        return Measure(sum(there), unit, newest, source, state, part)

    limit = total([told.limit_bytes for _, told in known], "bytes")
    latencies = [told.latency_s for _, told in known if told.latency_s is not None]
    return CacheStat(
        tier=name,
        hit_ratio=ratio if counted or steps else absent("ratio", "its hits are not told", source),
        size=total([told.size_bytes for _, told in known], "bytes"),
        trend=_trend(steps, at),
        note=part or (known[0][1].note if len(known) == 1 else ""),
        evictions=total([cache.evicted_s for cache, _ in known], "count"),
        limit=limit if limit.value != 0.0 else absent("bytes", "no limit is set", source),
        latency=Measure(max(latencies), "s", newest, source, state) if latencies else absent("s", "not told", source),
        asked=tuple(
            Asked(cache.key.region, told.source if told.series else "", REDIS if told.series else told.source,
                  told.series, every_s=told.every_s)
            for cache, told in known
        ),
    )  # fmt: skip


def _together(parts: Iterable[Sums]) -> Sums:
    found: Sums = {}
    for part in parts:
        for step, (hits, lookups) in part.items():
            known = found.get(step, (0.0, 0.0))
            found[step] = (known[0] + hits, known[1] + lookups)
    return found


def _ratio(
    steps: Sums, at: float, newest: float, recent: int, source: str, state: MeasureState, reason: str = ""
) -> Measure:
    """Hits of the newest steps."""
    last = int(at // STEP_S)
    shown = [steps.get(step, (0.0, 0.0)) for step in range(last - recent + 1, last + 1)]
    hits, lookups = sum(each[0] for each in shown), sum(each[1] for each in shown)
    if not lookups:
        return absent("ratio", f"no lookups in {recent * STEP_S:.0f} s", source)
    return Measure(hits / lookups, "ratio", newest, source, state, reason)


def _trend(steps: Sums, at: float) -> tuple[float | None, ...]:
    last = int(at // STEP_S)
    found = (steps.get(step) for step in range(min(steps, default=last), last + 1))
    return tuple(one[0] / one[1] if one is not None and one[1] else None for one in found)


def _missing(tier: str, why: str) -> CacheStat:
    return CacheStat(tier=tier, hit_ratio=absent("ratio", why), size=absent("bytes", why), note=why)
