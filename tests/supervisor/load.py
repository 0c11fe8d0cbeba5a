"""Load on one endpoint, a program of its own: prints "go" when answers come, and counts when stdin says stop.

Every connection error, early end and status other than 200 is a failure; nothing is tried twice. A
kept connection that an answer has announced to close is opened anew, as HTTP/1.1 wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field

PAUSE_S = 0.01


@dataclass
class Count:
    """What came of it."""

    kept: int = 0
    fresh: int = 0
    failures: list[str] = field(default_factory=list)
    #: The first answer, or failure, has come.
    begun: asyncio.Event = field(default_factory=asyncio.Event)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
    """One exchange; whether the connection may be used again. Raises for anything but a 200."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].split("\r\n")[0])
    await reader.readexactly(length)
    if " 200 " not in head.split("\r\n")[0]:
        raise ValueError(head.split("\r\n")[0])
    return "connection: close" not in head


async def client(place: tuple[str, int], request: bytes, count: Count, stop: asyncio.Event, keep: bool) -> None:
    """Ask again and again, over one connection or over a new one each time."""
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while not stop.is_set():
        try:
            async with asyncio.timeout(10):
                if streams is None:
                    streams = await asyncio.open_connection(*place)
                again = await ask(*streams, request)
            count.kept += keep
            count.fresh += not keep
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
            count.failures.append(f"{'kept' if keep else 'fresh'}: {error!r}")
            again = False
        count.begun.set()
        if streams is not None and not (again and keep):
            streams[1].close()
            streams = None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PAUSE_S)


async def main(endpoint: str, model: str, kept: int, fresh: int) -> None:
    """Run until a line comes on stdin."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    body = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.0, 3.0, 4.0]}]}
    ).encode()
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    count, stop = Count(), asyncio.Event()
    place = (host, int(port))
    tasks = [
        asyncio.create_task(client(place, request, count, stop, number < kept)) for number in range(kept + fresh)
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
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
