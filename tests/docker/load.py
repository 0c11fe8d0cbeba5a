"""Load on a service's address, a program of its own; see tests.supervisor.load, whose clients these are.

``python -m tests.docker.load http://HOST:PORT MODEL ROWS KEPT FRESH``: binary tensors of ROWS x 64 numbers.
"""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np

from tests.supervisor.load import Count, client


def request(host: str, model: str, rows: int) -> bytes:
    """One inference request with ``rows`` rows of 64 numbers."""
    data = np.random.default_rng(5).standard_normal((rows, 64)).astype(np.float32).tobytes()
    about = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [rows, 64],
                    "parameters": {"binary_data_size": len(data)},
                }
            ]
        }
    ).encode()
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(about)}\r\nContent-Length: {len(about) + len(data)}\r\n\r\n"
    )
    return head.encode() + about + data


async def main(endpoint: str, model: str, rows: int, kept: int, fresh: int) -> None:
    """Run until a line comes on stdin."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    count, stop = Count(), asyncio.Event()
    what = request(host, model, rows)
    tasks = [
        asyncio.create_task(client((host, int(port)), what, count, stop, number < kept))
        for number in range(kept + fresh)
    ]
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await count.begun.wait()
    print("go", flush=True)
    await stdin.readline()
    stop.set()
    await asyncio.gather(*tasks)
    print(json.dumps({"kept": count.kept, "fresh": count.fresh, "failures": count.failures}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *(int(each) for each in sys.argv[3:6])))
