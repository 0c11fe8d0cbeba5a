"""The wizard at 80x24 on a real engine: from the file browser to the first answer of a service on a Docker host."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import models_factory
from tests.docker.acting import region_toml, write_config
from tests.docker.engine import Engine
from tests.docker.images import HAPROXY
from tests.docker.serving import direct, infer, rows
from tests.support import Home
from tests.tui import PtyRun

pytestmark = pytest.mark.e2e


@pytest.fixture
def config(engine: Engine, debian: Path, tmp_path: Path) -> Path:
    """A region that builds offline."""
    more = f'front_image = "{HAPROXY}"\nwheelhouse = "{debian}"\n'
    return write_config(tmp_path, region_toml("dock", url=engine.url, more=more))


def test_from_the_file_browser_to_an_answer_of_a_container(
    engine: Engine, config: Path, home: Home, tmp_path: Path
) -> None:
    """Page by page, the plan, the build's log while it runs, the proof, and the line that does the same."""
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / "scorer.onnx"
    path.write_bytes(models_factory.mlp(seed=7))
    argv = [sys.executable, "-m", "nimify_tui", "--config", str(config)]
    with engine.swept(), PtyRun(argv, width=80, height=24, env=home.env) as tty:
        tty.wait(lambda text: "1/1 regions" in text and "dock ●" in text, 30, "the host, live")
        tty.send(f":new {folder}\r")
        tty.wait_text("scorer.onnx", 10)
        tty.press("enter")
        for page in range(2, 7):
            seen = tty.wait_text(f"{page} of 7", 20)
            tty.press("enter")
            if page == 4:
                assert "dock" in seen
        plan = tty.wait_text("Create scorer", 20)
        assert "dock" in plan
        assert engine.containers("name=scorer") == [], "a plan starts nothing"
        tty.press("y")
        tty.wait_text("first inference answered", 180)
        assert "scorer runs in dock" in tty.text()
        tty.press("enter")
        tty.wait(lambda text: "▌● scorer" in text and "1/1" in text, 20, "the service in the table, OK")
        tty.press("ctrl+c")
        assert tty.wait_exit(15) == 0
        printed = bytes(tty.raw).rpartition(b"\x1b[?1049l")[2].decode()
        line = next(each for each in printed.splitlines() if "nimify-tui deploy" in each)
        words = shlex.split(line[line.index("nimify-tui") :])
        # Without its configuration the line would not know the region.
        assert words[3:7] == ["--config", str(config), "--name", "scorer"]
        assert words[7:9] == ["--region", "dock"]
        assert words[2] == str(path)
        [front] = engine.containers("name=scorer-front")
        [[published]] = [each for each in engine.inspect(front)["NetworkSettings"]["Ports"].values() if each]
        address, given = f"http://127.0.0.1:{published['HostPort']}", rows()
        answered = infer(address, "scorer", given)
        np.testing.assert_allclose(answered, direct(path, given), rtol=1e-5, atol=1e-6)
    engine.docker("network", "prune", "--force")
