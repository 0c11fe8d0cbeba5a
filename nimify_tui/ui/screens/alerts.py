"""Alerts: what fires, is pending or silenced, what to do about it, which rules could be judged, and who tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.alerts import Alert
from nimify_tui.domain.plans import ActionRequest
from nimify_tui.domain.rules import RULES
from nimify_tui.fleet.frames import Frame
from nimify_tui.ui import format as fmt
from nimify_tui.ui.commands import Scope
from nimify_tui.ui.present import alerts as words
from nimify_tui.ui.present import head
from nimify_tui.ui.present.layout import Box
from nimify_tui.ui.screens.base import ConsoleScreen, bindings_for
from nimify_tui.ui.silencing import DEFAULT, HINT, silence_request, unsilence_request
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.panel import TextPanel
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import LiveTable, rows_by_key
from nimify_tui.ui.widgets.textline import StatusLine

_COLUMNS = (
    Column("severity", "SEV", 4),
    Column("state", "STATE", 8),
    Column("rule", "RULE", 11, 32, flex=2),
    Column("about", "SERVICE", 12, 30, flex=2, shorten="middle"),
    Column("region", "REGION", 9, 16, flex=1, priority=1),
    Column("since", "SINCE", 5, align="right"),
    Column("value", "VALUE", 7, align="right", priority=2),
    Column("limit", "LIMIT", 7, align="right", priority=3),
    Column("text", "WHAT", 12, flex=4, priority=4),
    Column("from", "FROM", 40, 60, flex=1, priority=5),
)
_RULE_COLUMNS = (
    Column("severity", "SEV", 4),
    Column("rule", "RULE", 15),
    Column("for", "FOR", 7, priority=1),
    Column("judged", "JUDGED", 15, 18, flex=1),
    Column("why", "WHY NOT, OR WHAT IT LOOKS FOR", 20, flex=4),
)

#: So many alerts are listed; of more than FEW the rows are made anew every MANY_EVERY_S seconds (a row takes 20 us).
MOST_SHOWN, FEW, MANY_EVERY_S = 1000, 200, 5.0


class AlertsScreen(ConsoleScreen):
    """See the module's text."""

    SCOPES: ClassVar[tuple[Scope, ...]] = (Scope.ALERTS, Scope.LIST, Scope.GLOBAL)
    BINDINGS: ClassVar[list[BindingType]] = bindings_for(Scope.ALERTS, Scope.GLOBAL)

    def __init__(self) -> None:
        super().__init__()
        self.status = StatusLine(id="status")
        self.rule = Rule("alerts", id="alerts-rule")
        self.table = LiveTable(_COLUMNS, id="alerts")
        self.facts_rule = Rule("the alert", id="facts-rule")
        self.facts = TextPanel(id="facts", indent=2)
        self.rules_rule = Rule("rules", id="rules-rule")
        self.rules = LiveTable(_RULE_COLUMNS, id="rules")
        self._shown: Mapping[str, Alert] = {}
        self._drawn: tuple[int, float] | None = None
        self._told: tuple[Alert, ...] = ()
        #: All facts of the alert are shown, in the room of the rules.
        self._whole = False
        self._below = len(RULES)

    def compose(self) -> ComposeResult:
        """The panes."""
        yield from (self.status, self.rule, self.table, self.facts_rule, self.facts, self.rules_rule, self.rules)
        yield self.footer_line
        yield self.prompt

    def on_mount(self) -> None:
        """Begin: fill the panes, take the focus."""
        self.set_focus(self.table)

    def boxes(self, width: int, height: int) -> Mapping[str, Box]:
        """Where each pane stands: the alerts have the room that the others leave."""
        facts = 5 if height >= 20 else 2
        rules = min(self._below + 1, max(2, (height - facts - 6) // 2))
        table = max(2, height - facts - rules - 5)
        if self._whole:
            return {
                "status": Box(0, 0, width, 1), "alerts-rule": Box(0, 1, width, 1), "alerts": Box(0, 2, width, table),
                "facts-rule": Box(0, 2 + table, width, 1),
                "facts": Box(0, 3 + table, width, max(2, height - table - 4)),
            }  # fmt: skip
        return {
            "status": Box(0, 0, width, 1),
            "alerts-rule": Box(0, 1, width, 1),
            "alerts": Box(0, 2, width, table),
            "facts-rule": Box(0, 2 + table, width, 1),
            "facts": Box(0, 3 + table, width, facts),
            "rules-rule": Box(0, 3 + table + facts, width, 1),
            "rules": Box(0, 4 + table + facts, width, rules),
        }

    def show(self, frame: Frame, now: float) -> None:
        """Fill the panes."""
        app, alerts = self.console_app, frame.alerts
        self.status.set_spans(*head.status_spans(frame, app.head_facts(), app.size.width))
        told = alerts.alerts[:MOST_SHOWN]
        left = len(alerts.alerts) - len(told)
        self.rule.set(None, words.headline(alerts) + (f" · {left} more not shown, the least grave" if left else ""))
        self.table.set_empty(words.empty_words(alerts))
        # Ages move each second; of hundreds of alerts it is enough when they move now and then.
        due = (id(alerts.alerts), now // (1.0 if len(told) <= FEW else MANY_EVERY_S))
        if due != self._drawn:
            self._drawn, self._told = due, alerts.alerts  # held: another list may not get its identity
            self._shown = {words.alert_id(each): each for each in told}
            self.table.set_rows(*rows_by_key((key, words.alert_row(each, now)) for key, each in self._shown.items()))
        judged = sum(bool(each.judged) for each in alerts.rules)
        who = f"rules, {fmt.plural(len(alerts.managers), 'Alertmanager')}" if alerts.managers else "rules"
        self.rules_rule.set(who, f"{judged} of {len(RULES)} judged")
        rows = words.rule_rows(alerts, now)
        if len(rows) != self._below:
            self._below = len(rows)
            self.place_panes()
        self.rules.set_rows(*rows_by_key(rows))
        self._show_facts(now)

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """What the commands do."""
        return {
            "other": lambda _: self._other(), "details": lambda _: self._toggle(), "silence": self._silence,
            "unsilence": self._unsilence, "undo": lambda _: self._undo(),
        }  # fmt: skip

    def _silence(self, text: str) -> None:
        """Ask for how long and why, then for a plan."""
        chosen = self._chosen()
        if chosen is None or not chosen.managed:
            self.console_app.say("silence: no Alertmanager has this alert", "warn", "what is judged here cannot be")
        elif not text.strip():
            # What was under the cursor when the question came is meant, whatever the list does meanwhile.
            self.ask("silence for ", lambda lasts: self._ask_why(chosen, lasts), value=DEFAULT)
        else:
            self._propose(chosen, text)

    def _ask_why(self, alert: Alert, lasts: str) -> None:
        lasts = lasts.strip()
        self.ask(f"silence for {lasts}, because ", lambda why: self._propose(alert, f"{lasts} {why}"), hint=HINT)

    def _propose(self, alert: Alert, text: str) -> None:
        app = self.console_app
        self._ask_for(lambda: silence_request(alert, text, app.context.clock.now(), app.context.actor), "silence")

    def _unsilence(self, text: str) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self._ask_for(lambda: unsilence_request(chosen, text.strip()), "unsilence")

    def _ask_for(self, make: Callable[[], ActionRequest], what: str) -> None:
        try:
            request = make()
        except NimifyError as error:
            self.console_app.say(f"{what}: {error.message}", "warn", error.remedy)
            return
        self.console_app.acting.propose(request)

    def _undo(self) -> None:
        if not self.console_app.acting.undo():
            self.console_app.say("undo: nothing was done in this session", "dim")

    def _other(self) -> None:
        if self._whole:
            self._toggle()
        self.set_focus(self.rules if self.focused is self.table else self.table)

    def _toggle(self) -> None:
        self._whole = not self._whole
        self.set_focus(self.table)
        self.place_panes()
        self._show_facts(self.console_app.now)

    def go_back(self) -> bool:
        """From all facts back to the rules."""
        if self._whole:
            self._toggle()
            return True
        return False

    def _show_facts(self, now: float) -> None:
        chosen = self._chosen()
        self.facts.set_lines(words.alert_lines(chosen, now, self.app.size.width - 3) if chosen is not None else [])

    def _chosen(self) -> Alert | None:
        return self._shown.get(str(self.table.cursor_key))

    @on(LiveTable.CursorMoved, "#alerts")
    def _moved(self) -> None:
        self._show_facts(self.console_app.now)

    @on(LiveTable.Activated, "#alerts")
    def _opened(self, event: LiveTable.Activated) -> None:
        event.stop()
        app, chosen = self.console_app, self._shown.get(str(event.key))
        if chosen is None:
            return
        if chosen.key is None:
            app.say(f"no service to open: it is about {words.about(chosen)}", "dim")
        elif chosen.key.row_id not in app.context.frame.rows:
            app.say(f"{words.about(chosen)} is gone", "warn")
        else:
            app.open_detail(chosen.key.row_id)

    def summary_lines(self) -> list[str]:
        """What is seen, as plain text."""
        alerts = self.console_app.context.frame.alerts
        told = [words.plain(each) for each in alerts.alerts] or [words.empty_words(alerts)]
        told += [alerts.broken] if alerts.broken and alerts.alerts else []
        told += [words.plain_manager(each) for each in alerts.managers]
        missing = [f"{each.rule} not judged: {each.reason}" for each in alerts.rules if not each.judged]
        return [*told, *missing]
