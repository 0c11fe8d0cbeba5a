"""What tests on real clusters share."""

from __future__ import annotations

import pytest

from nimify_tui.sources.kubernetes import health, region

#: A heartbeat, the least time for its answer, and the probes of a lost region: five times as often as in earnest.
BEAT_S, LEAST_WAIT_S, PROBE_S = 1.0, 0.6, (0.2, 1.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats and probes come five times as often; all else is as it is."""
    monkeypatch.setattr(region, "BEAT_S", BEAT_S)
    monkeypatch.setattr(region, "PROBE_S", PROBE_S)
    monkeypatch.setattr(health, "LEAST_WAIT_S", LEAST_WAIT_S)
