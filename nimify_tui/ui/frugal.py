"""The App every screen runs in: frames go through :class:`FrameEncoder`, a slow line drops frames
instead of blocking, signals and a lost terminal end it cleanly.

``class NimifyApp(FrugalApp): ...`` and ``NimifyApp(profile=probe()).run(mouse=False)``; afterwards
``sys.exit(app.return_code)``.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from io import TextIOWrapper
from typing import IO, Any, ClassVar, cast

from rich.color import Color, ColorType
from rich.palette import Palette
from rich.segment import Segment
from rich.style import Style
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.color import Color as TextualColor
from textual.drivers.linux_driver import LinuxDriver
from textual.events import CursorPosition
from textual.filter import LineFilter
from textual.message import Message
from textual.screen import Screen

from nimify_tui.ui import theme as themes
from nimify_tui.ui.frame import FrameEncoder
from nimify_tui.ui.glyphs import Glyphs
from nimify_tui.ui.keyboard import read_keys
from nimify_tui.ui.terminal import FlowControl, SlowLine, TerminalProfile, probe

#: A frame is put off while an earlier one has been on its way for this long (seconds).
BACKLOG_S = 0.05
RETRY_S = 0.02
#: After a signal the loop gets this long to end by itself; then the terminal is restored by force.
EXIT_GRACE_S = 3.0
#: How long to wait at the end for the terminal's last answers, seconds.
ANSWER_GRACE_S = 0.3
_RESTORE = b"\x1b[?2004l\x1b[?1000l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[m"


@lru_cache(1)
def _palette() -> Palette:
    from rich._palettes import EIGHT_BIT_PALETTE

    return EIGHT_BIT_PALETTE


@lru_cache(4096)
def nearest_256(color: Color | None) -> Color | None:
    """The 256-colour image of a colour by perceptual distance (Rich's own rounding turns greys navy)."""
    if color is None or color.type is not ColorType.TRUECOLOR or color.triplet is None:
        return color
    return Color.from_ansi(_palette().match(color.triplet))


@lru_cache(4096)
def _style_256(style: Style) -> Style:
    return style + Style.from_color(nearest_256(style.color), nearest_256(style.bgcolor))


class Perceptual256(LineFilter):
    """Line filter for 256-colour terminals."""

    def apply(self, segments: list[Segment], background: TextualColor) -> list[Segment]:
        """Replace true colours by the nearest palette entry."""
        return [Segment(text, None if style is None else _style_256(style), c) for text, style, c in segments]


class MeteredFile:
    """The terminal's output with a meter: bytes sent, and since when a write has been on its way.

    Written to by the driver's writer thread, read by the UI loop (single attributes, no lock needed).
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.bytes_written = 0
        self.busy_since_mono_s: float | None = None
        self.busy_total_s = 0.0
        self.gone = False

    def write(self, text: str) -> int:
        """Write; once the terminal is gone, drop (the watchdog sees ``gone`` and ends the program)."""
        if self.gone:
            return len(text)
        if self.busy_since_mono_s is None:
            self.busy_since_mono_s = time.monotonic()
        self.bytes_written += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        try:
            return self._file.write(text)
        except OSError:
            self.gone = True
            return len(text)

    def flush(self) -> None:
        """Flush; the line is free again when this returns."""
        try:
            if not self.gone:
                self._file.flush()
        except OSError:
            self.gone = True
        if (since := self.busy_since_mono_s) is not None:
            self.busy_total_s += time.monotonic() - since
            self.busy_since_mono_s = None

    def blocked_s(self) -> float:
        """For how long the bytes now on their way have been, seconds; 0 when the line is free."""
        since = self.busy_since_mono_s
        return 0.0 if since is None else time.monotonic() - since

    def isatty(self) -> bool:
        """It is the terminal."""
        return True

    def fileno(self) -> int:
        """The terminal's descriptor."""
        return self._file.fileno()


class MeteredDriver(LinuxDriver):
    """Textual's driver, its output through a :class:`MeteredFile`."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        assert self._file is not None, "probe() refuses to start without a standard error"
        self.meter = MeteredFile(self._file)
        self._file = cast("TextIOWrapper", self.meter)  # only write, flush and fileno are used of it

    def start_application_mode(self) -> None:
        """Start, or start again after a suspension: the terminal shows nothing of ours.

        Continued without having been suspended by us (SIGSTOP from outside; a terminal that hangs up), what runs
        is ended first, and what the terminal was like before us is not forgotten.
        """
        if isinstance(self._app, FrugalApp):
            if self._app.ending:
                return
            self._app.encoder.reset()
            self._app.flow.forget()
        before = None
        if self._key_thread is not None and self._key_thread.is_alive():
            before = self.attrs_before
            self.disable_input()
            super().close()
        super().start_application_mode()  # type: ignore[no-untyped-call]  # LinuxDriver is not annotated
        if before is not None:
            self.attrs_before = before

    def run_input_thread(self) -> None:
        """Read keys with a parser that never takes an escape and the key behind it for one."""
        read_keys(self.fileno, self.exit_event, self.process_message)

    def process_message(self, message: Message) -> None:
        """Take the answers to our flow control's questions; runs in the input thread."""
        if isinstance(message, CursorPosition) and isinstance(self._app, FrugalApp):
            self._app.flow.answered(time.monotonic())
            return
        super().process_message(message)

    def stop_application_mode(self) -> None:
        """Stop; answers still on their way would otherwise be typed into the shell."""
        if isinstance(self._app, FrugalApp):
            self._app.flow.settle(ANSWER_GRACE_S)
        super().stop_application_mode()

    def close(self) -> None:
        """Stop writing; from here on nothing of the terminal can hang, whatever is tidied up takes its time."""
        super().close()
        if isinstance(self._app, FrugalApp):
            self._app.terminal_restored()


class FrugalApp(App[Any]):
    """See the module's text. ``profile``: the probed terminal (probed here when None)."""

    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False

    def __init__(self, profile: TerminalProfile | None = None, *, theme: str = "nimify-dark") -> None:
        self.profile = profile if profile is not None else probe()
        super().__init__(driver_class=MeteredDriver, ansi_color=True if self.profile.ansi_color else None)
        self.encoder = FrameEncoder(ascii_only=not self.profile.utf8, no_color=self.profile.color == "none")
        self.line = SlowLine(self.profile.drain_hz)
        self.flow = FlowControl()
        self.frames_deferred = 0
        self._forced: threading.Timer | None = None
        self._deferred_since_mono_s: float | None = None
        self._deferred_total_s = 0.0
        self._sampled = (time.monotonic(), 0.0)
        if self.profile.color == "256":
            self._filter_256: LineFilter | None = Perceptual256()
        else:
            self._filter_256 = None
        self.animation_level = "none"
        themes.register(self, self.profile.theme(theme))

    @property
    def glyphs(self) -> Glyphs:
        """The symbols of this terminal."""
        return self.profile.glyphs

    @property
    def meter(self) -> MeteredFile | None:
        """The output's meter; None when headless."""
        driver = self._driver
        return driver.meter if isinstance(driver, MeteredDriver) else None

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our semantic variables exist under every theme."""
        return themes.default_variables()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, and ours for 256 colours."""
        filters = list(super().get_line_filters())
        return [*filters, self._filter_256] if self._filter_256 is not None else filters

    # -- frames ------------------------------------------------------------------------------
    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        """Send what differs; put the frame off while the line is still busy with earlier ones."""
        if renderable is None or self._batch_count or self.is_headless or self._driver is None:
            super()._display(screen, renderable)
            return
        if not FrameEncoder.understands(renderable):
            self.encoder.reset()
            super()._display(screen, renderable)
            return
        if self._deferred_since_mono_s is not None or self._line_busy():
            self._defer()
            return
        if not self._running or self._closed:
            return
        text = self.encoder.encode(renderable, self.console._color_system)  # noqa: SLF001 - public only as text
        if screen._compositor.size != self.size:  # noqa: SLF001 - laid out for another size: the terminal wrapped
            self.encoder.reset()  # or cut it, so nobody knows what it shows now
        if text:
            text += self.flow.sent(len(text), time.monotonic())
            super()._display(screen, cast("Any", _Encoded(text)))
        else:
            self.post_display_hook()

    def _line_busy(self) -> bool:
        meter = self.meter
        blocked = meter is not None and not meter.gone and meter.blocked_s() > BACKLOG_S
        return blocked or self.flow.must_wait(time.monotonic())

    def _defer(self) -> None:
        self.frames_deferred += 1
        if self._deferred_since_mono_s is None:
            self._deferred_since_mono_s = time.monotonic()
            self.set_timer(RETRY_S, self._retry)

    def _retry(self) -> None:
        if self._deferred_since_mono_s is None:
            return
        if self._line_busy():
            self.set_timer(RETRY_S, self._retry)
            return
        self._deferred_total_s += time.monotonic() - self._deferred_since_mono_s
        self._deferred_since_mono_s = None
        self.redraw()

    def redraw(self, *, forget: bool = False) -> None:
        """Send the difference between the current screen and the terminal; ``forget``: everything."""
        if forget:
            self.encoder.reset()
        if self.screen_stack:
            screen = self.screen
            compositor = screen._compositor  # noqa: SLF001 - no public way to one whole frame
            update = compositor.render_update(full=True, screen_stack=self._background_screens)
            self._display(screen, update)

    def on_resize(self) -> None:
        """After a resize nobody knows what the terminal shows."""
        self.encoder.reset()

    def sample_line(self) -> bool:
        """Let the governor look at the line (call about once a second); True when the rate changed."""
        now = time.monotonic()
        waited = self._deferred_total_s
        if self._deferred_since_mono_s is not None:
            waited += now - self._deferred_since_mono_s
        at, waited_before = self._sampled
        self._sampled = (now, waited)
        return self.line.sample((waited - waited_before) / max(0.05, now - at), self.flow.rate_bytes_s)

    # -- the end -----------------------------------------------------------------------------
    def on_load(self) -> None:
        """Signals restore the terminal and end with the code shells expect (128 + number)."""
        if self.is_headless:
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, 128 + number)

    def on_mount(self) -> None:
        """Watch whether the terminal is still there."""
        if not self.is_headless:
            self.set_interval(1.0, self._watch_terminal, name="terminal-watch")
            self.app_resume_signal.subscribe(self, self._resumed)

    def _resumed(self, _: object) -> None:
        self.redraw(forget=True)

    def _watch_terminal(self) -> None:
        meter = self.meter
        if (meter is not None and meter.gone) or terminal_gone():
            self._signalled(128 + signal.SIGHUP)

    def _signalled(self, code: int) -> None:
        if self._forced is None:
            self._forced = _force_exit_later(code)
        self.before_exit(code)
        self.exit(return_code=code)

    def terminal_restored(self) -> None:
        """The terminal is as it was: no need to leave by force any more."""
        if self._forced is not None:
            self._forced.cancel()

    @property
    def ending(self) -> bool:
        """Whether the program is on its way out: the terminal is not taken again."""
        return self._exit or self._forced is not None or terminal_gone()

    def before_exit(self, code: int) -> None:
        """Called when a signal or a lost terminal ends the program; override to stop what you started."""


class _Encoded(CompositorUpdate):
    """An update that is text already."""

    def __init__(self, text: str) -> None:
        self._text = text

    def render_segments(self, console: Any) -> str:
        """The text."""
        return self._text


def terminal_gone(fd: int = 0) -> bool:
    """Whether the terminal behind ``fd`` has hung up (a closed pty), without reading from it."""
    poll = select.poll()
    poll.register(fd, 0)
    try:
        return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except OSError:
        return True


def _force_exit_later(code: int, grace_s: float = EXIT_GRACE_S) -> threading.Timer:
    """A loop blocked on a dead line cannot end itself: restore by force and leave."""
    import termios

    try:
        attributes = termios.tcgetattr(0)
    except termios.error:
        attributes = None

    def force() -> None:
        if attributes is not None:
            attributes[3] |= termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN
            attributes[0] |= termios.ICRNL
            try:
                termios.tcsetattr(0, termios.TCSANOW, attributes)
                os.set_blocking(2, False)
                os.write(2, _RESTORE)
            except (OSError, termios.error):
                os._exit(code)
        os._exit(code)

    timer = threading.Timer(grace_s, force)
    timer.daemon = True
    timer.start()
    return timer
