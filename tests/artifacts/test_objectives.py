"""The exported rules of services with objectives of their own: those hold, whatever the services are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.artifacts import alerting, objectives
from nimify_tui.artifacts.alerting import inert, quoted
from nimify_tui.cli import main
from nimify_tui.domain.rules import rule
from nimify_tui.domain.slos import Slo
from tests.artifacts.test_alerting import promtool

#: Names that mean something in YAML, PromQL, a regular expression or a template, and those of the unit tests' own jobs.
HOSTILE = (
    'we"b\\ a.b|c( {{ $value }}{{{ $1 new\nline: [ # - %s&<b>', " \x7f\u2028\x85\x01 änder-\U0001f600 ",
    "other", "chat-",
)  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Objectives below and above the limits for all, of latencies and of first tokens, and one of neither."""
    own = {"chat": (80.0, 500.0, 0.95), "slow": (1500.5, None, 0.5), "late": (None, 4000.0, 0.999)}
    own["up"] = (None, None, 0.9)
    own |= {name: (300.0 + number, None, 0.99) for number, name in enumerate(HOSTILE)}
    lines = ["version = 1"]
    for name, (latency_ms, ttft_ms, quantile) in own.items():
        written = json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")
        lines += ["[[slo]]", f"service = {written}", f"quantile = {quantile}"]
        lines += [f"latency_ms = {latency_ms}"] if latency_ms else []
        lines += [f"ttft_ms = {ttft_ms}"] if ttft_ms else []
    path = tmp_path / "config.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def exported(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with what the call writes."""
    assert main(["rules", "export", "--config", str(config), "--to", str(tmp_path / "nimify-rules.yml")]) == 0
    assert main(["rules", "export", "--config", str(config), "--tests"]) == 0
    (tmp_path / "tests.yml").write_text(capsys.readouterr().out, encoding="utf-8")
    return tmp_path


def rules_of(folder: Path) -> list[dict[str, Any]]:
    rules = yaml.safe_load((folder / "nimify-rules.yml").read_text(encoding="utf-8"))
    return list(rules["groups"][0]["rules"])


def test_each_service_is_held_against_its_own_objective_whatever_it_is_called(exported: Path) -> None:
    """Seen failing: the limits for all held for all. And with names as they are in a regular expression or template."""
    checked = promtool("check", "rules", "nimify-rules.yml", folder=exported)
    assert checked.returncode == 0, (checked.stdout, checked.stderr)
    assert "duplicate" not in checked.stdout + checked.stderr
    tested = promtool("test", "rules", "tests.yml", folder=exported)
    assert tested.returncode == 0, (tested.stdout, tested.stderr)
    own = {
        (each["alert"], each["labels"]["service"]): each for each in rules_of(exported) if "service" in each["labels"]
    }
    latency = {("NimifyLatencyHigh", inert(name)) for name in ("chat", "slow", *HOSTILE)}
    assert own.keys() == latency | {("NimifyFirstTokenSlow", "chat"), ("NimifyFirstTokenSlow", "late")}
    chat, source = own["NimifyLatencyHigh", "chat"], rule("LatencyHigh")
    assert chat["annotations"]["summary"] == "{{ $labels.job }}: p95 above 80 ms (its objective)"
    assert (chat["for"], chat["labels"]["severity"]) == (f"{source.for_s:.0f}s", str(source.severity))
    assert all(part.endswith(" > 0.08") for part in chat["expr"].split(" or "))
    first = own["NimifyFirstTokenSlow", "late"]["annotations"]["summary"]
    assert first == "{{ $labels.job }}: p99.9 of the time to the first token above 4000 ms (its objective)"


@pytest.mark.parametrize("wrong", ["limits for all", "another limit", "its bare name alone", "late"])
def test_the_unit_tests_see_an_objective_that_is_wrong(exported: Path, wrong: str) -> None:
    tests = yaml.safe_load((exported / "tests.yml").read_text(encoding="utf-8"))
    job = 'job="models/slow"' if wrong == "its bare name alone" else 'job="slow"'
    mine = [each for each in tests["tests"] if any(job in one["series"] for one in each["input_series"])]
    assert len(mine) == 1
    rules = yaml.safe_load((exported / "nimify-rules.yml").read_text(encoding="utf-8"))
    (own,) = [each for each in rules["groups"][0]["rules"] if each["labels"].get("service") == "slow"]
    for each in rules["groups"][0]["rules"]:
        if wrong == "limits for all" and each["alert"] == "NimifyLatencyHigh" and each is not own:
            each["expr"] = alerting.LATENCY.expr
    if wrong == "another limit":
        own["expr"] = own["expr"].replace("> 1.5005", "> 2.5")
    elif wrong == "its bare name alone":
        own["expr"] = own["expr"].replace("(.+/)?", "")
    elif wrong == "late":
        own["for"] = "100h"
    tests |= {"rule_files": ["broken.yml"], "tests": mine}
    (exported / "of-broken.yml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    (exported / "broken.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    assert promtool("check", "rules", "broken.yml", folder=exported).returncode == 0
    assert promtool("test", "rules", "of-broken.yml", folder=exported).returncode != 0


def test_without_objectives_the_rules_are_those_of_the_table() -> None:
    none = (Slo(service="a", objective=0.99), Slo(service="ns/b", latency_ms=80.0))
    assert objectives.exported(none) == objectives.exported(()) == alerting.EXPORTED


def test_an_objective_that_no_job_can_be_told_of_is_said_to_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text('version = 1\n[[slo]]\nservice = "job/web\\u001b[31m"\nlatency_ms = 80\n', encoding="utf-8")
    assert main(["rules", "export", "--config", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out == alerting.rules_text()
    assert "without the objective of 'job/web" in said.err
    assert "\x1b" not in said.err


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_is_itself_again_and_plain_ascii_on_its_way(text: str) -> None:
    assert yaml.safe_load(quoted(text)) == text
    assert quoted(text).isascii()
    assert quoted(text).isprintable()
