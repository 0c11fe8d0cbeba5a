"""The wheel as a stranger gets it: built, installed into an empty environment, run from another folder.

The environment sees the libraries that are installed here (through a .pth file, so that no network is
needed), but our package only out of the wheel: the source tree is on no path.
"""

from __future__ import annotations

import email
import json
import os
import re
import site
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import nimify_tui
from tests.support import REPO, Home, run_command
from tests.tui import PtyRun

FIND_STYLES = """
import sys, nimify_tui
from pathlib import Path
package = Path(nimify_tui.__file__).parent
assert str(package).startswith(sys.prefix), package
from nimify_tui.ui.theme import style_path
for name in sys.argv[1:]:
    path = style_path(name)
    assert path.is_file() and path.is_relative_to(package), path
    print(path.name)
"""


def source_styles() -> set[str]:
    """The style sheets of the source tree, relative to styles/."""
    return {str(path.relative_to(REPO / "styles")) for path in (REPO / "styles").rglob("*.tcss")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive, built from a copy of nothing: the tree itself."""
    folder = tmp_path_factory.mktemp("dist")
    done = run_command(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=REPO, env=dict(os.environ), deadline_s=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of a new virtual environment that holds the wheel, and this environment's libraries."""
    root = tmp_path_factory.mktemp("env")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(root)
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(root / "bin" / "python")]
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = run_command([*pip, "install", "--no-deps", "-q", str(wheel)], env=env, deadline_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (packages,) = (root / "lib").glob("python*/site-packages")
    # A plain line in a .pth adds the folder, but does not run the .pth files in it: an editable install of
    # this tree, which is one of those, stays out.
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
    return root / "bin"


def outside(home: Home) -> dict[str, str]:
    """The environment of a stranger's shell: an empty home and no way to the source tree."""
    inside = ("PYTHON", "VIRTUAL_ENV", "NIMIFY")
    env = {name: value for name, value in os.environ.items() if not name.startswith(inside)}
    return {**env, **home.env, "LC_ALL": "C.UTF-8"}


def test_wheel_holds_package_styles_and_marker(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(REPO)) for path in (REPO / "nimify_tui").rglob("*.py")}
    assert modules <= names
    assert "nimify_tui/py.typed" in names
    assert "nimify_tui/controllers/docker/image/Dockerfile" in names
    assert source_styles(), "there are no style sheets"
    assert {f"nimify_tui/styles/{name}" for name in source_styles()} <= names
    strangers = {name for name in names if not name.startswith(("nimify_tui/", "nimify_tui-"))}
    assert strangers == set()


def test_wheel_metadata(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Version"] == nimify_tui.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    needed = {re.split(r"[^\w-]", line)[0] for line in metadata.get_all("Requires-Dist", [])}
    assert {"textual", "onnx", "pytest", "kubernetes", "docker", "prometheus-api-client"} <= needed
    assert set(metadata.get_all("Provides-Extra", [])) == {"docker", "prometheus", "test"}


def test_source_archive_holds_what_builds_and_tests_it(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"pyproject.toml", "README.md", "nimify_tui/cli.py", "tests/conftest.py"} <= names
    assert {f"styles/{name}" for name in source_styles()} <= names


def test_installed_command_says_its_version(installed: Path, home: Home, tmp_path: Path) -> None:
    done = run_command([installed / "nimify-tui", "--version"], cwd=tmp_path, env=outside(home))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"nimify-tui {nimify_tui.__version__}"


def test_installed_package_is_the_wheels_and_finds_its_styles(installed: Path, home: Home, tmp_path: Path) -> None:
    done = run_command([installed / "python", "-c", FIND_STYLES, *source_styles()], cwd=tmp_path, env=outside(home))
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == source_styles()


@pytest.mark.e2e
def test_installed_console_starts_with_its_styles(installed: Path, home: Home, tmp_path: Path) -> None:
    argv = [str(installed / "nimify-tui")]
    env = {**outside(home), "PYTHONPATH": ""}
    with PtyRun(argv, width=80, height=24, env=env, cwd=tmp_path) as tty:
        tty.wait_text("local", 30)
        tty.press("ctrl+c")
        assert tty.wait_exit(15) == 0
        assert tty.restored()


@pytest.mark.e2e
def test_installed_snapshot_with_an_empty_home(installed: Path, home: Home, tmp_path: Path) -> None:
    done = run_command(
        [installed / "nimify-tui", "snapshot", "-o", "json"], cwd=tmp_path, env=outside(home), deadline_s=60
    )
    shot = json.loads(done.stdout)
    assert done.returncode in {0, 1, 2}, done.stderr
    assert shot["api_version"] == "nimify-tui/v1"
    assert shot["kind"] == "Snapshot"
    assert shot["services"] == []
    assert [region["name"] for region in shot["regions"]] == ["local"]


def test_sabotage_a_wheel_without_styles_is_noticed(installed: Path, home: Home, tmp_path: Path) -> None:
    (styles,) = installed.parent.glob("lib/python*/site-packages/nimify_tui/styles")
    hidden = styles.with_name("styles-away")
    styles.rename(hidden)
    try:
        done = run_command([installed / "python", "-c", FIND_STYLES, "base.tcss"], cwd=tmp_path, env=outside(home))
    finally:
        hidden.rename(styles)
    assert done.returncode != 0
    assert "style sheet base.tcss is neither in" in done.stderr
