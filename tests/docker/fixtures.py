"""The fixture ``engine``: one real Docker engine for the whole test run, started by the first test that asks."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.docker.engine import Engine, NoEngine, look
from tests.skips import lacking

NO_ENGINE = "no Docker engine: run as root where docker.io, iptables and busybox-static are installed"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine with its own socket, shared: a test names its containers for itself and removes them.

    Where there can be none (no dockerd, not root), its tests are skipped; with CI set that is a failure.
    """
    with started() as made:
        yield made


@contextlib.contextmanager
def started(disk_bytes: int = 0) -> Iterator[Engine]:
    """An engine of one's own, for a test that stops, freezes or kills it, or fills its disk of ``disk_bytes``."""
    try:
        look()
    except NoEngine as error:
        missing(str(error))
    folder = Path(tempfile.mkdtemp(prefix="nd-", dir="/tmp"))
    made = Engine(folder, disk_bytes)
    try:
        made.up()
        yield made
    finally:
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


def missing(why: str) -> NoReturn:
    """This machine has no engine, or not what a test of one needs."""
    lacking(NO_ENGINE, why)
