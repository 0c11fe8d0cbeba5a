"""A desk with one service for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.controllers.world import Bench, service


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.world.add(service())
    return made
