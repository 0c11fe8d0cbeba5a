"""A load from another process: keep-alive and fresh connections against one port; prints one JSON object at the end.

Run as a program: `load.py PORT PATH KEEP FRESH PAUSE_S`. It runs until a line (or the end) comes on its
standard input. Each failure is kept with its kind; a client that keeps connections opens a new one only
after an answer said `Connection: close`, exactly as HTTP says, and never repeats a request.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter

#: Longer than this, somebody waited for something that did not happen.
SLOW_S = 1.0
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 8], "datatype": "FP32", "data": [0.5] * 8}]}).encode()


class Client:
    """One client thread."""

    def __init__(self, port: int, path: str, *, keep: bool, pause_s: float, stop: threading.Event) -> None:
        self.port, self.path, self.keep, self.pause_s, self.stop = port, path, keep, pause_s, stop
        self.sent = self.answered = 0
        self.wrong: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.slow = 0
        self.connections = 0

    def run(self) -> None:
        connection: socket.socket | None = None
        close = "" if self.keep else "Connection: close\r\n"
        head = f"POST {self.path} HTTP/1.1\r\nHost: t\r\n{close}Content-Length: {len(BODY)}\r\n\r\n".encode()
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", self.port), 10.0)
                    self.connections += 1
                self.sent += 1
                connection.sendall(head + BODY)
                status, closing = read(connection)
                self.answered += 1
                if status != 200:
                    self.wrong[f"status {status}"] += 1
            except (OSError, EOFError) as error:
                self.wrong[f"{type(error).__name__} {error}"] += 1
                closing = True
            took_s = time.monotonic() - began
            self.slowest_s = max(self.slowest_s, took_s)
            self.slow += took_s > SLOW_S
            if connection is not None and (closing or not self.keep):
                connection.close()
                connection = None
            self.stop.wait(self.pause_s)
        if connection is not None:
            connection.close()


def read(connection: socket.socket) -> tuple[int, bool]:
    """(status, whether the server closes); EOFError when it closed without an answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise EOFError("closed without a whole answer")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lower = head.lower()
    size = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < size:
        piece = connection.recv(65536)
        if not piece:
            raise EOFError("closed within an answer")
        body += piece
    return int(head.split()[1]), b"connection: close" in lower


def main() -> None:
    """Run the load."""
    port, path, keep, fresh = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    pause_s = float(sys.argv[5])
    stop = threading.Event()
    clients = [Client(port, path, keep=index < keep, pause_s=pause_s, stop=stop) for index in range(keep + fresh)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    sys.stdout.write("running\n")
    sys.stdout.flush()
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join(15)
    wrong: Counter[str] = Counter()
    for client in clients:
        wrong.update(client.wrong)
    result = {
        "sent": sum(client.sent for client in clients), "answered": sum(client.answered for client in clients),
        "connections": sum(client.connections for client in clients), "wrong": dict(wrong),
        "slow": sum(client.slow for client in clients),
        "slowest_s": round(max(client.slowest_s for client in clients), 3),
    }  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
