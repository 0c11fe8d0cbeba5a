"""The least that an HTTP server can do here: the runtime's protocol class, and an application that gives bodies back.

``python -m tests.bench.programs.bare_echo``; prints its port as a line, then serves until it is ended.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvloop

from nimify_tui.serving.protocol import protocol_factory
from nimify_tui.serving.rules import Drain, Rules


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read the whole body and answer with it."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def serve() -> None:
    """A listener of its own on a free port, with the runtime's default limits."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    listener.setblocking(False)
    rules = Rules(Drain(), 8 * 1024 * 1024, 5.0, 15.0, 5.0, lambda *_: None, 60_000, {})
    make, _ = protocol_factory(echo, rules)
    await asyncio.get_running_loop().create_server(make, sock=listener, backlog=1024)
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
