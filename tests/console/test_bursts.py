"""Keys that come in one burst (a fast hand, a slow line, a multiplexer's paste) do what they do one by one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.headless.model import write_model
from tests.support import Home, run_cli
from tests.tui import PtyRun

pytestmark = pytest.mark.e2e

CONSOLE = [sys.executable, "-m", "nimify_tui"]
SERVICES = ("alpha", "beta", "gamma")


@pytest.fixture
def services(home: Home, tmp_path: Path) -> tuple[str, ...]:
    """Three services, one replica each."""
    for name in SERVICES:
        path = write_model(tmp_path / f"{name}.onnx", seed=1)
        done = run_cli("deploy", str(path), "--replicas", "1", "--yes", "--timeout", "30")
        assert done.returncode == 0, done.stderr
    return SERVICES


def _console(home: Home) -> PtyRun:
    return PtyRun([*CONSOLE], width=120, height=40, env=home.env)


def _all_there(text: str) -> bool:
    return all(f"● {name}" in text for name in SERVICES)


def test_whole_bursts_lose_no_key(home: Home, services: tuple[str, ...]) -> None:
    """Sabotages: with Widget.focus in place of ScreenPrompt.focus a hidden prompt keeps the focus and the keys
    after the filter do nothing; a dialog that gets its keys from Textual is closed twice, and the console ends;
    with Textual's own key parser the escape in front of y and of : is lost, and the plan stays open.
    """
    with _console(home) as tty:
        tty.wait(_all_there, 30, "the three services")
        for _ in range(3):
            tty.send("/gamma\rr")
            tty.wait_text("Restart gamma", 10)
            tty.press("escape")
            tty.wait_gone("Restart gamma", 5)
            tty.press("escape")
            tty.wait(_all_there, 5, "the filter gone")
        tty.send("/alpha\r")
        tty.wait_text("filter alpha", 5)
        tty.press("r")
        tty.wait_text("Restart alpha", 10)
        tty.send("nq")
        tty.press("escape")
        tty.wait(_all_there, 5, "the filter gone")
        tty.send(":region x\r")
        tty.wait_text("no command :region", 5)
        tty.send("/beta\r:scale 3\r")
        tty.wait_text("Scale beta to 3", 10)
        tty.press("escape")
        tty.wait_gone("Scale beta", 5)
        tty.press("escape")
        tty.wait(_all_there, 5, "the filter gone")
        tty.send("gjjl")
        tty.wait(lambda text: "gamma @ local" in text and "1 overview" in text, 10, "the third one's logs")
        tty.send("\x1b")
        tty.wait(_all_there, 5, "the fleet again")
        tty.send("g?")
        tty.wait_text("esc closes", 5)
        tty.send("q\x10filter\rbet\rr")
        tty.wait_text("Restart beta", 10)
        tty.send("\x1by")
        tty.wait_gone("Restart beta", 5)
        tty.send("r")
        tty.wait_text("Restart beta", 10)
        tty.send("\x1b:filter alp\r")
        tty.wait_text("filter alp", 5)


def test_a_bracketed_paste_goes_into_the_prompt_or_says_why_not(
    home: Home, services: tuple[str, ...]
) -> None:
    with _console(home) as tty:
        tty.wait(_all_there, 30, "the three services")
        tty.send("\x1b[200~r\r\x1b[201~")
        tty.wait_text("pasted text is no command", 5)
        assert "Restart" not in tty.text()
        tty.send("/\x1b[200~gam\x1b[201~\rr")
        tty.wait_text("Restart gamma", 10)
