"""The Kubernetes programs for tests: KUBEBUILDER_ASSETS as envtest has it, else built once with Go and kept.

`python -m tests.kube.assets` builds what is missing and prints the folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).with_name("lab")
#: All in one program, which acts by the name it is called by (lab/main.go).
COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
    "kubectl",
    "helm",
)
#: Without these there is no cluster at all; setup-envtest brings no others but kubectl.
NEEDED = ("etcd", "kube-apiserver")


class NoAssets(Exception):
    """There are no Kubernetes programs, and they cannot be built here."""


def folder() -> Path:
    """Where the programs are, or would be: KUBEBUILDER_ASSETS, else the user's cache."""
    if named := os.environ.get("KUBEBUILDER_ASSETS"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    content = hashlib.sha256(
        b"".join((LAB / name).read_bytes() for name in ("go.mod", "main.go"))
    ).hexdigest()[:8]
    return cache / "kubelab" / f"{version()}-{content}"


def version() -> str:
    """The Kubernetes version that go.mod asks for, e.g. ``v1.37.2``."""
    lines = (LAB / "go.mod").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1] for line in lines if "k8s.io/kubernetes v" in line)


def ready(place: Path) -> bool:
    """Whether a whole control plane with simulated nodes can be started from ``place``."""
    return all((place / name).exists() for name in COMPONENTS)


def find_or_build() -> Path:
    """The folder of the programs; builds them when they are not there (some 7 minutes on two cores, 160 MB).

    Raises NoAssets when the folder that KUBEBUILDER_ASSETS names is incomplete, there is no Go, or the build fails.
    """
    place = folder()
    if ready(place):
        return place
    if os.environ.get("KUBEBUILDER_ASSETS"):
        missing = [name for name in NEEDED if not (place / name).exists()]
        if missing:
            raise NoAssets(f"KUBEBUILDER_ASSETS holds no {', '.join(missing)}")
        return place
    if not (go := shutil.which("go")):
        raise NoAssets("there is no Go toolchain")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once build it once
        if not ready(place):
            _build(go, place)
    return place


def _build(go: str, place: Path) -> None:
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    flags = "-s -w " + " ".join(f"-X {package}.gitVersion={version()}" for package in packages)
    made = place / "kubelab.new"
    done = subprocess.run(
        [go, "build", "-trimpath", f"-ldflags={flags}", "-o", str(made), "."], cwd=LAB, check=False,
        stdout=sys.stderr, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false"},
    )  # fmt: skip
    if done.returncode:
        raise NoAssets(f"go build failed (exit {done.returncode})")
    made.rename(place / "kubelab")
    for name in COMPONENTS:
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to("kubelab")


if __name__ == "__main__":
    try:
        print(find_or_build())
    except NoAssets as error:
        sys.exit(f"no Kubernetes programs: {error}")
