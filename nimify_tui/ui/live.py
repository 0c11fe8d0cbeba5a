"""Shells on the operator's own terminal, and the way to port-forwards: plan, dialog, gate as for every change."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from typing import TYPE_CHECKING

from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, Plan, Verb
from nimify_tui.ui.acting import plan_dialog
from nimify_tui.ui.aside import aside
from nimify_tui.ui.present.plans import result_style, result_text

if TYPE_CHECKING:
    from nimify_tui.ui.console import ConsoleApp

#: ctrl+]: leaves a shell whose line hangs.
_LEAVE = b"\x1d"
#: What a shell may have left behind: modes, colours, mouse, pasting, a scrolled region (DECSTR and resets).
_RESET = b"\x1b[!p\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h\r\n"


class TtyTerminal:
    """The terminal while the screen is suspended; its parts run on the engine's loop, the screen waits."""

    def __init__(self, keys_fd: int, screen_fd: int) -> None:
        self._keys_fd, self._screen_fd = keys_fd, screen_fd

    def size(self) -> tuple[int, int]:
        """(columns, rows)."""
        try:
            columns, rows = os.get_terminal_size(self._screen_fd)
        except OSError:
            return 80, 24
        return columns, rows

    async def keys(self) -> bytes:
        """What was typed; b"" when the operator leaves, or the terminal is gone."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def typed() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(self._keys_fd, typed)
        try:
            await ready
        finally:
            loop.remove_reader(self._keys_fd)
        try:
            data = os.read(self._keys_fd, 4096)
        except OSError:
            return b""
        return b"" if _LEAVE in data else data

    async def write(self, data: bytes) -> None:
        """Draw; a slow line must not hold up the loop."""
        await asyncio.to_thread(self._write, data)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._screen_fd, data) :]


class Live:
    """What the screens ask for. Lives in the UI's loop."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app

    def forward(self, key: ReplicaKey, port: str) -> None:
        """Plan a port-forward."""
        if not (port.isascii() and port.isdigit() and len(port) < 6):
            self._app.say(f"{port!r} is no port", "warn")
            return
        request = ActionRequest(
            verb=Verb.FORWARD, targets=(key.service,), replica=key.replica, port=int(port)
        )
        self._app.acting.propose(request)

    def shell(self, key: ReplicaKey, container: str) -> None:
        """Plan a shell, and give it the terminal when it is confirmed."""
        request = ActionRequest(
            verb=Verb.SHELL, targets=(key.service,), replica=key.replica, container=container
        )
        self._app.run_worker(self._shell(request), name="shell", group="actions", exit_on_error=False)

    def debug(self, key: ReplicaKey, image: str, container: str) -> None:
        """Plan a debug container, and give its shell the terminal when it is confirmed."""
        request = ActionRequest(
            verb=Verb.DEBUG, targets=(key.service,), replica=key.replica, container=container, image=image
        )
        self._app.run_worker(self._shell(request), name="debug", group="actions", exit_on_error=False)

    async def _shell(self, request: ActionRequest) -> None:
        app = self._app
        plan = await app.acting.answer(app.context.plan(request))
        if plan is None:
            return
        verdict = app.context.review(plan)
        confirmed = await app.push_screen_wait(plan_dialog(plan, verdict, app.now, app.size.width))
        if confirmed is None:
            app.context.cancel(plan)
            app.say("cancelled; nothing was changed", "dim")
            return
        result = self._suspended(plan, "y" if confirmed.how == "y" else confirmed.text)
        if result is not None:
            app.say(result_text(plan, result), result_style(result))

    def _suspended(self, plan: Plan, answer: str) -> ActionResult | None:
        """Run the shell while nothing of ours is on the terminal. Blocks the screen, and only that."""
        app = self._app
        stdin, screen = sys.__stdin__, sys.__stderr__
        if app.is_headless or stdin is None or screen is None or not os.isatty(stdin.fileno()):
            app.say("a shell needs a terminal", "warn")
            app.context.cancel(plan)
            return None
        keys_fd, screen_fd = stdin.fileno(), screen.fileno()
        result: ActionResult | None = None
        try:
            with aside(app, f"-- {plan.summary}; ctrl+] leaves --"):
                before = termios.tcgetattr(keys_fd)
                try:
                    tty.setraw(keys_fd, termios.TCSADRAIN)  # what was typed ahead is not thrown away
                    result = app.context.shell(plan, answer, TtyTerminal(keys_fd, screen_fd)).result()
                finally:
                    termios.tcsetattr(keys_fd, termios.TCSADRAIN, before)
                    os.write(screen_fd, _RESET)
        except NimifyError as error:
            app.say(error.message, "bad", error.remedy)
        app.redraw(forget=True)
        return result
