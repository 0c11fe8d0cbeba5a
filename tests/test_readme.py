"""The README tells what is: its keys are the command table's, its calls parse, its pictures are there."""

from __future__ import annotations

import re
import shlex

import pytest

from nimify_tui.cli import build_parser
from nimify_tui.ui.commands import markdown
from tests.support import REPO

README = (REPO / "README.md").read_text(encoding="utf-8")


def _between(begin: str, end: str) -> str:
    return README.split(begin, 1)[1].split(end, 1)[0].strip()


def test_the_keys_are_those_of_the_command_table() -> None:
    shown = README.split("<!-- keys:", 1)[1].split("-->", 1)[1].split("<!-- /keys -->", 1)[0].strip()
    assert shown == markdown().strip(), "write the output of nimify_tui.ui.commands.markdown() between the marks"


@pytest.mark.parametrize("block", ["bench", "runtime-bench"])
def test_the_benchmark_tables_hold_figures(block: str) -> None:
    text = _between(f"<!-- {block} -->", f"<!-- /{block} -->")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) >= 6
    assert any(re.search(r"\d", row) for row in rows[2:])


def test_the_configuration_example_is_good() -> None:
    import tomllib

    from nimify_tui.config import check

    text = _between("```toml", "```")
    path = REPO / "README.md"
    assert tomllib.loads(text)["version"] == 1
    assert path.exists()
    example = _write(text)
    assert check([example]) == []


def _write(text: str) -> str:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(text)
    return file.name


CALLS = [
    line.strip().split("`")[1]
    for line in README.splitlines()
    if line.startswith("| ") and "`nimify-tui " in line and "demo" not in line
]


@pytest.mark.parametrize("call", CALLS)
def test_the_calls_of_the_table_parse(call: str) -> None:
    words = shlex.split(call)[1:]
    if words and not words[0].startswith("-"):
        build_parser().parse_args(words)


def test_the_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        assert (REPO / picture).stat().st_size > 10_000
