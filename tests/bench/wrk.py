"""Load by wrk: one request again and again, and what the server spent on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Of the kernel's counts of CPU time, in a second.
TICKS_S = os.sysconf("SC_CLK_TCK")
_SCRIPT = """
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "{method}", file:read("*a")
file:close()
{headers}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {{"requests": %d, "seconds": %.6f, "status": %d, "socket": %d, "timeout": %d, '
    .. '"p50_us": %d, "p99_us": %d, "max_us": %d}}\\n',
    summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write, e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


@dataclass(frozen=True, slots=True)
class Question:
    """One request."""

    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run; ``errors`` are answers that are not 2xx or 3xx, broken connections and timeouts."""

    requests: int
    errors: int
    rps: float
    cpu_us: float
    p50_us: float
    p99_us: float
    max_us: float


def have_wrk() -> str:
    """Its path. RuntimeError with the remedy when it is not there."""
    path = shutil.which("wrk")
    if path is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    return path


def load(
    port: int,
    question: Question,
    pid: int = 0,
    *,
    seconds: float = 2,
    connections: int = 16,
    threads: int = 1,
) -> Run:
    """Keep ``connections`` busy for so long; ``cpu_us`` of each answered request by ``pid`` and its descendants."""
    with tempfile.TemporaryDirectory(prefix="nt-wrk-", dir="/tmp") as folder:
        body, script = Path(folder) / "body", Path(folder) / "load.lua"
        body.write_bytes(question.body)
        script.write_text(
            _SCRIPT.format(body=body, method=question.method, headers=_lua_headers(dict(question.headers)))
        )
        before = cpu_s(pid) if pid else 0.0
        done = subprocess.run(
            [have_wrk(), "-t", str(threads), "-c", str(connections), "-d", f"{seconds:.0f}s", "--timeout", "10s",
             "-s", str(script), f"http://127.0.0.1:{port}{question.path}"],
            capture_output=True, text=True, timeout=seconds + 60, check=True,
        )  # fmt: skip
        spent = cpu_s(pid) - before if pid else 0.0
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), "")
    if not line:
        raise RuntimeError(f"wrk printed no result: {done.stdout[-500:]} {done.stderr[-500:]}")
    found = json.loads(line.removeprefix("RESULT "))
    requests = found["requests"]
    return Run(
        requests, found["status"] + found["socket"] + found["timeout"], requests / found["seconds"],
        1e6 * spent / max(1, requests), found["p50_us"], found["p99_us"], found["max_us"],
    )  # fmt: skip


def _lua_headers(headers: Mapping[str, str]) -> str:
    return "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process and of all that descend from it (proc(5), fields 14 and 15)."""
    children: dict[int, list[int]] = {}
    spent: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text(encoding="latin-1").rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
        spent[int(folder.name)] = int(fields[11]) + int(fields[12])
    total, todo = 0, [pid]
    while todo:
        each = todo.pop()
        total += spent.get(each, 0)
        todo += children.get(each, [])
    return total / TICKS_S
