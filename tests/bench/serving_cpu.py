"""What one small request costs the runtime in CPU, against a bare echo on the same server; throughput against peers.

Server CPU (user and system, the whole process tree, /proc) for each answered request, 16 keep-alive connections of
wrk, all servers in turn in every round; the ratio is of medians. The echo is the floor: the same event loop, the
same protocol class, and an application that only gives the body back. The peers run the same model, one thread;
their rows are ratios of requests a second, those of CPU beside them.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests import models_factory
from tests.bench import peers
from tests.bench.harness import Result, at_least, at_most, skipped
from tests.bench.neighbours import Neighbours, wait_quiet
from tests.bench.wrk import Question, Run, have_wrk, load
from tests.serving.servers import running
from tests.support import PYTHON, REPO

ROUNDS, SECONDS = 5, 2.0
JSON_BAR, BINARY_BAR, FASTAPI_BAR, LITSERVE_BAR = 2.0, 1.55, 3.0, 5.0
PATH = "/v2/models/m/infer"
VALUES = np.random.default_rng(3).standard_normal(64).astype(np.float32)


def json_question() -> Question:
    """64 floats as JSON, each as short as float32 allows."""
    data = [float(str(value)) for value in VALUES]
    document = {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": data}]}
    return Question(PATH, json.dumps(document).encode(), (("Content-Type", "application/json"),))


def binary_question() -> Question:
    """The same 64 floats as bytes, and the answer's as bytes too."""
    tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32", "parameters": {"binary_data_size": 256}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = (
        ("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(len(head))),
    )  # fmt: skip
    return Question(PATH, head + VALUES.tobytes(), headers)


@contextlib.contextmanager
def bare_echo() -> Iterator[tuple[int, int]]:
    """The floor: (process id, port)."""
    command = [PYTHON, "-m", "tests.bench.programs.bare_echo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=REPO) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def answer(port: int, question: Question) -> Any:
    """The numbers that a server gives for a question in JSON: nobody is fast by being wrong."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{question.path}", question.body, dict(question.headers), method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return np.array(json.load(reply)["outputs"][0]["data"])


def run(rounds: int = ROUNDS, seconds: float = SECONDS) -> list[Result]:
    """Four rows: JSON and binary against the echo, our JSON against FastAPI and LitServe."""
    have_wrk()
    in_json, in_binary = json_question(), binary_question()
    without = ""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nt-bench-", dir="/tmp")))
        model = folder / "model.onnx"
        model.write_bytes(models_factory.mlp())
        server = stack.enter_context(running(model, admin=False))
        ours = server.process.pid, server.port
        echo = stack.enter_context(bare_echo())
        turns = {
            "json": (ours, in_json), "json echo": (echo, in_json),
            "binary": (ours, in_binary), "binary echo": (echo, in_binary),
        }  # fmt: skip
        try:
            for name in ("fastapi", "litserve"):
                turns[name] = (stack.enter_context(peers.serving(f"{name}_peer", model)), in_json)
        except peers.Missing as missing:
            without = f"the peers cannot be installed here: {missing}"
        right = answer(server.port, in_json)
        for name in {"fastapi", "litserve"} & set(turns):
            np.testing.assert_allclose(answer(turns[name][0][1], in_json), right, rtol=1e-5, atol=1e-6)
        runs: dict[str, list[Run]] = {name: [] for name in turns}
        wait_quiet()
        others = Neighbours()
        for turn in range(rounds + 1):
            for name, ((pid, port), question) in turns.items():
                once = load(port, question, pid, seconds=seconds if turn else 1)
                if turn:  # the first round only warms
                    runs[name].append(once)
        return results(runs, without, others.cores)


def results(runs: dict[str, list[Run]], without: str, other_cores: float) -> list[Result]:
    """Rows from the runs of each server."""
    rps = {name: statistics.median(each.rps for each in all_of) for name, all_of in runs.items()}
    cpu_us = {name: statistics.median(each.cpu_us for each in all_of) for name, all_of in runs.items()}

    def against(name: str, other: str) -> tuple[dict[str, Any], list[str]]:
        both = runs[name] + runs[other]
        detail = {
            "cpu_us": round(cpu_us[name], 1), "other_cpu_us": round(cpu_us[other], 1),
            "rps": round(rps[name]), "other_rps": round(rps[other]), "other_cores": other_cores,
            "requests": sum(each.requests for each in both), "errors": sum(each.errors for each in both),
        }  # fmt: skip
        problems = [f"{detail['errors']} requests failed"] if detail["errors"] else []
        return detail, problems

    rows = []
    for name, bar in (("json", JSON_BAR), ("binary", BINARY_BAR)):
        detail, problems = against(name, f"{name} echo")
        title = f"CPU of a small {name.upper() if name == 'json' else name} request, of a bare echo's"
        ratio = cpu_us[name] / cpu_us[f"{name} echo"]
        rows.append(at_most(title, round(ratio, 3), "x", bar, detail, problems))
    for name, words, bar in (
        ("fastapi", "FastAPI + pydantic", FASTAPI_BAR),
        ("litserve", "LitServe", LITSERVE_BAR),
    ):
        title = f"throughput of small JSON requests, of that of {words}"
        if without:
            rows.append(skipped(title, "x", bar, without, higher=True))
            continue
        detail, problems = against("json", name)
        detail["their_cpu_of_ours"] = round(cpu_us[name] / cpu_us["json"], 1)
        rows.append(at_least(title, round(rps["json"] / rps[name], 2), "x", bar, detail, problems))
    return rows
