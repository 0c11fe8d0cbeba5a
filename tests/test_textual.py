"""The private parts of Textual and Rich that the screens stand on: an upgrade that moves one fails here, with its name.

The frame encoder takes the compositor's updates apart and writes its own bytes in their place; neither
library promises these names. Who raises the pin in pyproject.toml reads this list, then nimify_tui/ui/frugal.py.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from rich.console import Console
from textual import _compositor
from textual._parser import Parser
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region, Size
from textual.strip import Strip

from tests.support import REPO

#: Callables and the parameters that we pass or take.
SIGNATURES: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "App._display": (App._display, ["self", "screen", "renderable"]),
    "App.post_display_hook": (App.post_display_hook, ["self"]),
    "Compositor.render_update": (
        _compositor.Compositor.render_update,
        ["self", "full", "screen_stack", "simplify"],
    ),
    "CompositorUpdate.render_segments": (_compositor.CompositorUpdate.render_segments, ["self", "console"]),
    "ChopsUpdate": (_compositor.ChopsUpdate, ["chops", "spans", "chop_ends"]),
    "LayoutUpdate": (_compositor.LayoutUpdate, ["strips", "region"]),
    "Driver.process_message": (Driver.process_message, ["self", "message"]),
    "LinuxDriver.start_application_mode": (LinuxDriver.start_application_mode, ["self"]),
    "LinuxDriver.stop_application_mode": (LinuxDriver.stop_application_mode, ["self"]),
    "LinuxDriver.disable_input": (LinuxDriver.disable_input, ["self"]),
    "LinuxDriver.close": (LinuxDriver.close, ["self"]),
    "LinuxDriver.run_input_thread": (LinuxDriver.run_input_thread, ["self"]),
    "XTermParser.feed": (XTermParser.feed, ["self", "data"]),
    "XTermParser.tick": (XTermParser.tick, ["self"]),
}
#: Attributes that `__init__` sets and we read or replace.
ATTRIBUTES: dict[str, tuple[type, list[str]]] = {
    "App": (App, ["_batch_count", "_driver", "_exit"]),
    "LinuxDriver": (LinuxDriver, ["_file", "_key_thread", "attrs_before", "exit_event", "fileno"]),
    "Parser": (Parser, ["_timeout_time"]),
    "Driver": (Driver, ["_app"]),
    "Console": (Console, ["_color_system"]),
}
#: The only modules of theirs with an underscore that may be imported.
MODULES = {"textual._compositor", "textual._xterm_parser", "rich._palettes"}
WHERE = "see the pin in pyproject.toml and nimify_tui/ui/frugal.py"


def moved(call: Callable[..., Any], parameters: list[str]) -> str:
    """How a callable's parameters differ from those we know; "" when they do not."""
    now = list(inspect.signature(call).parameters)
    return "" if now == parameters else f"{parameters} is now {now}; {WHERE}"


def unset(kind: type, names: list[str]) -> list[str]:
    """Those attributes that neither the class nor its `__init__` knows any more."""
    source = inspect.getsource(kind.__init__)  # type: ignore[misc]  # read, not called
    return [name for name in names if f"self.{name}" not in source and not hasattr(kind, name)]


def private_modules(root: Path) -> set[str]:
    """Modules of Textual and Rich with an underscore that the package imports."""
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            found |= {name for name in names if name.startswith(("textual.", "rich.")) and "._" in name}
    return found


def pinned() -> Requirement:
    """What pyproject.toml asks for."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return next(Requirement(line) for line in project["dependencies"] if line.startswith("textual"))


def test_the_pin_holds_one_minor_version_and_is_what_runs_here() -> None:
    pin = pinned()
    here = importlib.metadata.version("textual")
    assert pin.specifier.contains(here), f"textual {here} is installed, {pin} is asked for"
    major, minor = map(int, here.split(".")[:2])
    assert not pin.specifier.contains(f"{major}.{minor + 1}.0"), (
        f"{pin} lets in versions nobody has looked at"
    )


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_callable_that_we_override_or_call_is_as_we_know_it(name: str) -> None:
    assert moved(*SIGNATURES[name]) == ""


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_that_we_read_are_still_there(name: str) -> None:
    assert unset(*ATTRIBUTES[name]) == [], WHERE


def test_an_app_has_the_rest_when_it_runs() -> None:
    app: App[None] = App()
    for name in ("_running", "_closed", "_background_screens"):
        assert hasattr(app, name), f"App.{name} is gone; {WHERE}"


def test_updates_give_back_what_they_are_made_of() -> None:
    strip = Strip.blank(3)
    chops = _compositor.ChopsUpdate([{0: strip}], [(0, 0, 3)], [[3]])
    assert (list(chops.chops), chops.spans, chops.chop_ends) == ([{0: strip}], [(0, 0, 3)], [[3]])
    layout = _compositor.LayoutUpdate([[strip]], Region(0, 0, 3, 1))
    assert (list(map(list, layout.strips)), layout.region) == ([[strip]], Region(0, 0, 3, 1))
    assert _compositor.Compositor().size == Size(0, 0)


def test_no_other_private_module_is_imported() -> None:
    assert private_modules(REPO / "nimify_tui") == MODULES


def test_sabotage_each_kind_of_move_is_told(tmp_path: Path) -> None:
    assert "is now" in moved(lambda self, screen, update: None, ["self", "screen", "renderable"])
    assert unset(App, ["_never_there"]) == ["_never_there"]
    (tmp_path / "x.py").write_text("from textual._xterm_parser import XTermParser\n", encoding="utf-8")
    assert private_modules(tmp_path) == {"textual._xterm_parser"}
