"""Run a Textual app in a test: in process (:func:`run_app`) or in a real pty (:class:`PtyRun`).

In process it is quick and sees widgets; in a pty it sees what the operator's terminal sees: bytes,
modes, signals. Neither ever sleeps: both wait for a condition with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyte

from tests.idle import exact

T = TypeVar("T")

GOLDEN_DIR = Path(__file__).parent / "golden"
REPO = Path(__file__).resolve().parent.parent

#: What a key sends to a pty (an ordinary xterm in normal cursor mode).
KEY_BYTES: Mapping[str, bytes] = {
    "enter": b"\r",
    "escape": b"\x1b",
    "esc": b"\x1b",
    "tab": b"\t",
    "shift+tab": b"\x1b[Z",
    "space": b" ",
    "backspace": b"\x7f",
    "up": b"\x1b[A",
    "down": b"\x1b[B",
    "right": b"\x1b[C",
    "left": b"\x1b[D",
    "home": b"\x1b[H",
    "end": b"\x1b[F",
    "pageup": b"\x1b[5~",
    "pagedown": b"\x1b[6~",
    "delete": b"\x1b[3~",
    "f1": b"\x1bOP",
    **{f"ctrl+{chr(96 + code)}": bytes([code]) for code in range(1, 27)},
}

_FROZEN_DROP = ("NO_COLOR", "COLORTERM", "SSH_", "TEXTUAL", "TMUX", "STY", "LANG", "LC_", "COLUMNS", "LINES", "NIMIFY_")


def clean_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a test's process: nothing of this machine's terminal leaks in."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(_FROZEN_DROP)}
    env.update({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "TEXTUAL_DISABLE_KITTY_KEY": "1"})
    env["PYTHONPATH"] = str(REPO)
    env.update(extra or {})
    return env


@contextlib.contextmanager
def frozen_env(extra: Mapping[str, str] | None = None) -> Iterator[None]:
    """Put :func:`clean_env` in place of this process's environment while the block runs."""
    before, frozen = dict(os.environ), clean_env(extra)
    os.environ.clear()
    os.environ.update(frozen)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_app(
    make_app: Callable[[], Any],
    script: Callable[[Any, Any], Awaitable[T]],
    *,
    size: tuple[int, int] = (80, 24),
    env: Mapping[str, str] | None = None,
) -> T:
    """Run ``make_app()`` headless at ``size`` and return what ``script(app, pilot)`` returns.

    The app is made inside the frozen environment; animations are off. An exception in the app or in
    the script fails the test.
    """

    async def go() -> T:
        app = make_app()
        with exact(app):
            async with app.run_test(size=size) as pilot:
                app.animation_level = "none"
                await pilot.pause()
                return await script(app, pilot)

    with frozen_env(env):
        return asyncio.run(go())


def screen_strips(app: Any) -> list[Any]:
    """The screen's lines as Textual strips (the one look into private parts, wrapped here)."""
    from textual._context import visible_screen_stack

    visible_screen_stack.set(app._background_screens)
    return list(app.screen._compositor.render_strips())


def screen_lines(app: Any) -> list[str]:
    """What is on the screen now, a string for each line, trailing blanks removed."""
    return [strip.text.rstrip() for strip in screen_strips(app)]


def screen_text(app: Any) -> str:
    """:func:`screen_lines` joined."""
    return "\n".join(screen_lines(app))


def screen_styles(app: Any, y: int) -> list[tuple[str, str]]:
    """``(text, str(rich style))`` runs of line ``y``: for the few colour-critical checks."""
    strip = screen_strips(app)[y]
    return [(segment.text, str(segment.style)) for segment in strip]


