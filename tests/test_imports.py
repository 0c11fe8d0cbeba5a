"""What a process really loads: nothing heavy before the first frame, no screen library below the screens.

Static rules are in test_rooms; they cannot see what a library pulls in. Each check runs in a process of its own.
"""

from __future__ import annotations

import ast
import json
import pkgutil
from pathlib import Path

import pytest

import nimify_tui
from nimify_tui.app import GC_THRESHOLDS
from tests.support import PYTHON, REPO, Home, run_python, wait_for
from tests.tui import PtyRun

HEAVY = (
    "kubernetes", "docker", "onnx", "onnxruntime", "numpy", "pandas", "prometheus_api_client", "google.protobuf",
    "pynvml", "uvicorn", "grpc", "tritonclient", "aiohttp", "yaml",
)  # fmt: skip
SCREEN = ("textual", "rich")

#: Wiring without a screen (app.py shows one, cli.py imports late).
WIRING = ("clusters", "config", "embedded", "engine", "hosts", "lastknown", "monitors", "session")
#: Rooms that must be usable without the screen library (a daemon, a test, `snapshot`).
NO_SCREEN = (
    "base", "domain", "backends", "sources", "fleet", "gate", "controllers", "supervisor", "serving", "models",
    "headless", "advice", "artifacts", *WIRING,
)  # fmt: skip
#: Rooms whose very job is heavy. Everything else comes up before the first frame.
MAY_BE_HEAVY = ("serving", "models", "demo", "advice")

#: Runs the console; when its first frame is out and the engine is to start, it writes the names of loaded modules
#: and whether garbage is collected.
TELLING_CONSOLE = """
import gc, os, sys
from nimify_tui import engine
start = engine.Engine.start
def told(self):
    to = os.environ["LOADED_TO"]
    with open(to + ".new", "w") as file:
        file.write("\\n".join([*sorted(sys.modules), f"gc={gc.isenabled()}/{gc.get_threshold()[0]}"]))
    os.rename(to + ".new", to)
    start(self)
engine.Engine.start = told
from nimify_tui.cli import main
sys.exit(main(sys.argv[1:]))
"""


def loaded_after(code: str) -> set[str]:
    """Names of all modules that a fresh Python has loaded after ``code``."""
    done = run_python("-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def unwanted(loaded: set[str], names: tuple[str, ...]) -> list[str]:
    """Which of ``names`` (or something inside them) is among the loaded modules."""
    return [name for name in names if any(module == name or module.startswith(f"{name}.") for module in loaded)]


def modules_of(part: str) -> list[str]:
    """All importable modules of a room (or the one wiring module of that name)."""
    place = REPO / "nimify_tui" / part
    if not place.is_dir():
        return [f"nimify_tui.{part}"] if place.with_suffix(".py").exists() else []
    found = pkgutil.walk_packages([str(place)], f"nimify_tui.{part}.")
    return [f"nimify_tui.{part}", *(each.name for each in found if not each.name.endswith("__main__"))]


def import_all(*parts: str) -> str:
    """Code that imports every module of the given rooms."""
    return "\n".join(f"import {name}" for part in parts for name in modules_of(part))


def rooms() -> set[str]:
    """Folders of the package."""
    return {path.parent.name for path in Path(nimify_tui.__path__[0]).glob("*/__init__.py")}


def test_command_line_starts_light() -> None:
    loaded = loaded_after("import nimify_tui.cli")
    assert unwanted(loaded, HEAVY + SCREEN) == []
    assert "asyncio" not in loaded, "a --version needs no event loop"


@pytest.mark.parametrize("part", [name for name in NO_SCREEN if modules_of(name)])
def test_rooms_below_the_screen_load_no_screen_library(part: str) -> None:
    loaded = loaded_after(import_all(part))
    assert f"nimify_tui.{part}" in loaded
    assert unwanted(loaded, SCREEN) == []
    if part not in MAY_BE_HEAVY:
        assert unwanted(loaded, HEAVY) == []


def test_screens_and_wiring_load_nothing_heavy() -> None:
    parts = sorted((rooms() - set(MAY_BE_HEAVY)) | {"app", "cli", *WIRING})
    loaded = loaded_after(import_all(*parts))
    assert {"nimify_tui.ui", "nimify_tui.cli", "nimify_tui.app", "textual.app"} <= loaded
    assert unwanted(loaded, HEAVY) == []


def test_every_room_is_checked_here() -> None:
    assert rooms() <= {*NO_SCREEN, *MAY_BE_HEAVY, "ui"}


@pytest.mark.parametrize("code", ["import numpy", "def f():\n    import onnxruntime\nf()", "import textual.app"])
def test_sabotage_a_heavy_import_is_seen(code: str) -> None:
    assert unwanted(loaded_after(f"import nimify_tui.cli\n{code}"), HEAVY + SCREEN) != []


def test_nothing_happens_at_import() -> None:
    """Importing everything starts no thread and no process, opens no socket and changes no folder."""
    parts = sorted((rooms() - set(MAY_BE_HEAVY)) | {"app", "cli", *WIRING})
    code = (
        "import sys\nbad = []\n"
        "watched = ('socket.connect', 'socket.bind', 'subprocess.Popen', 'os.fork', 'os.mkdir', 'os.remove',"
        " '_thread.start_new_thread', 'signal.signal')\n"
        "sys.addaudithook(lambda event, args: bad.append(event) if event in watched else None)\n"
        f"{import_all(*parts)}\n"
        "assert not bad, bad"
    )
    done = run_python("-c", code, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr


@pytest.mark.e2e
def test_nothing_heavy_before_the_first_frame(home: Home) -> None:
    to = home.root / "loaded"
    env = {**home.env, "LOADED_TO": str(to)}
    with PtyRun([PYTHON, "-c", TELLING_CONSOLE], width=120, height=40, env=env) as tty:
        tty.wait_text("nimify", 30)
        wait_for(to.exists, 30, why="the list of modules", detail=tty.text)
    loaded = set(to.read_text(encoding="utf-8").split())
    assert {"textual.app", "nimify_tui.app"} <= loaded
    assert f"gc=True/{GC_THRESHOLDS[0]}" in loaded, "switched off for the start only"
    assert unwanted(loaded, HEAVY) == []


def test_import_all_is_not_empty() -> None:
    assert "nimify_tui.domain.services" in import_all("domain")
    ast.parse(import_all(*sorted(rooms())))
