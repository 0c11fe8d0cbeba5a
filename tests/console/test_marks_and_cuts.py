"""Marked rows that a filter hides, an action cut by kill -9, and a service opened from the command line."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.headless.model import write_model
from tests.headless.test_embedded import _replicas
from tests.support import Home, run_cli, wait_for
from tests.tui import PtyRun

pytestmark = pytest.mark.e2e

CONSOLE = [sys.executable, "-m", "nimify_tui"]


@pytest.fixture
def services(home: Home, tmp_path: Path) -> tuple[str, str]:
    for name in ("alpha", "beta"):
        path = write_model(tmp_path / f"{name}.onnx", seed=1)
        done = run_cli("deploy", str(path), "--replicas", "1", "--yes", "--timeout", "30")
        assert done.returncode == 0, done.stderr
    return "alpha", "beta"


def _console(home: Home, *arguments: str) -> PtyRun:
    return PtyRun([*CONSOLE, *arguments], width=120, height=40, env=home.env)


def test_a_plan_names_the_marked_row_that_the_filter_hides(home: Home, services: tuple[str, str]) -> None:
    before = set(_replicas(home))
    with _console(home) as tty:
        tty.wait(lambda text: "● alpha" in text and "● beta" in text, 20, "both services")
        tty.press("space")
        tty.wait_text("▌● beta", 5)
        tty.press("space")
        tty.wait_text("◆● beta", 5)
        tty.send("/")
        tty.wait_gone("⏎ open", 5)
        tty.send("alpha")
        tty.wait_text("/alpha", 5)
        tty.press("enter")
        tty.wait(
            lambda text: "filter alpha" in text and "1 of 2" in text and "⏎ open" in text, 5, "one row hidden"
        )
        tty.press("r")
        text = tty.wait_text("Restart 2 services", 10)
        [line] = [each for each in text.splitlines() if "filter" in each and "beta" in each]
        assert "beta@local" in line
        assert "alpha" not in line
        tty.press("escape")
        tty.wait_gone("Restart 2 services", 5)
    assert set(_replicas(home)) == before


def test_an_action_cut_by_kill_9_is_decided_in_the_next_console(
    home: Home, services: tuple[str, str]
) -> None:
    with _console(home, "alpha@local") as tty:
        tty.wait(
            lambda text: "alpha @ local" in text and "READY" in text, 20, "the detail that was asked for"
        )
        tty.press("s")
        tty.wait_text("scale to", 5)
        tty.send("4\r")
        tty.wait_text("Scale alpha to 4", 10)
        tty.press("y")
        wait_for(lambda: len(_replicas(home)) > 2, 20, every_s=0.005, why="the change to begin")
        tty.signal(signal.SIGKILL)
        assert tty.wait_exit(10) == -signal.SIGKILL
    wait_for(lambda: len(_replicas(home)) == 5, 30, why="the supervisor to go on by itself")
    with _console(home) as tty:
        tty.wait(lambda text: "4/4" in text, 20, "the world as it is")
        tty.press("U")
        tty.wait(lambda text: "scale alpha@local" in text and "1 to decide" in text, 10, "the cut action")
        offered = ("o continue", "u undo", "z dismiss")
        tty.wait(lambda text: all(word in text for word in offered), 5, "what can be done")
        tty.press("enter")
        tty.wait(lambda text: "runs on 4 of 4: it was done" in text, 10, "what really happened")
        tty.press("u")
        tty.wait_text("Undo: scale alpha to 1", 10)
        tty.press("y")
        tty.wait(lambda text: "0 to decide" in text, 40, "the undo settles it")
    wait_for(lambda: len(_replicas(home)) == 2, 20, why="back to one replica each")
    assert '"action.undone"' in run_cli("audit", "export").stdout
