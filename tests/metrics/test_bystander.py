"""A machine's own exporter is no model server: its page, some 1,500 series, makes no number and says why.

Debian's prometheus-node-exporter, read by ourselves and out of a Prometheus that scrapes it.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.updates import Sampled, SampleFailed
from tests.metrics.prom import prometheus
from tests.metrics.test_prometheus import POD, Scene, server_at, told, why
from tests.metrics.test_scrape import replica, scraped
from tests.serving.servers import listener
from tests.skips import lacking
from tests.support import wait_for


@pytest.fixture(scope="module")
def exporter() -> Iterator[str]:
    """Where it listens."""
    program = shutil.which("prometheus-node-exporter")
    if program is None:
        lacking("prometheus-node-exporter is not installed", "the Debian package prometheus-node-exporter")
    with listener() as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
    process = subprocess.Popen([program, f"--web.listen-address={at}"], stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            return b"node_load1" in urlopen(f"http://{at}/metrics", timeout=5.0).read()
        except URLError:
            return False

    try:
        wait_for(answers, 30.0, why="the node exporter")
        yield at
    finally:
        process.kill()
        process.wait(10)


def test_read_by_ourselves_it_is_of_no_runtime_that_is_known(exporter: str) -> None:
    found = asyncio.run(scraped([replica("a", f"http://{exporter}")], lambda updates: bool(updates)))
    assert [each.reason for each in found if isinstance(each, SampleFailed)] == [
        "its metrics are of a runtime that is not known here"
    ]
    assert not any(isinstance(each, Sampled) for each in found)


def test_out_of_a_prometheus_the_row_says_the_same(exporter: str, tmp_path: Path) -> None:
    labels = {"namespace": POD.namespace, "pod": "vllm-0", "container": "main"}
    with prometheus(tmp_path, [(exporter, labels)]) as server:
        scene = Scene(server, "", "")
        fleet, found = scene.fleet(), told(scene, server_at(server.url), POD.region)
        reason = why(found)
        fleet.apply_many(found)
        measure = fleet.publish(SystemClock().now()).rows[POD.row_id].rps
    assert "has none of the metrics that are understood here; is it the right one" in reason
    assert (measure.value, measure.reason) == (None, f"metrics cannot be read: {reason}")
