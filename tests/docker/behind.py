"""The service ``digits``: replicas with a real model behind one address, and what tests do with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.haproxy import FrontSettings
from nimify_tui.backends.docker.specs import Caps, Health
from nimify_tui.base.clock import SystemClock
from nimify_tui.controllers.docker.orders import Patience, ServiceOrder, calls_for
from nimify_tui.controllers.docker.replicas import Replicas
from tests.docker.engine import Engine, free_port
from tests.docker.images import HAPROXY
from tests.docker.leaves import Leaves, acting
from tests.docker.serving import direct, infer, rows
from tests.support import PYTHON, REPO


class Service:
    """The service ``digits`` and what a test does with it."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.port = engine, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.said: list[str] = []
        self._leaves = Leaves(folder)

    def do(self, work: Callable[[Replicas], Any], *, stop_s: int = 10, healthy_s: float = 90.0) -> None:
        """Carry out one action under a leave of its own."""

        async def go(line: Connection) -> None:
            patience = Patience(healthy_s=healthy_s, drain_s=30, stop_s=stop_s)
            leave = self._leaves.leave(calls_for(4))
            await work(
                Replicas(
                    line, "digits", leave, SystemClock(), lambda text, *_: self.said.append(text), patience
                )
            )

        acting(self.engine, go)

    def create(self, image: str, replicas: int, front: FrontSettings | None = None) -> None:
        order = ServiceOrder(
            name="digits", image=image, revision=1, replicas=replicas, front_image=HAPROXY, port=self.port,
            caps=Caps(memory_bytes=512 << 20), health=Health(interval_s=0.5, timeout_s=10),
            front=front or FrontSettings(),
        )  # fmt: skip
        self.do(lambda service: service.create(order))

    def names(self) -> list[str]:
        """The replicas that there are, running or not."""
        return sorted(self.engine.containers("label=nimify.dev/service=digits"))

    def answers(self, model: Path) -> None:
        """What comes from the address is what the model says."""
        given = rows()
        np.testing.assert_allclose(
            infer(self.url, "digits", given), direct(model, given), rtol=1e-5, atol=1e-6
        )

    def under_load(self, action: Callable[[], None], size: int) -> list[str]:
        """The requests that failed while ``action`` was done; load goes on before, during and after it."""
        command = [PYTHON, "-m", "tests.docker.load", self.url, "digits", str(size), "4", "4"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPO
        ) as load:
            try:
                assert load.stdout is not None
                assert load.stdout.readline() == "go\n"
                action()
                said = json.loads(load.communicate("stop\n", timeout=60)[0])
            finally:
                load.kill()
        assert said["kept"] + said["fresh"] + len(said["failures"]) >= 8, said
        return list(said["failures"])

    def served(self) -> bool:
        """Whether the address answers."""
        try:
            infer(self.url, "digits", rows(1))
        except OSError:
            return False
        return True
