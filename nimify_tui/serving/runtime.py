"""Life of one runtime process: listen, load, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from uvicorn.server import ServerState

from nimify_tui.serving.accepting import Acceptor
from nimify_tui.serving.api import Api
from nimify_tui.serving.control import Control
from nimify_tui.serving.health import ErrorBook
from nimify_tui.serving.listeners import ADMIN_CONNECTIONS, Listeners, max_connections, raise_descriptors
from nimify_tui.serving.logs import JsonLog
from nimify_tui.serving.metrics import Metrics
from nimify_tui.serving.options import Options
from nimify_tui.serving.protocol import HardProtocol, protocol_factory
from nimify_tui.serving.routes import Routes
from nimify_tui.serving.rules import Drain, Rules
from nimify_tui.serving.shelf import Shelf

#: A second signal leaves running requests so long.
HURRY_S = 1.0
#: Requests that the drain cuts off have so long to get their 503.
CUT_S = 0.3
#: How long a thread that has a finished run in its hands waits for the loop's thread to let it go on. Python's own
#: 5 ms are longer than most runs: beside a loop that is busy with refusals the model would stand still half the time.
SWITCH_S = 0.0005
#: A start that takes longer tells of its steps; one step that lasts is told of again after REPEAT_S.
QUIET_S, LOOK_S, REPEAT_S = 1.0, 0.1, 10.0


class Runtime:
    """Models behind one pair of listeners."""

    def __init__(self, options: Options, log: JsonLog, listeners: Listeners) -> None:
        self._options, self._log, self._listeners = options, log, listeners
        # Overflow is looked for where it matters; doing it around each request would cost 3 us.
        np.seterr(all="ignore")
        raise_descriptors()
        sys.setswitchinterval(SWITCH_S)
        self._loop = asyncio.get_running_loop()
        self._drain = Drain()
        metrics, errors = Metrics(options.revision), ErrorBook()
        self._shelf = Shelf(
            options, log, metrics, self._models_changed,
            lambda error, model: errors.note(error.category, 0, str(error), model),
        )  # fmt: skip
        self._routes = Routes(options, self._shelf, metrics, self._drain, errors)
        self._api = Api(self._routes, metrics, errors, log)
        self._asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._admin: Acceptor | None = None
        self._control: Control | None = None

    async def run(self) -> int:
        """Serve until a signal, then drain. Returns the exit code; raises ModelError."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signalled)
        try:
            self._open_admin()
            if not await self._load():
                self._log.write("ended", "asked to end while the model was loading")
                return 0
            make, state = self._factory(main=True)
            acceptor = Acceptor(self._listeners.main, make, shared=self._listeners.shared)
            self._say_ready()
            await self._asked.wait()
            if (
                os.environ.get("NIMIFY_TEST_NO_DRAIN") == "1"
            ):  # the tests' sabotage: what happens without a drain
                return 0
            await self._drained(acceptor, state)
            return 0
        finally:
            self._close()

    def _signalled(self) -> None:
        if self._asked.is_set():
            self._hurry.set()
        self._asked.set()

    def _models_changed(self) -> None:
        self._routes.rebuild()
        self._api.open_lanes()

    def _factory(self, *, main: bool) -> tuple[Callable[[], HardProtocol], ServerState]:
        options = self._options
        rules = Rules(
            self._drain, options.max_body_bytes if main else 64 * 1024, options.header_timeout_s,
            options.body_timeout_s, options.keep_alive_s, self._api.refused_early,
            max_connections() if main else ADMIN_CONNECTIONS, self._api.lanes if main else {},
        )  # fmt: skip
        return protocol_factory(self._api.main if main else self._api.admin, rules)

    def _open_admin(self) -> None:
        """Health and metrics answer from the first moment."""
        listeners = self._listeners
        if listeners.admin is not None:
            make, _ = self._factory(main=False)
            self._admin = Acceptor(listeners.admin, make)
        else:
            self._routes.without_admin_listener()
        if self._options.control_socket is not None:
            shared = [item for item in (listeners.main, listeners.admin) if item is not None]
            self._control = Control(self._options.control_socket, shared)

    async def _load(self) -> bool:
        """Load what is wanted. False when asked to end meanwhile."""
        loading = self._loop.create_task(self._shelf.start())
        asked = self._loop.create_task(self._asked.wait())
        telling = self._loop.create_task(self._tell())
        await asyncio.wait((loading, asked), return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        telling.cancel()
        if not loading.done():
            loading.cancel()
            return False
        loading.result()
        return True

    async def _tell(self) -> None:
        """A line for each step of a start that takes long, and one now and then while a step lasts."""
        last, wait_s, told_mono_s = "", QUIET_S, 0.0
        while True:
            await asyncio.sleep(wait_s)
            wait_s = LOOK_S
            progress = self._shelf.progress
            if progress and (progress.words != last or time.monotonic() - told_mono_s > REPEAT_S):
                last, told_mono_s = progress.words, time.monotonic()
                self._log.write("loading", f"loading {progress.words}", **progress.record())

    def _say_ready(self) -> None:
        listeners, options, why = self._listeners, self._options, self._shelf.not_ready
        host, port = listeners.main.getsockname()[:2]
        fields: dict[str, Any] = {
            "host": host, "port": port, "pid": os.getpid(),
            "admin_port": listeners.admin.getsockname()[1] if listeners.admin else None,
        }  # fmt: skip
        entries = self._shelf.served()
        for entry in entries:
            assert entry.served is not None
            if not entry.served.inference.model.warmed:
                words = "no sample fitted the model's open axes: the first request warms it"
                self._log.write("warm", words, "warning", model=entry.name, version=entry.version)
        if self._shelf.is_repository:
            fields |= {"models": [f"{entry.name}/{entry.version}" for entry in entries], "unavailable": why}
            words = f"{len(entries)} of {len(self._shelf.entries)} model versions are ready on {host}:{port}"
        else:
            assert entries[0].served is not None
            model, opener = entries[0].served.inference.model, entries[0].served.opener
            fields |= {
                "load_s": round(model.load_s, 4), "run_s": round(model.run_s, 6), "model_sha256": model.sha256,
                "providers": list(model.providers), "provider": opener.choice.record(), "graph": opener.source,
            }  # fmt: skip
            words = f"{options.name} is ready on {host}:{port}"
        self._log.write("ready", f"{words}; {why}" if why else words, "warning" if why else "info", **fields)

    async def _drained(self, acceptor: Acceptor, state: ServerState) -> None:
        """Answer everything that is here or on its way, and close nothing that keep-alive would not close.

        An idle connection is left alone until its keep-alive time is over, because a client that believes
        it open may send on it at any moment; the answer then says `Connection: close`.
        """
        began = time.monotonic()
        self._drain.began = True
        if self._control is not None:
            self._control.withhold()
        acceptor.close()
        if not self._listeners.shared:
            await acceptor.take_rest()
        self._listeners.main.close()
        for connection in list(state.connections):
            assert isinstance(connection, HardProtocol)
            connection.end_soon()
        busy = sum(connection.busy for connection in _ours(state))
        self._log.write(
            "draining", f"asked to end: {busy} requests and {len(state.connections)} connections are open"
        )
        deadline = began + self._options.drain_timeout_s
        while state.connections and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await self._hurry.wait()
            if self._hurry.is_set():
                deadline = min(deadline, time.monotonic() + HURRY_S)
                self._hurry.clear()
                for connection in _ours(state):
                    if not connection.busy:
                        connection.transport.close()
        cut = await self._cut_off(state)
        seconds = time.monotonic() - began
        self._log.flush()
        words = (
            f"drained in {seconds:.1f} s" if not cut else f"{cut} requests were cut off after {seconds:.1f} s"
        )
        self._log.write(
            "ended", words, "warning" if cut else "info", cut_requests=cut, drain_s=round(seconds, 3)
        )

    async def _cut_off(self, state: ServerState) -> int:
        """End what is left; how many requests that were."""
        cut = sum(connection.busy for connection in _ours(state))
        self._shelf.cut_off()
        deadline = time.monotonic() + CUT_S
        while state.tasks and time.monotonic() < deadline:
            for connection in _ours(state):
                connection.end_unfinished()
            await asyncio.sleep(0.01)
        return cut

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._admin is not None:
            self._admin.close()
        self._shelf.close()


def _ours(state: ServerState) -> list[HardProtocol]:
    return [connection for connection in state.connections if isinstance(connection, HardProtocol)]


def run(options: Options, log: JsonLog, listeners: Listeners) -> int:
    """Serve in a new uvloop event loop until the end. Raises ModelError."""
    import uvloop

    async def live() -> int:
        return await Runtime(options, log, listeners).run()

    code: int = uvloop.run(live())
    return code
