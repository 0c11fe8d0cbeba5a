"""Every test runs in a private home; skips that nobody foresaw fail the run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.docker.fixtures import engine
from tests.kube.fixtures import cluster
from tests.skips import SkipPolicy
from tests.support import Home, private_home

__all__ = ["cluster", "engine"]


def pytest_configure(config: pytest.Config) -> None:
    """Watch for skips; and no library that a test loads tells anybody about this machine."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # How long an example takes to make says how busy the machine is, nothing of the program. With CI set the examples
    # are the same each time: what a new one finds is found by whoever runs the tests while he works on them.
    hypothesis.settings.register_profile(
        "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow],
        derandomize=bool(os.environ.get("CI")),
    )  # fmt: skip
    hypothesis.settings.load_profile("any machine")
    config.pluginmanager.register(SkipPolicy(), "skip-policy")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A private home in this process's environment: no test can touch the user's real folders."""
    with private_home() as made:
        for name, value in made.env.items():
            monkeypatch.setenv(name, value)
        for name in ("NO_COLOR", "COLORTERM", "KUBECONFIG"):
            monkeypatch.delenv(name, raising=False)
        yield made
