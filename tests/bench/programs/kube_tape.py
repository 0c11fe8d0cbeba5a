"""Plays what a real API server once said: lists at once, and its watch of pods at a rate, over and over.

``kube_tape.py TAPE``; the tape is JSON lines: ``{"path", "body"}`` for a list, ``{"event"}`` for a line of the watch of
pods. Prints its port. ``go RATE SECONDS`` on stdin plays to the end of a round after so long, then a last pod comes:
a copy of a ready one, which shows that all before it was read. The answer is one JSON line. The end of stdin ends it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PODS = "/api/v1/pods"
SLICE_S = 0.01
LAST = "last-of-the-tape"


class Tape:
    """The recorded answers, and who watches the pods."""

    def __init__(self, path: Path) -> None:
        self.lists: dict[str, bytes] = {}
        self.events: list[bytes] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            made = json.loads(line)
            if "path" in made:
                self.lists[made["path"]] = made["body"].encode()
            else:
                self.events.append(made["event"].encode() + b"\n")
        self.watchers: list[asyncio.StreamWriter] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: lists and heartbeats one after the other, or one watch."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = urlsplit(head.split(b" ", 2)[1].decode())
                if "watch" not in parse_qs(target.query):
                    body = self.lists.get(target.path, b'{"groups":[]}')
                    kind = b"application/json" if target.path != "/livez" else b"text/plain"
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)
                    )
                    await writer.drain()
                    continue
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                await writer.drain()
                if target.path == PODS:
                    self.watchers.append(writer)
                await reader.read()  # until the other side goes
                return
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def send(self, lines: list[bytes]) -> None:
        """Events to all who watch the pods; a slow reader slows this down, and the rate that is reported."""
        data = b"".join(lines)
        for writer in self.watchers:
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()

    async def play(self, rate: int, seconds: float) -> dict[str, float]:
        """Whole rounds of the tape, until ``seconds`` are over."""
        began_s, sent, place = time.monotonic(), 0, 0
        while place or time.monotonic() - began_s < seconds:
            due = max(1, round((time.monotonic() - began_s + SLICE_S) * rate) - sent)
            lines = self.events[place : place + min(due, rate // 20)]
            await self.send(lines)
            sent += len(lines)
            place = (place + len(lines)) % len(self.events)
            ahead_s = sent / rate - (time.monotonic() - began_s)
            await asyncio.sleep(max(0.0, ahead_s))
        took_s = time.monotonic() - began_s
        await self.send([self._last()])
        return {"sent": sent, "seconds": round(took_s, 2), "rounds": sent / len(self.events)}

    def _last(self) -> bytes:
        found = [made for line in self.events if ready(made := json.loads(line))]
        made = min(found, key=lambda each: str(each["object"]["metadata"]["name"]))  # of a row that is seen
        made["type"] = "ADDED"
        made["object"]["metadata"] |= {"name": LAST, "uid": LAST}
        return json.dumps(made).encode() + b"\n"


def ready(event: dict[str, object]) -> bool:
    """Whether an event shows a ready pod that is to stay."""
    made = event["object"]
    assert isinstance(made, dict)
    told = made.get("status", {}).get("conditions") or ()
    well = any(each["type"] == "Ready" and each["status"] == "True" for each in told)
    return well and "deletionTimestamp" not in made["metadata"]


async def main(path: Path) -> None:
    """Serve; obey stdin."""
    tape = Tape(path)
    server = await asyncio.start_server(tape.answer, "127.0.0.1", 0, limit=1024 * 1024)
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await stdin.readline():
        _, rate, seconds = line.split()
        print(json.dumps(await tape.play(int(rate), float(seconds))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
