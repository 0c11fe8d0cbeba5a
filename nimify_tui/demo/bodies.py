"""Request bodies by the Open Inference Protocol v2, made without numpy: JSON, and with binary tensors."""

from __future__ import annotations

import array
import json
import math
import random
import sys
from collections.abc import Sequence

from nimify_tui.demo.menu import Input

#: Different bodies of each kind for one model; made once and sent again and again.
VARIANTS = 3


def request(host: str, model: str, body: bytes, *, json_bytes: int = 0, close: bool = False) -> bytes:
    """A whole POST; ``json_bytes`` is the length of the JSON part of a body with binary tensors."""
    lines = [
        f"POST /v2/models/{model}/infer HTTP/1.1",
        f"Host: {host}",
        "User-Agent: demo-client/1",
        f"Content-Type: {'application/octet-stream' if json_bytes else 'application/json'}",
        f"Content-Length: {len(body)}",
    ]
    if json_bytes:
        lines.append(f"Inference-Header-Content-Length: {json_bytes}")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def values(one: Input, rng: random.Random, batch: int = 1) -> list[int] | list[float]:
    """Flat contents for an input."""
    count = math.prod(shape(one, batch))
    if one.dtype == "INT64":
        return [rng.randrange(one.high or 100) for _ in range(count)]
    return [round(rng.gauss(0.0, 1.0), 4) for _ in range(count)]


def shape(one: Input, batch: int = 1) -> list[int]:
    """The shape with every named axis set to ``batch``."""
    return [size if isinstance(size, int) else batch for size in one.shape]


def json_body(inputs: Sequence[Input], rng: random.Random, batch: int = 1) -> bytes:
    """Tensors as flat JSON lists."""
    tensors = [
        {"name": one.name, "datatype": one.dtype, "shape": shape(one, batch), "data": values(one, rng, batch)}
        for one in inputs
    ]
    return json.dumps({"inputs": tensors}, separators=(",", ":")).encode()


def binary_body(inputs: Sequence[Input], rng: random.Random, batch: int = 1) -> tuple[bytes, int]:
    """Tensors as little-endian bytes behind the JSON part; also returns that part's length."""
    tensors, parts = [], []
    for one in inputs:
        packed = array.array("q" if one.dtype == "INT64" else "f", values(one, rng, batch))
        if sys.byteorder == "big":
            packed.byteswap()
        parts.append(packed.tobytes())
        size = {"binary_data_size": len(parts[-1])}
        tensors.append({"name": one.name, "datatype": one.dtype, "shape": shape(one, batch), "parameters": size})
    wish = {"binary_data_output": True}
    head = json.dumps({"inputs": tensors, "parameters": wish}, separators=(",", ":")).encode()
    return head + b"".join(parts), len(head)
