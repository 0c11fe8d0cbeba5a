"""A real Podman behind its Docker-compatible API: ``podman system service`` in a private folder, as root.

It runs in a mount namespace with its own /run and /var/lib, where it writes whatever it is told: nothing of it stays on
the machine. Judge with the Docker command line, as with an engine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.docker.engine import Engine, NoEngine, _end_with_parent, look, which
from tests.docker.fixtures import missing
from tests.skips import lacking
from tests.support import wait_for

NO_PODMAN = "no Podman: install podman and run as root"
#: Podman takes a name without a registry for one of Docker Hub; this one is never asked for anywhere.
BUSYBOX = "localhost/nimify-test/busybox:1"
#: Its own default limits are more than a container of a test machine may have.
_SETTINGS = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


class Podman(Engine):
    """A Podman in ``folder``."""

    def up(self) -> None:
        """Start it and wait until it answers. It needs no bridge: its containers have no network."""
        self.start()

    def start(self) -> None:
        """Start the service (again) and wait until it answers."""
        settings, own = self.folder / "containers.conf", self.folder / "own"
        settings.write_text(_SETTINGS, encoding="ascii")
        own.mkdir(exist_ok=True)
        env = {
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "HOME": str(self.folder), "TMPDIR": str(own),
            "CONTAINERS_CONF": str(settings), "XDG_RUNTIME_DIR": str(own),
        }  # fmt: skip
        mounts = 'mount -t tmpfs own /run && mount -t tmpfs own /var/lib && exec "$@"'
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounts, "sh",
                 "podman", f"--root={self.folder / 'data'}", f"--runroot={self.folder / 'exec'}",
                 f"--tmpdir={own}", "--storage-driver=vfs", "system", "service", "--time=0", self.url],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=_end_with_parent, env=env,
            )  # fmt: skip
        self._pid_file.write_text(str(self._process.pid), encoding="ascii")
        wait_for(self._answers, 60, why="Podman", every_s=0.05, detail=self.log)

    def sh(self, name: str, script: str) -> None:
        """Run a container without a network. Made over this API it has no time to end unless one is named."""
        self.busybox(BUSYBOX)
        self.docker(
            "run", "--detach", "--name", name, "--network", "none", "--cgroup-parent", f"/{self._mark}",
            "--stop-timeout", "5", BUSYBOX, "sh", "-c", script,
        )  # fmt: skip


@contextlib.contextmanager
def podman() -> Iterator[Podman]:
    """One until the end; where there can be none the test is skipped, with CI set that is a failure."""
    try:
        look()
    except NoEngine as error:
        missing(str(error))
    if which("podman") is None:
        lacking(NO_PODMAN, "not installed: podman")
    folder = Path(tempfile.mkdtemp(prefix="np-", dir="/tmp"))
    made = Podman(folder)
    try:
        made.up()
        yield made
    finally:
        made.down()
        shutil.rmtree(folder, ignore_errors=True)
