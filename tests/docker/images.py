"""What the Docker tests make their images of, made once and kept in the user's cache: a Debian base and a wheelhouse.

No registry is reachable, so the base is what debootstrap makes of this machine's own package source: Python with
venv, and haproxy. The wheelhouse holds the runtime's dependencies for the base's Python.
`python -m tests.docker.images` makes what is missing and prints where it is (some 60 s, 200 MB).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nimify_tui.controllers.docker.context import runtime_requirements
from tests.docker.engine import Engine, NoEngine, which

#: As the shipped Dockerfile names its base: a `FROM python:3.11-slim` builds here as it would for a user.
BASE = "python:3.11-slim"
HAPROXY = "haproxy:2.6"
_PACKAGES = "python3,python3-venv,ca-certificates,haproxy"
#: The user's cache, found before a test's private home hides it.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
#: Of the base nothing runs these.
_CUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")


def folder(cache: Path) -> Path:
    """Where they are, or would be. Raises NoEngine on a machine that is no Debian."""
    content = hashlib.sha256(
        f"{_PACKAGES} {_CUT} {_suite()[1]} {runtime_requirements()}".encode()
    ).hexdigest()[:8]
    return cache / "nimify-tests" / content


def find_or_make(place: Path) -> Path:
    """``place`` with ``base.tar`` and ``wheels/``. Raises NoEngine when they cannot be made here."""
    if ready(place):
        return place
    if not which("debootstrap"):
        raise NoEngine("not installed: debootstrap")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once make it once
        if not (place / "base.tar").exists():
            _make_base(place)
        if not (place / "wheels").exists():
            _make_wheels(place)
    return place


def ready(place: Path) -> bool:
    """Whether nothing has to be made."""
    return (place / "base.tar").exists() and (place / "wheels").exists()


def load(engine: Engine, place: Path) -> None:
    """The base and, as another name for the same, the image of haproxy."""
    if not engine.has_image(BASE):
        with (place / "base.tar").open("rb") as archive:
            engine.import_file(BASE, archive)
        engine.docker("tag", BASE, HAPROXY)


def _suite() -> tuple[str, str]:
    """(mirror, suite) of this machine's package source."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages", "Component: main"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        site, _, suite = line.partition(" ")
        if "-" not in suite and "/" not in suite:
            return site, suite
    raise NoEngine("this machine has no Debian package source")


def _make_base(place: Path) -> None:
    mirror, suite = _suite()
    root = Path(tempfile.mkdtemp(prefix="nb-", dir="/tmp"))
    try:
        _do("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(root), mirror)
        for name in _CUT:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True, exist_ok=True)
        made = place / "base.part"
        _do("tar", "-C", str(root), "--one-file-system", "-cf", str(made), ".")
        made.rename(place / "base.tar")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _make_wheels(place: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="nw-", dir=place) as made:
        version = _python_of(place / "base.tar")
        _do(
            sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--python-version", version,
            "--dest", made, *runtime_requirements(),
        )  # fmt: skip
        shutil.copytree(made, place / "wheels.part", dirs_exist_ok=True)
        (place / "wheels.part").rename(place / "wheels")


def _python_of(base: Path) -> str:
    """The version of the base's Python, ``3.11``."""
    names = subprocess.run(
        ["tar", "-tf", str(base)], capture_output=True, text=True, check=True
    ).stdout.split()
    return next(name.rpartition("python")[2] for name in names if name.startswith("./usr/bin/python3."))


def _do(*command: str) -> None:
    done = subprocess.run(
        [which(command[0]) or command[0], *command[1:]], capture_output=True, text=True, check=False, timeout=900,
        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
    )  # fmt: skip
    if done.returncode:
        raise NoEngine(f"{command[0]} failed: {(done.stdout + done.stderr)[-1500:]}")


if __name__ == "__main__":
    print(find_or_make(folder(CACHE)))
