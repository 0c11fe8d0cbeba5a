"""Natural batching against none, and 60 s at twice the capacity, on a model whose time is the reading of its weights.

Load comes from wrk. One server has its batches as measured, the other ``--max-batch 1``; they take turns. For the
overload, requests are sent at random moments that nobody's answer changes (a Poisson process), twice as many as the
server can answer; what is refused is not sent again. wrk's script times each answer by the request id that comes back
with it, because wrk's own latencies hold the refusals too. The overloaded model is a middle one, some ms a run: with
quicker ones two cores are too few for the load beside the server.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests import models_factory
from tests.bench.harness import Result, at_least, at_most, pause
from tests.bench.neighbours import Neighbours, wait_quiet
from tests.bench.wrk import have_wrk
from tests.serving.servers import Server, running

#: As no batching at all, within what the medians of two equal servers differ here.
IDLE_BAR, GAIN_BAR = 1.1, 2.5
GOODPUT_BAR, MEMORY_BAR = 0.9, 1.05
CONNECTIONS, CROWD = 16, 256
#: So many connections at once get out of the overloaded model all that there is in it: more of them no more.
FULL = 64
WIDTH = 64
#: Width and layers of the overloaded model, and what an answer may take: the product's target for half of them.
MIDDLE, OBJECTIVE_MS = (1024, 36), 100.0
ROUNDS, SECONDS = 5, 2.0
OVERLOAD_S = 60.0
#: The overload has filled all that it fills after so long: memory is compared from there on.
FILLED_S = 10.0

SCRIPT = """
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long ns; } moment; int clock_gettime(int clock, moment *into);")
local moment = ffi.new("moment")
local function now_us()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.s) * 1000000 + math.floor(tonumber(moment.ns) / 1000)
end
local body = '{"inputs":[{"name":"x","shape":[1,WIDTH],"datatype":"FP32","data":[NUMBERS]}]}'
local head = "POST /v2/models/m/infer HTTP/1.1\\r\\nHost: t\\r\\nContent-Type: application/json\\r\\n"
head = head .. "Content-Length: " .. #body .. "\\r\\nX-Request-Id: "
local threads, due_us = {}, 0
function setup(thread) table.insert(threads, thread) end
function init(args) took = {}; good = 0; refused = 0; other = 0; math.randomseed(7) end
function request() return head .. string.format("%d", now_us()) .. "\\r\\n\\r\\n" .. body end
function response(status, headers)
  if status == 200 then
    good = good + 1
    local tenth_ms = math.floor((now_us() - tonumber(headers["x-request-id"])) / 100)
    took[tenth_ms] = (took[tenth_ms] or 0) + 1
  elseif status == 503 then refused = refused + 1
  else other = other + 1 end
end
function done(summary)
  local e = summary.errors
  local out = {}
  for _, thread in ipairs(threads) do
    for at, count in pairs(thread:get("took")) do table.insert(out, string.format("[%d,%d]", at, count)) end
  end
  local t = threads[1]
  io.write(string.format('\\nRESULT {"good": %d, "refused": %d, "wrong": %d, "seconds": %.6f, "took": [%s]}\\n',
    t:get("good"), t:get("refused"), t:get("other") + e.connect + e.read + e.write + e.timeout,
    summary.duration / 1e6, table.concat(out, ",")))
end
""".replace("WIDTH", str(WIDTH)).replace("NUMBERS", ",".join(["0.5"] * WIDTH))
#: Each connection that is free takes the next moment of the process; if that is past, it sends at once.
PACED = """
function delay()
  if due_us == 0 then due_us = now_us() end
  due_us = due_us - math.log(1 - math.random()) * 1000000 / RATE
  return math.max(0, (due_us - now_us()) / 1000)
end
"""


class Load:
    """What wrk saw."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.good, self.refused, self.wrong = found["good"], found["refused"], found["wrong"]
        self.seconds = found["seconds"]
        self._took = sorted((at / 10 + 0.1, count) for at, count in found["took"])

    @property
    def rps(self) -> float:
        """Answers with 200 a second."""
        return float(self.good / self.seconds)

    @property
    def offered_rps(self) -> float:
        """All that was asked."""
        return float((self.good + self.refused + self.wrong) / self.seconds)

    def within(self, objective_ms: float) -> float:
        """Answers with 200 a second that came in this time."""
        return float(sum(count for ms, count in self._took if ms <= objective_ms) / self.seconds)

    def ms(self, share: float) -> float:
        """The quantile of answers with 200, as the client saw them, rounded up to a tenth."""
        left = share * self.good
        for ms, count in self._took:
            left -= count
            if left <= 0:
                return float(ms)
        return float("nan")


