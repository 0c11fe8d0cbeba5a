"""The engine's socket behind another one that writes down what is asked for, and may keep answers back."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from tests.docker.engine import Engine


class Relay:
    """Listens on ``path``. Answers on a connection that asked for ``swallowed`` are lost after their head.

    One that asked for ``cut`` is closed as soon as the engine has the question.
    ``watched``: :attr:`ended` counts the closed connections that asked for it.
    """

    def __init__(
        self, engine: Engine, path: Path, *, watched: bytes = b"/stats?", swallowed: bytes = b"",
        cut: bytes = b"",
    ) -> None:
        self.asked: list[bytes] = []
        self.ended = 0
        self.url = f"unix://{path}"
        self._engine, self._watched, self._swallowed, self._cut = engine, watched, swallowed, cut
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def count(self, path: bytes) -> int:
        """How often that was asked for."""
        return sum(path in each for each in self.asked)

    def close(self) -> None:
        """No more connections."""
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self._engine.socket))
                deaf = threading.Event()
                threading.Thread(target=self._upward, args=(near, far, deaf), daemon=True).start()
                threading.Thread(target=self._downward, args=(far, near, deaf), daemon=True).start()

    def _upward(self, near: socket.socket, far: socket.socket, deaf: threading.Event) -> None:
        measuring = False
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                self.asked.append(data)
                measuring = measuring or self._watched in data
                if self._swallowed and self._swallowed in data:
                    deaf.set()
                far.sendall(data)
                if self._cut and self._cut in data:
                    _shut(near)
                    return
        self.ended += measuring
        _shut(far)

    def _downward(self, far: socket.socket, near: socket.socket, deaf: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                if deaf.is_set():
                    head, found, _ = data.partition(b"\r\n\r\n")
                    data = head + found if found else b""
                near.sendall(data)
        _shut(near)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
