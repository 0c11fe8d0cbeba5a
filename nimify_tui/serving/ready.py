"""`python -m nimify_tui.serving.ready PORT`: whether the runtime on this machine is ready. An engine's health check.

Imports next to nothing: it is started every few seconds. What it prints, the engine shows as the check's output.
"""

from __future__ import annotations

import socket
import sys

_SECONDS = 2.5


def ask(port: int) -> tuple[bool, str]:
    """(is it ready, its own words)."""
    try:
        with socket.create_connection(("127.0.0.1", port), _SECONDS) as line:
            line.settimeout(_SECONDS)
            line.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while len(answer) < 16_384 and (piece := line.recv(4096)):
                answer += piece
    except OSError as error:
        return False, f"port {port}: {error}"
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200 "), body.decode("utf-8", "replace")[:500]


if __name__ == "__main__":
    is_ready, words = ask(int(sys.argv[1]))
    sys.stdout.write(words)
    sys.exit(not is_ready)
