"""Natural batching against none, and 60 s at twice the capacity, on a model whose time is the reading of its weights.

Load comes from wrk. One server has its batches as measured, the other ``--max-batch 1``. For the overload, twice as
many connections ask as the objective has room for; a refused one comes back at once, which is worse than any client.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests import models_factory
from tests.bench.harness import Result, at_most
from tests.serving.servers import Server, running

BAR_RATIO = 1 / 2.5
CONNECTIONS = 16
WIDTH = 64
SECONDS = 10.0
OVERLOAD_S = 60.0
MODEL = models_factory.heavy_weights()

# wrk's own latencies hold refusals too; so the script keeps those of answers by status.
SCRIPT = """
wrk.method = "POST"
wrk.path = "/v2/models/m/infer"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"inputs":[{"name":"x","shape":[1,WIDTH],"datatype":"FP32","data":[NUMBERS]}]}'
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) good = 0; refused = 0; other = 0 end
function response(status)
  if status == 200 then good = good + 1 elseif status == 503 or status == 429 then refused = refused + 1
  else other = other + 1 end
end
function done(summary, latency)
  local sums = {0, 0, 0}
  for _, thread in ipairs(threads) do
    sums[1] = sums[1] + thread:get("good")
    sums[2] = sums[2] + thread:get("refused")
    sums[3] = sums[3] + thread:get("other")
  end
  local errors = summary.errors
  io.write(string.format("SUM good=%d refused=%d other=%d socket=%d us=%d p50=%d p99=%d\\n", sums[1], sums[2],
    sums[3], errors.connect + errors.read + errors.write + errors.timeout, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
""".replace("WIDTH", str(WIDTH)).replace("NUMBERS", ",".join(["0.5"] * WIDTH))


@dataclass(frozen=True)
class Load:
    """What wrk saw: counts, seconds, and latencies in microseconds."""

    good: int
    refused: int
    other: int
    socket: int
    seconds: float
    p50_us: int
    p99_us: int

    @property
    def rps(self) -> float:
        """Answers a second."""
        return self.good / self.seconds


def load(server: Server, connections: int, seconds: float) -> Load:
    """Run wrk on one thread against the server."""
    with tempfile.TemporaryDirectory(prefix="nt-wrk-", dir="/tmp") as folder:
        script = Path(folder) / "post.lua"
        script.write_text(SCRIPT, encoding="utf-8")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(script)]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{server.port}"], capture_output=True, text=True, check=True,
            timeout=seconds + 60,
        )  # fmt: skip
    found = re.search(
        r"SUM good=(\d+) refused=(\d+) other=(\d+) socket=(\d+) us=(\d+) p50=(\d+) p99=(\d+)", done.stdout
    )
    if found is None:
        raise RuntimeError(f"wrk said nothing that is understood: {done.stdout[-500:]}")
    good, refused, other, socket, duration_us, p50, p99 = map(int, found.groups())
    return Load(good, refused, other, socket, duration_us / 1e6, p50, p99)


def admitted_p95_s(server: Server, before: dict[str, float]) -> float:
    """Upper bound of the bucket with the 95th of 100 durations of requests that were let in since ``before``."""
    grown: dict[float, float] = {}
    for name, value in server.metrics().items():
        if name.startswith("nimify_inference_request_duration_seconds_bucket"):
            bound = re.search(r'le="([^"]+)"', name)
            assert bound is not None
            grown[float(bound.group(1))] = value - before.get(name, 0.0)
    return min(bound for bound, count in grown.items() if count >= 0.95 * grown[float("inf")])


def rss_bytes(server: Server) -> int:
    """Resident memory of the server now."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmRSS:")[1].split()[0])


def batching(seconds: float) -> Result:
    """Rate without batches over the rate with them; at one connection the median must be no worse (10 % noise)."""
    seen: dict[str, tuple[Load, Load]] = {}
    for name, flags in (("batched", ()), ("single", ("--max-batch", "1"))):
        with running(MODEL, *flags) as server:
            load(server, CONNECTIONS, 1.0)
            seen[name] = load(server, CONNECTIONS, seconds), load(server, 1, seconds / 2)
    (many, idle), (many_single, idle_single) = seen["batched"], seen["single"]
    wrong = sum(one.other + one.socket + one.refused for pair in seen.values() for one in pair)
    problems = [f"{wrong} wrong answers"] if wrong else []
    if idle.p50_us > 1.1 * idle_single.p50_us:
        problems.append("the median of one connection is worse with batching")
    detail = {
        "batched_rps": round(many.rps), "single_rps": round(many_single.rps), "idle_p50_us": idle.p50_us,
        "idle_single_p50_us": idle_single.p50_us, "batched_p99_us": many.p99_us, "single_p99_us": many_single.p99_us,
    }  # fmt: skip
    ratio = many_single.rps / many.rps if many.rps else float("inf")
    return at_most(
        "one request a run over natural batching, rate", round(ratio, 3), "x", BAR_RATIO, detail, problems
    )


def overload(seconds: float, connections: int = CONNECTIONS) -> list[Result]:
    """Capacity first, then an objective that half of the connections fill: goodput, p95 of the admitted, memory."""
    with running(MODEL) as server:
        load(server, connections, 1.0)
        capacity = load(server, connections, max(2.0, seconds / 6))
    objective_ms = max(20.0, 1000 * connections / capacity.rps)
    with running(MODEL, "--latency-objective-ms", f"{objective_ms:g}") as server:
        load(server, connections, 1.0)
        before, rss = server.metrics(), rss_bytes(server)
        crowd = load(server, 2 * connections, seconds)
        p95_ms = 1000 * admitted_p95_s(server, before)
        grown = rss_bytes(server) / rss
    detail = {
        "capacity_rps": round(capacity.rps), "good_rps": round(crowd.rps), "refused": crowd.refused,
        "objective_ms": round(objective_ms, 1), "seconds": seconds,
    }  # fmt: skip
    problems = [f"{crowd.other + crowd.socket} wrong answers"] if crowd.other + crowd.socket else []
    if not crowd.refused:
        problems.append("nothing was refused: this was no overload")
    lost = capacity.rps / crowd.rps if crowd.rps else float("inf")
    p95_ms, bar_ms = round(p95_ms, 1), round(objective_ms, 1)
    return [
        at_most("capacity over goodput at twice the load", round(lost, 3), "x", round(1 / 0.9, 3), detail, problems),
        at_most("p95 of the admitted at twice the load", p95_ms, "ms", bar_ms, detail, problems),
        at_most("memory after overload over before", round(grown, 3), "x", 1.1, detail, problems),
    ]  # fmt: skip


def run(seconds: float = SECONDS, overload_s: float = OVERLOAD_S) -> list[Result]:
    """All of it; wrk must be installed."""
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is not installed")
    return [batching(seconds), *overload(overload_s)]


def main() -> None:
    """``python -m tests.bench.serving_batching [--seconds S] [--overload-s S]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--overload-s", type=float, default=OVERLOAD_S)
    options = parser.parse_args()
    for result in run(options.seconds, options.overload_s):
        sys.stdout.write(f"{result}\n")


if __name__ == "__main__":
    main()