def start(server: Server, folder: str, connections: int, seconds: float, rps: float) -> subprocess.Popen[str]:
    """wrk on one thread; ``rps``: so many requests a second, 0: as soon as the last is answered."""
    script = Path(folder) / "post.lua"
    script.write_text(SCRIPT + (PACED.replace("RATE", f"{rps:.3f}") if rps else ""), encoding="utf-8")
    return subprocess.Popen(
        [have_wrk(), "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(script),
         f"http://127.0.0.1:{server.port}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def load(server: Server, connections: int, seconds: float) -> Load:
    """Each connection asks again as soon as it is answered."""
    with tempfile.TemporaryDirectory(prefix="nt-wrk-", dir="/tmp") as folder:
        return ended(start(server, folder, connections, seconds, 0.0), seconds)


def ended(process: subprocess.Popen[str], seconds: float) -> Load:
    """What came of it."""
    out, _ = process.communicate(timeout=seconds + 60)
    line = next((line for line in out.splitlines() if line.startswith("RESULT ")), "")
    if not line:
        raise RuntimeError(f"wrk said nothing that is understood: {out[-500:]}")
    return Load(json.loads(line.removeprefix("RESULT ")))


def rss_mb(server: Server) -> float:
    """Resident memory of the server now."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmRSS:")[1].split()[0]) / 1e6


def of_sixteen(model: bytes) -> float:
    """What a batch of 16 costs in single runs, by onnxruntime alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    took = {}
    for rows in (1, 16):
        x, all_of = np.full((rows, WIDTH), 0.5, np.float32), []
        for _ in range(20):
            began = time.perf_counter()
            session.run(None, {"x": x})
            all_of.append(time.perf_counter() - began)
        took[rows] = statistics.median(all_of)
    return took[16] / took[1]


def batching(rounds: int = ROUNDS, seconds: float = SECONDS) -> list[Result]:
    """Two rows: 16 connections' rate with batches over that without; one connection's median, likewise."""
    model = models_factory.heavy_weights()
    wait_quiet()
    others, cost = Neighbours(), of_sixteen(model)
    many: dict[str, list[Load]] = {"batched": [], "single": []}
    idle: dict[str, list[Load]] = {"batched": [], "single": []}
    with running(model) as batched, running(model, "--max-batch", "1") as single:
        servers = {"batched": batched, "single": single}
        for turn in range(rounds + 1):
            for name, server in servers.items():
                found = load(server, CONNECTIONS, seconds if turn else 1), load(server, 1, seconds if turn else 1)
                if turn:  # the first round only warms
                    many[name].append(found[0])
                    idle[name].append(found[1])
    rps = {name: statistics.median(each.rps for each in all_of) for name, all_of in many.items()}
    p50 = {name: statistics.median(each.ms(0.5) for each in all_of) for name, all_of in idle.items()}
    wrong = sum(each.wrong + each.refused for kind in (many, idle) for all_of in kind.values() for each in all_of)
    problems = [f"{wrong} wrong answers"] if wrong else []
    problems += [f"a batch of 16 costs {cost:.1f} single runs: the wrong model"] if cost >= 4 else []
    detail = {
        "batched_rps": round(rps["batched"]), "single_rps": round(rps["single"]),
        "of_16_rows_in_runs": round(cost, 2), "other_cores": others.cores,
        "batched_p99_ms": round(statistics.median(each.ms(0.99) for each in many["batched"]), 1),
        "single_p99_ms": round(statistics.median(each.ms(0.99) for each in many["single"]), 1),
    }  # fmt: skip
    alone = {"batched_p50_ms": round(p50["batched"], 2), "single_p50_ms": round(p50["single"], 2)}
    gain, worse = rps["batched"] / rps["single"], p50["batched"] / p50["single"]
    return [
        at_least("natural batching, of the throughput without", round(gain, 2), "x", GAIN_BAR, detail, problems),
        at_most("its p50 when idle, of that without", round(worse, 3), "x", IDLE_BAR, alone, problems),
    ]


def overload(seconds: float = OVERLOAD_S) -> list[Result]:
    """Three rows: goodput, p95 of the admitted as clients see it, and memory; capacity is measured before and after."""
    model = models_factory.heavy_weights(*MIDDLE)
    with running(model) as free:
        load(free, FULL, 1)
        wait_quiet()
        others = Neighbours()
        before = load(free, FULL, max(2.0, seconds / 6))
        with (
            running(model, "--latency-objective-ms", f"{OBJECTIVE_MS:g}") as server,
            tempfile.TemporaryDirectory(prefix="nt-wrk-", dir="/tmp") as folder,
        ):
            load(server, CONNECTIONS, 1)
            process = start(server, folder, CROWD, seconds, 2 * before.rps)
            pause(min(FILLED_S, seconds / 2))
            filled_mb = rss_mb(server)
            crowd = ended(process, seconds)
            end_mb = rss_mb(server)
            limit = server.ask("GET", "/health", admin=True).json["model"]["limit"]
        after = load(free, FULL, max(2.0, seconds / 6))
    capacity_rps = (before.rps + after.rps) / 2
    offered = crowd.offered_rps / capacity_rps
    problems = [f"{crowd.wrong} wrong answers"] if crowd.wrong else []
    problems += [f"only {offered:.2f} x the capacity was offered"] if offered < 1.8 else []
    detail = {
        "capacity_rps": round(capacity_rps), "before_rps": round(before.rps), "after_rps": round(after.rps),
        "offered_x": round(offered, 2), "good_rps": round(crowd.rps),
        "refused_rps": round(crowd.refused / crowd.seconds), "objective_ms": OBJECTIVE_MS,
        "p50_ms": round(crowd.ms(0.5), 1), "p99_ms": round(crowd.ms(0.99), 1), "limit": limit,
        "other_cores": others.cores, "seconds": seconds,
    }  # fmt: skip
    good = round(crowd.within(OBJECTIVE_MS) / capacity_rps, 3)
    words = "at twice the load"
    return [
        at_least(f"goodput within the objective {words}, of capacity", good, "x", GOODPUT_BAR, detail, problems),
        at_most(f"p95 of the admitted {words}", round(crowd.ms(0.95), 1), "ms", OBJECTIVE_MS, detail, problems),
        at_most(
            f"memory after {seconds:.0f} s of it, of that after {FILLED_S:.0f} s", round(end_mb / filled_mb, 3), "x",
            MEMORY_BAR, {"filled_mb": round(filled_mb, 1), "end_mb": round(end_mb, 1)}, problems,
        ),
    ]  # fmt: skip


def run() -> list[Result]:
    """Five rows."""
    have_wrk()
    return [*batching(), *overload()]
