"""What a cluster refuses is not asked for all day."""

from __future__ import annotations

import asyncio

import pytest

from nimify_tui.backends.kubernetes.errors import Forbidden
from nimify_tui.domain.regions import RegionState
from nimify_tui.sources.kubernetes import reflector
from tests.sources_kubernetes.stand import Stand


@pytest.mark.parametrize("again_s", [reflector.REFUSED_RETRY_S, 300.0])
def test_a_kind_that_is_refused_is_asked_for_again_on_a_wish_and_seldom_without(
    again_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time (every five minutes) is the sabotage: what is counted does count."""
    monkeypatch.setattr(reflector, "REFUSED_RETRY_S", again_s)

    async def run() -> None:
        stand = Stand()
        stand.wire.refuse = {"/api/v1/nodes": Forbidden("no")}
        async with stand.running():
            health = await stand.until_state(RegionState.LIVE)
            assert (health.cause, ":reconnect asks now" in health.remedy) == ("not seen: nodes (forbidden)", True)
            begun_s = stand.clock.mono_s()
            await stand.until(lambda: stand.clock.mono_s() - begun_s > 3000.0)
            tries = stand.wire.asked.count("/api/v1/nodes")
            assert (tries == 1) is (again_s == 3600.0), f"asked {tries} times in 50 minutes"
            stand.wire.refuse = {}
            stand.source.again()
            await stand.until(lambda: (now := stand.health) is not None and now.cause == now.remedy == "")
            assert stand.wire.asked.count("/api/v1/nodes") == tries + 1
            assert stand.wire.asked.count("/api/v1/pods") == 1, "what is known is not listed anew"

    asyncio.run(run())
