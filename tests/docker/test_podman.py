"""A region on a real Podman, over its Docker-compatible API: watched, read and changed. About 8 s on two cores."""

from __future__ import annotations

from pathlib import Path

from nimify_tui.domain.demands import LogDemand
from nimify_tui.domain.plans import Verb
from tests.docker.acting import acting, region_toml, write_config
from tests.docker.podman import podman
from tests.docker.test_logs import texts

SERVING = "echo begun; trap 'exit 0' TERM; while :; do usleep 100000; done"


def test_a_podman_is_watched_its_logs_are_read_and_it_is_acted_on(tmp_path: Path) -> None:
    """Sabotage: without Podman's own names among the events that are asked for, the stop is not seen for a minute."""
    with podman() as engine:
        config = write_config(tmp_path, region_toml("dock", url=engine.url))
        with acting(config, "dock") as desk:
            engine.sh("pod", SERVING)
            desk.until_row("pod", state="OK")
            demand = LogDemand(desk.key("pod"))
            desk.session.demand(demand)
            desk.until(lambda: texts(desk, demand) == ["begun"], "its log")
            before = engine.inspect("pod")["State"]["Pid"]
            desk.act(Verb.RESTART, "pod")
            assert engine.inspect("pod")["State"]["Pid"] != before
            desk.until(lambda: texts(desk, demand) == ["begun", "begun"], "the log of the second run")
            desk.act(Verb.STOP, "pod")
            assert not engine.inspect("pod")["State"]["Running"]
            desk.until_row("pod", state="STOPPED")
            engine.docker("start", "pod")
            desk.until_row("pod", state="OK")
            engine.docker("rm", "--force", "pod")
            desk.until(lambda: desk.row("pod") is None, "its row goes")
    assert engine.remains() == []
