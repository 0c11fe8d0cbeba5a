"""The runtime with many connections, with a busy model, and at its start.

Load comes from wrk in another process; the probe asks the admin listener as an orchestrator does, on a fresh
connection each time.
"""

from __future__ import annotations

import contextlib
import json
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests import models_factory
from tests.bench.harness import Result, at_most, pause, percentile
from tests.bench.neighbours import Neighbours, wait_quiet
from tests.bench.serving_cpu import PATH, json_question
from tests.bench.wrk import Question, have_wrk, load
from tests.serving.servers import Server, launch, running, wait_ready
from tests.support import PYTHON, REPO

CONNECTIONS = 1000
SPREAD_BAR = 3.0
PROBE_BAR = 0.5
START_BAR_MS = 1500.0
IDLE_BAR_MB = 90.0
#: 1.05 MB of weights.
MODEL_OF_1_MB = (64, 480, 470, 10)


def run() -> list[Result]:
    """Five rows."""
    have_wrk()
    return [*crowd(), *probe(), *start()]


@contextlib.contextmanager
def descriptors(wanted: int) -> Iterator[int]:
    """As many descriptors as a process may have here, for everything that is started meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    more = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, more), hard))
    try:
        yield max(soft, more)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def crowd(connections: int = CONNECTIONS, seconds: float = 15.0) -> list[Result]:
    """So many keep-alive connections that all ask at once: none fails, and none is forgotten for the others."""
    with descriptors(4 * connections) as allowed, running(models_factory.mlp(), admin=False) as server:
        load(server.port, json_question(), seconds=1)
        wait_quiet()
        others = Neighbours()
        found = load(server.port, json_question(), seconds=seconds, connections=connections, threads=2)
    problems = [f"only {allowed} descriptors are allowed"] if allowed < connections + 100 else []
    problems += [] if found.requests > 5 * connections else [f"only {found.requests} requests"]
    spread = round(found.p99_us / max(1, found.p50_us), 2)
    detail = {
        "requests": found.requests, "rps": round(found.rps), "p50_ms": round(found.p50_us / 1e3, 1),
        "p99_ms": round(found.p99_us / 1e3, 1), "max_ms": round(found.max_us / 1e3, 1), "other_cores": others.cores,
    }  # fmt: skip
    words = f"{connections:,} connections"
    return [
        at_most(f"failed requests on {words}", found.errors, "", 0, detail, problems),
        at_most(f"p99 on {words}, of their p50", spread, "x", SPREAD_BAR, detail, problems),
    ]


def slow_question() -> Question:
    """One row for the slow model."""
    document = {"inputs": [{"name": "x", "shape": [1, 512], "datatype": "FP32", "data": [0.5] * 512}]}
    return Question(PATH, json.dumps(document).encode())


def timed_ms(
    server: Server, method: str, path: str, body: bytes | None = None, *, admin: bool = False
) -> float:
    """One request on a fresh connection, answered with 200."""
    began = time.perf_counter()
    answer = server.ask(method, path, body, admin=admin)
    took_ms = 1000 * (time.perf_counter() - began)
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}: {answer.body[:200]!r}")
    return took_ms


def probe(seconds: float = 5.0) -> list[Result]:
    """The probe's p99 while eight clients keep a slow model busy, in medians of that model's idle answers."""
    question = slow_question()
    wait_quiet()
    others = Neighbours()
    with running(models_factory.slow(30)) as server:
        alone = [timed_ms(server, "POST", question.path, question.body) for _ in range(15)]
        command = [PYTHON, "-m", "tests.bench.programs.wrk_slow", str(server.port), str(seconds + 1)]
        with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as busy:
            pause(0.5)
            until = time.monotonic() + seconds
            probes = []
            while time.monotonic() < until:
                probes.append(timed_ms(server, "GET", "/v2/health/live", admin=True))
                pause(0.01)
            out, _ = busy.communicate(timeout=60)
        found = json.loads(out)
    median_ms, p99_ms = statistics.median(alone), percentile(probes, 0.99)
    problems = [] if found["requests"] > 0.5 * 1000 * seconds / median_ms else ["the model was not busy"]
    problems += [f"{found['errors']} of its requests failed"] if found["errors"] else []
    problems += (
        [f"the model takes {median_ms:.1f} ms: too little to hold anything up"] if median_ms < 5 else []
    )
    detail = {
        "model_median_ms": round(median_ms, 1), "probe_p50_ms": round(percentile(probes, 0.5), 2),
        "probe_p99_ms": round(p99_ms, 2), "probes": len(probes), "requests": found["requests"],
        "other_cores": others.cores,
    }  # fmt: skip
    name = "health probe p99 beside a busy model, of that model's median"
    return [at_most(name, round(p99_ms / median_ms, 3), "x", PROBE_BAR, detail, problems)]


def start(times: int = 5) -> list[Result]:
    """From the start of the process to its line 'ready', and what it holds then."""
    model = models_factory.mlp(MODEL_OF_1_MB)
    took_ms, rss_mb = [], []
    wait_quiet()
    with tempfile.TemporaryDirectory(prefix="nt-bench-", dir="/tmp") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        for _ in range(times):
            began = time.perf_counter()
            server = launch(path, "--port", "0", "--admin-port", "0")
            try:
                wait_ready(server)
                took_ms.append(1000 * (time.perf_counter() - began))
                pause(0.3)
                status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
                rss_mb.append(int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6)
            finally:
                server.process.kill()
                server.process.wait(10)
    detail = {"model_mb": round(len(model) / 1e6, 2), "times": times, "max_ms": round(max(took_ms))}
    return [
        at_most(
            "start of a 1 MB model until ready", round(statistics.median(took_ms)), "ms", START_BAR_MS, detail
        ),
        at_most("idle runtime with it", round(max(rss_mb), 1), "MB RSS", IDLE_BAR_MB, {"times": times}),
    ]
