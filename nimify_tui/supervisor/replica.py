"""One replica from its first start to its end: started, asked, restarted with back-off, drained."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from pathlib import Path
from typing import Protocol

import msgspec

from nimify_tui.base.process import boot_id
from nimify_tui.base.retry import Backoff
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, ReplicaState, ServiceSpec
from nimify_tui.supervisor import logs, process
from nimify_tui.supervisor.changes import Chronicle
from nimify_tui.supervisor.disk import Instance, ServiceFolder
from nimify_tui.supervisor.options import Options
from nimify_tui.supervisor.probe import Found, Health, Prober
from nimify_tui.supervisor.process import Ended, Watched

log = logging.getLogger(__name__)

#: Probes without an answer, one after the other, that make a replica HUNG.
MISSES = 3
#: While it starts a replica is asked this often; after two seconds only every ``_SLOW_START_S``.
_START_S, _SLOW_START_S = 0.1, 0.25
#: Looks at a draining replica; one that is found stopped twice will not finish, and is killed.
_DRAIN_LOOK_S = 0.2
#: The runtime keeps its drain's deadline itself; one that does not end this much later is killed.
_DRAIN_SLACK_S = 2.0


class Place(Protocol):
    """What a replica needs of its service."""

    key: ServiceKey
    options: Options
    folder: ServiceFolder
    chronicle: Chronicle

    async def launch(self, instance: Instance, spec: ServiceSpec) -> tuple[Instance, Watched]:
        """Start the process of the run that ``instance`` describes. Raises OSError."""
        ...

    def moved(self, slot: Slot) -> None:
        """Something about the replica is different now."""
        ...

    def gone(self, slot: Slot) -> None:
        """The replica has ended for good."""
        ...


class Slot:
    """A replica's identity over its runs. Everything happens in one task; others only ask it to leave."""

    def __init__(self, place: Place, instance: Instance, spec: ServiceSpec) -> None:
        self._place = place
        self._options = place.options
        self.instance = instance
        self.spec = spec
        self.state = ReplicaState.STARTING
        self.since = time.time()
        self.reason = ""
        self.leaving = instance.draining
        #: Ends in a row of runs that were never ready.
        self.failed_starts = 0
        #: Set after the first look at an adopted process, or once there is nothing to look at.
        self.looked = asyncio.Event()
        self.watched: Watched | None = None
        #: Why the last run ended.
        self.crash_reason = ""
        self._ended: Ended | None = None
        self._last_words = ""
        self._next_start_at: float | None = None
        self._backoff = Backoff(self._options.backoff_first_s, self._options.backoff_cap_s)
        self._nudge = asyncio.Event()
        self._kill_reason = ""
        self._missed = 0
        self._trouble_at: float | None = None
        self._ooms = process.oom_kills()
        self._mono_s = 0.0  # when the present run was started, or found
        self._hung_mono_s = 0.0
        self._ready_mono_s: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The replica's name."""
        return self.instance.replica

    @property
    def facts(self) -> Replica:
        """The replica as everybody sees it."""
        instance, ended = self.instance, self._ended
        return Replica(
            key=ReplicaKey(self._place.key, self.name),
            state=self.state,
            since=self.since,
            revision=instance.revision,
            pid=instance.pid,
            run=max(1, instance.run),
            restarts=instance.restarts,
            reason=self.reason,
            last_words=self._last_words,
            exit_code=ended.code if ended else None,
            exit_signal=ended.signal if ended else None,
            exit_seen=ended.seen if ended else True,
            next_start_at=self._next_start_at,
            started_at=instance.started_at,
            ready_at=instance.ready_at,
            admin_url=f"http://127.0.0.1:{instance.admin_port}" if instance.pid else "",
        )

    @property
    def log(self) -> Path:
        """The log of the present run."""
        return logs.log_path(self._place.folder.logs, self.name, self.instance.run)

    def begin(self, adopted: Watched | None = None, missing: str = "") -> None:
        """Begin to live: with a process that was found running, or, when ``missing``, with one that was not."""
        self.watched = adopted
        self._task = asyncio.get_running_loop().create_task(self._life(adopted, missing), name=self.name)
        self._task.add_done_callback(self._over)

    def leave(self) -> None:
        """Drain, end and never come back."""
        self.leaving = True
        self._nudge.set()

    def kill(self) -> None:
        """SIGKILL now; also ends a stopped process."""
        if self.watched is not None:
            self.watched.send(signal.SIGKILL)

    async def left(self) -> None:
        """Return when the replica has ended for good."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def forsake(self) -> None:
        """The supervisor ends: stop watching and leave the process as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.watched is not None:
            self.watched.release()

    def _over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s is not looked after any more", self.name, exc_info=error)
            self._turn(ReplicaState.NOT_READY, f"an error of the supervisor: {error!r}")

    async def _life(self, watched: Watched | None, missing: str) -> None:
        if watched is None and self.instance.pid is not None:
            self._crashed(Ended(seen=False), missing)
            await self._back_off()
        while True:
            if watched is None and not self.leaving:
                watched = await self._start()
            if watched is not None:
                ended = await self._attend(watched)
                watched = None
                if not self.leaving:
                    self._crashed(ended, "")
            if self.leaving:
                break
            await self._back_off()
        self._forget_run()
        self._place.gone(self)

    async def _start(self) -> Watched | None:
        run = self.instance.run + 1
        self.instance = msgspec.structs.replace(
            self.instance, run=run, pid=None, started_at=time.time(), ready_at=None, boot_id=boot_id()
        )
        self._next_start_at = None
        logs.prune(self._place.folder.logs, self.name, run)
        try:
            self.instance, watched = await self._place.launch(self.instance, self.spec)
        except OSError as error:
            words = error.strerror or str(error)
            self._crashed(None, f"cannot be started: {words}")
            return None
        self._turn(ReplicaState.STARTING, "starts")
        return watched

    async def _attend(self, watched: Watched) -> Ended:
        """Look after a running process until it has ended."""
        self.watched = watched
        self._kill_reason, self._missed, self._ready_mono_s = "", 0, None
        self._mono_s = time.monotonic()
        self._ooms = process.oom_kills()
        watched.ended.add_done_callback(lambda _: self._nudge.set())
        if watched.adopted and self.instance.ready_at is not None:
            self._turn(ReplicaState.NOT_READY, "adopted, not asked yet")
        prober = Prober(self.instance.admin_port, self._options.probe_timeout_s)
        try:
            while not watched.ended.done() and not self.leaving:
                await self._look(watched, prober)
                self.looked.set()
                await self._pause(self._period_s())
            if self.leaving:
                prober.close()
                await self._drain(watched)
            return await watched.ended
        finally:
            prober.close()

    def _period_s(self) -> float:
        if self.state is not ReplicaState.STARTING:
            return self._options.probe_s
        return _START_S if time.monotonic() - self._mono_s < 2.0 else _SLOW_START_S

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._nudge.wait()
        self._nudge.clear()

    async def _look(self, watched: Watched, prober: Prober) -> None:
        stopped = process.run_state(watched.pid) in {"T", "t"}
        found = Found(Health.SILENT) if stopped else await prober.ask()
        if watched.ended.done() or self.leaving:
            return
        if found.health is Health.READY:
            self._is_ready()
        elif found.health is Health.NOT_READY:
            self._missed = 0
            starting = self.instance.ready_at is None
            self._turn(ReplicaState.STARTING if starting else ReplicaState.NOT_READY, found.words)
        elif self.instance.ready_at is None and not stopped:
            self._turn(ReplicaState.STARTING, found.words)
        else:
            self._is_silent(stopped, found.words)
        self._enforce(watched)

    def _is_ready(self) -> None:
        self._missed = 0
        if self.state is ReplicaState.READY:
            ready_s = time.monotonic() - (self._ready_mono_s or time.monotonic())
            if ready_s > self._options.stable_s:
                self._backoff.reset()
            return
        self._ready_mono_s = self._ready_mono_s or time.monotonic()
        self.failed_starts = 0
        if self.instance.ready_at is None:
            self._remember(ready_at=time.time())
        if self._trouble_at is not None:
            text = f"{self.name} is ready again after {time.time() - self._trouble_at:.1f} s"
            self._tell(ChangeKind.RECOVERY, text, f"run {self.instance.run}")
            self._trouble_at = None
        self._turn(ReplicaState.READY, "")

    def _is_silent(self, stopped: bool, words: str) -> None:
        self._missed += 1
        if stopped:
            reason = "stopped by a signal (SIGSTOP), not answering"
        else:
            reason = f"runs but {words}" if words else "runs but does not answer"
        if not stopped and self._missed < MISSES:
            return
        if self.state is not ReplicaState.HUNG:
            self._hung_mono_s = time.monotonic()
            self._trouble_at = self._trouble_at or time.time()
            missed = f"{self._missed} probe{'s' if self._missed > 1 else ''} without an answer"
            self._tell(ChangeKind.HANG, f"{self.name} hangs: {reason}", f"pid {self.instance.pid}, {missed}")
        self._turn(ReplicaState.HUNG, reason)

    def _enforce(self, watched: Watched) -> None:
        """Kill what hangs too long or does not become ready in time; what comes then is a crash with that reason."""
        now_s = time.monotonic()
        grace_s, deadline_s = self._options.hung_grace_s, self._options.start_deadline_s
        if self.instance.ready_at is None and now_s - self._mono_s >= deadline_s:
            self._kill_reason = f"not ready within {deadline_s:g} s"
        elif self.state is ReplicaState.HUNG and now_s - self._hung_mono_s >= grace_s:
            self._kill_reason = f"hung for {grace_s:g} s ({self.reason}), killed"
        if self._kill_reason:
            watched.send(signal.SIGKILL)

    async def _drain(self, watched: Watched) -> None:
        """SIGTERM, then wait for its requests; kill it when time is up or it is stopped and cannot finish."""
        self._remember(draining=True)
        self._turn(ReplicaState.DRAINING, "finishes its requests")
        watched.send(signal.SIGTERM)
        drain_s = self._options.drain_of(self.spec.limits.request_timeout_s)
        end_s, stopped = time.monotonic() + drain_s + _DRAIN_SLACK_S, 0
        while not watched.ended.done():
            await asyncio.wait([watched.ended], timeout=_DRAIN_LOOK_S)
            stopped = stopped + 1 if process.run_state(watched.pid) in {"T", "t"} else 0
            if stopped >= 2 or time.monotonic() >= end_s:
                watched.send(signal.SIGKILL)

    def _crashed(self, ended: Ended | None, why: str) -> None:
        """A run has ended that should not have (``ended`` None: it could not even be started)."""
        self.looked.set()
        adopted = self.watched is not None and self.watched.adopted
        self.watched = None
        never_ready = self.instance.ready_at is None
        self.failed_starts = self.failed_starts + 1 if never_ready else 0
        if never_ready and self._kill_reason:
            self.failed_starts = max(self.failed_starts, 3)  # it had all its time: that is no accident
        self._ended = ended
        self._last_words = logs.last_words(self.log) if ended is not None else ""
        reason = why or self._kill_reason or self._words_of(ended, adopted)
        self.crash_reason = reason
        self._trouble_at = self._trouble_at or time.time()
        wait_s = self._backoff.next_s()
        self._next_start_at = time.time() + wait_s
        self._forget_run()
        self._remember(pid=None, restarts=self.instance.restarts + 1, ready_at=None)
        self._tell_crash(reason)
        self._turn(ReplicaState.BACKOFF, reason)

    def _words_of(self, ended: Ended | None, adopted: bool) -> str:
        if ended is None or not ended.seen:
            if adopted:
                return "ended; exit code unknown (an earlier supervisor had started it)"
            return "ended while nobody watched; exit code unknown"
        if ended.signal == "SIGKILL":
            if process.oom_kills() > self._ooms:
                return "killed by SIGKILL while the kernel's out-of-memory killer struck"
            return "killed by SIGKILL (not by this supervisor)"
        if ended.signal:
            return f"killed by {ended.signal}"
        limit = self.spec.limits.memory_bytes
        if limit and ("MemoryError" in self._last_words or "bad_alloc" in self._last_words):
            return f"out of memory (limit {limit / 1024**2:.0f} MiB), exited with code {ended.code}"
        return f"exited with code {ended.code}"

    def _tell_crash(self, reason: str) -> None:
        text = f"{self.name} {reason}"
        count = self._backoff.failures
        if count <= 3 or count & (count - 1) == 0:  # of a crash loop every doubling is news
            words = f"last words: {self._last_words}" if self._last_words else "no last words"
            times = f", {count} times in a row" if count > 1 else ""
            self._tell(ChangeKind.CRASH, text, f"{words}; run {self.instance.run}{times}")
        more = f": {self._last_words}" if self._last_words else ""
        self._place.chronicle.crashed(self._place.key, self.name, text + more, count)

    async def _back_off(self) -> None:
        self.looked.set()
        while not self.leaving and self._next_start_at is not None:
            wait_s = self._next_start_at - time.time()
            if wait_s <= 0:
                return
            await self._pause(min(wait_s, self._options.backoff_cap_s))

    def _forget_run(self) -> None:
        self.watched = None
        if self.instance.control_socket:
            with contextlib.suppress(OSError):
                os.unlink(self.instance.control_socket)

    def _remember(self, **changes: object) -> None:
        self.instance = msgspec.structs.replace(self.instance, **changes)
        try:
            self._place.folder.write_instance(self.instance)
        except OSError as error:  # only a later supervisor needs it
            log.warning("the instance file of %s cannot be written: %s", self.name, error)

    def _turn(self, state: ReplicaState, reason: str) -> None:
        if state is self.state and reason == self.reason and self.instance.run > 0:
            self._place.moved(self)
            return
        if state is not self.state:
            self.since = time.time()
        self.state, self.reason = state, reason
        self._place.moved(self)

    def _tell(self, kind: ChangeKind, text: str, evidence: str) -> None:
        self._place.chronicle.change(
            kind, self._place.key, text, evidence=evidence, revision=self.instance.revision, replica=self.name
        )
