"""Model servers as their metrics show them: our runtime's page at any path, its counts growing with the time.

Prints its port. ``times`` on stdin answers how many pages were asked for; the end of stdin ends it.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time

from nimify_tui.serving.metrics import Metrics

REQUESTS = 2_000
_GROWS = re.compile(rb"^([^#\s]+(?:_total|_bucket|_sum|_count)(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


def page() -> bytes:
    """What a server tells after some requests."""
    metrics, rng = Metrics("1"), random.Random(7)
    model = metrics.model("embed", "1")
    for _ in range(REQUESTS):
        model.answered(200)
        model.duration.observe(rng.lognormvariate(-2.0, 1.0))
    return metrics.page()


async def main() -> None:
    """Serve; obey stdin."""
    began, asked = time.monotonic(), 0
    parts = _GROWS.split(page())

    def now() -> bytes:
        # Text, name, value, text, name, value, ...: the values of 2,000 requests as those of a second.
        factor, made = time.monotonic() - began, [parts[0]]
        for place in range(1, len(parts), 3):
            made += [parts[place], b" %d" % (float(parts[place + 1]) * factor), parts[place + 2]]
        return b"".join(made)

    kept = (0.0, b"")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked, kept
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                asked += 1
                if time.monotonic() - kept[0] > 0.2:
                    kept = (time.monotonic(), now())
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(kept[1]), kept[1])
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await stdin.readline():
        print(asked, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
