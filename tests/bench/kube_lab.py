"""A real cluster with thousands of pods, and the console on it: shared by the benchmarks of Kubernetes regions."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.harness import pause
from tests.bench.loaded import FRAME_START, echo_s, way
from tests.kube.assets import find_or_build
from tests.kube.cluster import Cluster
from tests.support import PYTHON, Home, wait_for
from tests.tui import PtyRun

SPACE = "fleet"
IMAGE = "nvcr.io/nvidia/tritonserver:26.09-py3"
DEPLOYMENTS, EACH = 50, 100
_TICKS_S = os.sysconf("SC_CLK_TCK")


def name_of(number: int) -> str:
    """A Deployment's name."""
    return f"triton-{number:02d}"


def deployment(number: int, replicas: int) -> dict[str, Any]:
    """A Deployment as people write them."""
    labels = {"app": name_of(number), "app.kubernetes.io/name": name_of(number), "team": "serving"}
    container = {
        "name": "triton", "image": IMAGE, "args": ["tritonserver", "--model-store=/models"],
        "ports": [{"name": "http", "containerPort": 8000}, {"name": "metrics", "containerPort": 8002}],
        "env": [{"name": f"SETTING_{index}", "value": "x" * 40} for index in range(8)],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "1Gi"}},
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8000}},
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name_of(number), "namespace": SPACE},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name_of(number)}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip


@contextlib.contextmanager
def crowded(deployments: int = DEPLOYMENTS, each: int = EACH) -> Iterator[Cluster]:
    """A cluster with so many Deployments of so many ready pods each; ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="nk-", dir="/tmp"))
    cluster = Cluster(folder, find_or_build())
    try:
        cluster.up(nodes=4)
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        cluster.apply(*(deployment(number, each) for number in range(deployments)))
        # Nothing is measured yet: on a machine with other work it takes many minutes.
        wait_for(lambda: ready(cluster) == deployments * each, 1800, why="all pods ready", every_s=1.0)
        yield cluster
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)


def ready(cluster: Cluster) -> int:
    """How many pods are ready and of the newest revision."""
    items = json.loads(cluster.kubectl("get", "deployments", "--namespace", SPACE, "--output=json"))["items"]
    seen = [
        each["status"]
        for each in items
        if each.get("status", {}).get("observedGeneration", 0) >= each["metadata"]["generation"]
    ]
    return sum(min(each.get("readyReplicas", 0), each.get("updatedReplicas", 0)) for each in seen)


@dataclass
class Watcher:
    """The console in a pty, on a cluster."""

    tty: PtyRun
    started_s: float
    gauge_file: Path

    def gauge(self) -> dict[str, Any]:
        """What the console says of itself (tests/bench/programs/console.py)."""
        self.gauge_file.unlink(missing_ok=True)
        self.tty.signal(signal.SIGUSR1)
        wait_for(self.gauge_file.exists, 20, why="the gauge", detail=self.tty.text)
        found: dict[str, Any] = json.loads(self.gauge_file.read_text(encoding="utf-8"))
        return found

    def cpu_s(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.tty.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_S

    def peak_mb(self) -> float:
        """The most memory that it ever had, MB."""
        status = Path(f"/proc/{self.tty.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6

    def frames(self) -> int:
        """Frames that have come out of the pty (of the last 4 MB)."""
        return bytes(self.tty.raw).count(FRAME_START)

    def when(self, condition: Any, deadline_s: float, why: str) -> float:
        """Seconds from the start of the process until ``condition(screen)``."""
        self.tty.wait(condition, deadline_s, why)
        return time.monotonic() - self.started_s

    def echoes_ms(self, seconds: float, every_s: float = 0.15) -> list[float]:
        """Move the cursor down five rows and up again, over and over, for so long."""
        found: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            key = way(self.tty, "j" if len(found) // 5 % 2 == 0 else "k")
            found.append(1000 * echo_s(self.tty, key))
            pause(every_s)
        return found


@contextlib.contextmanager
def watching(home: Home, kubeconfig: Path, *arguments: str) -> Iterator[Watcher]:
    """The console on what a kubeconfig names, or further ``arguments`` say."""
    gauge_file = home.root / "gauge"
    env = {**home.env, "COLORTERM": "truecolor", "GAUGE_TO": str(gauge_file), "KUBECONFIG": str(kubeconfig)}
    argv = [PYTHON, "-m", "tests.bench.programs.console", "--read-only", *arguments]
    started_s = time.monotonic()
    with PtyRun(argv, width=120, height=40, env=env, sync=True) as tty:
        yield Watcher(tty, started_s, gauge_file)
