"""Each panel as PromQL: a GPU under the cursor, panels of the fleet, a service's metrics; hostile words stay inert."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.domain.asked import REDIS, Asked, Found, together
from nimify_tui.domain.caches import CacheKey, CacheTold
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.measures import absent
from nimify_tui.domain.promql import FAMILIES, sign_of
from nimify_tui.domain.promql_caches import CACHES
from nimify_tui.fleet.cachestats import stats
from nimify_tui.fleet.frames import CacheStat, ServiceDetail
from nimify_tui.fleet.shared import SharedCaches
from nimify_tui.sources.metrics.adapters import ADAPTERS
from nimify_tui.ui.handing import CLIPBOARD_BYTES, hand_over
from nimify_tui.ui.present import queries
from tests.hostile import CORPUS, FORBIDDEN
from tests.tui import screen_text
from tests.ui import frames
from tests.ui.frames import NOW, num
from tests.ui.test_gpus_screen import SOURCE, card, opened
from tests.ui.world import World, run_console

PROMETHEUS = "Prometheus prom:9090"
FOUND = Found("eu-west-1", PROMETHEUS, "vllm:num_requests_running", ("namespace", "pod"), "ai", ("chat-0",), "", 15.0)
#: Of one region by a Prometheus, of another one read by the console.
ASKED = together([FOUND, "us-east-1"])
KV = CacheStat(tier="KV", hit_ratio=absent("ratio", "none"), size=absent("bytes", "a ratio"), use=num(0.9, "ratio"))


def shared() -> CacheStat:
    """A Redis that a Prometheus tells, and one that was asked itself."""
    caches = SharedCaches()
    for region, source, series in (("eu-west-1", f"{PROMETHEUS}, redis_exporter", 'instance="r:9121"'),
                                   ("us-east-1", "Redis r2:6379", "")):  # fmt: skip
        key = CacheKey(region, "l2", f"Redis {region}")
        for at, count in ((NOW - 10, 0.0), (NOW, 50.0)):
            caches.observe(at, CacheTold(key=key, source=source, every_s=15.0, began=1.0, hits=count, misses=count,
                                         size_bytes=1e6, series=series))  # fmt: skip
    return next(each for each in stats([], NOW, "", caches.of()) if each.tier == "redis L2")


def world() -> World:
    """The drawn fleet, with what its panels were told by."""
    frame, detail = frames.drawn(), frames.drawn_detail()
    told = card("node-1", 0, 87, series='UUID="u-1"', formulas=(("utilisation", "max(DCGM_FI_DEV_GPU_UTIL{})"),))
    own = card("node-1", 1, 5, region="")
    none = msgspec.structs.replace(own, temperature=msgspec.structs.replace(own.temperature, source="NVML"))
    detail = msgspec.structs.replace(detail, asked=ASKED, caches=(KV, shared()))
    return World(
        msgspec.structs.replace(
            frame, asked=ASKED, caches=(KV, shared()), details={**frame.details, detail.row_id: detail},
            gpus=(GpuPanel(at=NOW, gpus=(told, none), reason="", source=SOURCE, region="eu-west-1"),),
        )
    )  # fmt: skip


def sent(*keys: str, size: tuple[int, int] = (120, 40), first: Callable[[Any], Any] | None = None) -> tuple[str, str]:
    """(what is in the clipboard, what is shown) after some keys, of which one may be a command."""

    async def script(app: Any, pilot: Any) -> tuple[str, str]:
        if first is not None:
            await first(pilot)
        for key in keys:
            if key.startswith(":"):
                app.top.run_line(key[1:])
            else:
                await pilot.press(key)
            await pilot.pause()
        return app.clipboard, screen_text(app)

    found: tuple[str, str] = run_console(script, world(), size=size)
    return found


def test_the_gpu_under_the_cursor() -> None:
    text, shown = sent("y", first=opened, size=(80, 24))
    assert 'max(DCGM_FI_DEV_GPU_UTIL{UUID="u-1"})' in text.split("\n")
    assert "# utilisation, percent" in text
    assert "DCGM_FI_DEV_GPU_UTIL" in shown
    assert "sent to the terminal's clipboard" in shown
    text, _ = sent("down", "y", first=opened)
    assert text.endswith("# no Prometheus: NVML\n# measured by this console\n")


def test_the_panels_of_the_fleet_that_are_shown(tmp_path: Path) -> None:
    assert sent("y")[0] == "", "what confirms a plan, pressed once more, takes nobody's clipboard"
    text, _ = sent(":promql")
    assert [line for line in text.split("\n") if line.startswith("# -- ")] == [
        "# -- latency llama-chat", "# -- gpu", "# -- caches",
    ]  # fmt: skip
    assert "histogram_quantile(0.95" in text
    text, _ = sent("3", ":promql", size=(80, 24))
    assert text.startswith("# -- caches\n# eu-west-1 (Prometheus prom:9090)\n# KV: use of the fullest")
    assert "# us-east-1\n# no Prometheus: redis L2 by Redis r2:6379\n" in text
    assert 'sum(max by (addr, instance) (redis_memory_used_bytes{instance="r:9121"}))' in text
    text, _ = sent("4", ":promql")
    assert text.startswith("# what this panel shows is not out of a Prometheus")
    file = tmp_path / "caches"

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("3")
        app.top.run_line(f"promql {file}")
        await pilot.pause()

    run_console(script, world(), size=(120, 40))
    assert "vllm:kv_cache_usage_perc" in file.read_text()


def test_a_service_and_the_number_under_the_cursor() -> None:
    async def script(app: Any, pilot: Any, tab: str, *keys: str) -> str:
        await pilot.press("enter", tab, *keys)
        app.top.run_line("promql")
        await pilot.pause()
        text: str = app.clipboard
        return text

    whole = run_console(lambda app, pilot: script(app, pilot, "1"), world(), size=(120, 40))
    assert "# -- caches" in whole
    assert "# us-east-1\n# no Prometheus:" in whole
    one = run_console(lambda app, pilot: script(app, pilot, "5"), world(), size=(120, 40))
    assert "# requests\n" in one
    assert "histogram_quantile" not in one


def test_what_is_too_much_for_a_clipboard_ends_with_a_whole_line() -> None:
    """Seen failing with the text cut where the clipboard ends: half an expression means something else."""

    async def script(app: Any, pilot: Any) -> tuple[str, str]:
        hand_over(app, ["x" * 100] * 100, "", again="promql")
        await pilot.pause()
        return app.clipboard, screen_text(app)

    text, shown = run_console(script, world(), size=(120, 40))
    assert text == ("x" * 100 + "\n") * (CLIPBOARD_BYTES // 101)
    assert "cut at 8 kB" in shown


def test_what_cannot_be_one_expression_says_so() -> None:
    row, detail = frames.drawn().rows["llama-chat"], frames.drawn_detail()
    assert queries.service_lines(None, None) == ["# no service under the cursor"]
    assert queries.service_lines(row, None) == ["# looking it up"]
    mixed = msgspec.structs.replace(detail, asked=together([FOUND._replace(sign="")]))
    assert "it has no expression for it" in queries.service_lines(row, mixed)[1]
    many = msgspec.structs.replace(
        detail, asked=together(FOUND._replace(names=(f"chat-{number:030}",)) for number in range(900))
    )
    assert any(line.endswith(": too many replicas for one expression") for line in queries.service_lines(row, many))
    assert queries.cache_lines((), ()) == ["# no cache reported yet"]
    assert queries.gpu_panel_lines(()) == ["# no GPU is known"]


def test_names_are_those_that_the_adapters_read() -> None:
    by_runtime = {each.name: each for each in (adapter() for adapter in ADAPTERS)}
    for runtime, caches in CACHES.items():
        counters = [*caches.kv]
        for tier in caches.tiers.values():
            counters += [*tier.hits, *tier.rest, *([tier.size] if tier.size is not None else [])]
        assert {each.name for each in counters} <= by_runtime[runtime].wanted, runtime
    for family in FAMILIES:
        assert sign_of(frozenset(family.signs[:1])) == family.signs[0]
    assert sign_of({}) == ""


@pytest.mark.parametrize("bad", [pytest.param(text, id=name) for name, text in CORPUS.items()])
def test_hostile_words_stay_inert(bad: str) -> None:
    found = Found(bad, bad, "vllm:num_requests_running", ("namespace", "pod"), bad, (bad, "x"), "", 15.0)
    detail: ServiceDetail = msgspec.structs.replace(frames.drawn_detail(), asked=together([found, bad]), caches=(KV,))
    gpu = card(bad, 0, 3, region=bad, series=f"{bad}", formulas=(("power", "max(x{})"),))
    asked = Asked(bad, bad, REDIS, together([found])[0].matchers)
    stat = msgspec.structs.replace(shared(), tier=bad, asked=(asked, Asked(bad, "", bad, "")))
    row = frames.drawn().rows["llama-chat"]
    lines = queries.detail_lines(row, detail) + queries.gpu_query_lines([gpu], several=True)
    lines += queries.cache_lines((KV, stat), detail.asked)
    for line in detail.metrics:
        lines += queries.metric_query_lines(row, detail, msgspec.structs.replace(line, name=bad, region=bad))
    assert not FORBIDDEN & set("".join(lines))
    assert all(len(line) <= 16_000 for line in lines)
