"""Redis' protocol as far as it is needed here: commands as arrays, and answers that are a line, an error or a text.

https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2). Everything from the other side is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nimify_tui.backends.prometheus.errors import BadAnswer
from nimify_tui.base.text import clean_line

#: INFO has some 6 kB; a line is an error message at most.
MAX_TEXT, MAX_LINE = 256 * 1024, 4 * 1024


class ErrorReply(Exception):
    """The server answered ``-…``: ``code`` is its first word (NOAUTH, WRONGPASS, NOPERM ...)."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.code = said.partition(" ")[0]


def command(words: Sequence[str]) -> bytes:
    """A command as the server wants it: lengths before words, so that no word can be another command."""
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """One answer. Raises ErrorReply, BadAnswer for what is no RESP or too much, ConnectionError at the end."""
    line = await _line(reader)
    kind, rest = line[:1], line[1:]
    if kind == b"+":
        return rest
    if kind == b"-":
        raise ErrorReply(clean_line(rest.decode("utf-8", "replace"), 200))
    if kind != b"$" or not rest.isdigit() or len(rest) > 9:
        raise BadAnswer("what answers is no Redis", "check the url's port")
    size = int(rest)
    if size > MAX_TEXT:
        raise BadAnswer(f"an answer of {size} bytes, more than {MAX_TEXT}", "is it a Redis?")
    try:
        data = await reader.readexactly(size + 2)
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError("the peer closed the connection") from error
    if data[-2:] != b"\r\n":
        raise BadAnswer("what answers is no Redis", "check the url's port")
    return data[:-2]


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readuntil(b"\r\n")
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError("the peer closed the connection") from error
    except asyncio.LimitOverrunError as error:
        raise BadAnswer("what answers is no Redis", "check the url's port") from error
    if len(line) > MAX_LINE:
        raise BadAnswer("what answers is no Redis", "check the url's port")
    return line[:-2]


def fields(text: bytes) -> dict[str, str]:
    """``name:value`` lines of an INFO; sections and what is neither are passed over."""
    found: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and not name.startswith("#"):
            found.setdefault(name, value.strip())
    return found


def number(told: dict[str, str], name: str) -> float | None:
    """A number of an INFO that can be counted with, None when it is not there or is none."""
    try:
        value = float(told.get(name, ""))
    except ValueError:
        return None
    return value if 0.0 <= value < float("inf") else None
