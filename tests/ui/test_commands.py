"""The command table: complete, without clashes, and without a way round the gate."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Sequence

import pytest

from nimify_tui.ui import commands
from nimify_tui.ui.commands import COMMANDS, UNSENDABLE, Command, Risk, Scope
from nimify_tui.ui.screens.chart import ChartScreen
from nimify_tui.ui.screens.detail import _TAB_SCOPES, DetailScreen
from nimify_tui.ui.screens.fleet import FleetScreen
from nimify_tui.ui.screens.unfinished import UnfinishedScreen
from nimify_tui.ui.screens.wizard import WizardScreen

#: Scopes that are active together.
TOGETHER: list[tuple[Scope, ...]] = [
    FleetScreen.SCOPES,
    UnfinishedScreen.SCOPES,
    WizardScreen.SCOPES,
    ChartScreen.SCOPES,
    DetailScreen.SCOPES,
    *((*more, *DetailScreen.SCOPES) for more in _TAB_SCOPES.values()),
]


def clashes(table: Sequence[Command], scopes: tuple[Scope, ...]) -> list[str]:
    """Keys that mean two things while ``scopes`` are active."""
    keys = Counter(key for each in table if each.scope in scopes and each.bound for key in each.keys)
    return [key for key, count in keys.items() if count > 1]


@pytest.mark.parametrize("scopes", TOGETHER)
def test_no_key_means_two_things_on_one_screen(scopes: tuple[Scope, ...]) -> None:
    assert clashes(COMMANDS, scopes) == []


def test_sabotage_a_second_meaning_of_a_key_is_found() -> None:
    double = Command("fleet.other", ("r",), (), "other", "Other", Scope.FLEET)
    assert clashes([*COMMANDS, double], FleetScreen.SCOPES) == ["r"]


@pytest.mark.parametrize("scope", list(Scope))
def test_no_word_means_two_things_in_one_scope(scope: Scope) -> None:
    words = Counter(name for each in commands.of_scopes([scope]) for name in each.names)
    assert [word for word, count in words.items() if count > 1] == []


def test_ids_are_unique_and_every_command_explains_itself() -> None:
    assert len({each.id for each in COMMANDS}) == len(COMMANDS)
    for each in COMMANDS:
        assert each.title, each.id
        assert len(each.help) > 3, each.id
        assert each.keys or each.names, each.id
        assert each.id.split(".")[0] == {"everywhere": "global"}.get(each.scope, each.id.split(".")[0])


def unsendable(table: Sequence[Command]) -> list[str]:
    """Keys that some terminal cannot send, or that tmux and screen keep for themselves."""
    never = ("alt+", "super+", "hyper+", "ctrl+shift+", "meta+")
    pairs = [(each, key) for each in table for key in each.keys]
    return [f"{each.id}: {key}" for each, key in pairs if key in UNSENDABLE or key.startswith(never)]


def test_every_key_can_be_sent_by_every_terminal() -> None:
    assert unsendable(COMMANDS) == []


def test_sabotage_a_key_that_no_terminal_sends_is_found() -> None:
    assert unsendable([Command("x.y", ("ctrl+i", "alt+x"), (), "x", "X", Scope.GLOBAL)]) == [
        "x.y: ctrl+i",
        "x.y: alt+x",
    ]


def test_everything_that_takes_something_away_is_marked_and_shows_a_plan() -> None:
    verbs = ("restart", "scale", "undo", "stop", "start", "rollback", "delete", "toggle")
    for each in COMMANDS:
        if each.id.partition(".")[2] in verbs and each.scope in (Scope.FLEET, Scope.DETAIL):
            assert each.risk is not Risk.NONE, each.id
            assert "plan" in each.help, each.id


def test_the_screens_hand_changes_to_the_gate_and_nowhere_else() -> None:
    """Only acting.py calls carry_out; no screen holds another way to change the world."""
    import nimify_tui.ui.acting as acting
    from nimify_tui.ui.screens import base, changing, detail, fleet, palette, unfinished, wizard

    def calls(module: object) -> set[str]:
        tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]  # modules are what it takes
        return {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }

    assert "carry_out" in calls(acting)
    for module in (base, changing, detail, fleet, palette, unfinished, wizard):
        assert "carry_out" not in calls(module), module


def test_commands_are_found_completed_and_corrected() -> None:
    found = commands.find("q!", FleetScreen.SCOPES)
    assert found is not None
    assert found.id == "global.quit"
    assert commands.find("nonsense", FleetScreen.SCOPES) is None
    assert commands.nearest("restrat", FleetScreen.SCOPES) == "restart"
    assert commands.by_id("fleet.restart").keys == ("r",)
    with pytest.raises(KeyError):
        commands.by_id("fleet.nonsense")


def test_the_list_for_the_readme_names_every_command() -> None:
    text = commands.markdown()
    for each in COMMANDS:
        assert each.help.replace("|", "\\|") in text, each.id
