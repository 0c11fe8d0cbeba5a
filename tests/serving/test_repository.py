"""What a repository folder is read as, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from nimify_tui.base.errors import ConfigurationError, ModelError
from nimify_tui.serving.options import parse_options
from nimify_tui.serving.repository import Repository
from nimify_tui.serving.settings import ModelSettings, from_flags, read_settings


def settings() -> ModelSettings:
    return from_flags(parse_options(["m.onnx", "--threads", "3", "--cache-bytes", "7"]))


def put(root: Path, *paths: str) -> Repository:
    """Files of those names; what they hold is not looked at here."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return Repository(root, settings())


def test_the_three_layouts_are_found(tmp_path: Path) -> None:
    found = put(tmp_path, "a/1/model.onnx", "a/12/model.onnx", "b/model.onnx", "c.onnx").scan()
    assert {name: sorted(each.versions) for name, each in found.items()} == {
        "a": ["1", "12"],
        "b": ["1"],
        "c": ["1"],
    }
    assert found["a"].versions["12"] == (tmp_path / "a/12/model.onnx").resolve()
    assert all(not each.problem for each in found.values())
    assert found["b"].settings.threads == 3


def test_what_is_no_model_is_passed_over(tmp_path: Path) -> None:
    found = put(
        tmp_path, "a/1/model.onnx", "a/x/model.onnx", "a/01/model.onnx", ".git/1/model.onnx", "README.md"
    ).scan()
    assert {name: sorted(each.versions) for name, each in found.items()} == {"a": ["1"]}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a/notes.txt"], "no model.onnx"),
        (["a/1/model.onnx", "a/model.onnx"], "there twice"),
        (["a/1/model.onnx", "a.onnx"], "there twice"),
    ],
)
def test_a_model_with_a_problem_says_it(tmp_path: Path, files: list[str], words: str) -> None:
    found = put(tmp_path, *files, "good.onnx").scan()
    assert words in found["a"].problem
    assert not found["a"].versions
    assert found["good"].versions


@pytest.mark.parametrize(
    ("text", "versions"),
    [("[3]", ["3"]), ('"latest"', ["10"]), ('"all"', ["1", "10", "3"]), ("[1, 1, 3]", ["1", "3"])],
)
def test_versions_are_chosen_by_number(tmp_path: Path, text: str, versions: list[str]) -> None:
    repository = put(tmp_path, *(f"a/{number}/model.onnx" for number in (1, 3, 10)))
    (tmp_path / "a/nimify.toml").write_text(f"versions = {text}\n")
    assert sorted(repository.look("a").versions) == versions


def test_a_version_that_is_wanted_and_missing_is_a_problem(tmp_path: Path) -> None:
    repository = put(tmp_path, "a/1/model.onnx")
    (tmp_path / "a/nimify.toml").write_text("versions = [1, 4]\n")
    assert "version 4 is wanted" in repository.look("a").problem


def test_settings_of_one_model_go_over_the_flags(tmp_path: Path) -> None:
    path = tmp_path / "nimify.toml"
    path.write_text(
        "cache_ttl_s = 5\nmax_batch = 8\nlatency_objective_ms = 50.5\nsessions = 2\nthreads = 4\nload = false\n"
    )
    made = read_settings(path, settings())
    assert (made.cache_bytes, made.cache_ttl_s, made.max_batch, made.latency_objective_ms) == (7, 5, 8, 50.5)
    assert (made.sessions, made.threads, made.load, made.versions) == (2, 4, False, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max-batch = 8", "did you mean 'max_batch'"),
        ("thread = 8", "did you mean 'threads'"),
        ("zzz = 8", "the file knows: cache_bytes"),
        ("threads = true", "threads must be a whole number of 1 to 1024, not True"),
        ("threads = 0", "must be a whole number"),
        ("cache_ttl_s = nan", "must be a number"),
        ("load = 'no'", "load must be true or false"),
        ("versions = []", "versions must be"),
        ("versions = [0]", "versions must be"),
        ("threads = ", "is not TOML"),
        ('"\\u001b[31m" = 1', "unknown key"),
    ],
)
def test_wrong_settings_are_errors_with_what_would_do(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "nimify.toml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigurationError) as caught:
        read_settings(path, settings())
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def links(tmp_path: Path) -> Repository:
    """Each model of the folder `in` leaves it by a link at another place; `kept` links within it."""
    outside, inside = tmp_path / "out", tmp_path / "in"
    put(outside, "1/model.onnx", "model.onnx", "weights.bin", "nimify.toml")
    repository = put(
        inside, "data/model.onnx", "beside/1/model.onnx", "toml/1/model.onnx", "version/2/model.onnx"
    )
    (inside / "folder").symlink_to(outside)
    (inside / "file.onnx").symlink_to(outside / "model.onnx")
    (inside / "version/1").symlink_to(outside / "1")
    (inside / "beside/1/weights.bin").symlink_to(outside / "weights.bin")
    (inside / "toml/nimify.toml").symlink_to(outside / "nimify.toml")
    (inside / "loop").symlink_to(inside / "loop")
    (inside / "kept").symlink_to(inside / "data")
    return repository


@pytest.mark.parametrize("name", ["folder", "file", "version", "beside", "toml"])
def test_links_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    """Sabotage seen failing: `_inside` that returns the path without looking."""
    found = links(tmp_path).look(name)
    assert "leaves the repository" in found.problem
    assert not found.versions


def test_sabotage_without_the_look_at_links_they_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Repository, "_inside", lambda _self, path: path.resolve())
    assert links(tmp_path).look("version").versions["1"].is_relative_to(tmp_path / "out")


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    repository = links(tmp_path)
    assert repository.look("kept").versions == {"1": (tmp_path / "in/data/model.onnx").resolve()}
    assert "loop" not in repository.scan()


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../in", ".hidden", "no", "a" * 65, "a\x1b"])
def test_names_that_are_no_models_are_refused(tmp_path: Path, name: str) -> None:
    repository = put(tmp_path, "in/a/1/model.onnx", ".hidden/1/model.onnx")
    with pytest.raises(ModelError):
        repository.look(name)
    assert not repository.has(name)
