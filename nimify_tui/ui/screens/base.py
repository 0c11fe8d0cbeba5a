"""What all full screens share: keys from the command table, the prompt, the footer, panes in boxes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from nimify_tui.fleet.frames import Frame
from nimify_tui.ui import commands
from nimify_tui.ui.commands import Command, Scope
from nimify_tui.ui.present.foot import footer_spans, notice_spans
from nimify_tui.ui.present.layout import Box
from nimify_tui.ui.widgets.dialog import Floating
from nimify_tui.ui.widgets.prompt import Prompt
from nimify_tui.ui.widgets.textline import StatusLine

if TYPE_CHECKING:
    from nimify_tui.ui.console import ConsoleApp
    from nimify_tui.ui.screens.changing import Changing

Deed = Callable[[str], None]
#: Lines of the command prompt: the input and its suggestions.
_COMMAND_LINES = 7


def bindings_for(*scopes: Scope) -> list[BindingType]:
    """Bindings of the commands of some scopes; each runs through :meth:`ConsoleScreen.action_run`."""
    return [
        Binding(",".join(each.keys), f"run('{each.id}')", each.title, show=False, id=each.id)
        for each in commands.of_scopes(scopes)
        if each.keys and each.bound
    ]


class ConsoleScreen(Screen[Any]):
    """Base of the full screens. Subclasses give :meth:`deeds`, :meth:`show` and :meth:`boxes`."""

    AUTO_FOCUS: ClassVar[str | None] = None
    #: The scopes of this screen, its own first.
    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.GLOBAL,)
    #: The changes that the screen offers, if it offers any.
    changing: Changing | None = None

    def __init__(self) -> None:
        super().__init__()
        self._asked: Deed | None = None
        self._changed: Deed | None = None
        self._given_up: Callable[[], None] | None = None
        self._focus_before: Widget | None = None
        self._deeds: Mapping[str, Deed] = {}
        self.footer_line = StatusLine(id="footer")
        self.prompt = ScreenPrompt(self._prompt_said)

    # -- given by the screen -----------------------------------------------------------------
    def deeds(self) -> Mapping[str, Deed]:
        """What each command of this screen does, by the part of its id after the dot."""
        return {}

    def show(self, frame: Frame, now: float) -> None:
        """Show a new frame; ``now`` is whole unix seconds."""

    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """Where each pane stands, by widget id."""
        return {}

    def go_back(self) -> bool:
        """One step back inside the screen; False when there is none."""
        return False

    def summary_lines(self) -> list[str]:
        """What is on the screen as plain text lines."""
        return []

    def active_scopes(self) -> tuple[Scope, ...]:
        """Scopes whose commands work at the moment, own first."""
        return self.SCOPES

    # -- what it gets ------------------------------------------------------------------------
    @property
    def console_app(self) -> ConsoleApp:
        """The app, typed."""
        from nimify_tui.ui.console import ConsoleApp

        assert isinstance(self.app, ConsoleApp)
        return self.app

    def on_mount(self) -> None:
        """Give panes their boxes and show what is known: the first frame already helps."""
        self._deeds = self.deeds()
        self.prompt.display = False
        self.place_panes()
        app = self.console_app
        self.show(app.context.frame, app.now)
        self.show_footer()

    def on_resize(self, _: Resize) -> None:
        """New size, new boxes."""
        self.place_panes()
        app = self.console_app
        self.show(app.context.frame, app.now)
        self.show_footer()

    def on_screen_suspend(self) -> None:
        """Something floats above, or covers all."""
        self.show_footer()

    def on_screen_resume(self) -> None:
        """The keys are this screen's again."""
        self.show_footer()

    def place_panes(self) -> None:
        """Place every pane by :meth:`boxes`; panes without a box are hidden."""
        width, height = self.app.size
        boxes = dict(self.boxes(width, height))
        boxes.setdefault("footer", Box(0, height - 1, width, 1))
        for child in self.children:
            if child.id == "prompt" or child.id is None:
                continue
            box = boxes.get(child.id)
            child.display = box is not None
            if box is not None:
                child.styles.width, child.styles.height = box.width, box.height
                child.styles.offset = (box.x, box.y)
        self._place_prompt()

    def _place_prompt(self) -> None:
        width, height = self.app.size
        lines = min(_COMMAND_LINES, max(1, height - 2)) if self.prompt.prefix == ":" else 1
        self.prompt.styles.width, self.prompt.styles.height = width, lines
        self.prompt.styles.offset = (0, height - lines)

    # -- footer ------------------------------------------------------------------------------
    def show_footer(self) -> None:
        """Keys, or what there is to say."""
        app = self.console_app
        notice = app.current_notice()
        if notice is not None:
            self.footer_line.set_spans(notice_spans(*notice))
            return
        if isinstance(self.app.screen, Floating):
            self.footer_line.set_spans(())  # what floats takes every key, and says which
            return
        width = self.app.size.width
        self.footer_line.set_spans(footer_spans(self.footer_commands(), width, self.refusal, app.glyphs))

    def footer_commands(self) -> Sequence[Command]:
        """What the footer offers, most useful first."""
        return commands.footer(self.active_scopes())

    # -- commands ----------------------------------------------------------------------------
    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of scopes that do not work at the moment are no keys."""
        if action != "run" or not parameters:
            return True
        if self.prompting:
            return False
        return commands.by_id(str(parameters[0])).scope in self.active_scopes()

    def action_run(self, command_id: str) -> None:
        """Run a command by its id (from a key)."""
        self.run_command(commands.by_id(command_id), "")

    def run_command(self, command: Command, argument: str) -> None:
        """Run a command, or say why not. The one way from keys, ``:``, and the palette."""
        reason = self.refusal(command)
        if reason:
            self.console_app.say(reason, "warn")
            return
        name = command.id.partition(".")[2]
        deed = (
            self.console_app.global_deeds.get(name)
            if command.scope is Scope.GLOBAL
            else self._deeds.get(name)
        )
        if deed is None:
            self.console_app.say(f"{command.title}: its key works on the list itself", "dim")
            return
        self.console_app.clear_notice()
        deed(argument)

    def refusal(self, command: Command) -> str:
        """Why a command cannot be run now, "" when it can."""
        if not command.changes:
            return ""
        reason = self.console_app.change_refusal()
        return reason or (self.changing.refusal(command) if self.changing is not None else "")

    def run_line(self, line: str) -> None:
        """Run what was typed after ``:``."""
        words = _split(line)
        if not words:
            return
        command = commands.find(words[0], self.active_scopes())
        if command is None:
            near = commands.nearest(words[0], self.active_scopes())
            hint = f"; did you mean :{near}?" if near else "; ? lists all"
            self.console_app.say(f"no command :{words[0]}{hint}", "warn")
            return
        typed = line.strip().partition(" ")[2].strip()
        self.run_command(command, typed if command.verbatim else " ".join(words[1:]))

    def complete(self, line: str) -> Sequence[str]:
        """Suggestions for the command prompt."""
        word, blank, rest = line.partition(" ")
        if not blank:
            every = sorted(commands.words(self.active_scopes()))
            return [each for each in every if each.startswith(word.lower())]
        command = commands.find(word, self.active_scopes())
        values = self.values_for(command) if command is not None else ()
        return [f"{word} {each}" for each in values if each.startswith(rest)]

    def values_for(self, command: Command) -> Iterable[str]:
        """Values that may follow a command."""
        return self.console_app.values_for(command)

    # -- prompt ------------------------------------------------------------------------------
    @property
    def prompting(self) -> bool:
        """Whether the prompt is open (orders are frozen then)."""
        return self._asked is not None

    def ask(
        self,
        prefix: str,
        done: Deed,
        *,
        value: str = "",
        hint: str = "",
        changed: Deed | None = None,
        cancelled: Callable[[], None] | None = None,
    ) -> None:
        """Open the prompt; ``done`` gets what is submitted."""
        self._focus_before = self.focused
        self._asked, self._changed, self._given_up = done, changed, cancelled
        self.prompt.prefix = prefix
        self._place_prompt()
        self.prompt.display = True
        self.prompt.start(prefix, value, suggest=self.complete if prefix == ":" else None, hint=hint)
        self.prompt_opened()

    def prompt_opened(self) -> None:
        """The prompt was opened: freeze orders."""

    def prompt_closed(self) -> None:
        """The prompt was closed: thaw orders."""

    def _close_prompt(self) -> None:
        self._asked = self._changed = self._given_up = None
        self.prompt.display = False
        if self._focus_before is not None and self._focus_before.is_attached:
            self.set_focus(self._focus_before)
        self.prompt_closed()

    def _prompt_said(self, message: Message) -> None:
        """What the prompt has to tell, at once: the next key may have been typed already."""
        if isinstance(message, Prompt.Changed):
            if self._changed is not None:
                self._changed(message.value)
            return
        deed, given_up = self._asked, self._given_up
        self._close_prompt()
        if isinstance(message, Prompt.Submitted):
            if deed is not None:
                deed(message.value)
        elif given_up is not None:
            given_up()


class ScreenPrompt(Prompt):
    """The prompt of a screen; it tells ``said`` directly instead of posting messages."""

    def __init__(self, said: Callable[[Message], None], *, id: str = "prompt") -> None:  # noqa: A002 - Textual's own parameter name
        super().__init__(id=id)
        self._said = said

    def focus(self, scroll_visible: bool = True) -> Self:
        """Take the focus now: a later turn could come after the prompt is closed again (typed in one burst),
        and a hidden prompt with the focus swallows every letter.
        """
        self.screen.set_focus(self, scroll_visible=scroll_visible)
        return self

    def post_message(self, message: Message) -> bool:
        """Its own messages are for its screen alone."""
        if isinstance(message, Prompt.Changed | Prompt.Submitted | Prompt.Cancelled):
            self._said(message)
            return True
        return super().post_message(message)


def _split(line: str) -> list[str]:
    """Words of a command line; an open quote is a letter like any other."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
