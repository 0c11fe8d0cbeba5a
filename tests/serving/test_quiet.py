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


def _run(code: str, model: Path) -> None:
    """A process that has no say about the library's events, whatever this one has."""
    done = run_python("-c", code, str(model), env=dict.fromkeys(("ORT_DISABLE_TELEMETRY", *BUILD_SERVERS.split()), ""))
    assert done.returncode == 0, done.stderr


def test_a_loaded_model_leaves_nothing_in_the_home(home: Home, model: Path) -> None:
    _run(LOAD, model)
    assert _written(home) == []


def test_the_library_alone_is_what_the_check_above_would_see(home: Home, model: Path) -> None:
    """Sabotage: without our word, onnxruntime since 1.32 keeps an identifier of the machine."""
    import onnxruntime

    _run(BARE, model)
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 32):
        assert any("onnxruntime" in path for path in _written(home))


def test_the_word_holds_for_this_process(model: Path) -> None:
    os.environ.pop("ORT_DISABLE_TELEMETRY", None)
    Model(model, 1)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
