"""A thousand pods are rolled: afterwards a source holds what a fresh list of the server gives, object by object."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests.bench.harness import Result, at_least, at_most
from tests.kube.assets import find_or_build
from tests.kube.cluster import Cluster
from tests.kube.reach import place_of
from tests.kube.reach import run as within
from tests.kube.several import started
from tests.kube.watching import SPACE, TRITON, Watching, deployment, truth

DEPLOYMENTS, EACH = 20, 50
KINDS = ("deployments", "replicasets", "pods")


async def rolled(cluster: Cluster, folder: Path) -> list[Result]:
    """From all ready over a restart of all to agreement."""
    names = [f"many-{number}" for number in range(DEPLOYMENTS)]
    watching = Watching(place_of(cluster, folder), faster=1.0)

    def well() -> bool:
        rows = watching.rows
        return all(name in rows and rows[name].ready == EACH and not rows[name].progress for name in names)

    def renewed() -> bool:
        return well() and all(watching.rows[name].revisions == (2,) for name in names)

    async with watching.running():
        await watching.until(well, "all pods ready", 300)
        before = set(watching.versions()["pods"])
        began_s = time.monotonic()
        words = [f"deploy/{name}" for name in names]
        await asyncio.to_thread(cluster.kubectl, "-n", SPACE, "rollout", "restart", *words)
        await watching.until(renewed, "all pods of revision 2", 500)
        took_s = time.monotonic() - began_s
        agreed_s, differ = -1.0, 0
        has, held = dict[str, dict[str, str]](), dict[str, dict[str, str]]()
        while agreed_s < 0 and time.monotonic() - began_s < took_s + 60:
            has = {kind: await asyncio.to_thread(truth, cluster, kind) for kind in KINDS}
            held = watching.versions()
            differ = sum(len(set(has[kind].items()) ^ set(held[kind].items())) for kind in KINDS)
            if not differ:
                agreed_s = time.monotonic() - began_s - took_s
        new = len(set(held["pods"]) - before)
        updates = len(watching.updates)
    detail = {"roll_s": round(took_s, 1), "objects": sum(map(len, has.values())), "agreed_s": round(agreed_s, 1)}
    return [
        at_least("1,000 pods rolled: replaced", new, "pods", DEPLOYMENTS * EACH, {"updates": updates}),
        at_most("1,000 pods rolled: (uid, version) other than a fresh list", differ, "objects", 0, detail),
    ]


def run() -> list[Result]:
    """On a cluster of its own."""
    with started(find_or_build(), "us-east-1", nodes=4) as [cluster], tempfile.TemporaryDirectory() as folder:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        cluster.apply(*(deployment(f"many-{number}", TRITON, EACH) for number in range(DEPLOYMENTS)))
        return within(rolled(cluster, Path(folder)), 900)
