"""What 30,000 replicas weigh in the store, and how long the table takes to take in as many rows."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.bytes_per_tick import table_run
from tests.bench.harness import Result, at_most
from tests.support import private_home, run_python

REPLICAS = 30_000
RSS_BAR_MB = 250.0
EACH_BAR_BYTES = 3000
FILL_BAR_MS = 60.0


def weigh(replicas: int) -> dict[str, Any]:
    """Fill a store in a fresh process and return what it says about itself."""
    done = run_python("-m", "tests.bench.programs.store", str(replicas), deadline_s=120)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def fill_ms(rows: int) -> float:
    """Best of five: until the table has taken in so many rows and its frame has been handed to the terminal."""
    with private_home() as home, table_run(home) as program:
        for turn in range(5):
            program.send(f"fill {rows + turn}")
        return float(min(program.counts()["fills_us"])) / 1000


def run(replicas: int = REPLICAS) -> list[Result]:
    """Memory of the process, memory for each replica, and the table."""
    found = weigh(replicas)
    problems = [] if found["applied"] >= found["sent"] else [f"applied {found['applied']} of {found['sent']}"]
    detail = {key: found[key] for key in ("services", "sent", "applied", "filled_s")}
    return [
        at_most(f"{replicas:,} replicas in the store", found["rss_mb"], "MB RSS", RSS_BAR_MB, detail, problems),
        at_most("one replica of them", found["bytes_each"], "B", EACH_BAR_BYTES, {}, problems),
        at_most(f"table takes in {replicas:,} rows", round(fill_ms(replicas), 1), "ms", FILL_BAR_MS, {"best of": 5}),
    ]
