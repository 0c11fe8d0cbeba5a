"""The edge by probes: a real HAProxy with a cache before an origin, headers of other caches, and hostile ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import ConfigurationError, NimifyError
from nimify_tui.domain.updates import CacheFailed, CacheSeen, Update
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.caches.edge import EdgeProbe, Said, check_url, read
from tests.caches.stand import cache, port
from tests.metrics.prom import serving


class Headers(dict[str, str]):
    """In any case."""

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]  # as the transport's are read
        return next((value for each, value in self.items() if each.lower() == name.lower()), default)


@pytest.mark.parametrize(
    ("headers", "hit", "header"),
    [
        # RFC 9211, section 3 and 2.
        ({"Cache-Status": "ExampleCache; hit; ttl=376"}, True, "Cache-Status"),
        ({"Cache-Status": "ExampleCache; fwd=uri-miss"}, False, "Cache-Status"),
        ({"Cache-Status": 'OriginCache; hit; ttl=1100, "CDN, Inc.; hit"; fwd=uri-miss'}, True, "Cache-Status"),
        ({"Cache-Status": '"hit, hit; hit"; fwd=miss'}, False, "Cache-Status"),
        ({"Cache-Status": "ReverseProxyCache; fwd=stale; fwd-status=304; stored"}, False, "Cache-Status"),
        # developers.cloudflare.com/cache/concepts/cache-responses
        ({"CF-Cache-Status": "HIT", "Age": "12"}, True, "CF-Cache-Status"),
        ({"CF-Cache-Status": "DYNAMIC"}, False, "CF-Cache-Status"),
        ({"CF-Cache-Status": "EXPIRED"}, False, "CF-Cache-Status"),
        # CloudFront, Fastly, Akamai, nginx ($upstream_cache_status in the customary header).
        ({"X-Cache": "Hit from cloudfront"}, True, "X-Cache"),
        ({"X-Cache": "RefreshHit from cloudfront", "Age": "0"}, True, "X-Cache"),
        ({"X-Cache": "OriginShieldHit from cloudfront"}, True, "X-Cache"),
        ({"X-Cache": "Error from cloudfront"}, None, "Age"),
        ({"X-Cache": "MISS from cache-hit.example"}, False, "X-Cache"),
        ({"X-Cache": "MISS, HIT"}, True, "X-Cache"),
        ({"X-Cache": "TCP_MEM_HIT from a23-4.deploy.akamaitechnologies.com"}, True, "X-Cache"),
        ({"X-Cache": "TCP_MISS from a23-4"}, False, "X-Cache"),
        ({"x-cache": "MISS"}, False, "X-Cache"),
        ({"X-Cache": "BYPASS", "Age": "0"}, False, "Age"),
        ({"Age": "30"}, True, "Age"),
        ({"Age": "-1"}, None, "Age"),
        ({}, None, "Age"),
    ],
)  # fmt: skip
def test_what_a_cache_says(headers: dict[str, str], hit: bool | None, header: str) -> None:
    said = read(Headers(headers))
    assert (said.hit, said.header) == (hit, header)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["Cache-Status", "CF-Cache-Status", "X-Cache", "Age"]), st.text(max_size=60)))
def test_no_header_is_more_than_a_word(headers: dict[str, str]) -> None:
    said = read(Headers(headers))
    assert said.words in ("", said.words)
    assert said.words.isascii()
    assert len(said.words) < 60


def test_a_real_cache_before_an_origin_is_a_miss_then_hits_and_the_panel_says_that_these_are_probes(
    tmp_path: Path,
) -> None:
    asked = 0

    def origin(_: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        nonlocal asked
        asked += 1
        return 200, b"well"

    fleet, clock = Fleet(), SystemClock()
    with serving(origin) as behind, cache(tmp_path, behind) as at:
        probe = EdgeProbe("here", f"http://127.0.0.1:{at}/v2/health/ready", 30.0, clock)
        words = []
        for _ in range(4):
            said = asyncio.run(probe.probe())
            words.append(said.words.partition(",")[0])
            fleet.apply(CacheSeen(clock.now(), probe.told(said)))
    assert words == ["MISS by X-Cache", *["HIT by X-Cache"] * 3]
    assert asked == 1
    edge = {each.tier: each for each in fleet.publish(clock.now()).caches}["edge L3"]
    assert edge.hit_ratio.value == 0.75
    assert edge.hit_ratio.source == "our probes each 30 s"
    assert edge.note.startswith("HIT by X-Cache")
    assert edge.size.value is None


def probed(url: str) -> str:
    async def go() -> Said:
        return await EdgeProbe("here", url, 30.0, SystemClock()).probe()

    with pytest.raises(NimifyError) as caught:
        asyncio.run(go())
    return f"{caught.value.message}: {caught.value.remedy}"


def test_an_edge_in_trouble_is_one_sentence_with_what_helps() -> None:
    assert "connection refused: is it running?" in probed(f"http://127.0.0.1:{port()}/")
    with serving(lambda _: (404, b"no")) as at:
        assert f"edge 127.0.0.1:{at} answers 404: check the path /gone" in probed(f"http://127.0.0.1:{at}/gone")
    with serving(lambda _: (200, b"plain")) as at:
        probe = EdgeProbe("here", f"http://127.0.0.1:{at}/", 30.0, SystemClock())
        found: list[Update] = []

        async def once() -> None:
            came = asyncio.Event()

            def sink(updates: Sequence[Update]) -> None:
                found.extend(updates)
                came.set()

            work = asyncio.create_task(probe.run(sink))
            async with asyncio.timeout(30):
                await came.wait()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        asyncio.run(once())
        (update,) = found
        assert isinstance(update, CacheFailed)
        assert "says nothing of a cache" in update.reason


@pytest.mark.parametrize("url", ["ftp://h/", "https://u:p@h/", "https://h/ x", "//h", "https://h/#f", "https://h:0/"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        check_url(url)
