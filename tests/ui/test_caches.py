"""Lines of the cache panel: how full, how large, and what a cache gave up."""

from __future__ import annotations

from nimify_tui.domain.measures import absent
from nimify_tui.fleet.frames import CacheStat
from nimify_tui.ui.glyphs import UNICODE
from nimify_tui.ui.present import panels
from nimify_tui.ui.widgets.textline import StripLine
from tests.ui.pieces import NOW, num


def text(spans: panels.Spans) -> str:
    return "".join(each for each, _ in spans)


def test_a_kv_cache_shows_how_full_it_is_and_a_shared_one_what_it_gave_up() -> None:
    none = absent("ratio", "not looked up")
    kv = CacheStat(tier="KV", hit_ratio=none, size=absent("bytes", ""), trend=(0.9, 1.0), note="full soon",
                   use=num(0.93, "ratio"))  # fmt: skip
    assert text(panels.cache_items([kv], UNICODE)[0]) == "KV 93% ▇█ full soon"
    redis = CacheStat(tier="redis L2", hit_ratio=num(0.38, "ratio"), size=num(2**30, "bytes"),
                      evictions=num(3.0, "count"), limit=num(2.0**31, "bytes"), latency=num(0.0004, "s"))  # fmt: skip
    line = text(panels.cache_table([redis], NOW, 140, UNICODE)[0])
    assert "of 2G · 3 evicted/s · answers in 0.4ms" in line
    assert text(panels.cache_items([redis], UNICODE)[0]) == "redis L2 38% 1G"


def test_no_tier_is_lost_where_a_reason_is_long() -> None:
    """Seen failing: the edge and the artifacts were gone, for what the edge says took the whole line."""
    why = "edge 127.0.0.1:19090 says nothing of a cache (no Age, X-Cache, CF-Cache-Status or Cache-Status)"
    missing = {tier: absent("ratio", reason) for tier, reason in (
        ("response L1", "not used"), ("redis L2", "no lookups in 40 s"), ("edge L3", why),
        ("model artifacts", "no region tells"),
    )}  # fmt: skip
    caches = [CacheStat(tier=tier, hit_ratio=each, size=absent("bytes", "")) for tier, each in missing.items()]
    for width in (80, 100, 120):
        line = StripLine()
        line.set_items(panels.cache_items(caches, UNICODE, width))
        assert line.lines_needed(width) == 1, width
        shown = " ".join(text(each) for each in panels.cache_items(caches, UNICODE, width))
        assert all(tier in shown for tier in missing), width
    assert "no lookups" in " ".join(text(each) for each in panels.cache_items(caches, UNICODE, 120))
    whole = f"{why}: is there one? let it say so"
    edge = CacheStat(tier="edge L3", hit_ratio=absent("ratio", whole), size=absent("bytes", whole), note=whole)
    assert whole in text(panels.cache_table([edge], NOW, 200, UNICODE)[0]), "with room the remedy is read"
