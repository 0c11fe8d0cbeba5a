"""A container's log as the engine sends it: frames of two streams, or the bytes of a terminal.

https://docs.docker.com/reference/api/engine/version/v1.47/#tag/Container/operation/ContainerAttach (stream format).
"""

from __future__ import annotations

from nimify_tui.backends.docker.errors import BadAnswer

_HEAD = 8
#: The engine cuts lines at 16 kB; a larger frame is none.
_MOST = 1024 * 1024
#: A line without an end is handed on in pieces of this size.
_LINE_BYTES = 64 * 1024


class Frames:
    """Bytes as they come to whole lines; each stream has its own unfinished line."""

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty
        self._buffer = b""
        self._rests: dict[int, bytes] = {}

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends. Raises BadAnswer for what are no frames."""
        if self._tty:
            return self._cut(1, data)
        self._buffer += data
        found: list[bytes] = []
        while len(self._buffer) >= _HEAD:
            stream, length = self._buffer[0], int.from_bytes(self._buffer[4:_HEAD], "big")
            if stream > 3 or length > _MOST or self._buffer[1:4] != b"\0\0\0":
                raise BadAnswer("the engine sends a log in a form that is not known here")
            if len(self._buffer) < _HEAD + length:
                break
            found += self._cut(stream, self._buffer[_HEAD : _HEAD + length])
            self._buffer = self._buffer[_HEAD + length :]
        return found

    def rest(self) -> list[bytes]:
        """Lines that will have no end any more."""
        left, self._rests = [each for each in self._rests.values() if each], {}
        return left

    def _cut(self, stream: int, data: bytes) -> list[bytes]:
        *whole, rest = (self._rests.get(stream, b"") + data).split(b"\n")
        if len(rest) > _LINE_BYTES:
            whole.append(rest)
            rest = b""
        self._rests[stream] = rest
        return [each.removesuffix(b"\r") for each in whole]


def lines_of(data: bytes, *, tty: bool) -> list[str]:
    """The lines of a whole answer; a last frame that was cut off is left out. Raises BadAnswer."""
    frames = Frames(tty=tty)
    return [each.decode("utf-8", "replace") for each in (*frames.feed(data), *frames.rest())]
