"""Which Kubernetes regions a session has: the configured ones, else the kubeconfig's current context."""

from __future__ import annotations

from pathlib import Path

import pytest

from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import ValidationError
from nimify_tui.cli import _parse
from nimify_tui.clusters import ClusterRegions, Wanted, current_context, region_name
from nimify_tui.config import Config, load
from nimify_tui.domain.regions import RegionKind
from nimify_tui.wanted import check_regions


def config(tmp_path: Path, text: str = "") -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    return load([file], env={})


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "kubeconfig"
    file.write_text("apiVersion: v1\ncurrent-context: us-east-1  # mine\nusers: []\n", encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(file))
    return file


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("current-context: a\n", "a"),
        ('{"kind": "Config", "current-context": "b", "users": []}', "b"),
        ('current-context: "c"\n', "c"),
        ("current-context: ''\n", ""),
        ("current-context: \n", ""),
        ("contexts: []\n", ""),
        ("not\x00yaml: [", ""),
    ],
)
def test_the_current_context_is_found_without_reading_it_all(
    kubeconfig: Path, text: str, context: str
) -> None:
    kubeconfig.write_text(text, encoding="utf-8")
    assert current_context() == context


def test_the_first_of_several_files_that_says_one_wins(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_text("current-context: second\n", encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{tmp_path}:{kubeconfig}:{other}")
    assert current_context() == "us-east-1"


def test_without_configuration_the_current_context_is_a_region(kubeconfig: Path, tmp_path: Path) -> None:
    found = ClusterRegions(config(tmp_path), ManualClock(), ()).found
    assert [(each.name, each.kind, each.production, each.read_write) for each in found] == [
        ("us-east-1", RegionKind.KUBERNETES, True, False)
    ]


def test_who_configures_regions_gets_those_alone(kubeconfig: Path, tmp_path: Path) -> None:
    made = config(tmp_path, "[[region]]\nname='k'\nkind='kubernetes'\ncontext='prod'\n")
    assert ClusterRegions(made, ManualClock(), ()).found == ()
    assert [(each.name, each.kind, each.address) for each in made.regions] == [
        ("k", RegionKind.KUBERNETES, "context prod")
    ]


def test_the_command_line_narrows(kubeconfig: Path, tmp_path: Path) -> None:
    assert ClusterRegions(config(tmp_path), ManualClock(), ["local"]).found == ()
    assert ClusterRegions(config(tmp_path), ManualClock(), ["us-east-1"]).found != ()


@pytest.mark.parametrize(
    ("context", "name"),
    [
        ("us-east-1", "us-east-1"),
        ("arn:aws:eks:eu-west-1:1234:cluster/Prod_EU", "prod-eu"),
        ("gke_proj_europe-west1-b_ml", "gke-proj-europe-west1-b-ml"),
        ("local", "local-cluster"),
        ("../../etc", "etc"),
    ],
)
def test_a_context_gets_a_name_that_is_safe_everywhere(context: str, name: str) -> None:
    assert region_name(context, {"local"}) == name


CONFIGURED = '[[region]]\nname = "prod"\nkind = "kubernetes"\ncontext = "us-east-1"\nread_write = true\n'


def test_a_named_context_is_the_configured_region_of_it_or_a_new_one(kubeconfig: Path, tmp_path: Path) -> None:
    made = config(tmp_path, "version = 1\n" + CONFIGURED)
    wanted = Wanted(contexts=("us-east-1", "arn:aws:eks:eu:1:cluster/other"))
    found = ClusterRegions(made, ManualClock(), (), wanted)
    assert found.named == ("prod", "other")
    assert [each.name for each in found.found] == ["other"]
    assert not found.found[0].read_write


def test_the_current_context_of_a_named_file_is_not_shown_twice(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("current-context: us-east-1\n", encoding="utf-8")
    plain = 'version = 1\n[[region]]\nname = "prod"\nkind = "kubernetes"\n'
    found = ClusterRegions(config(tmp_path, plain), ManualClock(), (), Wanted(kubeconfig=str(file)))
    assert found.found == ()
    other = config(tmp_path, 'version = 1\n[[region]]\nname = "here"\n')
    found = ClusterRegions(other, ManualClock(), (), Wanted(kubeconfig=str(file)))
    assert [each.name for each in found.found] == ["us-east-1"]


def test_a_region_found_in_a_kubeconfig_may_be_named(kubeconfig: Path, tmp_path: Path) -> None:
    check_regions(config(tmp_path), ["us-east-1"])
    with pytest.raises(ValidationError, match="'us-west-1' is not known here"):
        check_regions(config(tmp_path), ["us-west-1"])


@pytest.mark.parametrize(
    ("words", "opened", "contexts"),
    [
        (["--context", "admin@prod"], "", ["admin@prod"]),
        (["--context", "admin@prod", "web@eu"], "web@eu", ["admin@prod"]),
        (["web@eu", "--context", "admin@prod"], "web@eu", ["admin@prod"]),
    ],
)
def test_a_context_with_an_at_sign_is_no_service_to_open(words: list[str], opened: str, contexts: list[str]) -> None:
    options, service = _parse(words)
    assert (service, options.context) == (opened, contexts)
