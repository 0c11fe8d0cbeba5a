"""What a region is called, and why."""

from __future__ import annotations

import pytest

from nimify_tui.backends.kubernetes.errors import (
    CredentialsFailed,
    ServerTrouble,
    Throttled,
    Unauthorized,
    Unreachable,
)
from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.regions import RegionState
from nimify_tui.sources.kubernetes.health import BEAT_S, LEAST_WAIT_S, MISSED_BEATS, Monitor

GONE = Unreachable("connection refused", "is it running?")


def live() -> tuple[Monitor, ManualClock]:
    clock = ManualClock()
    monitor = Monitor(clock, "context k")
    monitor.beat(0.01)
    monitor.reading = ""
    return monitor, clock


def test_until_all_is_read_it_is_connecting_and_says_what_is_read() -> None:
    monitor, _ = live()
    monitor.reading = "pods, 1,500 so far"
    assert (monitor.health.state, monitor.health.cause) == (
        RegionState.CONNECTING, "context k: reading pods, 1,500 so far",
    )  # fmt: skip


def test_a_heartbeat_or_two_make_it_stale_and_three_make_it_down() -> None:
    """Sabotage seen failing: DOWN at the first miss of a region that was there."""
    monitor, clock = live()
    states = []
    for _ in range(MISSED_BEATS):
        clock.advance(BEAT_S)
        monitor.missed(GONE, BEAT_S)
        states.append(monitor.health.state)
    assert states == [RegionState.STALE, RegionState.STALE, RegionState.DOWN]
    health = monitor.health
    assert health.cause == "no contact from this host (connection refused)"
    assert health.remedy == "is it running?"
    assert health.next_try_at == clock.now() + BEAT_S
    assert health.last_contact_at == clock.now() - 3 * BEAT_S
    monitor.beat(0.01)
    assert monitor.health.state is RegionState.LIVE
    assert not monitor.down


def test_one_that_was_never_there_is_down_at_once() -> None:
    monitor = Monitor(ManualClock(), "k")
    monitor.missed(GONE, 1.0)
    assert monitor.health.state is RegionState.DOWN


@pytest.mark.parametrize(
    "error", [Unauthorized("expired", "log in"), CredentialsFailed("no plugin", "install it")]
)
def test_refused_credentials_are_not_an_absence(error: NimifyError) -> None:
    monitor, _ = live()
    monitor.trouble(error, 3.0)
    assert (monitor.health.state, monitor.health.cause, monitor.health.remedy) == (
        RegionState.AUTH, error.message, error.remedy,
    )  # fmt: skip
    monitor.beat(0.01)
    assert monitor.health.state is RegionState.LIVE


def test_throttled_and_lagging() -> None:
    monitor, clock = live()
    monitor.trouble(Throttled("slow down", "", 4.0), 4.0)
    assert (monitor.health.state, monitor.health.next_try_at) == (RegionState.THROTTLED, clock.now() + 4.0)
    monitor.trouble(ServerTrouble("status 500", "look at its log"), 2.0)
    monitor.lagging = "pods may be old: status 500"
    assert (monitor.health.state, monitor.health.cause) == (RegionState.STALE, "pods may be old: status 500")
    monitor.lagging = ""
    monitor.untroubled()
    assert monitor.health.state is RegionState.LIVE


def test_what_may_not_be_seen_is_said_and_is_no_failure_until_nothing_is_left() -> None:
    monitor, _ = live()
    monitor.hidden = "nodes (forbidden)"
    assert (monitor.health.state, monitor.health.cause) == (RegionState.LIVE, "not seen: nodes (forbidden)")
    monitor.blind = True
    assert monitor.health.state is RegionState.AUTH


def test_a_state_keeps_its_beginning() -> None:
    monitor, clock = live()
    begun = monitor.health.since
    clock.advance(60)
    assert monitor.health.since == begun
    monitor.missed(GONE, 5.0)
    assert monitor.health.since == clock.now()


def test_a_far_server_is_given_more_time() -> None:
    monitor, _ = live()
    assert monitor.beat_wait_s == LEAST_WAIT_S
    for _ in range(30):
        monitor.beat(2.0)
    assert monitor.beat_wait_s == pytest.approx(8.0, rel=0.01)
