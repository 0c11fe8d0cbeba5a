"""What the tests of Docker's actions run: images made here, of Debian and of a wheelhouse, by the real engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from nimify_tui.backends.docker.progress import Event
from nimify_tui.controllers.docker.context import ImageOrder
from tests import models_factory
from tests.docker import images
from tests.docker.behind import Service
from tests.docker.engine import Engine, NoEngine
from tests.docker.fixtures import missing
from tests.docker.leaves import Leaves, acting
from tests.docker.serving import build_image


@dataclass(frozen=True)
class Runtime:
    """Two revisions of our runtime's image, each with its model, and what the engine said while it made the first."""

    images: tuple[str, str]
    models: tuple[Path, Path]
    events: Sequence[Event]


@pytest.fixture(scope="session")
def debian(engine: Engine) -> Path:
    """The engine has the images BASE and HAPROXY of :mod:`tests.docker.images`; the folder of the wheelhouse."""
    try:
        place = images.find_or_make(images.folder(images.CACHE))
    except NoEngine as error:
        missing(str(error))
    images.load(engine, place)
    return place / "wheels"


@pytest.fixture(scope="session")
def runtime(engine: Engine, debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """The image of the service ``digits``, revisions 1 and 2 with different weights."""
    folder = tmp_path_factory.mktemp("runtime")
    events: list[list[Event]] = []
    models = []
    for revision in (1, 2):
        path = folder / f"digits-{revision}.onnx"
        path.write_bytes(models_factory.mlp(seed=revision))
        models.append(path)
        order = ImageOrder(service="digits", revision=revision, model=path, wheelhouse=debian)
        leave = Leaves(folder / f"gate-{revision}").leave(1)
        tag = f"nimify-test/digits:{revision}"
        events.append(acting(engine, partial(build_image, order=order, tag=tag, leave=leave)))
    return Runtime(("nimify-test/digits:1", "nimify-test/digits:2"), (models[0], models[1]), events[0])


@pytest.fixture
def service(engine: Engine, runtime: Runtime, tmp_path: Path) -> Iterator[Service]:
    """``digits`` is not there yet; whatever was made of it is removed."""
    made = Service(engine, tmp_path)
    with engine.swept():
        yield made
    engine.docker("network", "prune", "--force")
