"""The wizard at 80x24 on a real embedded region: from the file browser to the first answered inference."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.headless.model import write_model
from tests.headless.test_embedded import _replicas, _snapshot
from tests.support import Home, private_home, run_cli, wait_for
from tests.tui import PtyRun

pytestmark = pytest.mark.e2e

CONSOLE = [sys.executable, "-m", "nimify_tui"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one model in it, as the file browser finds it."""
    made = tmp_path / "models"
    made.mkdir()
    write_model(made / "scorer.onnx", seed=1)
    return made


def _until_the_plan(tty: PtyRun, folder: Path) -> None:
    """Every page of the wizard with its default, up to the open plan."""
    tty.wait(lambda text: "1/1 regions" in text and "local ●" in text, 20, "the empty fleet, its region seen")
    tty.send(f":new {folder}\r")
    tty.wait_text("1 of 7", 10)
    tty.wait_text("scorer.onnx", 10)
    tty.press("enter")
    tty.wait_text("2 of 7", 20)
    tty.press("enter")
    tty.wait_text("3 of 7", 10)
    tty.press("enter")
    tty.wait_text("4 of 7", 10)
    tty.press("enter")
    tty.wait_text("5 of 7", 10)
    tty.press("enter")
    tty.wait_text("6 of 7", 10)
    tty.press("enter")
    tty.wait_text("Create scorer", 10)


def _facts() -> dict[str, object]:
    """What has to be the same in another home: not the times, ports and process ids."""
    [service] = _snapshot()["services"]
    return {
        name: service[name] for name in ("name", "region", "desired", "state", "revision") if name in service
    }


def test_from_the_file_browser_to_an_answer_and_again_from_its_command_line(home: Home, folder: Path) -> None:
    with PtyRun(CONSOLE, width=80, height=24, env=home.env) as tty:
        _until_the_plan(tty, folder)
        assert _replicas(home) == [], "a plan starts nothing"
        tty.press("y")
        tty.wait(lambda text: "carrying it out" in text, 10, "the running page")
        tty.wait_text("first inference answered", 60)
        text = tty.text()
        assert "scorer runs in local" in text
        assert "nimify-tui deploy" in text
        tty.press("enter")
        row = tty.wait(lambda text: "▌● scorer" in text and "1/1" in text, 15, "the service in the table, OK")
        assert "▲" not in row
        tty.press("ctrl+c")
        assert tty.wait_exit(15) == 0
        printed = bytes(tty.raw).rpartition(b"\x1b[?1049l")[2].decode()
    line = next(each for each in printed.splitlines() if "nimify-tui deploy" in each)
    words = shlex.split(line[line.index("nimify-tui") :])
    made = _facts()
    with private_home() as other:
        done = run_cli(*words[1:], "--timeout", "30", env=other.env)
        assert done.returncode == 0, done.stderr
        shown = run_cli("snapshot", "-o", "json", "--settle", "4", env=other.env).stdout
        [again] = json.loads(shown)["services"]
        assert {name: again[name] for name in made} == made


def _step_back(tty: PtyRun, page: str) -> None:
    """One escape closes a page; its prompt, where it has one, takes another."""
    tty.press("escape")
    tty.wait_text(page, 5)


def test_escape_in_the_middle_leaves_nothing(home: Home, folder: Path) -> None:
    """Sabotage: a console that carries the plan out after "cancelled" has scorer in its table, and this fails."""
    with PtyRun(CONSOLE, width=80, height=24, env=home.env) as tty:
        _until_the_plan(tty, folder)
        tty.press("escape")
        tty.wait_text("cancelled; nothing was changed", 5)
        assert "7 of 7" in tty.text(), "one step back, not out of the wizard"
        tty.press("escape")
        tty.wait_text("6 of 7", 5)
        tty.press("escape")
        tty.wait_text("5 of 7", 5)
        for page in ("4 of 7", "3 of 7", "2 of 7", "1 of 7"):
            _step_back(tty, page)
        tty.press("escape")
        tty.wait_text("no services yet", 5)
    assert _replicas(home) == []
    assert _snapshot()["services"] == []
    assert not (home.state / "nimify-tui/embedded/local/scorer").exists()
    assert "action.begin" not in run_cli("audit", "export").stdout


def test_the_steps_are_seen_while_they_happen(home: Home, folder: Path) -> None:
    """The running page tells steps before the end, each with its time."""
    with PtyRun(CONSOLE, width=80, height=24, env=home.env) as tty:
        _until_the_plan(tty, folder)
        tty.press("y")
        step = tty.wait(
            lambda text: any(
                word in text for word in ("asking the region", "of 1 ready", "loading", "starting")
            ),
            30,
            "a step of the running action",
        )
        assert "first inference answered" not in step
        wait_for(lambda: bool(_replicas(home)), 20, why="a replica")
        tty.wait_text("first inference answered", 60)
