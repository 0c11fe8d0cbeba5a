"""Asking one replica whether it is ready, over one kept connection to its admin port."""

from __future__ import annotations

import asyncio
import enum
import json
from dataclasses import dataclass

from nimify_tui.base.text import clean_line

_REQUEST = b"GET /v2/health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: nimify-tui-supervisor\r\n\r\n"
_MAX_BODY_BYTES = 16 * 1024


class Health(enum.Enum):
    """What a probe found."""

    READY = enum.auto()
    NOT_READY = enum.auto()
    #: Nobody listens (yet).
    REFUSED = enum.auto()
    #: No answer in time, or none that makes sense.
    SILENT = enum.auto()


@dataclass(frozen=True)
class Found:
    """The answer and, when it says why, its words."""

    health: Health
    words: str = ""


class Prober:
    """Asks one admin port of 127.0.0.1."""

    def __init__(self, port: int, timeout_s: float) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> Found:
        """Ask once; never raises for what the peer does."""
        try:
            async with asyncio.timeout(self._timeout_s):
                for fresh in (False, True):
                    try:
                        return await self._exchange(fresh=fresh)
                    except (ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError):
                        self.close()  # a kept connection that the peer has closed meanwhile; ask on a new one
            return Found(Health.SILENT, "breaks off the connection")
        except ConnectionRefusedError:
            self.close()
            return Found(Health.REFUSED, "does not listen yet")
        except TimeoutError:
            self.close()
            return Found(Health.SILENT, "does not answer")
        except (OSError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            return Found(Health.SILENT, f"does not answer sensibly ({type(error).__name__})")

    def close(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, *, fresh: bool) -> Found:
        if self._streams is None or fresh:
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(_REQUEST)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        first, *lines = head.split("\r\n")
        headers = dict(line.partition(":")[::2] for line in lines)
        length = int(headers.get("content-length", "0"))
        if length > _MAX_BODY_BYTES:
            raise ValueError("body too large")
        body = await reader.readexactly(length)
        if headers.get("connection", "").strip() == "close" or "content-length" not in headers:
            self.close()
        status = int(first.split()[1])
        return Found(Health.READY) if status == 200 else Found(Health.NOT_READY, _words(status, body))


def _words(status: int, body: bytes) -> str:
    """Why it is not ready: ``{"error": "..."}`` or the like, else the status."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        for name in ("error", "reason", "message"):
            if isinstance(answer.get(name), str) and answer[name]:
                return clean_line(answer[name], 160)
    return f"answers {status}"
