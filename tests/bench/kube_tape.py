"""What a real API server said while 1,000 pods rolled, played from another process at 20,000 events a second.

The tape is recorded first, on a cluster of its own; each round of it is a whole roll-out, so every event changes
something. All are applied when the pod that is sent last is on the screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from nimify_tui.backends.kubernetes.connection import Connection
from nimify_tui.backends.kubernetes.kubeconfig import load
from nimify_tui.sources.kubernetes.kinds import POD, Kind
from nimify_tui.sources.kubernetes.table import KINDS
from tests.bench.harness import Result, at_most, load_problems, pause, percentile
from tests.bench.kube_lab import SPACE, crowded, name_of, ready, watching
from tests.kube.cluster import Cluster
from tests.kube.reach import opened
from tests.support import PYTHON, REPO, private_home, wait_for

BAR_MS, RATE, SECONDS = 50.0, 20_000, 20.0
DEPLOYMENTS, EACH = 20, 50
PODS = "/api/v1/pods"


async def listed(connection: Connection, tape: IO[str], kinds: Sequence[Kind]) -> str:
    """Write the lists of some kinds; returns the version of the pods."""
    version = ""
    for kind in kinds:
        async with connection.get(kind.path(), dict(kind.query), limit_bytes=1 << 28) as answer:
            body = (await answer.read()).decode()
        if kind.path() == PODS:
            version = json.loads(body)["metadata"]["resourceVersion"]
        tape.write(json.dumps({"path": kind.path(), "body": body}) + "\n")
    return version


async def record(cluster: Cluster, to: Path) -> int:
    """The pods, their watch while each is replaced, then all else: with the owners of old and of new pods.

    Returns how many events that were.
    """
    names = [f"deployment/{name_of(number)}" for number in range(DEPLOYMENTS)]
    count = 0
    async with opened(load({}, str(cluster.folder / "kubeconfig")).place()) as connection:
        with to.open("w", encoding="utf-8") as tape:
            version = await listed(connection, tape, [POD])

            async def watch() -> None:
                nonlocal count
                query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "600"}
                async with connection.get(PODS, query, read_timeout_s=150.0) as answer:
                    async for lines in answer.whole_lines():
                        for line in lines.splitlines():
                            tape.write(json.dumps({"event": line.decode()}) + "\n")
                            count += 1

            watching_pods = asyncio.create_task(watch())
            await asyncio.to_thread(cluster.kubectl, "--namespace", SPACE, "rollout", "restart", *names)
            await asyncio.to_thread(rolled, cluster, count_of=lambda: count)
            watching_pods.cancel()
            await asyncio.gather(watching_pods, return_exceptions=True)
            await listed(connection, tape, [kind for kind in KINDS if kind is not POD])
    return count


def rolled(cluster: Cluster, count_of: Callable[[], int]) -> None:
    """Wait until everything is ready and nothing more has come for two seconds."""
    wait_for(lambda: ready(cluster) == DEPLOYMENTS * EACH, 300, why="the roll-out", every_s=1.0)
    before = -1
    while before != (before := count_of()):
        pause(2.0)


class Player:
    """The tape's process: see tests/bench/programs/kube_tape.py."""

    def __init__(self, tape: Path) -> None:
        self._process = subprocess.Popen(
            [PYTHON, "-m", "tests.bench.programs.kube_tape", str(tape)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPO,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.port = int(self._stdout.readline())

    def start(self, rate: int, seconds: float) -> None:
        """Begin to play; :meth:`wait` gives the account."""
        self._stdin.write(f"go {rate} {seconds}\n")
        self._stdin.flush()

    def wait(self) -> dict[str, float]:
        """How much was sent (``sent``, ``seconds``, ``rounds``)."""
        found: dict[str, float] = json.loads(self._stdout.readline())
        return found

    def close(self) -> None:
        """End the process."""
        self._stdin.close()
        self._process.wait(10)
        self._stdout.close()


def kubeconfig(port: int) -> str:
    """A kubeconfig of the tape's server."""
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "us-east-1", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "us-east-1", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "us-east-1", "context": {"cluster": "us-east-1", "user": "u"}}],
    })  # fmt: skip


def play(tape: Path, seconds: float = SECONDS) -> Result:
    """The console on the tape, and keys pressed while it plays."""
    with contextlib.closing(Player(tape)) as player, private_home() as home:
        config = home.root / "tape.json"
        config.write_text(kubeconfig(player.port), encoding="utf-8")
        with watching(home, config) as watcher:
            watcher.when(lambda text: f"{EACH}/{EACH}" in text, 60, "the rows")
            watcher.tty.wait_quiet(1.0)
            applied, frames, cpu_s = watcher.gauge()["applied"], watcher.frames(), watcher.cpu_s()
            player.start(RATE, seconds)
            echoes = watcher.echoes_ms(seconds - 1.0)
            account = player.wait()
            watcher.when(lambda text: f"{EACH + 1}/{EACH}" in text, 20, "the pod that was sent last")
            frames, cpu_s = watcher.frames() - frames, watcher.cpu_s() - cpu_s
            updates = watcher.gauge()["applied"] - applied
    problems = load_problems(1, 1, frames, account["seconds"])
    reached = account["sent"] / account["seconds"]
    if reached < 0.95 * RATE:
        problems.append(f"only {reached:.0f} events/s were taken")
    detail = {
        "events": int(account["sent"]), "seconds": account["seconds"], "rounds": round(account["rounds"], 1),
        "updates": updates, "frames": frames, "keys": len(echoes), "p50_ms": round(percentile(echoes, 0.5), 1),
        "max_ms": round(max(echoes), 1), "cpu_s": round(cpu_s, 1),
    }  # fmt: skip
    p95_ms = round(percentile(echoes, 0.95), 1)
    return at_most("a real tape at 20,000 events/s: key echo p95", p95_ms, "ms", BAR_MS, detail, problems)


def recorded(to: Path) -> Path:
    """The tape, from a cluster that ends then."""
    with crowded(DEPLOYMENTS, EACH) as cluster:
        asyncio.run(record(cluster, to))
    return to


def run() -> Result:
    """Record on a cluster that ends then, and play."""
    with tempfile.TemporaryDirectory() as folder:
        return play(recorded(Path(folder) / "tape.jsonl"))
