"""The heartbeat of a region: what it waits for, and that a silent region is nothing to another one."""

from __future__ import annotations

import asyncio

from nimify_tui.backends.kubernetes.errors import Unreachable
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.updates import RegionSeen
from nimify_tui.sources.kubernetes.health import BEAT_S, MISSED_BEATS
from tests.sources_kubernetes.stand import Stand


def test_the_time_of_a_heartbeat_does_not_run_while_somebody_logs_in() -> None:
    """Sabotage seen failing: a heartbeat that has its credentials made, and ends them when it has waited enough."""

    async def run() -> None:
        stand = Stand()
        beats: list[int] = []

        async def login() -> None:
            await stand.sleep(15.0)
            beats.append(stand.wire.asked.count("/livez"))

        stand.wire.login = login
        async with stand.running():
            await stand.until(lambda: "/livez" in stand.wire.asked)
        assert beats[0] == 0, "none was on its way before"
        assert RegionState.DOWN not in {each.health.state for each in stand.of(RegionSeen)}

    asyncio.run(run())


def test_one_that_falls_silent_is_down_at_the_third_heartbeat_and_no_other_grows_old() -> None:
    """By the clock of the test.

    Sabotage seen failing: one turn for the heartbeats of all regions, in which the silent one is waited for (the
    other one grew 8 s old).
    """

    async def run() -> None:
        stand, other = Stand(), Stand()
        other.share(stand)
        async with stand.running(), other.running():
            for each in (stand, other):
                await each.until_state(RegionState.LIVE)
            since, ages = len(other.updates), [0.0]
            stand.wire.asked.clear()
            stand.wire.refuse = {"*": Unreachable("no answer")}
            async with asyncio.timeout(10):
                while stand.health is None or stand.health.state is not RegionState.DOWN:
                    ages.append(other.clock.now() - (other.source._monitor.health.last_contact_at or 0.0))
                    await asyncio.sleep(0)
            assert stand.wire.asked.count("/livez") == MISSED_BEATS
        told = [each.health.state for each in other.updates[since:] if isinstance(each, RegionSeen)]
        assert set(told) <= {RegionState.LIVE}
        assert 0.0 < max(ages) <= BEAT_S, "it is asked as always"

    asyncio.run(run())
