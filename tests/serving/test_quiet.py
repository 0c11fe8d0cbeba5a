"""The runtime tells nobody anything and writes nothing outside the folders it is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nimify_tui.serving.model import Model
from tests import models_factory
from tests.support import Home, run_python

LOAD = "import sys; from pathlib import Path; from nimify_tui.serving.model import Model; Model(Path(sys.argv[1]), 1)"
BARE = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"

# Prints what the library finds when it is imported: it reads its word then, and never again.
AT_IMPORT = """
import os, sys
def look(event, about):
    if event == "import" and about[0] == "onnxruntime":
        print(os.environ.get("ORT_DISABLE_TELEMETRY", ""))
sys.addaudithook(look)
"""

# What onnxruntime 1.32.0 leaves behind where nobody told it not to (seen with its package of PyPI, 2026-11).
LEAVES = """
import os, pathlib
kept = pathlib.Path(os.environ["XDG_CACHE_HOME"], "Microsoft", "DeveloperTools", ".onnxruntime", "deviceid")
kept.parent.mkdir(parents=True)
kept.write_text("0")
"""

# onnxruntime keeps quiet of itself where one of these is set, as on a build server (strings of its 1.32.0 library).
BUILD_SERVERS = """CI TF_BUILD GITHUB_ACTIONS GITLAB_CI CIRCLECI TRAVIS JENKINS_URL CODEBUILD_BUILD_ID BUILDKITE
TEAMCITY_VERSION APPVEYOR BITBUCKET_BUILD_NUMBER"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(models_factory.mlp())
    return path


def _written(home: Home) -> list[str]:
    return [str(path.relative_to(home.root)) for path in home.root.rglob("*") if path.is_file()]


def _run(code: str, model: Path) -> str:
    """A process that has no say about the library's events, whatever this one has; what it prints."""
    done = run_python("-c", code, str(model), env=dict.fromkeys(("ORT_DISABLE_TELEMETRY", *BUILD_SERVERS.split()), ""))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_loaded_model_leaves_nothing_in_the_home(home: Home, model: Path) -> None:
    _run(LOAD, model)
    assert _written(home) == []


def test_what_the_library_would_leave_is_seen_by_the_check_above(home: Home, model: Path) -> None:
    """Sabotage: the same process leaves an identifier of the machine where the library does.

    The library itself is no judge: it writes when it likes, and on some machines not at all.
    """
    _run(LEAVES + LOAD, model)
    assert any("onnxruntime" in path for path in _written(home))


def test_the_word_is_there_when_the_library_is_loaded(model: Path) -> None:
    assert _run(AT_IMPORT + LOAD, model) == "1"


def test_without_our_word_the_library_would_find_none(model: Path) -> None:
    """Sabotage of the test above: the library imported past us."""
    assert _run(AT_IMPORT + BARE, model) == ""


def test_the_word_holds_for_this_process(model: Path) -> None:
    os.environ.pop("ORT_DISABLE_TELEMETRY", None)
    Model(model, 1)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
