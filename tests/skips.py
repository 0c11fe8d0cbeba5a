"""A test that does not run proves nothing: a skip that nobody foresaw fails the whole run.

Foreseen are only facts about the machine, each by the exact words that the test must use.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

ALLOWED = (
    "curl is not installed",
    "no Docker engine: run as root where docker.io, iptables and busybox-static are installed",
    "no GPU on this machine",
    "no Podman: install podman and run as root",
    "no sshd: install openssh-server and run as root",
    "no Kubernetes programs: install Go or set KUBEBUILDER_ASSETS",
    "prometheus is not installed",
    "prometheus-alertmanager is not installed",
    "prometheus-api-client is not installed",
    "promtool is not installed",
    "prometheus-redis-exporter is not installed",
    "redis-server is not installed",
    "haproxy is not installed",
    "rsvg-convert is not installed",
    "schemathesis is not installed",
)
"""The only reasons for which a test may be skipped."""


def lacking(allowed: str, why: str) -> NoReturn:
    """This machine lacks what a test needs: skip it, as ``allowed`` says; where CI is set the test has failed."""
    if os.environ.get("CI"):
        pytest.fail(f"{allowed} ({why})")
    pytest.skip(allowed)


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skip (or of an expected failure, which is a skip in better clothes)."""
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"xfail: {expected}"
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


class SkipPolicy:
    """The plugin: collects unforeseen skips and turns them into a failed run."""

    def __init__(self) -> None:
        self.unforeseen: list[str] = []

    def _look(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and reason_of(report) not in ALLOWED:
            self.unforeseen.append(f"{report.nodeid}: {reason_of(report)}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.unforeseen and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.unforeseen:
            terminalreporter.section("unforeseen skips: the run has failed", red=True)
            for line in self.unforeseen:
                terminalreporter.line(line)
