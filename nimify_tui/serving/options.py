"""The flags of `nimify-tui serve`; sizes in bytes, times in seconds."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Names of models and versions, in URLs and metric labels.
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Options:
    """Everything one runtime process is told."""

    model: Path
    name: str
    host: str
    port: int
    admin_port: int | None
    listen_fd: int | None
    admin_fd: int | None
    control_socket: Path | None
    revision: str
    version: str
    service: str
    region: str
    max_body_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    request_timeout_s: float
    max_concurrency: int
    max_queue: int
    rate_limit_rps: float
    keep_alive_s: float
    drain_timeout_s: float
    threads: int
    cache_bytes: int
    cache_ttl_s: float
    max_held_bytes: int = 256 * 1024 * 1024
    max_batch: int = 0
    latency_objective_ms: float = 0.0
    sessions: int = 0
    provider: str = "auto"
    artifact_cache: Path | None = None
    artifact_cache_bytes: int = 0
    model_control: str = "admin"


def parse_options(argv: Sequence[str]) -> Options:
    """The options in ``argv``; argparse's SystemExit for wrong usage and for ``--help``."""
    made = _parser()
    values = vars(made.parse_args(argv))
    if not values["name"]:
        values["name"] = re.sub(r"[^A-Za-z0-9._-]", "-", values["model"].stem)[:64] or "model"
    for flag in ("name", "version"):
        if not NAME.match(values[flag]):
            made.error(f"--{flag} must match [A-Za-z0-9._-]{{1,64}}")
    return Options(**values)


def _number(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def check(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return check


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="nimify-tui serve",
        description="Serve an ONNX model with the Open Inference Protocol v2 over HTTP.",
    )
    add = made.add_argument
    count, port = _number(int, 0, 1e9), _number(int, 0, 65535)
    add(
        "model",
        type=Path,
        help="an ONNX file, or a folder with NAME/VERSION/model.onnx, NAME/model.onnx, NAME.onnx",
    )
    add("--name", default="", help="name in URLs and metrics (default: the file's name)")
    add("--version", default="1", help="model version in the protocol")
    add("--host", default="127.0.0.1")
    add("--port", type=port, default=8000, help="0: any free port; the log line 'ready' names it")
    add("--admin-port", type=port, help="metrics and health on a listener of their own")
    add("--listen-fd", type=count, help="an inherited listening TCP socket instead of host and port")
    add("--admin-fd", type=count, help="the same for the admin listener")
    add(
        "--control-socket",
        type=Path,
        help="a unix socket (0600) that hands the listeners to another supervisor",
    )
    for name in ("revision", "service", "region"):
        add(f"--{name}", default="", help="only a field of log lines and metrics")
    _add_limits(add)
    _add_running(add)
    return made


def _add_limits(add: Callable[..., argparse.Action]) -> None:
    """What requests and clients may do."""
    positive, seconds, count = _number(int, 1, 1e12), _number(float, 0.05, 86400), _number(int, 0, 1e9)
    add("--max-body-bytes", type=positive, default=8 * 1024 * 1024)
    add(
        "--max-held-bytes",
        type=positive,
        default=256 * 1024 * 1024,
        help="bodies being received, waiting and run, together",
    )
    add("--header-timeout-s", type=seconds, default=5.0, help="for a whole request header")
    add("--body-timeout-s", type=seconds, default=15.0, help="plus the time the body needs at 16 KiB/s")
    add("--request-timeout-s", type=seconds, default=30.0, help="waiting and running together")
    add("--max-concurrency", type=positive, default=64, help="requests being received or run at once")
    add("--max-queue", type=count, default=256, help="requests that may wait for the model")
    add("--rate-limit-rps", type=_number(float, 0, 1e9), default=0.0, help="for each client address; 0: none")
    add("--keep-alive-s", type=seconds, default=5.0)
    add("--drain-timeout-s", type=seconds, default=10.0)
    add("--threads", type=_number(int, 1, 1024), default=1, help="threads of one run")
    add(
        "--cache-bytes", type=_number(int, 0, 1e12), default=0, help="keep answers of this model; 0: no cache"
    )
    add("--cache-ttl-s", type=seconds, default=60.0)


def _add_running(add: Callable[..., argparse.Action]) -> None:
    """How models are loaded and run."""
    add("--max-batch", type=_number(int, 0, 4096), default=0, help="items of one run; 0: as measured to pay")
    add(
        "--latency-objective-ms",
        type=_number(float, 0, 600_000),
        default=0.0,
        help="what an answer may take; 0: none",
    )
    add(
        "--sessions",
        type=_number(int, 0, 64),
        default=0,
        help="runs of one model at once; 0: as measured to pay",
    )
    add(
        "--provider",
        default="auto",
        help="auto, cpu, cuda, tensorrt, rocm, openvino or another that onnxruntime has",
    )
    add(
        "--artifact-cache",
        type=Path,
        help="a folder that keeps optimised graphs, for models that load slowly",
    )
    add("--artifact-cache-bytes", type=_number(int, 1, 1e12), default=4 * 1024**3)
    add("--model-control", choices=("admin", "explicit"), default="admin",
        help="explicit: models may also be loaded and unloaded on the main listener")  # fmt: skip
