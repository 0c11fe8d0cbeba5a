"""An image of our runtime with a real model, and what its answers have to be."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from nimify_tui.backends.docker.building import BuildOrder, build
from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.progress import Event
from nimify_tui.controllers.docker.context import ImageOrder, build_context
from tests.docker.images import BASE


async def build_image(connection: Connection, order: ImageOrder, tag: str, leave: Leave) -> list[Event]:
    """Build ``order`` as ``tag``; the events."""
    with build_context(order) as context:
        wanted = BuildOrder(
            tag=tag, context=context.file, size_bytes=context.size_bytes, labels=context.labels,
            arguments={"BASE": BASE, "OFFLINE": "1"}, offline=True,
        )  # fmt: skip
        return [event async for event in build(connection, wanted, leave)]


def infer(url: str, model: str, rows: Any) -> Any:
    """What the served model answers to ``rows`` of its input ``x``."""
    body = {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}
        ]
    }
    request = urllib.request.Request(
        f"{url}/v2/models/{model}/infer", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        out = json.loads(answer.read())["outputs"][0]
    return np.array(out["data"], np.float32).reshape(out["shape"])


def direct(model: Path | bytes, rows: Any) -> Any:
    """What onnxruntime answers when it is called directly."""
    given = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(given, providers=["CPUExecutionProvider"]).run(None, {"x": rows})[0]


def rows(count: int = 3, width: int = 64, seed: int = 3) -> Any:
    """Input for a perceptron."""
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def texts(events: Sequence[Event]) -> list[str]:
    """Every event's words."""
    return [str(getattr(event, "text", event)) for event in events]
