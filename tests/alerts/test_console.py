"""The console on a real Alertmanager: from the status line to a silence and back, by keys; its region is not there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.alerts.am import managers
from tests.alerts.test_silencing import active
from tests.alerts.test_sources import DOG, ONE
from tests.support import Home, run_cli
from tests.tui import PtyRun


@pytest.mark.e2e
def test_an_alert_is_silenced_by_keys_and_taken_back(home: Home, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    with managers(tmp_path, 1) as [am]:
        config.write_text(
            "[[region]]\nname='eu'\nkind='docker'\nurl='unix:///nowhere/docker.sock'\nread_write=true\n"
            f"alertmanager='{am.url}'\n"
        )
        am.post(ONE, DOG, summary="Pod is crash looping.")
        command = [sys.executable, "-m", "nimify_tui", "--config", str(config)]
        with PtyRun(command, width=160, height=40, env=home.env) as tty:
            tty.wait(lambda text: "alerts 1 WARN" in text and "alerting DOWN" not in text, 60, "the alert")
            tty.press("!")
            tty.wait_text("shop/web-1-a", 30)
            tty.press("s")
            tty.wait_text("silence for 2h", 30)
            tty.send("\r")
            tty.wait_text("because", 30)
            tty.send("known, OPS-412\r")
            tty.wait_text("1 alert now: KubePodCrashLooping web-1-a", 30)
            assert active(am) == [], "a plan changes nothing"
            tty.send("KubePodCrashLooping\r")
            tty.wait_text("1 silenced", 60)
            [made] = active(am)
            assert made["comment"] == "known, OPS-412"
            tty.wait(lambda text: "alerts 0" in text, 30, "nothing is left that somebody has to look at")
            tty.press("u")
            tty.wait_text("Undo: end the silence of KubePodCrashLooping", 30)
            tty.send("KubePodCrashLooping\r")
            tty.wait_text("alerts 1 WARN", 60)
            assert active(am) == []
    assert run_cli("audit", "verify").returncode == 0
