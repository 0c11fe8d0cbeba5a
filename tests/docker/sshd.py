"""A real OpenSSH server on a port of its own, with keys of its own, and the real ssh of an operator that knows them.

It runs in a mount namespace with its own /run, where it wants a folder for itself: nothing of it stays on the machine.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine import free_port, which
from tests.skips import lacking
from tests.support import wait_for

NO_SSHD = "no sshd: install openssh-server and run as root"


class Sshd:
    """The server, and what its client believes: written to ``folder``, where a program ``ssh`` uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self._log = folder / "sshd.log"
        for name in ("host", "other", "user", "stranger"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
            subprocess.run(keygen, check=True, timeout=20, stdin=subprocess.DEVNULL)
        (folder / "authorized").write_text(self._public("user"), encoding="ascii")
        self.knows("host")
        self.logs_in_with("user")

    def url(self, path: Path) -> str:
        """As in a region's ``url``: the engine on that socket of the far host."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"

    def knows(self, key: str) -> None:
        """The operator knows the host by this key, "" for not at all."""
        line = f"[127.0.0.1]:{self.port} {self._public(key)}" if key else ""
        (self.folder / "known").write_text(line, encoding="ascii")

    def logs_in_with(self, key: str) -> None:
        """The operator's only key."""
        (self.folder / "config").write_text(
            f"IdentityFile {self.folder / key}\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {self.folder / 'known'}\nGlobalKnownHostsFile /dev/null\n",
            encoding="ascii",
        )

    def serve(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it listens."""
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.folder / 'authorized'}\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nUseDNS no\n",
            encoding="ascii",
        )
        own_run = 'mount -t tmpfs own /run && mkdir -m 755 /run/sshd && exec "$@"'
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", own_run, "sh",
             which("sshd") or "sshd", "-D", "-f", str(config), "-E", str(self._log)],
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(self._listens, 20, why="sshd", detail=self._said)
        except BaseException:
            process.kill()
            process.wait(10)
            raise
        return process

    def _public(self, key: str) -> str:
        return (self.folder / f"{key}.pub").read_text(encoding="ascii")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as probe:
            return probe.recv(4) == b"SSH-"
        return False

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        return ""


@contextlib.contextmanager
def sshd(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """The server until the end; meanwhile ``ssh`` is the machine's own with the configuration in ``folder``."""
    real = which("ssh")
    if which("sshd") is None or real is None or os.geteuid() != 0 or sys.platform != "linux":
        lacking(NO_SSHD, "not installed, or not root")
    made = Sshd(folder)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {real} -F {folder}/config "$@"\n', encoding="ascii")
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    process = made.serve()
    try:
        yield made
    finally:
        process.terminate()
        process.wait(10)
