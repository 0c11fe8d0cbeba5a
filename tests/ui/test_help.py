"""The help overlay: every command's words in one column, whatever the width."""

from __future__ import annotations

import pytest

from nimify_tui.ui import commands
from nimify_tui.ui.commands import COMMANDS, Scope
from nimify_tui.ui.glyphs import ASCII
from nimify_tui.ui.present.help import help_lines

WIDTHS = (36, 56, 74, 106)


def lines_at(width: int, active: tuple[Scope, ...] = (Scope.FLEET, Scope.LIST, Scope.GLOBAL)) -> list[str]:
    """The help as text, a string for each line."""
    return ["".join(text for text, _ in line) for line in help_lines(active, ASCII, lambda _: "", width)]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_words_of_all_commands_begin_in_one_column(width: int) -> None:
    lines = lines_at(width)
    columns: set[int] = set()
    for each in COMMANDS:
        begun = {line.index(each.help[:12]) for line in lines if each.help[:12] in line}
        assert begun, each.id
        columns |= begun
    assert len(columns) == 1, columns


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_frame_and_no_word_is_lost(width: int) -> None:
    lines = lines_at(width)
    assert max(len(line.rstrip()) for line in lines) <= width
    said = " ".join(" ".join(lines).split())
    for each in COMMANDS:
        if each.names:
            assert f":{each.names[0]}" in said
        for word in each.help.split():
            assert word in said, (each.id, word)


def test_the_enter_key_is_a_word_where_only_ascii_is_drawn() -> None:
    [opens] = [line for line in lines_at(106) if ":open [" in line]
    assert opens.split()[0] == "enter"


def test_a_long_name_stands_alone_above_its_words() -> None:
    rollback = commands.by_id("fleet.rollback")
    lines = lines_at(74)
    at = next(index for index, line in enumerate(lines) if ":rollback [REVISION]" in line)
    assert lines[at].strip() == f":rollback {rollback.argument}"
    assert lines[at + 1].strip() == rollback.help[: len(lines[at + 1].strip())]
