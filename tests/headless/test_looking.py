"""`doctor` and `config`: what works from here, what holds and where it comes from; each gap with its remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.cli import main
from tests.support import Home


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a call printed as JSON."""
    return json.loads(capsys.readouterr().out)


def by_name(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """The doctor's findings."""
    return {item["what"]: item for item in told(capsys)}


def write_config(home: Home, text: str) -> Path:
    """The configuration that a call without --config reads."""
    path = home.config / "nimify-tui" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_doctor_finds_a_new_host_well_and_leaves_nothing(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "-o", "json"]) == 0
    found = by_name(capsys)
    assert not [item for item in found.values() if item["ok"] is False]
    assert found["configuration"]["text"] == "1 regions"
    assert found["audit trail"]["text"] == "none yet"
    assert found["state folder"]["text"] == str(home.state / "nimify-tui")
    left = [path for folder in (home.state, home.runtime) for path in folder.rglob("*") if not path.is_dir()]
    assert left == []


def test_the_doctor_names_what_is_missing_and_what_helps(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(home, "version = 1\n[ui]\ncolour = 'auto'\n")
    (home.state / "nimify-tui").write_text("in the way", encoding="utf-8")
    assert main(["doctor", "-o", "json"]) == 1
    found = by_name(capsys)
    assert (found["configuration"]["ok"], found["state folder"]["ok"]) == (False, False)
    assert "colour" in found["configuration"]["text"]
    assert found["state folder"]["remedy"]


def test_the_doctor_sees_a_trail_that_was_changed(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    from nimify_tui.base.audit import AuditLog, AuditPlaces
    from nimify_tui.base.clock import ManualClock

    places = AuditPlaces.default()
    log = AuditLog(places, ManualClock(1_795_491_500.0))
    log.append("tester", {"verb": "restart", "service": "a"})
    assert main(["doctor", "-o", "json"]) == 0
    assert by_name(capsys)["audit trail"]["text"].startswith("whole, ")
    [segment] = places.folder.glob("audit-*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"a"', b'"b"'))
    assert main(["doctor", "-o", "json"]) == 1
    trail = by_name(capsys)["audit trail"]
    assert (trail["ok"], trail["remedy"]) == (False, "nimify-tui audit verify")


def test_config_show_tells_each_value_and_where_it_comes_from(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(home, "version = 1\n[ui]\ncolor = '256'\n")
    monkeypatch.setenv("NIMIFY_UI__ASCII", "true")
    assert main(["config", "show", "-o", "json"]) == 0
    rows = {row["key"]: row for row in told(capsys)}
    assert rows["ui.color"]["value"] == "256"
    assert str(path) in rows["ui.color"]["origin"]
    assert (rows["ui.ascii"]["value"], "NIMIFY_UI__ASCII" in rows["ui.ascii"]["origin"]) == (True, True)
    assert rows["version"]["origin"] != "default"
    assert main(["config", "show"]) == 0
    assert capsys.readouterr().out.split()[:3] == ["KEY", "VALUE", "ORIGIN"]


def test_config_check_ends_with_78_and_every_problem(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(home, "version = 1\n[ui]\ncolour = 'auto'\nmouse = 7\n")
    assert main(["config", "check", "-o", "json"]) == 78
    printed = capsys.readouterr()
    assert [(item["key"], str(path) in item["where"]) for item in json.loads(printed.out)] == [
        ("ui.colour", True), ("ui.mouse", True),
    ]  # fmt: skip
    assert "2 problems" in printed.err
    path.write_text("version = 1\n", encoding="utf-8")
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().err == "the configuration is good\n"


def test_config_path_says_whether_it_was_read(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(home.config / "nimify-tui" / "config.toml")
    assert main(["config", "path", "-o", "json"]) == 0
    assert told(capsys) == [{"path": path, "exists": False}]
    write_config(home, "version = 1\n")
    assert main(["config", "path", "-o", "json"]) == 0
    assert told(capsys) == [{"path": path, "exists": True}]


def test_config_schema_is_one_that_editors_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert {"$defs", "region"} <= set(json.dumps(told(capsys)).replace('"', " ").split())
