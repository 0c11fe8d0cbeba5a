"""Words to calls: usage, exit codes, flags before and after the call."""

from __future__ import annotations

import pytest

from nimify_tui.cli import EXIT_USAGE, _parse, main


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
