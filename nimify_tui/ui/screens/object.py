"""One object of a cluster, as YAML or in words, with its events below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import ObjectDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.objects import ObjectText
from nimify_tui.fleet.frames import Frame
from nimify_tui.ui import format as fmt
from nimify_tui.ui.commands import Scope
from nimify_tui.ui.present import head
from nimify_tui.ui.present.layout import Box
from nimify_tui.ui.present.objects import EVENT_COLUMNS, event_rows, object_lines
from nimify_tui.ui.screens.base import ConsoleScreen, bindings_for
from nimify_tui.ui.widgets.feed import Feed
from nimify_tui.ui.widgets.logview import LogView
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.textline import StatusLine


class ObjectScreen(ConsoleScreen):
    """``replica`` "" shows the workload of ``key``; ``pod`` is the one that ``o`` goes to from there."""

    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.OBJECT, Scope.LIST, Scope.GLOBAL)
    BINDINGS: ClassVar[list[BindingType]] = bindings_for(Scope.OBJECT, Scope.GLOBAL)

    def __init__(self, key: ServiceKey, replica: str, pod: str, *, describe: bool) -> None:
        super().__init__()
        self._pod = replica or pod
        self._describe = describe
        self._demand = ObjectDemand(key, replica)
        self._shown: tuple[ObjectText | None, bool] | None = None
        self.status = StatusLine(id="status")
        self.title_rule = Rule(id="title-rule")
        self.text = LogView(id="object", empty="being read", levels=False)
        self.events_rule = Rule("events", id="events-rule")
        self.events = Feed(EVENT_COLUMNS, id="object-events", lead=False, header=True, empty="  being read")

    def compose(self) -> ComposeResult:
        """The panes."""
        yield from (self.status, self.title_rule, self.text, self.events_rule, self.events)
        yield from (self.footer_line, self.prompt)

    def on_mount(self) -> None:
        """Begin: ask for it, take the focus."""
        self.console_app.context.demand(self._demand)
        self.set_focus(self.text)

    def on_unmount(self) -> None:
        """Give back what was demanded."""
        self.console_app.context.release(self._demand)

    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """Where each pane stands: the events beside the text where there is room, else below it."""
        room = max(4, height - 3)
        boxes = {"status": Box(0, 0, width, 1), "title-rule": Box(0, 1, width, 1)}
        if width >= 160:
            left = width * 55 // 100
            boxes["title-rule"] = Box(0, 1, left, 1)
            boxes["object"] = Box(0, 2, left, room)
            boxes["events-rule"] = Box(left + 1, 1, width - left - 1, 1)
            boxes["object-events"] = Box(left + 1, 2, width - left - 1, room)
            return boxes
        below = max(2, min(8, room // 3))
        boxes["object"] = Box(0, 2, width, max(1, room - below - 1))
        boxes["events-rule"] = Box(0, 2 + room - below - 1, width, 1)
        boxes["object-events"] = Box(0, 2 + room - below, width, below)
        return boxes

    # -- showing -----------------------------------------------------------------------------
    def show(self, frame: Frame, now: float) -> None:
        """Fill the panes; the text only when it is another one, so that it stands still while it is read."""
        app = self.console_app
        self.status.set_spans(*head.status_spans(frame, app.head_facts(), app.size.width))
        answer = frame.objects.get(self._demand)
        key = self._demand.key
        name = clean_line(self._demand.replica or key.name, 80)
        where = "/".join(clean_line(each, 60) for each in (key.region, key.namespace) if each)
        kind = clean_line(answer.kind, 40) if answer is not None else "pod" if self._demand.replica else "workload"
        words = " in words" if self._describe else " as YAML"
        read = f"read {fmt.age(max(0.0, now - answer.at))} ago" if answer is not None else "being read"
        self.title_rule.set(((f"{kind} {name}", "title"), (f" @ {where}{words}", "")), read)
        if self._shown != (answer, self._describe):
            self._shown = (answer, self._describe)
            self._fill(answer, now)

    def _fill(self, answer: ObjectText | None, now: float) -> None:
        self.text.clear("being read")
        if answer is None:
            self.events.set_events(())
            return
        self.text.append(object_lines(answer, self._describe))
        self.text.following = False
        self.text.scroll_line_to(0)
        self.events.set_empty(f"  not read: {answer.events_error}" if answer.events_error else "  none")
        self.events.set_events(event_rows(answer.events, now))
        self.events_rule.set("events", f"{len(answer.events):,}" if answer.events else "")

    # -- commands ----------------------------------------------------------------------------
    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """What the commands do."""
        return {
            "search": self._search,
            "yaml": lambda _: self._turn(False),
            "describe": lambda _: self._turn(True),
            "other": lambda _: self._other(),
            "again": lambda _: self._look_at(
                ObjectDemand(self._demand.key, self._demand.replica, self._demand.turn + 1)
            ),
        }

    def _turn(self, describe: bool) -> None:
        self._describe = describe
        self.console_app.refresh_screens()

    def _other(self) -> None:
        if not self._pod:
            self.console_app.say("enter on a replica, then y: there is no pod to go to from here", "dim")
            return
        self._look_at(ObjectDemand(self._demand.key, "" if self._demand.replica else self._pod))

    def _look_at(self, demand: ObjectDemand) -> None:
        context = self.console_app.context
        context.demand(demand)
        context.release(self._demand)
        self._demand = demand
        self.console_app.refresh_screens()

    def _search(self, text: str) -> None:
        if text:
            self._found(text)
        else:
            self.ask("/", self._found, hint="find in the text; n and N go on")

    def _found(self, text: str) -> None:
        if text and not (self.text.search(text) or self.text.search_next()):
            self.console_app.say(f"{text!r} is not in this text", "warn")

    def summary_lines(self) -> list[str]:
        """The whole text, as it is copied."""
        answer = self.console_app.context.frame.objects.get(self._demand)
        if answer is None:
            return ["being read"]
        return [clean_line(line, 4000) for line in object_lines(answer, self._describe)]
