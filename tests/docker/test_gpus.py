"""GPUs of a Docker host whose dcgm-exporter is a container: read at its address, with nothing to configure."""

from __future__ import annotations

from pathlib import Path

from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.session import Needs
from tests.docker.acting import acting, region_toml, write_config
from tests.docker.engine import Engine
from tests.metrics.dcgm_pages import ada
from tests.support import wait_for

SERVE = ("sh", "-c", 'mkdir /w && printf "%s" "$PAGE" > /w/metrics && exec httpd -f -p 9400 -h /w')


def test_the_page_of_an_exporter_in_a_container_is_the_gpus_of_its_host(engine: Engine, tmp_path: Path) -> None:
    """By its image alone; it is no server of models that tells no numbers."""
    image = engine.busybox("nvidia/dcgm-exporter:4.5.3-4.8.2-distroless")
    with engine.swept(), acting(
        write_config(tmp_path, region_toml("dock", url=engine.url)), "dock", needs=Needs(numbers=True)
    ) as desk:  # fmt: skip
        engine.run("--name", "gpus", "--env", f"PAGE={ada(GPU_UTIL='42')}", image=image, command=SERVE)

        def panel() -> GpuPanel | None:
            return next((each for each in desk.session.frame.gpus if each.gpus and each.region == "dock"), None)

        found = wait_for(panel, 60, why="its GPUs", detail=lambda: repr(desk.session.frame.gpus))
        assert isinstance(found, GpuPanel)
        (card,) = found.gpus
        assert (card.node, card.utilisation.value, card.utilisation.source) == ("dock", 42.0, "DCGM in container gpus")
        row = desk.until_row("gpus", state="OK")
        assert (row.family, row.rps.reason) == ("dcgm", "it tells GPUs, which have a panel of their own")
