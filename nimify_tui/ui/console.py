"""ConsoleApp: the screens in a terminal, fed by a ConsoleContext at the terminal's own pace."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.events import Event, Key, Paste
from textual.screen import Screen
from textual.timer import Timer

from nimify_tui.domain.regions import RegionState
from nimify_tui.ui.acting import Acting
from nimify_tui.ui.commands import Command
from nimify_tui.ui.context import ConsoleContext
from nimify_tui.ui.frugal import FrugalApp
from nimify_tui.ui.handing import hand_over
from nimify_tui.ui.live import Live
from nimify_tui.ui.present.head import HeadFacts, all_demo, mode_word
from nimify_tui.ui.present.services import SORTS
from nimify_tui.ui.present.timerange import RANGES
from nimify_tui.ui.screens.base import ConsoleScreen
from nimify_tui.ui.screens.fleet import FleetScreen
from nimify_tui.ui.terminal import TerminalProfile
from nimify_tui.ui.theme import THEME_NAMES, style_path
from nimify_tui.ui.widgets.dialog import Dialog, Floating
from nimify_tui.ui.wishes import SOAK, STOP_FIRST

if TYPE_CHECKING:
    from nimify_tui.fleet.frames import Frame

#: A message stays this long (seconds) when no key is pressed.
NOTICE_S = 12.0
#: A region that is connecting is about to show its first rows: so often is looked for them, and for so long, seconds.
EAGER_S, EAGER_FOR_S = 0.02, 5.0
#: A key waits at most so long (seconds) for the screen that the key before it opened.
SCREEN_S = 2.0


class ConsoleApp(FrugalApp, inherit_bindings=False):
    """The console. ``context`` is everything it knows of the world; ``open_service``: ``SERVICE[@REGION]``."""

    CSS_PATH = [
        style_path(name)
        for name in ("base.tcss", "widgets.tcss", "fleet.tcss", "detail.tcss", "wizard.tcss", "dialogs.tcss")
    ]
    BINDINGS: ClassVar[list[BindingType]] = []
    TITLE = "nimify-tui"

    def __init__(
        self,
        context: ConsoleContext,
        profile: TerminalProfile | None = None,
        *,
        theme: str = "nimify-dark",
        open_service: str = "",
        config_path: str = "",
    ) -> None:
        self.context, self.config_path = context, config_path
        super().__init__(profile, theme=theme)
        self.acting = Acting(self)
        self.live = Live(self)
        self._open_service = open_service
        self._shown: tuple[Frame | None, float] = (None, -1.0)
        self._notice: tuple[str, str, str] | None = None
        self._notice_until_mono_s = 0.0
        self._footer_shown: object = None
        self._quit_asked = False
        #: Lines for the terminal after the screen is gone (the wizard's command line).
        self.farewell: list[str] = []
        self._drain_timer: Timer | None = None
        self._eager_until_mono_s = 0.0
        self.global_deeds: Mapping[str, Callable[[str], None]] = {
            "command": lambda _: self.top.ask(":", self.top.run_line, hint="tab completes"),
            "help": lambda _: self._help(),
            "palette": lambda _: self._palette(),
            "copy": self._copy,
            "actions": lambda _: self._actions(),
            "cancel": lambda _: self.acting.cancel(),
            "forwards": lambda _: self._over("forwards"),
            "alerts": lambda _: self._over("alerts"),
            "gpus": lambda _: self._over("gpus"),
            "theme": self._theme,
            "redraw": lambda _: self.redraw(forget=True),
            "login": self._login,
            "reconnect": self._reconnect,
            "back": lambda _: self.go_back(),
            "quit": lambda _: self._quit(),
        }

    # -- keys --------------------------------------------------------------------------------
    async def on_event(self, event: Event) -> None:
        """Keys one after the other, each done before the next: what is typed ahead is not lost.

        Textual hands a key to the widget that has the focus when the key comes in; after ``:`` the
        prompt has it only a few messages later, and a fast hand (or a slow line) is faster than that.
        """
        if isinstance(event, Key) and not event.is_forwarded:
            await self._key(event)
            return
        if isinstance(event, Paste) and not event.is_forwarded and isinstance(self.screen, ConsoleScreen):
            self._pasted(self.screen, event)
            return
        await super().on_event(event)

    async def _key(self, event: Key) -> None:
        screen = await self._screen_there()
        if isinstance(screen, Floating):
            screen.take_key(event)
        elif not isinstance(screen, ConsoleScreen) or not screen.is_mounted:
            await super().on_event(event)
        elif screen.prompting:
            screen.prompt.on_key(event)
        elif not await self._check_bindings(event.key, priority=True):
            await self._check_bindings(event.key)

    async def _screen_there(self) -> Screen[object]:
        """The uppermost screen, once it has its widgets: the key before may have opened it."""
        screen, end = self.screen, time.monotonic() + SCREEN_S
        while not screen.is_mounted and time.monotonic() < end:  # noqa: ASYNC110 - Textual's event for it is private
            await asyncio.sleep(0)
        return screen

    def _pasted(self, screen: ConsoleScreen, event: Paste) -> None:
        """What a terminal marks as pasted goes into an open prompt; a clipboard never presses keys."""
        if screen.prompting:
            screen.prompt.on_paste(event)
        else:
            self.say("pasted text is no command: open / or : first, then paste", "dim")

    # -- time and frames ---------------------------------------------------------------------
    @property
    def now(self) -> float:
        """Whole unix seconds: the one tick that all ages share."""
        return float(math.floor(self.context.clock.now()))

    @property
    def top(self) -> ConsoleScreen:
        """The uppermost full screen (dialogs float over it)."""
        return next(each for each in reversed(self.screen_stack) if isinstance(each, ConsoleScreen))

    def get_default_screen(self) -> Screen[object]:
        """The fleet is what one sees first."""
        return FleetScreen()

    def on_mount(self) -> None:
        """Begin to take frames."""
        self._pace()
        self._eager_until_mono_s = time.monotonic() + EAGER_FOR_S
        self._look_for_rows()
        self.set_interval(1.0, self._sample, name="line")
        self.acting.look_for_unfinished()
        self._open_wanted()

    def _pace(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.stop()
        self._drain_timer = self.set_interval(self.line.interval_s, self.drain, name="drain")

    def _sample(self) -> None:
        if self.sample_line():
            self._pace()
            self.refresh_screens()

    def drain(self) -> None:
        """Take the newest frame if there is one; nothing new costs nothing."""
        if not any(isinstance(each, ConsoleScreen) for each in self.screen_stack):
            return  # the app ends, or has only begun
        frame, now = self.context.frame, self.now
        if self._shown[0] is not frame or self._shown[1] != now:
            self._shown = (frame, now)
            self._show(frame, now)
            if self._open_service:
                self._open_wanted()
        footer = self.current_notice()
        if footer != self._footer_shown:
            self._footer_shown = footer
            self.top.show_footer()

    def _look_for_rows(self) -> None:
        """Show the first rows of a region when they are there, not when it is time for the next frame.

        By the loop's own timer: one of Textual's would be a message to the app fifty times a second.
        """
        if not self.is_running:
            return
        frame, shown = self.context.frame, self._shown[0]
        if len(frame.rows) > (len(shown.rows) if shown is not None else 0):
            self.call_next(self.drain)
        connecting = any(each.health.state is RegionState.CONNECTING for each in frame.regions)
        if connecting and time.monotonic() < self._eager_until_mono_s:
            asyncio.get_running_loop().call_later(EAGER_S, self._look_for_rows)

    def refresh_screens(self) -> None:
        """Show the newest frame again on what can be seen."""
        self._show(self.context.frame, self.now)

    def _show(self, frame: Frame, now: float) -> None:
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ConsoleScreen):
                screen.show(frame, now)
                return

    def head_facts(self) -> HeadFacts:
        """What the status line says besides the frame."""
        context = self.context
        regions = context.frame.regions
        writable = sum(context.may_change(each.region.name).allowed for each in regions)
        mode = mode_word(context.read_only, writable, len(regions))
        return HeadFacts(now=self.now, actor=context.actor, mode=mode, note=self.line.text)

    def change_refusal(self) -> str:
        """Why nothing can be changed from here, "" when something can. The gate decides again for each plan."""
        context = self.context
        verdicts = [context.may_change(each.region.name) for each in context.frame.regions]
        if any(each.allowed for each in verdicts):
            return ""
        if context.read_only or not verdicts:
            return "read-only: nothing is changed from here" if context.read_only else ""
        first = verdicts[0]
        return f"{first.reason}; {first.remedy}" if first.remedy else first.reason

    # -- messages ----------------------------------------------------------------------------
    def say(self, text: str, style: str = "", hint: str = "") -> None:
        """Tell the operator something in the footer's place, until a key or some seconds later."""
        self._notice = (text, style, hint)
        self._notice_until_mono_s = self.context.clock.mono_s() + NOTICE_S
        if self.is_mounted_and_running():
            self.top.show_footer()

    def is_mounted_and_running(self) -> bool:
        """Whether there is a screen to say something on."""
        return self.is_running and any(isinstance(each, ConsoleScreen) for each in self.screen_stack)

    def clear_notice(self) -> None:
        """The message was seen."""
        if self._notice is not None:
            self._notice = None
            if self.is_mounted_and_running():
                self.top.show_footer()

    def current_notice(self) -> tuple[str, str, str] | None:
        """(text, style, hint) of what stands in the footer's place now."""
        if self._notice is not None and self.context.clock.mono_s() >= self._notice_until_mono_s:
            self._notice = None
        if (line := self.acting.progress_line()) and (self._notice is None or self._notice[1] in ("", "dim")):
            return (line, "start", "X stops it")
        return self._notice

    # -- global commands ---------------------------------------------------------------------
    def go_back(self) -> None:
        """One step back; on the fleet screen there is none, and nothing ends."""
        if self.top.go_back():
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()
            self.top.show(self.context.frame, self.now)
            self.top.show_footer()
            return
        ends = "the demo with it" if all_demo(self.context.frame) else "what runs goes on"
        self.say(f"this is the fleet; ctrl+c or :q ends the console, {ends}", "dim")

    def _quit(self) -> None:
        if self.acting.running and not self._quit_asked:
            self._quit_asked = True
            self.say(
                "an action is running; ctrl+c again leaves it, and it will be listed as unfinished", "warn"
            )
            return
        self.exit(return_code=0)

    def _help(self) -> None:
        from nimify_tui.ui.present.help import help_lines

        width = min(110, self.size.width - 2)
        lines = help_lines(self.top.active_scopes(), self.glyphs, self.top.refusal, width - 4)
        self.push_screen(Dialog("help", lines, ask="none", hint="esc closes, down scrolls", width=width))

    def _palette(self) -> None:
        from nimify_tui.ui.screens.palette import PaletteScreen

        self.push_screen(PaletteScreen(self.top))

    def _actions(self) -> None:
        from nimify_tui.ui.screens.unfinished import UnfinishedScreen

        if not isinstance(self.top, UnfinishedScreen):
            self.push_screen(UnfinishedScreen())

    def _login(self, region: str) -> None:
        from nimify_tui.ui.aside import login

        login(self, region)

    def _reconnect(self, region: str) -> None:
        from nimify_tui.ui.aside import reconnect

        reconnect(self, region)

    def _over(self, name: str) -> None:
        from nimify_tui.ui.screens.over import screen_over

        screen = screen_over(name)
        if not isinstance(self.top, screen):
            self.push_screen(screen())

    def _theme(self, name: str) -> None:
        wanted = f"nimify-{name.strip()}"
        if wanted not in THEME_NAMES:
            self.say(f"no theme {name!r}; there are {', '.join(_theme_words())}", "warn")
            return
        self.theme = wanted

    def _copy(self, path: str) -> None:
        hand_over(self, self.top.summary_lines(), path, again="write")

    def values_for(self, command: Command) -> Iterable[str]:
        """Values that may follow a ``:`` command."""
        match command.id:
            case "global.login" | "global.reconnect":
                return sorted(each.region.name for each in self.context.frame.regions)
            case "global.theme":
                return _theme_words()
            case "fleet.chart" | "detail.chart" | "chart.range":
                return tuple(RANGES)
            case "fleet.sort-worst":
                return SORTS
            case "fleet.open":
                return sorted({row.name for row in self.context.frame.rows.values()})
            case "fleet.restart" | "detail.restart" | "fleet.rollback" | "detail.rollback":
                return (STOP_FIRST, f"{SOAK} 5m", f"{STOP_FIRST} {SOAK} 5m")
            case _:
                return ()

    # -- opening -----------------------------------------------------------------------------
    def _open_wanted(self) -> None:
        """Open the service named on the command line as soon as it is known."""
        wanted = self._open_service
        if wanted and self.open_named(wanted, quiet=True):
            self._open_service = ""

    def open_named(self, wanted: str, *, quiet: bool = False) -> bool:
        """Open the detail of ``SERVICE`` or ``SERVICE@REGION``; False when it is not there."""
        rows = self.context.frame.rows
        name, _, region = wanted.partition("@")
        for row_id in (wanted, name):
            row = rows.get(row_id)
            if row is not None and (not region or row.region_states[0][0] == region or row_id == wanted):
                self.open_detail(row_id)
                return True
        if not quiet:
            self.say(f"no service {wanted!r} here", "warn")
        return False

    def open_detail(self, row_id: str, tab: int = 1) -> None:
        """Open a row's detail on a tab."""
        from nimify_tui.ui.screens.detail import DetailScreen

        if isinstance(self.top, DetailScreen):
            self.pop_screen()
        self.push_screen(DetailScreen(row_id, tab))

    def open_chart(self, row_id: str, wanted: str = "") -> None:
        """Open a row's chart, of a range when one is named."""
        from nimify_tui.ui.screens.chart import ChartScreen

        if wanted and wanted not in RANGES:
            self.say(f"no range {wanted!r}; there are {', '.join(RANGES)}", "warn")
            return
        self.push_screen(ChartScreen(row_id, wanted))

    def open_wizard(self, path: str = "") -> None:
        """Open the wizard, at a model file when one is named."""
        from nimify_tui.ui.screens.wizard import WizardScreen

        self.push_screen(WizardScreen(path))


def _theme_words() -> list[str]:
    return [name.removeprefix("nimify-") for name in THEME_NAMES]
