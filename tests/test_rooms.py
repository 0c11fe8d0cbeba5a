"""Who may import whom: ARCHITECTURE's table, checked on the syntax tree of every module.

Also what hides from a plain look: imports inside functions, relative imports, imports under
TYPE_CHECKING and ``importlib.import_module("...")``. What a process really loads is test_imports' business.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import REPO

PACKAGE = "nimify_tui"

#: Modules directly in the package: wiring. Nothing but wiring and `headless` may import them.
WIRING = {
    "alerting", "app", "cachewatch", "cli", "cli_deploy", "clusters", "config", "embedded", "engine", "hosts",
    "lastknown", "monitors", "session", "wanted", "__main__",
}  # fmt: skip

#: Standard library modules with which a room that does no network would reach one, or start processes.
NETWORK = {"socket", "socketserver", "ssl", "http", "urllib", "xmlrpc", "ftplib", "smtplib"}
PROCESSES = {"subprocess", "multiprocessing", "pty"}


@dataclass(frozen=True)
class Room:
    """A row of the table: which rooms and which third-party packages it may import, what of Python it may not."""

    rooms: frozenset[str]
    packages: frozenset[str] = frozenset()
    not_stdlib: frozenset[str] = frozenset()
    #: Calls that would make it depend on the moment it runs: `module.function`.
    not_calls: frozenset[str] = field(default=frozenset())


WALL_CLOCK = frozenset(
    {"time.time", "time.time_ns", "time.monotonic", "datetime.now", "datetime.utcnow", "datetime.today"}
)


def room(rooms: str = "", packages: str = "", not_stdlib: set[str] | None = None, clock: bool = True) -> Room:
    """Shorthand for the table below: words separated by blanks; ``clock=False``: may not ask for the time."""
    return Room(
        frozenset(rooms.split()),
        frozenset(packages.split()),
        frozenset(not_stdlib or ()),
        frozenset() if clock else WALL_CLOCK,
    )


ROOMS: dict[str, Room] = {
    "base": room(not_stdlib=NETWORK),
    "domain": room("base", "msgspec", NETWORK | PROCESSES | {"asyncio", "threading"}, clock=False),
    "backends": room(
        "base domain", "msgspec httptools pynvml kubernetes aiohttp yarl yaml docker prometheus_api_client requests"
    ),
    "sources": room("base domain backends", "msgspec"),
    "fleet": room("base domain", "msgspec", NETWORK | PROCESSES, clock=False),
    "gate": room("base domain", "msgspec", NETWORK | PROCESSES),
    "controllers": room("base domain gate backends", "msgspec"),
    "supervisor": room("base domain serving", "msgspec"),
    "serving": room("base", "msgspec httptools orjson uvicorn uvloop numpy onnxruntime prometheus_client"),
    "models": room("base domain", "msgspec onnx numpy", NETWORK),
    "artifacts": room("base domain", "msgspec", NETWORK | PROCESSES),
    "advice": room("domain", "numpy msgspec", NETWORK | PROCESSES | {"asyncio", "threading"}, clock=False),
    "ui": room("fleet gate controllers base domain", "textual rich msgspec", NETWORK),
    # The calls without a screen: wiring like app.py, only without Textual.
    "headless": room("base domain fleet gate controllers backends sources models advice artifacts WIRING", "msgspec"),
    # The public ways in. Of the fleet's inside it knows nothing; ui is there for the screenshots alone.
    "demo": room("base domain models serving supervisor gate controllers ui WIRING", "msgspec onnx numpy textual"),
}
WIRING_ROOM = room(
    " ".join(name for name in ROOMS if name != "demo") + " WIRING", "textual rich msgspec uvloop", clock=True
)

#: Rooms that must have contents. The others come with later work.
INHABITED = set(ROOMS) - {"artifacts", "advice"}


#: Single modules that a room may import although their room is closed to it, and why.
DOORS = {
    ("headless", "nimify_tui.ui.terminal"): "what a terminal can do is found out without Textual",
}


@dataclass(frozen=True)
class Import:
    """One imported dotted name and where."""

    path: Path
    line: int
    target: str


def modules(root: Path) -> dict[str, Path]:
    """Dotted names of all modules under ``root/nimify_tui``."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path: Path, name: str, known: dict[str, Path]) -> Iterator[Import]:
    """Every import in a module, wherever it stands in it, as absolute names."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(path, node.lineno, inner if inner in known or base == PACKAGE else base)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called in {"__import__", "import_module", "importlib.import_module"}:
                yield Import(path, node.lineno, str(node.args[0].value))


def room_of(target: str, known: dict[str, Path]) -> str | None:
    """The room of an absolute name inside the package: a folder, "WIRING", or None for the package itself."""
    part = target.split(".")[1] if "." in target else ""
    if not part or (part not in ROOMS and part not in WIRING and f"{PACKAGE}.{part}" not in known):
        return None  # nimify_tui itself, or __version__ out of it
    return "WIRING" if part in WIRING else part


def broken_rules(root: Path) -> list[str]:
    """Every forbidden import, call or homeless module in a tree, as `file:line: what`."""
    known = modules(root)
    wrong = []
    for name, path in known.items():
        if name == PACKAGE:
            own, rules = "", room()
        else:
            own = room_of(name, known) or ""
            if own != "WIRING" and own not in ROOMS:
                wrong.append(f"{path.relative_to(root)}:1: {own} is no room of the table")
                continue
            rules = WIRING_ROOM if own == "WIRING" else ROOMS[own]
        place = path.relative_to(root)
        for found in imports_of(path, name, known):
            complaint = complain(own, rules, found.target, name, known)
            wrong += [f"{place}:{found.line}: {complaint}"] if complaint else []
        wrong += [f"{place}:{line}: asks for the time" for line in calls_of(path, rules.not_calls)]
    return wrong


def complain(own: str, rules: Room, target: str, name: str, known: dict[str, Path]) -> str | None:
    """Why ``name`` in room ``own`` may not import ``target``; None when it may."""
    top = target.partition(".")[0]
    if top == PACKAGE:
        other = room_of(target, known)
        if other in (None, own):
            return another_source(name, target, known)
        dispatch = other == "demo" and name == f"{PACKAGE}.cli"
        if other not in rules.rooms and not dispatch and (own, target) not in DOORS:
            return f"{own or PACKAGE} imports {target}"
    elif top in sys.stdlib_module_names:
        if top in rules.not_stdlib:
            return f"{own} imports {top} of the standard library"
    elif top not in rules.packages:
        return f"{own or PACKAGE} imports the package {top}"
    return None


def another_source(name: str, target: str, known: dict[str, Path]) -> str | None:
    """A source never imports another source; what several share lies directly in sources/."""
    here, there = name.split("."), target.split(".")
    if here[1:2] != ["sources"] or there[1:2] != ["sources"] or len(there) < 3 or len(here) < 3:
        return None
    shared = known.get(".".join(there[:3]))
    if shared is not None and shared.name != "__init__.py":
        return None
    return f"source {here[2]} imports source {there[2]}" if here[2] != there[2] else None


def calls_of(path: Path, names: frozenset[str]) -> Iterator[int]:
    """Lines that mention one of the dotted ``names`` (also when it is handed on without being called)."""
    if not names:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and ".".join(ast.unparse(node).split(".")[-2:]) in names:
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (node.lineno for alias in node.names if f"time.{alias.name}" in names)


def test_every_module_keeps_to_its_room() -> None:
    assert broken_rules(REPO) == []


def test_rooms_are_inhabited() -> None:
    known = modules(REPO)
    inhabited = {room_of(module, known) for module in known if module.count(".") > 1}
    assert INHABITED - inhabited == set()


def test_table_names_only_rooms_that_exist_as_rows() -> None:
    for name, rules in ROOMS.items():
        assert rules.rooms <= set(ROOMS) | {"WIRING"}, name
        assert name == "demo" or "demo" not in rules.rooms
    assert "demo" not in WIRING_ROOM.rooms


def scenario_names(root: Path) -> set[str]:
    """Names of the demo's scenarios: the first argument of each ``Scenario(...)``."""
    found = set()
    for path in (root / PACKAGE / "demo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Scenario" and node.args:
                found |= {str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant)}
    return found


