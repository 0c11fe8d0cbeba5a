"""The exported rules: Prometheus' own tool accepts them, and its unit tests see each of them fire."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nimify_tui.artifacts import alerting
from nimify_tui.cli import main
from nimify_tui.domain.rules import RULES, rule
from nimify_tui.fleet import detect, judges
from nimify_tui.sources.metrics.nimify import NimifyAdapter
from nimify_tui.sources.metrics.vllm import VllmAdapter
from tests.skips import lacking


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What Prometheus says; a build server must have the tool, elsewhere its absence is one foreseen skip."""
    path = shutil.which("promtool")
    if path is None:
        lacking("promtool is not installed", "apt-get install prometheus")
    return subprocess.run([path, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with what the call writes."""
    assert main(["rules", "export", "--to", str(tmp_path / "nimify-rules.yml")]) == 0
    assert main(["rules", "export", "--tests"]) == 0
    (tmp_path / "tests.yml").write_text(capsys.readouterr().out, encoding="utf-8")
    return tmp_path


def test_promtool_accepts_the_rules_and_each_fires(exported: Path) -> None:
    checked = promtool("check", "rules", "nimify-rules.yml", folder=exported)
    assert checked.returncode == 0, (checked.stdout, checked.stderr)
    assert f"{len(alerting.EXPORTED) + 1} rules found" in checked.stdout + checked.stderr
    tested = promtool("test", "rules", "tests.yml", folder=exported)
    assert tested.returncode == 0, (tested.stdout, tested.stderr)


def turned(found: re.Match[str]) -> str:
    return {"<": " > ", ">": " < ", "==": " != "}[found[1]]


@pytest.mark.parametrize("name", [each.name for each in alerting.EXPORTED])
def test_the_unit_tests_see_a_rule_that_is_wrong(exported: Path, name: str) -> None:
    """Sabotage of each rule: its comparisons turned round, far too late, and (where it waits for long) at once."""
    tests = yaml.safe_load((exported / "tests.yml").read_text(encoding="utf-8"))
    own = [each for each in tests["tests"] if each["alert_rule_test"][0]["alertname"] == name]
    tests |= {"rule_files": ["broken.yml"], "tests": own}
    (exported / "of-broken.yml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    for wrong in ("turned", "late", "at once"):
        rules = yaml.safe_load((exported / "nimify-rules.yml").read_text(encoding="utf-8"))
        one: dict[str, Any] = next(each for each in rules["groups"][0]["rules"] if each["alert"] == name)
        if wrong == "turned":
            one["expr"] = re.sub(r" (<|>|==) ", turned, one["expr"])
        elif wrong == "late":
            one["for"] = "100h"
        elif float(one["for"].removesuffix("s")) >= 120:
            one["for"] = "0s"
        else:
            continue
        (exported / "broken.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
        assert promtool("check", "rules", "broken.yml", folder=exported).returncode == 0
        done = promtool("test", "rules", "of-broken.yml", folder=exported)
        assert done.returncode != 0, wrong
        assert name in done.stdout + done.stderr


def test_every_rule_of_the_table_is_exported_or_said_not_to_be(exported: Path) -> None:
    assert alerting.missing() == []
    text = (exported / "nimify-rules.yml").read_text(encoding="utf-8")
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    by_name = {each["alert"]: each for each in rules}
    for each in alerting.EXPORTED:
        source, made = rule(each.rule), by_name[each.name]
        assert made["for"] == f"{each.wait_s:.0f}s"
        assert made["labels"] == {"severity": str(source.severity)}
        assert made["annotations"]["remedy"] == source.remedy
        assert made["annotations"]["summary"]
        assert each.wait_s >= source.for_s
    assert {each.rule for each in alerting.EXPORTED} == {each.name for each in RULES}


def test_the_limits_are_those_of_the_console() -> None:
    assert (alerting.TRAFFIC_RPS, alerting.HOSTILE_RATE, alerting.HOSTILE_FACTOR) == (
        detect.TRAFFIC_RPS, detect.HOSTILE_RATE, detect.HOSTILE_FACTOR,
    )  # fmt: skip
    assert rule("TrafficUnusual").threshold == detect.TRAFFIC_FACTOR
    assert judges.CACHE_LOOKUPS == alerting.CACHE_LOOKUPS


def test_the_metrics_are_those_that_the_runtimes_tell() -> None:
    """By the names that the console itself reads of them."""
    known = NimifyAdapter.wanted | VllmAdapter.wanted | {"up", "nimify_build_info"}
    elsewhere = {"NimifyGpuBusy", "NimifyCertificateExpiring"}
    for each in alerting.EXPORTED:
        if each.name not in elsewhere:
            names = set(re.findall(r"\b(?:nimify_|vllm:)[a-z_:]+|\bup\b", each.expr))
            assert names, each.name
            assert names <= known, each.name


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "export", "--to", str(tmp_path)]) == 64
    said = capsys.readouterr()
    assert "Is a directory" in said.err
    assert said.out == ""
