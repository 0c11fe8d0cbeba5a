"""Words to calls: usage, exit codes, flags before and after the call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nimify_tui.cli import EXIT_USAGE, _parse, _passed_on, main
from tests.support import Home


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "snapshot --output xml",
        "scale a",
        "scale a --replicas -1",
        "rollout",
        "snapshot --timeout 0",
        "--bad",
    ],
)
def test_wrong_usage_ends_with_64(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == EXIT_USAGE
    assert "usage:" in capsys.readouterr().err


def test_flags_mean_the_same_before_and_after_the_call() -> None:
    before, _ = _parse(["--read-only", "--region", "a", "snapshot"])
    after, _ = _parse(["snapshot", "--read-only", "--region", "a"])
    assert (before.read_only, before.region) == (after.read_only, after.region) == (True, ["a"])


@pytest.mark.parametrize(
    ("line", "room", "words"),
    [
        ("demo --scenario attack", "demo", "--scenario attack"),
        ("--ascii demo", "demo", "--ascii"),
        ("--color 16 --ascii demo --scenario attack --seed 4", "demo", "--color 16 --ascii --scenario attack --seed 4"),
        ("--region demo --read-only demo --headless", "demo", "--region demo --read-only --headless"),
        ("serve m.onnx --port 1", "serving", "m.onnx --port 1"),
    ],
)
def test_the_demo_takes_flags_before_its_name_too(
    line: str, room: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, list[str]]] = []

    def take(name: str) -> Callable[[list[str]], int]:
        def called(words: list[str]) -> int:
            taken.append((name, words))
            return 0

        return called

    for name in ("demo", "serving"):
        monkeypatch.setattr(f"nimify_tui.{name}.main.main", take(name))
    assert main(line.split()) == 0
    assert taken == [(room, words.split())]


def test_a_service_called_demo_is_a_service() -> None:
    assert _passed_on(["restart", "demo", "--yes"]) is None
    assert _passed_on(["--region", "demo", "snapshot"]) is None


def test_silence_after_the_call_does_not_undo_what_was_said_before() -> None:
    options, _ = _parse(["--config", "/x.toml", "restart", "svc", "--yes"])
    assert options.config == "/x.toml"


def test_a_service_and_region_open_the_console_there() -> None:
    options, service = _parse(["llama-chat@eu-west-1", "--read-only"])
    assert (options.call, service, options.read_only) == (None, "llama-chat@eu-west-1", True)


def test_a_service_after_a_call_is_its_argument() -> None:
    options, service = _parse(["restart", "llama-chat@eu-west-1"])
    assert (options.call, service, options.service) == ("restart", "", ["llama-chat@eu-west-1"])


def test_format_is_an_alias_of_output() -> None:
    assert _parse(["snapshot", "--format", "yaml"])[0].output == "yaml"


def test_a_missing_configuration_file_ends_with_78(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "/nowhere/x.toml", "config", "show"]) == 78
    assert "/nowhere/x.toml" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("--version", "--help", "snapshot --help", "rollout undo --help"):
        with pytest.raises(SystemExit) as ended:
            main(line.split())
        assert ended.value.code == 0
    assert "nimify-tui" in capsys.readouterr().out


def test_the_trail_of_a_host_that_changed_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify"]) == 0
    assert "nothing was changed" in capsys.readouterr().err
    assert main(["audit", "show", "-o", "json"]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    "line", ["snapshot", "restart scorer --yes", "logs scorer", "rollout status scorer", ""]
)
def test_an_unknown_region_ends_at_once_with_the_nearest_name(
    line: str, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting would not bring it: no session is even opened."""

    def opened(*_: object) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr("nimify_tui.session.Engine.start", opened)
    assert main(["--region", "locl", *line.split()]) == EXIT_USAGE
    said = capsys.readouterr().err
    assert "region 'locl' is not known here" in said
    assert "did you mean local?" in said


def test_an_unknown_region_that_is_like_none_names_those_there_are(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home.config / "nimify-tui" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    regions = "".join(f"[[region]]\nname = '{name}'\nkind = 'embedded'\n" for name in ("lab", "attic"))
    path.write_text(f"version = 1\n{regions}", encoding="utf-8")
    assert main(["snapshot", "--region", "lab", "--region", "mars"]) == EXIT_USAGE
    said = capsys.readouterr().err
    assert "region 'mars' is not known here" in said
    assert "known: attic, lab" in said
    assert "did you mean" not in said
