"""The real console in a terminal on a real embedded region, driven by its keys."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from nimify_tui.ui.commands import COMMANDS
from tests.headless.model import write_model
from tests.headless.test_embedded import _replicas, _world
from tests.support import Home, processes_naming, run_cli, wait_for
from tests.tui import KEY_BYTES, PtyRun

pytestmark = pytest.mark.e2e

CONSOLE = [sys.executable, "-m", "nimify_tui"]


@pytest.fixture
def service(home: Home, tmp_path: Path) -> str:
    path = write_model(tmp_path / "scorer.onnx", seed=1)
    done = run_cli("deploy", str(path), "--replicas", "1", "--yes", "--timeout", "30")
    assert done.returncode == 0, done.stderr
    return "scorer"


def _console(home: Home, *arguments: str, width: int = 120, height: int = 40, **env: str) -> PtyRun:
    return PtyRun([*CONSOLE, *arguments], width=width, height=height, env={**home.env, **env})


def test_a_service_is_restarted_by_two_keys_and_the_result_is_told(home: Home, service: str) -> None:
    before = set(_replicas(home))
    with _console(home) as tty:
        tty.wait(lambda text: "scorer" in text and "1/1" in text, 15, "the service with its replica")
        tty.press("r")
        tty.wait_text("Restart scorer", 5)
        assert set(_replicas(home)) == before, "a plan changes nothing"
        tty.press("y")
        tty.wait(lambda _: bool(set(_replicas(home)) - before), 15, "a new replica")
        wait_for(lambda: not before & set(_replicas(home)), 20, why="the old replica to drain")
        tty.wait(lambda text: "1/1" in text, 10, "ready again")
    assert "restart" in run_cli("audit", "show", "-o", "json").stdout


def test_a_plan_is_cancelled_by_default(home: Home, service: str) -> None:
    before = _world(home)
    with _console(home, width=80, height=24) as tty:
        tty.wait(lambda text: "scorer" in text and "1/1" in text, 15, "the service")
        for key in ("enter", "escape"):
            tty.press("r")
            tty.wait_text("Restart scorer", 5)
            tty.press(key)
            if key == "enter":
                tty.wait_quiet(0.3)
                assert "Restart scorer" in tty.text(), "enter never confirms"
                tty.press("escape")
            tty.wait_gone("Restart scorer", 5)
    assert _world(home) == before


def test_read_only_every_key_and_every_command_change_nothing(home: Home, service: str) -> None:
    before = _world(home)
    with _console(home, "--read-only") as tty:
        tty.wait(lambda text: "scorer" in text and "READ-ONLY" in text, 15, "the read-only fleet")
        _press_everything(tty)
    assert _world(home) == before


def test_the_check_above_sees_a_change_when_the_gate_is_bypassed(home: Home, service: str) -> None:
    """Sabotage: the same keys on a console whose gate is switched off change what the check looks at."""
    before = _world(home)
    sabotage = (
        "import sys; from nimify_tui.gate import policy, gate; policy._refusal = lambda *_: None\n"
        "from nimify_tui.domain.plans import Verdict\n"
        "gate.Gate.may_change = lambda self, region: Verdict(allowed=True)\n"
        "gate.Gate.read_only = False\n"
        "import nimify_tui.cli; sys.exit(nimify_tui.cli.main(['--read-only']))"
    )
    with PtyRun([sys.executable, "-c", sabotage], width=120, height=40, env=home.env) as tty:
        tty.wait(lambda text: "scorer" in text and "1/1" in text, 15, "the fleet")
        _press_everything(tty)
        wait_for(lambda: _world(home) != before, 20, why="a change of the world")


def _press_everything(tty: PtyRun) -> None:
    """Each key of the table on the fleet and in the detail, each change also as a command, y after each."""
    keys = [key for command in COMMANDS for key in command.keys if command.id != "global.quit"]
    for opening in ((), ("enter",)):
        for key in keys:
            if key in ("ctrl+c", "ctrl+z"):
                continue
            tty.press("escape", "escape", *opening)
            tty.send(KEY_BYTES.get(key, _BYTES.get(key, key.encode() if len(key) == 1 else b"")))
            tty.press("y")
            tty.wait_quiet(0.03, 5)
    for command in COMMANDS:
        if command.changes and command.names:
            tty.press("escape", "escape")
            tty.send(f":{command.names[0]} 3\r")
            tty.press("y")
            tty.wait_quiet(0.05, 5)
    assert tty.process.poll() is None, "the console is still there"


_BYTES = {
    "slash": b"/", "colon": b":", "question_mark": b"?", "ampersand": b"&", "space": b" ", "ctrl+d": b"\x04",
    "ctrl+p": b"\x10", "ctrl+r": b"\x12", "ctrl+@": b"\0",
}  # fmt: skip


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal_and_leaves_what_runs(
    home: Home, service: str, end: signal.Signals
) -> None:
    before = _replicas(home)
    with _console(home) as tty:
        tty.wait_text("scorer", 15)
        tty.signal(end)
        assert tty.wait_exit(10) == 128 + end
        assert tty.restored()
    assert _replicas(home) == before


def test_the_next_console_begins_with_what_was_known(home: Home, service: str) -> None:
    with _console(home) as tty:
        tty.wait(lambda text: "scorer" in text and "1/1" in text, 15, "the service")
        tty.signal(signal.SIGTERM)
        tty.wait_exit(10)
    for pid in _supervisors(home):
        os.kill(pid, signal.SIGSTOP)
    with _console(home) as tty:
        tty.wait(lambda text: "scorer" in text, 5, "the last-known row while the supervisor is silent")
        tty.wait(lambda text: "no contact" in text or "CONNECTING" in text or "connecting" in text, 10, "why")


def _supervisors(home: Home) -> list[int]:
    marker = b"nimify_tui.supervisor"
    return [
        pid for pid in processes_naming(str(home.root)) if marker in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