def knows_scenarios(root: Path, names: set[str]) -> list[str]:
    """Places outside the demo where a scenario's name stands (with - or _), comments included.

    A name of one word ("attack") is a word of the trade, too, and proves nothing.
    """
    parts = [name.split("-") for name in names if "-" in name]
    words = [re.compile(r"\b" + "[-_]".join(map(re.escape, each)) + r"\b") for each in parts]
    found = []
    for path in modules(root).values():
        if "demo" in path.relative_to(root / PACKAGE).parts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found += [f"{path.relative_to(root)}:{number}: {line.strip()}" for word in words if word.search(line)]
    return found


def test_nothing_outside_the_demo_knows_a_scenario() -> None:
    names = scenario_names(REPO)
    assert len(names) >= 7, names
    assert knows_scenarios(REPO, names) == []


@pytest.mark.parametrize("line", ["HINT = 'bad-rollout'", "def bad_rollout() -> None: ...", "# as in bad-rollout"])
def test_sabotage_a_scenario_that_is_known_is_noticed(line: str, tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / PACKAGE / "demo" / "play.py").write_text("S = Scenario('bad-rollout', 'text')\n", encoding="utf-8")
    names = scenario_names(tmp_path)
    assert names == {"bad-rollout"}
    assert knows_scenarios(tmp_path, names) == []
    (tmp_path / PACKAGE / "ui" / "hint.py").write_text(line + "\n", encoding="utf-8")
    assert len(knows_scenarios(tmp_path, names)) == 1


