"""A real Docker engine with 100 containers: an event's way to the screen, what watching costs at rest and looked at."""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.harness import Result, at_most, percentile, skipped
from tests.bench.kube_lab import watching
from tests.bench.loaded import echo_s, moved_s
from tests.docker.acting import region_toml, write_config
from tests.docker.engine import BUSYBOX, Engine, NoEngine, look
from tests.docker.fixtures import started
from tests.support import private_home, run_python

CONTAINERS, EVENTS, PART_S = 100, 100, 30.0
#: Keys are pressed for so long in each turn: healthy and hung by turns, the hang long enough for missed heartbeats.
TURNS, TURN_S = 4, 20.0
#: The p95 with a hung engine may be so many times a healthy engine's: what two runs of the same differ by.
EVENT_BAR_MS, IDLE_BAR, SAMPLE_BAR_MS, HUNG_BAR = 300.0, 0.5, 0.3, 1.25
NAMES = (
    "an event is on the screen (p95)",
    "100 containers at rest",
    "one sample of a container that is looked at",
    "key echo p95 with a hung engine",
)


class _Direct(http.client.HTTPConnection):
    """Requests over the engine's socket, without the time that a command line takes to start."""

    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=30)
        self._path = path

    def connect(self) -> None:
        """To the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's JSON; raises RuntimeError for a refusal."""
        text = json.dumps(body) if body is not None else None
        self.request(method, path, text, {"Content-Type": "application/json"})
        answer = self.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(data.decode()[:500])
        return json.loads(data) if data else None


def events(engine: Engine, config: Path) -> Result:
    """From the engine's answer to a create until the container's name is on the screen, one after the other."""
    direct, took_ms = _Direct(engine.socket), []
    with private_home() as home, watching(home, home.root / "none", "--config", str(config)) as watcher:
        watcher.when(lambda text: "idle-" in text, 60, "the rows")
        for number in range(EVENTS):
            name = f"new-{number:03d}"
            made = direct.ask(
                "POST", f"/containers/create?name={name}", {"Image": BUSYBOX, "Cmd": ["sleep", "9"]}
            )
            answered_s = time.monotonic()
            watcher.tty.wait(partial(_shown, name), 20, name)
            took_ms.append(1000 * (time.monotonic() - answered_s))
            direct.ask("DELETE", f"/containers/{made['Id']}")
            watcher.tty.wait(lambda text: "new-" not in text, 20, f"{name} gone")
    detail = {
        "events": len(took_ms),
        "p50_ms": round(percentile(took_ms, 0.5)),
        "max_ms": round(max(took_ms)),
    }
    return at_most(NAMES[0], round(percentile(took_ms, 0.95)), "ms", EVENT_BAR_MS, detail)


def _shown(name: str, text: str) -> bool:
    return name in text


def hung_echo(engine: Engine, config: Path) -> Result:
    """Key echo while the engine answers nothing, against the same with an engine that is well; by turns."""
    found_ms: dict[str, list[float]] = {"healthy": [], "hung": []}
    said = ""
    with private_home() as home, watching(home, home.root / "none", "--config", str(config)) as watcher:
        watcher.when(lambda text: "idle-" in text, 60, "the rows")
        echo_s(watcher.tty, "j")
        for _ in range(TURNS):
            for state, act in (("healthy", engine.thaw), ("hung", engine.freeze)):
                act()
                found_ms[state] += [1000 * each for each in moved_s(watcher.tty, TURN_S)]
            said = watcher.tty.text()
            engine.thaw()
            watcher.when(lambda text: "regions 1/1" in text, 60, "the engine again")
    p95_ms = {state: percentile(each, 0.95) for state, each in found_ms.items()}
    detail = {state: round(each, 1) for state, each in p95_ms.items()}
    problems = [] if "regions 0/1" in said else ["the screen did not say that it hangs"]
    ratio = round(p95_ms["hung"] / p95_ms["healthy"], 2)
    return at_most(NAMES[3], ratio, "x", HUNG_BAR, {**detail, "keys": len(found_ms["hung"])}, problems)


def _session(config: Path, *more: str) -> dict[str, Any]:
    done = run_python(
        "-m", "tests.bench.programs.docker_regions", str(config), str(PART_S), *more, deadline_s=240
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def costs(config: Path) -> list[Result]:
    """Sessions without a screen that look at every row: one that measures, one that does not."""
    found, bare = _session(config), _session(config, "bare")
    problems = [] if found["live"] and found["rows"] >= CONTAINERS else [f"{found['rows']} rows"]
    if found["idle_samples"]:
        problems.append(f"{found['idle_samples']} samples while nobody looked")
    idle = at_most(
        NAMES[1], round(100 * found["idle_ratio"], 2), "% of a core", IDLE_BAR, {"seconds": PART_S}, problems
    )
    if not found["samples"] or bare["samples"]:
        return [
            idle,
            at_most(NAMES[2], float("nan"), "ms", SAMPLE_BAR_MS, {}, ["no samples, or in both sessions"]),
        ]
    each_ms = 1000 * (found["busy_s"] - bare["busy_s"]) / found["samples"]
    return [
        idle,
        at_most(NAMES[2], round(each_ms, 3), "ms", SAMPLE_BAR_MS, {"samples": found["samples"]}, problems),
    ]


def run() -> list[Result]:
    """On an engine of its own; without one every row says why."""
    units = (("ms", EVENT_BAR_MS), ("% of a core", IDLE_BAR), ("ms", SAMPLE_BAR_MS), ("x", HUNG_BAR))
    try:
        look()
    except NoEngine as error:
        return [skipped(name, *unit, str(error)) for name, unit in zip(NAMES, units, strict=True)]
    with started() as engine, tempfile.TemporaryDirectory() as folder:
        for number in range(CONTAINERS):
            engine.run("--network", "none", "--name", f"idle-{number:02d}")
        config = write_config(Path(folder), region_toml("dock", url=engine.url))
        return [events(engine, config), *costs(config), hung_echo(engine, config)]
