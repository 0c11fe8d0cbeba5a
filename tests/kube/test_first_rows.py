"""What stands between the start and the first rows of a cluster, counted: requests, connections' makers, imports.

Takes 4 s beside the start of the cluster.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.updates import ServiceSeen
from tests.kube import pki
from tests.kube.cluster import Cluster
from tests.kube.faults import FaultProxy
from tests.kube.fixtures import need_simulation
from tests.kube.reach import behind, run
from tests.kube.watching import SPACE, TRITON, Watching, deployment
from tests.support import run_python

#: Reads a list of a cluster as the console does and tells which modules that took.
READING = """
import asyncio, json, sys
from nimify_tui.backends.kubernetes import kubeconfig
from nimify_tui.backends.kubernetes.connection import Connection
import nimify_tui.sources.kubernetes.region

async def read():
    connection = Connection(kubeconfig.load(explicit=sys.argv[1]).place(""))
    await connection.open()
    async with connection.get("/apis/apps/v1/deployments", {"limit": "5"}) as answer:
        assert b"items" in await answer.read()
    await connection.close()

asyncio.run(read())
print(json.dumps(sorted(sys.modules)))
"""
NAMES = [f"GET /apis/apps/v1/namespaces/{SPACE}/{plural}" for plural in ("daemonsets", "deployments", "statefulsets")]


@pytest.mark.parametrize("held", [True, False])
def test_the_first_rows_cost_three_lists_and_a_heartbeat(held: bool, cluster: Cluster, tmp_path: Path) -> None:
    """One round trip after the handshake. Not held back (the sabotage), pods and others are asked for, too."""
    need_simulation(cluster)
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, deployment("first", TRITON, 3)
    )

    async def go() -> None:
        proxy = FaultProxy(cluster.port, pki.own(tmp_path, "proxy"))
        begun = asyncio.Event()

        async def rest() -> None:
            await begun.wait()

        async with proxy:
            watching = Watching(behind(proxy, cluster, tmp_path), faster=1.0, rest=rest if held else None)
            async with watching.running():
                await watching.until(
                    lambda: any(isinstance(each, ServiceSeen) for each in watching.updates), "the first row"
                )
                asked = sorted({each.partition("?")[0] for each in proxy.asked if "watch=1" not in each})
                if held:
                    assert asked == [*NAMES, "GET /livez"]
                    begun.set()
                await watching.until_state(RegionState.LIVE)
                assert any(each.startswith(f"GET /api/v1/namespaces/{SPACE}/pods") for each in proxy.asked)
                assert held or asked != [*NAMES, "GET /livez"]

    try:
        run(go())
    finally:
        cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


def test_reading_a_cluster_imports_no_http_library(cluster: Cluster) -> None:
    """aiohttp and what it stands on were 190 ms of the first second; web sockets still import them when wanted."""
    done = run_python("-c", READING, str(cluster.folder / "kubeconfig"))
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert {"httptools", "msgspec", "ssl"} <= loaded
    assert loaded & {"aiohttp", "yarl", "multidict", "attr", "requests", "urllib3", "kubernetes"} == set()