async def until(pilot: Any, condition: Callable[[], bool], deadline_s: float = 5.0) -> None:
    """Let the app run until ``condition()``; AssertionError with the screen when it never holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not reached in {deadline_s} s; screen:\n{screen_text(pilot.app)}")
        await pilot.pause(0.01)


def check_golden(name: str, text: str) -> None:
    """Compare ``text`` with ``tests/golden/NAME.txt``; ``UPDATE_GOLDEN=1`` writes it instead."""
    path = GOLDEN_DIR / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
        return
    assert path.exists(), f"no golden {path.name}; run once with UPDATE_GOLDEN=1 and look at it"
    assert text + "\n" == path.read_text(encoding="utf-8"), f"{path.name} differs; now:\n{text}"


# pyte knows neither the kitty keyboard sequences nor DECRQM; both would print letters.
_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[[<>=][0-9;:]*[a-zA-Z]|\x1b\[\??[0-9;]*\$[a-zA-Z]")
_PARTIAL = re.compile(rb"\x1b(?:\[[?<>=]?[0-9;:$]*)?\Z")
_MODE = re.compile(rb"\x1b\[\?([0-9;]+)([hl])|\x1b\[([<>])[0-9;]*u")


class _Answering(pyte.Screen):
    """A screen that answers the program's questions, as a terminal does."""

    def __init__(self, width: int, height: int, answer: Callable[[bytes], None]) -> None:
        self._answer = answer
        super().__init__(width, height)

    def write_process_input(self, data: str) -> None:
        self._answer(data.encode())


