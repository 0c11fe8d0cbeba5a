"""Errors, redaction, files, back-off and names: the leaf's promises."""

from __future__ import annotations

import os
import pathlib
import random
import stat
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.base import errors, process
from nimify_tui.base.clock import ManualClock, rfc3339
from nimify_tui.base.files import private_dir, runtime_home, write_atomic
from nimify_tui.base.redact import redact
from nimify_tui.base.retry import Backoff
from nimify_tui.domain.names import ServiceKey, check_name, short_region, suggest_name


def test_every_category_has_an_error_of_its_own() -> None:
    kinds = {
        kind.category
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.NimifyError)
    }
    assert kinds == set(errors.Category)


def test_an_error_reads_with_its_remedy() -> None:
    assert str(errors.NetworkError("no answer from X", "is it up?")) == "no answer from X: is it up?"


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer abcdefgh12345678",
        "api_key=hunter2hunter2",
        '{"password": "hunter2hunter2"}',
        "nvapi-hunter2hunter2",
        "https://ops:hunter2hunter2@host/",
        "x-token: hunter2hunter2",
    ],
)
def test_credentials_are_masked(secret: str) -> None:
    shown = redact(f"before {secret} after")
    assert "hunter2" not in shown
    assert "abcdefgh12345678" not in shown
    assert shown.startswith("before ")


def test_plain_lines_are_not_touched() -> None:
    line = "model ready in 0.4 s, 3 replicas, revision 12"
    assert redact(line) == line


def test_files_and_folders_are_private(tmp_path: pathlib.Path) -> None:
    folder = private_dir(tmp_path / "a" / "b")
    write_atomic(folder / "x", b"one", sync=True)
    write_atomic(folder / "x", b"two")
    assert (folder / "x").read_bytes() == b"two"
    assert stat.S_IMODE((folder / "x").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.listdir(folder) == ["x"]


def test_a_long_runtime_folder_gives_way_to_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp/" + "x" * 100)
    assert len(str(runtime_home())) < 60


def test_backoff_grows_jittered_and_is_capped() -> None:
    backoff = Backoff(0.5, 30.0, random.Random(1))
    waits = [backoff.next_s() for _ in range(12)]
    for number, wait in enumerate(waits):
        ceiling = min(30.0, 0.5 * 2.0**number)
        assert ceiling / 2 <= wait <= ceiling
    backoff.reset()
    assert backoff.next_s() <= 0.5


def test_time_is_told_in_utc() -> None:
    assert rfc3339(1_800_000_000.12) == "2027-01-15T08:00:00.120Z"
    clock = ManualClock(10.0)
    clock.advance(2.5)
    assert (clock.now(), clock.mono_s()) == (12.5, 2.5)


@given(st.text(max_size=100))
def test_a_suggested_name_is_always_valid(text: str) -> None:
    assert check_name(suggest_name(text))


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a.b", "a" * 64, "../x", "a\n", "ä", "a b"])
def test_names_that_kubernetes_refuses_are_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(errors.ValidationError) as caught:
        check_name(name)
    assert caught.value.remedy


def test_regions_have_distinct_short_names() -> None:
    regions = ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1"]
    assert [short_region(name) for name in regions] == ["use1", "usw2", "euw1", "euc1", "apse1", "apne1"]
    assert short_region("local") == "local"


def test_rows_are_identified_by_name_and_region() -> None:
    key = ServiceKey("eu-west-1", "chat", "prod")
    assert (key.fold_id, key.row_id) == ("prod/chat", "prod/chat@eu-west-1")


def test_a_process_is_known_again_by_more_than_its_pid() -> None:
    here = process.this_process()
    assert process.lives(here) is True
    assert process.lives(replace(here, start_ticks=here.start_ticks + 1)) is False, "its pid was used again"
    assert process.lives(replace(here, boot_id="another boot")) is False
    assert process.lives(replace(here, pid_namespace="pid:[1]")) is None, "a container's pids are not ours"
    assert process.lives(replace(here, host="elsewhere")) is None


def test_a_child_finds_this_package_first_and_keeps_what_else_was_named() -> None:
    root = str(pathlib.Path(errors.__file__).parents[2])
    assert process.importable({"A": "b"}) == {"A": "b", "PYTHONPATH": root}
    assert process.importable({"PYTHONPATH": "/x"})["PYTHONPATH"] == f"{root}{os.pathsep}/x"
