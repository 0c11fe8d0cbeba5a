"""Caches as PromQL: what the cache panel and a service's own lines say of them, over the series that told it.

Names are those that the adapters read (sources.metrics, sources.caches; a test keeps them the same). As in
:mod:`nimify_tui.domain.promql` a series that is told twice counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from nimify_tui.domain.asked import REDIS, Asked, both
from nimify_tui.domain.caches import HITS, PREFIX, READINGS, STEP_S, steps_in
from nimify_tui.domain.promql import Counter, family_of


class Tier(NamedTuple):
    """A cache of a runtime: counters of what was found, and of what was not, each by the names it has had.

    ``every``: ``rest`` counts all lookups, not only the missed ones. ``size`` tells its bytes.
    """

    hits: tuple[Counter, ...]
    rest: tuple[Counter, ...]
    every: bool = False
    size: Counter | None = None


class Caches(NamedTuple):
    """A runtime's: its labels that tell series apart, how full its KV cache is (0 to 1), and its tiers by name."""

    own: tuple[str, ...]
    kv: tuple[Counter, ...]
    tiers: dict[str, Tier]


def _counters(*names: str) -> tuple[Counter, ...]:
    return tuple(map(Counter, names))


def _of_ours(tier: str) -> Tier:
    looked, mine = "nimify_cache_requests_total", f'tier="{tier}"'
    hits = (Counter(looked, f'{mine},result=~"{"|".join(HITS)}"'),)
    return Tier(hits, (Counter(looked, mine),), every=True, size=Counter("nimify_cache_bytes", mine))


CACHES: dict[str, Caches] = {
    "nimify": Caches(("tier", "result"), (), {tier: _of_ours(tier) for tier in ("l1", "l2", "l3", "artifact")}),
    "vllm": Caches(
        ("model_name", "engine"), _counters("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        {PREFIX: Tier(_counters("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
                      _counters("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"), every=True)},
    ),
    "sglang": Caches(
        ("model_name", "engine_type", "tp_rank", "pp_rank", "dp_rank", "moe_ep_rank", "cache_source"),
        _counters("sglang:token_usage"),
        {PREFIX: Tier(_counters("sglang:cached_tokens_total"), _counters("sglang:prompt_tokens_total"), every=True)},
    ),
    "trtllm": Caches(
        ("model_name", "engine_type"), _counters("trtllm_kv_cache_utilization"),
        {PREFIX: Tier(_counters("trtllm_kv_cache_reused_blocks_total"),
                      _counters("trtllm_kv_cache_missed_blocks_total"))},
    ),
    "nim": Caches(("model_name",), _counters("gpu_cache_usage_perc"), {}),
    "triton": Caches(
        ("model", "version", "gpu_uuid"),
        (Counter("nv_trt_llm_kv_cache_block_metrics", 'kv_cache_block_type="fraction"'),),
        {"l1": Tier(_counters("nv_cache_num_hits_per_model", "nv_cache_num_hits"),
                    _counters("nv_cache_num_misses_per_model", "nv_cache_num_misses"))},
    ),
}  # fmt: skip


def window_s(asked: Iterable[Asked]) -> float:
    """Over what the panel compares their counters, seconds."""
    return STEP_S * steps_in(READINGS * max((each.every_s for each in asked), default=0.0))


def kv_use(asked: Sequence[Asked], *, fullest: bool = True) -> str:
    """How full the KV caches of one server's replicas are, 0 to 1: the fullest, or all in the mean; "" for none."""
    parts = []
    for each, caches in _known(asked):
        if caches.kv:
            told = _once(each, caches, caches.kv, lambda series: series)
            parts.append(f"avg by ({', '.join(each.by)}) ({told})")
    return f"{'max' if fullest else 'avg'}({' or '.join(parts)})" if parts else ""


def hit_ratio(asked: Sequence[Asked], tier: str) -> str:
    """The part of the lookups in a tier of one server's replicas that was found, 0 to 1; "" for none."""
    over = f"[{window_s(asked):.0f}s]"
    hits, lookups = [], []
    for each, caches in _known(asked):
        of = caches.tiers.get(tier)
        if of is None:
            continue
        found, rest = (
            f"sum({_once(each, caches, some, lambda series: f'rate({series}{over})')})" for some in (of.hits, of.rest)
        )
        found = f"({found} or 0 * {rest})"  # a counter that nothing was counted by yet may not be there
        hits.append(found)
        lookups.append(rest if of.every else f"({found} + ({rest} or 0 * {found}))")
    return f"{_added(hits)} / {_added(lookups)}" if hits else ""


def size_bytes(asked: Sequence[Asked], tier: str) -> str:
    """Bytes in a tier of one server's replicas; "" for none."""
    parts = [
        f"sum({_once(each, caches, (of.size,), lambda series: series)})"
        for each, caches in _known(asked)
        if (of := caches.tiers.get(tier)) is not None and of.size is not None
    ]
    return _added(parts) if parts else ""


def shared(asked: Sequence[Asked]) -> list[tuple[str, str, str]]:
    """(number of the panel, what it is, expression) of what redis_exporter may tell to one server."""
    mine = [each for each in asked if each.sign == REDIS]
    over = f"[{window_s(mine):.0f}s]"

    def of(name: str, how: str = "", counted: str = "") -> str:
        parts = [f"redis_{name}{{{each.matchers}}}{counted}" for each in mine]
        return "max by (addr, instance) (" + " or ".join(f"{how}({part})" if how else part for part in parts) + ")"

    hits, misses = (f"sum({of(f'keyspace_{name}_total', 'rate', over)})" for name in ("hits", "misses"))
    return [
        ("hit_ratio", "hit ratio", f"{hits} / ({hits} + {misses})"),
        ("size", "size, bytes", f"sum({of('memory_used_bytes')})"),
        ("limit", "limit, bytes", f"sum({of('memory_max_bytes')})"),
        ("evictions", "evicted a second", f"sum({of('evicted_keys_total', 'irate', over)})"),
        ("latency", "answers in, seconds", f"max({of('exporter_last_scrape_ping_time_seconds')})"),
    ]  # fmt: skip


def _known(asked: Sequence[Asked]) -> Iterable[tuple[Asked, Caches]]:
    for each in asked:
        family = family_of(frozenset({each.sign}))
        if family is not None and family.runtime in CACHES:
            yield each, CACHES[family.runtime]


def _once(asked: Asked, caches: Caches, counters: Sequence[Counter], how: Callable[[str], str]) -> str:
    """The series of a counter by whichever of its names it has, each once."""
    told = " or ".join(how(f"{each.name}{{{both(asked.matchers, each.matchers)}}}") for each in counters)
    # What collides with a label of the target is told under this name.
    own = [name for each in caches.own for name in (each, f"exported_{each}")]
    return f"max by ({', '.join((*asked.by, *own))}) ({told})"


def _added(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return "(" + " + ".join(f"({each} or vector(0))" for each in parts) + ")"
