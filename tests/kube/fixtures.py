"""The fixture ``cluster``: one real control plane for the whole test run, started by the first test that asks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.assets import NoAssets, find_or_build
from tests.kube.cluster import Cluster
from tests.skips import lacking

NO_PROGRAMS = "no Kubernetes programs: install Go or set KUBEBUILDER_ASSETS"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes with 8 GPUs each, shared: a test works in a namespace of its own.

    Where there are no programs and no Go, its tests are skipped; with CI set that is a failure.
    """
    try:
        assets = find_or_build()
    except NoAssets as error:
        lacking(NO_PROGRAMS, str(error))
    folder = Path(tempfile.mkdtemp(prefix="nk-", dir="/tmp"))
    made = Cluster(folder, assets)
    try:
        made.up()
        yield made
    finally:
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


def need_simulation(cluster: Cluster) -> None:
    """Go on only where there are controllers and simulated nodes (setup-envtest brings none)."""
    if not cluster.simulates:
        lacking(NO_PROGRAMS, "no controllers among them")
