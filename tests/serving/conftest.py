"""Runtimes that several tests of one module share; each test that changes one starts its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import models_factory
from tests.serving.servers import Server, running

SMALL = models_factory.mlp((8, 16, 4))


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    """An MLP of 8 inputs and 4 outputs, run on the event loop."""
    with running(SMALL) as server:
        yield server


@pytest.fixture(scope="module")
def typed() -> Iterator[Server]:
    """An identity for every type of the protocol."""
    with running(models_factory.every_type(), name="types") as server:
        yield server
