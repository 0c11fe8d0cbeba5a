"""Clients that do wrong hold nothing up: not reading, endless lines, nonsense, other users."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import stat
import time
from pathlib import Path

import pytest

from nimify_tui.domain.embedded import Hello, SetStopped
from nimify_tui.supervisor.server import MAX_REQUEST_BYTES, same_user
from tests.supervisor.support import Region
from tests.support import PYTHON, Home, run_command, wait_for

#: A supervisor whose clients may leave 50 kB unread; everything else is the real thing.
SHORT_OF_PATIENCE = """
import sys
from nimify_tui.supervisor import main, server
server.MAX_UNREAD_BYTES = 50_000
sys.exit(main.main(sys.argv[1:]))
"""


class Raw:
    """A connection on which anything can be written."""

    def __init__(self, region: Region) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(region.socket))
        self.socket.settimeout(5)
        self._file = self.socket.makefile("rb")

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self) -> dict[str, object]:
        line = self._file.readline()
        assert line, "the supervisor closed the connection"
        answer: dict[str, object] = json.loads(line)
        return answer

    def closed(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return not self._file.readline()
        return True


def test_nonsense_is_answered_and_the_connection_goes_on(home: Home) -> None:
    with Region(home) as region:
        client = Raw(region)
        for line, number, words in [
            (b"\xff\xfe\n", 0, "not understood"),
            (b"[]\n", 0, "not understood"),
            (b'{"type":"fly","id":7}\n', 7, "Invalid value 'fly'"),
            (b'{"type":"apply","id":8}\n', 8, "missing required field"),
        ]:
            client.say(line)
            answer = client.hear()
            assert answer["ok"] is False
            assert words in str(answer["error"])
            assert answer["id"] == number
        client.say(b'{"type":"hello","id":9,"client":"x","protocol":99}\n')
        assert "speaks protocol 1" in str(client.hear()["error"])
        client.say(b'\n{"type":"hello","id":10,"client":"x"}\n')
        assert client.hear()["ok"] is True


def test_a_line_without_end_is_refused(home: Home) -> None:
    with Region(home) as region:
        client = Raw(region)
        with contextlib.suppress(ConnectionError):
            client.say(b"x" * (MAX_REQUEST_BYTES + 100_000))
        with contextlib.suppress(AssertionError, ConnectionError):
            assert "larger than" in str(client.hear()["error"])
        assert client.closed()
        with region.wire() as wire:
            assert wire.hello.ok


def test_a_client_that_does_not_read_is_dropped_and_blocks_nobody(home: Home) -> None:
    with Region(home) as region:
        region.kill()
        command = [PYTHON, "-c", SHORT_OF_PATIENCE, "--state-dir", str(region.state_dir), "--region", "test"]
        region.run(command)
        with region.wire() as wire, region.wire() as sleeper:
            wire.settled(wire.apply(spec=region.spec(), replicas=0))
            begin = time.monotonic()
            for number in range(2000):  # each is some kB of events to every watcher
                assert wire.change(SetStopped, stopped=number % 2 == 0).ok
                wire.until(lambda: wire.services["demo"].observed_generation == wire.services["demo"].generation)
                if _is_dropped(sleeper.socket):
                    break
            assert _is_dropped(sleeper.socket)
            assert time.monotonic() - begin < 20
            assert wire.ask(lambda number: Hello(id=number, client="still here"), deadline_s=1).ok


def _is_dropped(connection: socket.socket) -> bool:
    """Whether the other side has hung up, without reading what it sent."""
    poll = select.poll()
    poll.register(connection, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def test_the_socket_is_for_this_user_alone(home: Home) -> None:
    with Region(home) as region:
        assert stat.S_IMODE(region.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(region.socket.parent.stat().st_mode) == 0o700
        for path in region.state_dir.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_another_user_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        assert same_user(ours)
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert not same_user(ours)


def test_it_starts_light_and_quickly(home: Home) -> None:
    code = "import nimify_tui.supervisor.main, sys; print(' '.join(sys.modules))"
    loaded = run_command([PYTHON, "-c", code]).stdout.split()
    assert "asyncio" in loaded
    assert not {"uvicorn", "numpy", "httptools", "textual", "onnx"} & set(loaded)
    assert not [name for name in loaded if name.startswith("nimify_tui.serving")]
    with Region(home) as region:
        status = wait_for(lambda: Path(f"/proc/{region.pid}/status").read_text(encoding="ascii"))
        assert int(status.partition("VmRSS:")[2].split()[0]) < 60_000