SABOTAGE = {
    "plain import": ("sources/x.py", "import nimify_tui.fleet.store"),
    "from import": ("ui/x.py", "from nimify_tui.backends import local"),
    "from the package itself": ("ui/x.py", "from nimify_tui import backends"),
    "relative import": ("fleet/inner/x.py", "from ...ui import screens"),
    "relative import in __init__": ("fleet/inner/__init__.py", "from ...ui import screens"),
    "inside a function": ("domain/x.py", "def f() -> None:\n    from nimify_tui.fleet import store"),
    "only for the types": ("gate/x.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import textual"),
    "importlib": ("ui/x.py", "import importlib\nimportlib.import_module('nimify_tui.demo.main')"),
    "demo from wiring": ("app.py", "def f() -> None:\n    from nimify_tui.demo import main"),
    "demo from headless": ("headless/x.py", "import nimify_tui.demo"),
    "screen from serving": ("serving/x.py", "import textual.app"),
    "fleet from supervisor": ("supervisor/x.py", "from nimify_tui.fleet import store"),
    "textual from controllers": ("controllers/x.py", "from textual import work"),
    "fleet's inside from demo": ("demo/x.py", "from nimify_tui.fleet.store import Store"),
    "client library in ui": ("ui/x.py", "import kubernetes"),
    "third party in base": ("base/x.py", "import msgspec"),
    "socket in ui": ("ui/x.py", "import socket"),
    "socket in fleet": ("fleet/x.py", "from urllib.request import urlopen"),
    "wall clock in fleet": ("fleet/x.py", "import time\nNOW = time.time()"),
    "wall clock by name": ("fleet/x.py", "from time import monotonic"),
    "wall clock by datetime": ("domain/x.py", "import datetime\nNOW = datetime.datetime.now(datetime.UTC)"),
    "another source": ("sources/local/x.py", "from nimify_tui.sources.metrics import parse"),
    "wiring from a room": ("gate/x.py", "from nimify_tui import config"),
    "wiring from the screens": ("ui/x.py", "from nimify_tui.app import console"),
    "beside a door": ("headless/x.py", "from nimify_tui.ui import terminal, screens"),
    "a module without a room": ("helpers.py", "X = 1"),
    "a folder without a room": ("utils/x.py", "X = 1"),
    "package imports a room": ("__init__.py", "from nimify_tui.base import clock"),
}


def make_tree(root: Path) -> None:
    """A small tree in which every rule is kept, with the modules that the sabotage imports."""
    for name in ("", "fleet", "fleet/inner", "ui", "ui/screens", "sources", "sources/local", "sources/metrics", "demo"):
        (root / PACKAGE / name).mkdir(parents=True, exist_ok=True)
        (root / PACKAGE / name / "__init__.py").write_text("", encoding="utf-8")
    good = {
        "cli.py": "import importlib\n\ndef main() -> None:\n    from nimify_tui.demo import main\n",
        "app.py": "from textual.app import App\nfrom nimify_tui.fleet.store import Store\n",
        "fleet/store.py": "from nimify_tui.domain import facts\nfrom . import inner\n",
        "sources/scrape.py": "",
        "sources/local/ok.py": "from nimify_tui.sources import scrape\nfrom . import ok2\n",
        "sources/local/ok2.py": "",
        "sources/metrics/parse.py": "import time\nNOW = time.time()\n",
        "domain/facts.py": "import msgspec\nfrom nimify_tui import __version__\n",
        "demo/main.py": "from nimify_tui.cli import main\n",
        "headless/door.py": "from nimify_tui.ui.terminal import probe\n", "ui/terminal.py": "",
        "config.py": "", "backends/local.py": "", "base/clock.py": "import time\n",
    }  # fmt: skip
    for name, text in good.items():
        path = root / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_a_tree_that_keeps_the_rules_passes(tmp_path: Path) -> None:
    make_tree(tmp_path)
    assert broken_rules(tmp_path) == []


@pytest.mark.parametrize("what", SABOTAGE)
def test_sabotage_a_forbidden_import_is_caught(what: str, tmp_path: Path) -> None:
    make_tree(tmp_path)
    place, text = SABOTAGE[what]
    path = tmp_path / PACKAGE / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    found = broken_rules(tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith(f"{PACKAGE}/{place}:")
