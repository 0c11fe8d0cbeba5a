"""The demo's warden: the parent of everything that the demo starts, and the end of it.

``python -m nimify_tui.demo.warden ROOT LOCK_FD CONSOLE_PID REGIONS [director's arguments]``. It lives in a
session of its own, watches the console through a pidfd, and when the console ends in whatever way
(or SIGTERM comes) it kills everything, stopped processes too, and removes the demo's folder. Orphans
become its children, so nothing escapes by a session of its own; should the warden itself be killed,
the kernel kills its children, and they theirs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nimify_tui.base.process import python_command
from nimify_tui.demo import kernel
from nimify_tui.demo.cast import REGIONS
from nimify_tui.demo.places import Places, give_up

#: What the supervisors get to take back their announcements before they are killed.
POLITE_S = 1.0
#: Nothing survives SIGKILL for longer, short of a broken disk.
END_S = 5.0
_LOOK_S = 0.02


class Warden:
    """Starts the cast, waits for the end, ends it."""

    def __init__(self, places: Places, regions: int) -> None:
        self._places = places
        self._regions = REGIONS[:regions]
        self._env = {**os.environ, kernel.MARK: places.demo, "PYTHONUNBUFFERED": "1"}
        self._supervisors: list[subprocess.Popen[bytes]] = []
        self._players: list[subprocess.Popen[bytes]] = []

    def start(self, directions: Sequence[str]) -> None:
        """Start director (which builds the models meanwhile), supervisors and traffic."""
        self._players.append(self._module("director", "nimify_tui.demo.director", str(self._places.root), *directions))
        for region in self._regions:
            state_dir = self._places.state_dir(region)
            self._supervisors.append(
                self._module(
                    f"supervisor-{region}", "nimify_tui.supervisor", "--state-dir", str(state_dir),
                    "--region", region, "--demo", "--guardian-pid", str(os.getpid()),
                )
            )  # fmt: skip
        self._players.append(self._module("traffic", "nimify_tui.demo.traffic", str(self._places.traffic)))

    def _module(self, name: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [*python_command(module), *arguments]
        return kernel.start(command, self._places.root / f"{name}.log", self._env)

    def end(self) -> None:
        """End everything; returns when nothing lives any more."""
        kernel.kill([player.pid for player in self._players if player.poll() is None])
        for supervisor in self._supervisors:
            if supervisor.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    supervisor.send_signal(signal.SIGTERM)
                    supervisor.send_signal(signal.SIGCONT)
        end_s = time.monotonic() + POLITE_S
        for supervisor in self._supervisors:
            with contextlib.suppress(subprocess.TimeoutExpired):
                supervisor.wait(max(0.0, end_s - time.monotonic()))
        end_s = time.monotonic() + END_S
        while time.monotonic() < end_s:
            left = {*kernel.descendants(os.getpid()), *kernel.marked(self._places.demo)}
            if not left:
                break
            kernel.kill(sorted(left))
            time.sleep(_LOOK_S)  # who was adopted tells nobody of its end
            kernel.reap()


def wait_for_end(console: int) -> None:
    """Return when the console has ended or a signal says so; ended orphans are reaped meanwhile."""
    heard, told = os.pipe()
    os.set_blocking(told, False)
    os.set_blocking(heard, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    poll = select.poll()
    poll.register(heard, select.POLLIN)
    try:
        watched = os.pidfd_open(console)
    except ProcessLookupError:
        return
    if os.getppid() != console:  # it has ended, and the pid may be another's by now
        return
    poll.register(watched, select.POLLIN)
    while True:
        ready = {handle for handle, _ in poll.poll(5000)}
        if watched in ready:
            return
        if heard in ready and signal.SIGTERM in os.read(heard, 4096):
            return
        kernel.reap()


def main(argv: Sequence[str]) -> int:
    """Process entry."""
    root, lock, console, regions, *directions = argv
    os.umask(0o077)
    kernel.adopt_orphans()
    places = Places(Path(root))
    warden = Warden(places, int(regions))
    try:
        warden.start(directions)
        wait_for_end(int(console))
    finally:
        warden.end()
        places.remove()
        give_up(int(lock))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
