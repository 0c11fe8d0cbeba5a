"""The supervisor's process: one for each region folder, apart from every console, ended only on purpose."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nimify_tui.base.files import private_dir, runtime_home, supervisor_socket, write_atomic
from nimify_tui.base.process import boot_id, start_ticks, user_name
from nimify_tui.domain.embedded import Announced, Kept
from nimify_tui.supervisor.house import House
from nimify_tui.supervisor.options import LOG_BYTES, MAX_MODEL_BYTES, Options

EXIT_USAGE = 64
#: Another supervisor keeps the folder (EX_TEMPFAIL of sysexits.h).
EXIT_KEPT = 75
_LOG_BYTES = 1024 * 1024
#: It becomes a file's name.
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")

log = logging.getLogger("nimify_tui.supervisor")


def parser() -> argparse.ArgumentParser:
    """The flags; times in seconds, sizes in bytes."""
    made = argparse.ArgumentParser(
        prog="python -m nimify_tui.supervisor", description="Keep the services of one embedded region."
    )
    made.add_argument("--state-dir", type=Path, required=True)
    made.add_argument("--region", required=True)
    made.add_argument("--demo", action="store_true", help="replicas end with this process, and it with its guardian")
    made.add_argument("--guardian-pid", type=int, default=0)
    made.add_argument("--idle-exit-s", type=float, default=0.0, help="without services and clients; 0: never")
    made.add_argument("--hung-grace-s", type=float, default=15.0)
    made.add_argument("--start-deadline-s", type=float, default=30.0)
    made.add_argument("--drain-s", type=float, default=None)
    made.add_argument("--backoff-first-s", type=float, default=0.5)
    made.add_argument("--backoff-cap-s", type=float, default=30.0)
    made.add_argument("--max-model-bytes", type=int, default=MAX_MODEL_BYTES)
    made.add_argument("--log-bytes", type=int, default=LOG_BYTES)
    made.add_argument("--detach", action="store_true", help="go to the background when ready")
    return made


def main(argv: Sequence[str]) -> int:
    """Run. 0: ended on purpose; 1: could not start; 64: wrong usage; 75: another one keeps the folder."""
    try:
        given = parser().parse_args(argv)
    except SystemExit as end:
        return EXIT_USAGE if end.code else 0
    if not _REGION.match(given.region):
        sys.stderr.write(f"{given.region[:80]!r} is no name for a region\n")
        return EXIT_USAGE
    values = {name: getattr(given, name) for name in Options.__dataclass_fields__ if hasattr(given, name)}
    options = Options(**(values | {"state_dir": given.state_dir.absolute()}))
    ready = _detach() if given.detach else -1
    try:
        private_dir(options.state_dir)
        lock = os.open(options.state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock(lock):
            sys.stderr.write(f"{options.region} is supervised already: {_keeper(lock)}\n")
            return EXIT_KEPT
        kept = _claim(lock, supervisor_socket(options.state_dir))
        return asyncio.run(_serve(options, kept, ready))
    except OSError as error:
        sys.stderr.write(f"the supervisor of {options.region} cannot start: {error}\n")
        return 1


def _lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _keeper(lock: int) -> str:
    try:
        return msgspec.json.decode(os.pread(lock, 4096, 0), type=Kept).text
    except msgspec.DecodeError:
        return "by a process that is just starting"


def _claim(lock: int, at: Path) -> Kept:
    kept = Kept(
        pid=os.getpid(), user=user_name(), host=os.uname().nodename, since=time.time(), socket=str(at)
    )
    os.ftruncate(lock, 0)
    os.pwrite(lock, msgspec.json.encode(kept) + b"\n", 0)
    return kept


def _detach() -> int:
    """Fork into a session of its own; the first process waits until the second is ready, and says how it went.

    Returns, in the second, the descriptor to write to when ready.
    """
    heard, ready = os.pipe()
    if pid := os.fork():
        os.close(ready)
        with os.fdopen(heard, "rb") as file:
            if file.read(1):
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)
    os.close(heard)
    os.setsid()
    return ready


def _is_ready(ready: int, options: Options) -> None:
    """Let the waiting first process go, and let go of its terminal and its output."""
    if ready < 0:
        return
    path = options.state_dir / "supervisor.log"
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_BYTES:
            os.replace(path, path.with_name("supervisor.log.1"))
    null = os.open(os.devnull, os.O_RDWR)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(null, 0)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(null)
    os.close(handle)
    os.write(ready, b"+")
    os.close(ready)


async def _serve(options: Options, kept: Kept, ready: int) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    house = House(options, kept)
    ends = _Ends(house, options)
    if not ends.watch():
        log.error("the guardian %d is gone already", options.guardian_pid)
        return 1
    at = private_dir(runtime_home() / "s") / Path(kept.socket).name
    await house.open()
    await house.server.open(at)
    note = _announce(options, kept)
    _is_ready(ready, options)
    log.info("%s: %s", options.region, kept.text)
    replicas, grace_s = await house.run()
    try:
        if replicas or options.demo:
            await house.end(grace_s)
        else:
            await house.leave()
    finally:
        _withdraw(note, kept)
        at.unlink(missing_ok=True)
        if options.demo:
            shutil.rmtree(options.state_dir, ignore_errors=True)
    return 0


class _Ends:
    """What ends a supervisor from outside: signals, and in a demo the end of its guardian."""

    def __init__(self, house: House, options: Options) -> None:
        self._house = house
        self._options = options

    def watch(self) -> bool:
        """Begin to watch; False when the guardian is gone already."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, 0.5 if self._options.demo else 0.0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal is no reason to end
        if not self._options.guardian_pid:
            return True
        try:
            guardian = os.pidfd_open(self._options.guardian_pid)
        except ProcessLookupError:
            return False
        loop.add_reader(guardian, self._guardian_ended, guardian)
        return True

    def _guardian_ended(self, guardian: int) -> None:
        asyncio.get_running_loop().remove_reader(guardian)
        self._house.kill()
        self._end(0.0)

    def _end(self, grace_s: float) -> None:
        if not self._house.shutdown.done():
            self._house.shutdown.set_result((self._options.demo, grace_s))


def _announce(options: Options, kept: Kept) -> Path:
    told = Announced(
        name=options.region,
        socket=kept.socket,
        pid=kept.pid,
        start_time_ticks=start_ticks(kept.pid) or 0,
        boot_id=boot_id(),
        demo=options.demo,
        state_dir=str(options.state_dir),
        by=f"{kept.user}@{kept.host}",
        since=kept.since,
    )
    path = private_dir(runtime_home() / "regions") / f"{options.region}.json"
    write_atomic(path, msgspec.json.encode(told))
    return path


def _withdraw(note: Path, kept: Kept) -> None:
    """Take the announcement back, unless it is another supervisor's by now."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        if msgspec.json.decode(note.read_bytes(), type=Announced).pid == kept.pid:
            note.unlink()
