"""The wizard: a model file to a running service, one decision a page."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from nimify_tui.base.errors import ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.names import check_name, suggest_name
from nimify_tui.domain.plans import ActionResult, ActionState, ConfirmKind, Plan, Verdict
from nimify_tui.domain.regions import RegionKind, RegionState
from nimify_tui.domain.services import Limits
from nimify_tui.fleet.frames import Frame, RegionRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.commands import Scope
from nimify_tui.ui.present import head
from nimify_tui.ui.present import wizard as present
from nimify_tui.ui.present.layout import Box
from nimify_tui.ui.present.wizard import Draft, Entry
from nimify_tui.ui.screens.base import ConsoleScreen, bindings_for
from nimify_tui.ui.screens.wizard_run import first_answers
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.panel import TextPanel
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import LiveTable, Row, rows_by_key
from nimify_tui.ui.widgets.textline import StatusLine

_TITLES = {
    "model": "1 of 7 which model file?",
    "report": "2 of 7 is this the right model?",
    "name": "3 of 7 what is the service called?",
    "regions": "4 of 7 in which regions?",
    "replicas": "5 of 7 how many replicas in each region?",
    "limits": "6 of 7 with which limits?",
    "plan": "7 of 7 the plan",
    "running": "carrying it out",
}
_MAX_REPLICAS = 64
#: Below this width a page's title stands alone on its line.
_NARROW = 70


class WizardScreen(ConsoleScreen):
    """See the module's text. ``path``: a model file or a folder to begin with."""

    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.WIZARD, Scope.LIST, Scope.GLOBAL)
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_for(Scope.WIZARD, Scope.GLOBAL),
        Binding("enter", "next", "next", show=False, id="wizard.enter"),
    ]

    def __init__(self, path: str = "") -> None:
        super().__init__()
        self.draft = Draft()
        self.page = "model"
        self.status = StatusLine(id="status")
        self.rule = Rule(id="page-rule")
        self.list = LiveTable(id="list")
        self.text = TextPanel(id="text", indent=2)
        self.so_far_rule = Rule("the plan so far", id="so-far-rule")
        self.so_far = TextPanel(id="so-far", indent=1)
        self.line = StatusLine(id="command-line")
        self._start = path
        self._folder = Path.cwd()
        self._entries: dict[str, Entry] = {}
        self._steps: list[tuple[str, str]] = []
        self._finished = False
        self._waits = False

    def compose(self) -> ComposeResult:
        """The panes."""
        yield from (self.status, self.rule, self.list, self.text, self.so_far_rule, self.so_far, self.line)
        yield self.footer_line
        yield self.prompt

    def on_mount(self) -> None:
        """Begin: fill the panes, take the focus."""
        self.draft = replace(self.draft, config=self.console_app.config_path)
        self.set_interval(0.25, self._follow, name="progress")
        start = Path(self._start).expanduser() if self._start else self._folder
        self._go("model")
        if self._start and not start.is_dir():
            self._analyse(start)
        else:
            self._open_folder(start)

    # -- layout ------------------------------------------------------------------------------
    @property
    def _uses_list(self) -> bool:
        return self.page in ("model", "regions", "limits")

    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """Where each pane stands."""
        room = max(4, height - 4)
        main = "list" if self._uses_list else "text"
        boxes = {
            "status": Box(0, 0, width, 1),
            "page-rule": Box(0, 1, width, 1),
            "command-line": Box(0, height - 2, width, 1),
        }
        if width >= 100:
            left = width - 44
            boxes["page-rule"] = Box(0, 1, left, 1)
            boxes["so-far-rule"] = Box(left + 1, 1, 43, 1)
            boxes["so-far"] = Box(left + 1, 2, 43, room)
            boxes[main] = Box(0, 2, left, room)
            return boxes
        below = 7 if room >= 14 else 0
        boxes[main] = Box(0, 2, width, room - below)
        if below:
            boxes["so-far-rule"] = Box(0, 2 + room - below, width, 1)
            boxes["so-far"] = Box(0, 3 + room - below, width, below - 1)
        return boxes

    def show(self, frame: Frame, now: float) -> None:
        """Fill the panes."""
        app = self.console_app
        self.status.set_spans(*head.status_spans(frame, app.head_facts(), app.size.width))
        if app.size.width < _NARROW:  # the question itself must be whole
            self.rule.set(_TITLES[self.page], "")
        else:
            facts = clean_line(str(self._folder), 60) if self.page == "model" else "esc goes back"
            self.rule.set(f"new service: {_TITLES[self.page]}", facts)
        self.so_far.set_lines(present.draft_lines(self.draft, self.page))
        self.line.set_spans([(f" {present.command_line(self.draft)}", "dim")])
        if self.page == "regions":
            self._show_regions(frame)
        elif self.page == "report" and self.draft.report is not None:
            room = self.boxes(*app.size)["text"].width - 3
            self.text.set_lines(present.report_lines(self.draft.report, room))

    # -- pages -------------------------------------------------------------------------------
    def _go(self, page: str) -> None:
        self.page = page
        self.place_panes()
        self.set_focus(self.list if self._uses_list else self.text)
        app = self.console_app
        if page == "limits":
            self.list.set_columns(present.LIMIT_COLUMNS)
            self._show_limits()
        elif page == "regions":
            self.list.set_columns(present.REGION_COLUMNS)
            self.list.set_marked(self.draft.regions or self._default_regions(app.context.frame))
        self.show(app.context.frame, app.now)
        if page in ("regions", "limits"):
            self.list.move_to(0)
        self.show_footer()
        if page == "name":
            self._ask_name()
        elif page == "replicas":
            self._ask_replicas()
        elif page == "plan":
            self._plan()

    def action_next(self) -> None:
        """Enter on a page of text."""
        if self.page == "report" and self.draft.report is not None and self.draft.report.deployable:
            self._go("name")
        elif self.page in ("name", "replicas", "plan"):
            self._go(self.page)  # the prompt or the dialog was closed: open it again
        elif self.page == "running" and self._finished:
            self.console_app.go_back()

    @on(LiveTable.Activated, "#list")
    def _activated(self, event: LiveTable.Activated) -> None:
        event.stop()
        key = str(event.key)
        if self.page == "model":
            entry = self._entries.get(key)
            if entry is not None:
                self._open_folder(entry.path) if entry.folder else self._analyse(entry.path)
        elif self.page == "regions":
            self._take_regions(key)
        elif self.page == "limits":
            self._limit(key)

    def go_back(self) -> bool:
        """One page back; from the first one, and once it runs, out of the wizard."""
        if self.page in ("model", "running"):
            return False
        before = present.PAGES[present.PAGES.index(self.page) - 1]
        self._go(before)
        if before == "model":
            self._open_folder(self._folder)
        return True

    # -- model -------------------------------------------------------------------------------
    def _open_folder(self, folder: Path) -> None:
        self.run_worker(self._list(folder), name="folder", group="folder", exclusive=True, exit_on_error=False)

    async def _list(self, folder: Path) -> None:
        work = asyncio.get_running_loop().run_in_executor(None, present.list_folder, folder)
        listing = await self.console_app.acting.answer(work, "this folder cannot be read")
        if listing is None or self.page != "model":
            return
        came_from = str(self._folder)
        self._folder = listing.folder
        self._entries = {str(each.path) if each.name != ".." else "..": each for each in listing.entries}
        self.list.set_columns(present.FILE_COLUMNS)
        self.list.clear_marks()
        rows = ((key, present.entry_row(each)) for key, each in self._entries.items())
        self.list.set_rows(*rows_by_key(rows))
        if not self.list.select(came_from):
            self.list.move_to(1 if len(listing.entries) > 1 else 0)
        self.show(self.console_app.context.frame, self.console_app.now)

    def _analyse(self, path: Path) -> None:
        self.console_app.say(f"reading {path.name}", "dim")
        self.run_worker(
            self._read(str(path.absolute())), name="analyse", group="folder", exclusive=True, exit_on_error=False
        )

    async def _read(self, path: str) -> None:
        app = self.console_app
        report = await app.acting.answer(app.context.analyse(path))
        if report is None:
            return
        app.clear_notice()
        self.draft = replace(self.draft, report=report)
        self._go("report")

    # -- name, regions, replicas, limits -----------------------------------------------------
    def _ask_name(self) -> None:
        report = self.draft.report
        stem = Path(report.path).stem if report is not None else "model"
        suggestion = self.draft.name or (report.suggested_name if report is not None else "") or suggest_name(stem)
        self.text.set_lines(
            [
                (("lower-case letters, digits and '-', at most 63", ""),),
                (("such a name is also good for DNS and Kubernetes", "dim"),),
                ((f"proposed from the file's name {clean_line(stem, 60)}", "dim"),),
            ]
        )
        self.ask("name ", self._take_name, value=suggestion, cancelled=lambda: self._go("report"))

    def _take_name(self, name: str) -> None:
        name = name.strip()
        try:
            check_name(name, "service name")
        except ValidationError as error:
            self.console_app.say(error.message, "warn", error.remedy)
            self._ask_name()
            return
        taken = any(row.name == name for row in self.console_app.context.frame.rows.values())
        self.draft = replace(self.draft, name=name)
        if taken:
            self.console_app.say(f"{name} exists; the plan will say what that means in each region", "warn")
        self._go("regions")

    def _regions(self, frame: Frame) -> list[RegionRow]:
        return [each for each in frame.regions if each.region.kind in (RegionKind.EMBEDDED, RegionKind.DOCKER)]

    def _default_regions(self, frame: Frame) -> tuple[str, ...]:
        may = self.console_app.context.may_change
        usable = [each.region.name for each in self._regions(frame) if may(each.region.name).allowed]
        return tuple(usable[:1])

    def _show_regions(self, frame: Frame) -> None:
        rows = []
        for each in self._regions(frame):
            verdict = self.console_app.context.may_change(each.region.name)
            live = each.health.state is RegionState.LIVE
            note = (
                "space takes it in or out, enter goes on"
                if verdict.allowed and live
                else verdict.reason or each.health.cause
            )
            cells = (clean_line(each.region.name, 60), str(each.health.state), str(each.services), Cell(note, "dim"))
            rows.append((each.region.name, Row(cells, style="" if verdict.allowed and live else "dim")))
        self.list.set_empty("no region on this machine: start one with `nimify-tui` or `nimify-tui demo`")
        self.list.set_rows(*rows_by_key(rows))

    def _take_regions(self, under_cursor: str) -> None:
        frame = self.console_app.context.frame
        chosen = [each.region.name for each in self._regions(frame) if each.region.name in self.list.marked]
        chosen = chosen or [under_cursor]
        refused = [
            verdict.reason for verdict in map(self.console_app.context.may_change, chosen) if not verdict.allowed
        ]
        if refused:
            self.console_app.say(refused[0], "warn")
            return
        self.draft = replace(self.draft, regions=tuple(chosen))
        self.list.clear_marks()
        self._go("replicas")

    def _ask_replicas(self) -> None:
        self.text.set_lines(
            [
                (("1 is enough to try it", ""),),
                (("2 serve on while one restarts", ""),),
                (("any time later: s on the fleet screen", "dim"),),
            ]
        )
        value = str(self.draft.replicas or 1)
        self.ask("replicas ", self._take_replicas, value=value, cancelled=lambda: self._go("regions"))

    def _take_replicas(self, text: str) -> None:
        text = text.strip()
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= _MAX_REPLICAS):
            self.console_app.say(f"{text!r} is not a number from 1 to {_MAX_REPLICAS}", "warn")
            self._ask_replicas()
            return
        self.draft = replace(self.draft, replicas=int(text), limits=self.draft.limits or Limits())
        self._go("limits")

    def _show_limits(self) -> None:
        self.list.set_rows(*rows_by_key(present.limit_rows(self.draft.limits or Limits())))

    def _limit(self, field: str) -> None:
        choice = next((each for each in present.LIMITS if each.field == field), None)
        if choice is None:
            self._go("plan")
            return
        limits = self.draft.limits or Limits()

        def take(text: str) -> None:
            try:
                self.draft = replace(self.draft, limits=choice.parse(text, limits))
            except ValueError as error:
                self.console_app.say(str(error), "warn")
                return
            self._show_limits()
            self.show(self.console_app.context.frame, self.console_app.now)

        self.ask(f"{choice.title} ", take, value=choice.typed(limits), hint=choice.why)

    # -- plan and run ------------------------------------------------------------------------
    def _plan(self) -> None:
        connecting = [
            each
            for each in self._regions(self.console_app.context.frame)
            if each.region.name in self.draft.regions and each.health.state is RegionState.CONNECTING
        ]
        self._waits = bool(connecting)
        if connecting:
            self.text.set_lines(present.waiting_lines(connecting, self.console_app.now))
            return
        self.text.set_lines([(("enter shows the plan again, esc goes back to the limits", ""),)])
        self.console_app.acting.propose(
            self.draft.request(), self._ended, planned=self._planned, confirmed=self._begins
        )

    def _planned(self, plan: Plan, verdict: Verdict) -> None:
        typed = verdict.confirm is ConfirmKind.TYPED
        self.draft = replace(self.draft, confirmation=f"--confirm '{verdict.expected}'" if typed else "--yes")

    def _begins(self, plan: Plan) -> None:
        self._steps = []
        self._go("running")

    def _follow(self) -> None:
        """Write the steps down as they come; go on when a region that was waited for is there."""
        if self.page == "plan" and self._waits:
            self._plan()
        line = self.console_app.acting.progress_line()
        if self.page == "running" and line and (not self._steps or self._steps[-1][1] != line):
            self._steps.append((fmt.clock(self.console_app.context.clock.now()), line))
            self.text.set_lines([((f"{at}  ", "dim"), (text, "")) for at, text in self._steps[-200:]])

    def _ended(self, result: ActionResult | None) -> None:
        if result is None:
            if self.page == "running":
                self._finished = True
            return
        self._finished = True
        self.run_worker(self._prove(result), name="prove", exit_on_error=False)

    async def _prove(self, result: ActionResult) -> None:
        """It is done when it has answered an inference."""
        if result.state is not ActionState.OK:
            said = [((f"{result.state}: {clean_line(result.message, 400)}", "bad"),)]
            said += [((f"{each.key.row_id}: {clean_line(each.message, 300)}", ""),) for each in result.targets]
            self.text.set_lines([*said, (), (("u undoes it, l on its row shows the logs; esc goes back", "dim"),)])
            return
        self.text.set_lines([(("runs; asking for a first inference", "start"),)])
        answers = await first_answers(self.console_app, self.draft.request().targets)
        self.console_app.farewell.append(present.command_line(self.draft))
        self.text.set_lines(present.done_lines(self.draft, answers, self.text.cols - 2))

    def summary_lines(self) -> list[str]:
        """What is seen, as plain text."""
        return [present.command_line(self.draft)]