class PtyRun:
    """A command in a pty of its own session, read by a thread into a pyte screen.

    ``with PtyRun([sys.executable, "-m", "nimify_tui"], width=120, height=40) as tty: ...``

    argv/env/cwd: the command; env is given to :func:`clean_env` (so the rest is frozen).
    rate_bytes_s: read no faster than this, as a slow line would.
    sync: answer the query for synchronised output (mode 2026) as a modern terminal does.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        width: int = 80,
        height: int = 24,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        rate_bytes_s: float | None = None,
        sync: bool = False,
    ) -> None:
        self.rate_bytes_s = rate_bytes_s
        self.total_bytes = 0
        self.raw = bytearray()
        self.modes: dict[str, bool] = {}
        self._sync = sync
        self._held = b""
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._last_at = time.monotonic()
        self.screen = _Answering(width, height, self._write)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        self._set_size(width, height)
        self.termios_before = termios.tcgetattr(self._master)
        self.process = subprocess.Popen(
            list(argv),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd or REPO,
            env=clean_env(env),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # the pty becomes its terminal
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, name="pty-reader", daemon=True)
        self._reader.start()

    # -- reading -----------------------------------------------------------------------------
    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                ready, _, _ = select.select([self._master], [], [], 0.1)
                if not ready:
                    continue
                rate = self.rate_bytes_s
                data = os.read(self._master, 65536 if rate is None else max(64, int(rate / 20)))
            except (OSError, ValueError):  # the other side is gone, or hang_up() closed ours
                break
            if not data:
                break
            if rate is not None:  # what has come has been on its way for that long
                self._stop.wait(len(data) / rate)
            self._feed(data)
        with self._changed:
            self._changed.notify_all()

    def _feed(self, data: bytes) -> None:
        with self._changed:
            self.total_bytes += len(data)
            self.raw += data
            del self.raw[:-4_000_000]
            self._last_at = time.monotonic()
            data = self._held + data
            self._held = b""
            if (partial := _PARTIAL.search(data)) is not None:
                self._held = data[partial.start() :]
                data = data[: partial.start()]
            for numbers, letter, kitty in _MODE.findall(data):
                if kitty:
                    self.modes["kitty"] = kitty == b">"
                for number in numbers.split(b";") if numbers else ():
                    self.modes[number.decode()] = letter == b"h"
            if self._sync and b"\x1b[?2026$p" in data:
                self._write(b"\x1b[?2026;2$y")
            self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", data))
            self._changed.notify_all()

    def _set_size(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    # -- looking -----------------------------------------------------------------------------
    def lines(self) -> list[str]:
        """The screen's lines, trailing blanks removed."""
        with self._changed:
            return [line.rstrip() for line in self.screen.display]

    def text(self) -> str:
        """The whole screen as one string."""
        return "\n".join(self.lines())

    def cell(self, x: int, y: int) -> Any:
        """pyte's cell (``data``, ``fg``, ``bg``, ``reverse`` ...) at column ``x``, line ``y``."""
        with self._changed:
            return self.screen.buffer[y][x]

    def columns(self, y: int, first: int, last: int) -> str:
        """Line ``y`` from column ``first`` up to ``last`` (a wide character takes two columns)."""
        with self._changed:
            return "".join(self.screen.buffer[y][x].data for x in range(first, last))

    def wait(self, condition: Callable[[str], bool], deadline_s: float = 10.0, why: str = "") -> str:
        """Wait until ``condition(screen text)`` holds and return that text, else AssertionError."""
        end = time.monotonic() + deadline_s
        while True:
            text = self.text()
            if condition(text):
                return text
            left = end - time.monotonic()
            if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                state = f"exit {self.process.returncode}" if self.process.poll() is not None else "running"
                raise AssertionError(f"{why or 'condition'} not met in {deadline_s} s ({state}); screen:\n{text}")
            with self._changed:
                self._changed.wait(min(left, 0.1))

    def wait_text(self, needle: str, deadline_s: float = 10.0) -> str:
        """Wait until ``needle`` is on the screen."""
        return self.wait(lambda text: needle in text, deadline_s, f"{needle!r} on screen")

    def wait_gone(self, needle: str, deadline_s: float = 10.0) -> str:
        """Wait until ``needle`` is no longer on the screen."""
        return self.wait(lambda text: needle not in text, deadline_s, f"{needle!r} gone")

    def wait_quiet(self, quiet_s: float = 0.3, deadline_s: float = 10.0) -> None:
        """Wait until nothing was written for ``quiet_s``."""
        end = time.monotonic() + deadline_s
        while time.monotonic() - self._last_at < quiet_s:
            if time.monotonic() > end:
                raise AssertionError(f"still writing after {deadline_s} s; screen:\n{self.text()}")
            with self._changed:
                self._changed.wait(quiet_s / 4)

    def bytes_during(self, seconds: float) -> int:
        """How many bytes arrive in the next ``seconds``."""
        before = self.total_bytes
        self._stop.wait(seconds)
        return self.total_bytes - before

    # -- acting ------------------------------------------------------------------------------
    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]

    def send(self, text: str | bytes) -> None:
        """Type ``text`` as it is."""
        self._write(text.encode() if isinstance(text, str) else text)

    def press(self, *keys: str) -> None:
        """Press keys by Textual's names (``"enter"``, ``"ctrl+u"``) or single characters."""
        for key in keys:
            self._write(KEY_BYTES.get(key, key.encode()))

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size (the process gets SIGWINCH)."""
        with self._changed:
            self.screen.resize(height, width)
            self._set_size(width, height)

    def signal(self, number: int) -> None:
        """Send a signal to the process (to it alone)."""
        os.kill(self.process.pid, number)

    def hang_up(self) -> None:
        """Close the terminal as a dropped session does; nothing can be read afterwards."""
        self._stop.set()
        self._reader.join(timeout=5)
        os.close(self._master)
        self._master = -1

    def wait_exit(self, deadline_s: float = 10.0) -> int:
        """Wait for the end of the process; its return code (negative: the signal that killed it)."""
        try:
            code = self.process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {deadline_s} s; screen:\n{self.text()}") from None
        if not self._stop.is_set():
            self._reader.join(timeout=5)
        return code

    def restored(self) -> bool:
        """Whether the terminal is as before: no alternate screen, mouse, kitty keys; cursor; termios."""
        on = [m for m in ("1049", "1000", "1003", "1006", "1004", "2004", "2048", "kitty") if self.modes.get(m)]
        cursor_hidden = self.modes.get("25") is False
        same = termios.tcgetattr(self._master)[:4] == self.termios_before[:4]
        return not on and not cursor_hidden and same

    def close(self) -> None:
        """End the process (and its group) and free the pty; safe to call again."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=10)
        self._stop.set()
        self._reader.join(timeout=5)
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def __enter__(self) -> PtyRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
