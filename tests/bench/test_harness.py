"""The harness judges as it should: a missed bar, a load that never came and a broken benchmark all fail."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from tests.bench import harness
from tests.bench.__main__ import main
from tests.bench.demo import stood_still
from tests.bench.echo import reach_problems
from tests.bench.harness import Result, at_most, figure, load_problems, percentile, table, write_json


def fake(monkeypatch: pytest.MonkeyPatch, name: str, result: Result | Exception) -> None:
    """Put a benchmark of this name into place."""

    def run() -> Result:
        if isinstance(result, Exception):
            raise result
        return result

    module = types.ModuleType(f"tests.bench.{name}")
    module.run = run  # type: ignore[attr-defined]  # a module made for this test
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_a_bar_is_met_or_missed() -> None:
    assert at_most("x", 4, "kB", 4).passed
    assert not at_most("x", 4.1, "kB", 4).passed
    assert not at_most("x", float("nan"), "kB", 4).passed
    assert not at_most("x", 1, "kB", 4, problems=["no load"]).passed


@pytest.mark.parametrize(
    ("sent", "applied", "frames", "word"),
    [(100, 99, 100, "applied"), (100, 100, 39, "drew"), (0, 0, 100, "no load")],
)
def test_a_measurement_without_its_load_is_none(sent: int, applied: int, frames: int, word: str) -> None:
    (problem,) = load_problems(sent, applied, frames, 10.0)
    assert word in problem


def test_a_measurement_under_load_is_one() -> None:
    assert load_problems(100, 101, 40, 10.0) == []


@pytest.mark.parametrize(
    ("sent", "hot", "word"),
    [(200_000, 10_000, ""), (180_000, 10_000, "reached only"), (200_000, 4_000, "of what is seen")],
)
def test_an_echo_under_too_little_load_is_none(sent: int, hot: int, word: str) -> None:
    problems = reach_problems({"sent": sent, "hot": hot, "seconds": 10.0}, 20_000)
    assert [word in each for each in problems] == ([True] if word else [])


def test_a_demo_whose_screen_stands_still_is_no_measurement() -> None:
    assert stood_still(24, 24) == []
    assert stood_still(0, 24) == ["drew 0 frames, needs 24"]


def test_percentile_is_the_nearest_rank() -> None:
    values = list(range(1, 101))
    assert percentile(values, 0.95) == 95
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.5) == 7
    assert percentile([1.0, 2.0], 0.5) == 1
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_figures_are_short() -> None:
    assert [figure(value) for value in (4000, 0, 1.234, 12345.6, float("nan"))] == ["4,000", "0", "1.23", "12,346", "–"]


def test_command_prints_writes_and_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.bench.__main__.BENCHES", ("good", "slow", "broken"))
    fake(monkeypatch, "good", at_most("good one", 1, "ms", 2, {"sent": 5}))
    fake(monkeypatch, "slow", at_most("slow one", 3, "ms", 2))
    fake(monkeypatch, "broken", RuntimeError("no pty"))
    path = tmp_path / "bench.json"
    assert main(["--json", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "good one" in printed
    assert printed.count("FAILED") == 2
    assert "RuntimeError: no pty" in printed
    written = json.loads(path.read_text(encoding="utf-8"))
    assert [each["passed"] for each in written["results"]] == [True, False, False]
    assert written["results"][0]["detail"] == {"sent": 5}
    assert written["results"][2]["value"] is None
    assert written["machine"]["cpus"] >= 1


def test_command_passes_when_all_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(monkeypatch, "good", at_most("good one", 1, "ms", 2))
    monkeypatch.setattr("tests.bench.__main__.BENCHES", ("good",))
    assert main(["good", "--json", str(tmp_path / "b.json"), "--markdown"]) == 0


@pytest.mark.parametrize(
    ("unit", "gates"),
    [("ms", False), ("s", False), ("x", False), ("% of a core", False), ("ms of CPU", False), ("us of CPU", False),
     ("B", True), ("kB/s", True), ("MB RSS", True), ("", True)],
)  # fmt: skip
def test_where_counts_gate_a_missed_time_is_told_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unit: str, gates: bool
) -> None:
    """Seen failing while CPU was no time."""
    monkeypatch.setattr("tests.bench.__main__.BENCHES", ("missed",))
    fake(monkeypatch, "missed", at_most("missed", 9.0, unit, 8.0))
    argv = ["missed", "--json", str(tmp_path / "b.json")]
    assert main([*argv, "--counts-gate"]) == int(gates)
    assert main(argv) == 1


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["no_such_benchmark", "--json", str(tmp_path / "b.json")])


def test_every_benchmark_of_the_folder_is_listed() -> None:
    folder = Path(harness.__file__).parent
    runnable = {path.stem for path in folder.glob("*.py") if "\ndef run(" in path.read_text(encoding="utf-8")}
    assert runnable == set(harness.BENCHES)


def test_table_and_json_of_nothing(tmp_path: Path) -> None:
    assert table([]).startswith("what")
    write_json([], tmp_path / "x.json")
