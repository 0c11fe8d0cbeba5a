"""What a benchmark is, and how its result is judged, printed and written.

A benchmark is a module of this folder with ``run() -> Result`` (or a list of them); its place is a line in
:data:`BENCHES`. Load comes from another process than the one that is measured.
"""

from __future__ import annotations

import compileall
import importlib
import json
import math
import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support import REPO

BENCHES: tuple[str, ...] = (
    "first_frame", "echo", "demo", "bytes_per_tick", "chart", "quiet", "store", "serving_cpu", "serving_load",
    "serving_batching", "numbers", "kube", "kube_idle", "kube_six", "kube_tape", "kube_rolled", "kube_outages",
    "docker_engine",
)  # fmt: skip
#: Of these, what takes minutes and gigabytes: measured when it is named, or with --all.
HEAVY: tuple[str, ...] = (
    "numbers", "kube", "kube_idle", "kube_six", "kube_tape", "kube_rolled", "kube_outages", "docker_engine",
)  # fmt: skip
#: Of these, what measures times alone: where only counts can be judged it is measured when it is named.
TIMES: tuple[str, ...] = ("serving_cpu", "serving_batching")

_NEVER = threading.Event()


@dataclass(frozen=True)
class Result:
    """One measured number against its bar.

    passed is False also when the measurement itself is not valid (see :func:`load_problems`); ``problems``
    then says why. ``detail``: what else was measured, units in the names. ``higher``: the bar is a floor.
    ``skipped``: why this machine cannot measure it; the row is told and judges nothing.
    """

    name: str
    value: float
    unit: str
    bar: float
    passed: bool
    detail: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    higher: bool = False
    skipped: str = ""


def at_most(
    name: str,
    value: float,
    unit: str,
    bar: float,
    detail: dict[str, Any] | None = None,
    problems: Sequence[str] = (),
) -> Result:
    """A result that passes when ``value <= bar`` and nothing speaks against the measurement."""
    return Result(name, value, unit, bar, value <= bar and not problems, detail or {}, tuple(problems))


def at_least(
    name: str,
    value: float,
    unit: str,
    bar: float,
    detail: dict[str, Any] | None = None,
    problems: Sequence[str] = (),
) -> Result:
    """A result that passes when ``value >= bar`` and nothing speaks against the measurement."""
    return Result(
        name, value, unit, bar, value >= bar and not problems, detail or {}, tuple(problems), higher=True
    )


def skipped(name: str, unit: str, bar: float, why: str, *, higher: bool = False) -> Result:
    """A row that says why it was not measured."""
    return Result(name, float("nan"), unit, bar, False, higher=higher, skipped=why)


def load_problems(
    sent: int, applied: int, frames: int, seconds: float, *, frames_s: float = 4.0
) -> list[str]:
    """Why a measurement under load proves nothing: updates that got lost, or a screen that stood still.

    A console that draws nothing answers keys quickly; so the load must have arrived (``applied >= sent``)
    and at least ``frames_s`` frames a second must have been drawn while it ran.
    """
    problems = []
    if sent <= 0:
        problems.append("no load was sent")
    if applied < sent:
        problems.append(f"applied {applied} of {sent} updates")
    if frames < frames_s * seconds:
        problems.append(f"drew {frames} frames in {seconds:.1f} s, needs {frames_s * seconds:.0f}")
    return problems


def percentile(values: Sequence[float], ratio: float) -> float:
    """The smallest value that at least ``ratio`` of the values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -int(-ratio * len(ordered) // 1) - 1))]


def pause(seconds: float) -> None:
    """Let real time pass: a benchmark measures it, so there is nothing to wait for."""
    _NEVER.wait(seconds)


def as_installed() -> None:
    """Compile the sources as pip does it for an installed package.

    A tree that was never installed, or an environment that writes no compiled files, would have the compiler measured.
    """
    compileall.compile_dir(REPO / "nimify_tui", quiet=1)


def measure(name: str) -> list[Result]:
    """Run one benchmark; one that breaks is a failed result with its error, and the others go on."""
    try:
        run: Callable[[], Result | list[Result]] = importlib.import_module(f"tests.bench.{name}").run
        results = run()
    except Exception as error:  # noqa: BLE001 - whatever broke is the result, and the next one still runs
        return [
            Result(name, float("nan"), "", float("nan"), False, {}, (f"{type(error).__name__}: {error}",))
        ]
    return results if isinstance(results, list) else [results]


def machine() -> dict[str, Any]:
    """What the numbers were measured on, without naming the machine."""
    return {
        "cpus": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.system(),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def figure(value: float) -> str:
    """A number with three significant digits where it has a fraction."""
    value = float(value)
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if value.is_integer() or abs(value) >= 1000 else f"{value:.3g}"


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """The table's rows: what, value, bar, verdict, detail."""
    return [
        (
            each.name,
            f"{figure(each.value)} {each.unit}".strip(),
            f"{'>=' if each.higher else '<='} {figure(each.bar)} {each.unit}".strip(),
            "skipped" if each.skipped else "ok" if each.passed else "FAILED",
            "; ".join(
                filter(None, [each.skipped, *each.problems, *(f"{k} {v}" for k, v in each.detail.items())])
            ),
        )
        for each in results
    ]


HEADINGS = ("what", "measured", "bar", "", "detail")


def table(results: Sequence[Result]) -> str:
    """The results for a terminal."""
    lines = [HEADINGS, *rows(results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS) - 1)]
    padded = (
        [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]] for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in padded)


def markdown(results: Sequence[Result]) -> str:
    """The results for README."""
    lines = [f"| {' | '.join(row[:4])} |" for row in rows(results)]
    return "\n".join(["| what | measured | bar | |", "|---|---|---|---|", *lines])


def write_json(results: Sequence[Result], path: Path) -> None:
    """Results and machine as JSON (``nan`` as null)."""
    plain = [asdict(each) for each in results]
    for each in plain:
        each.update({key: None for key in ("value", "bar") if math.isnan(each[key])})
    text = json.dumps({"machine": machine(), "results": plain}, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
