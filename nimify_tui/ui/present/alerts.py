"""Alerts and rules as rows and lines."""

from __future__ import annotations

from collections.abc import Mapping

from nimify_tui.base.text import clean_line
from nimify_tui.domain.alerts import Alert, Alerts, AlertSeverity, AlertState, RuleStatus
from nimify_tui.domain.rules import RULES, Rule, rule
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present.panels import wrapped
from nimify_tui.ui.widgets.cells import Cell, SpanLike
from nimify_tui.ui.widgets.table import Row

SEVERITY_WORDS = {AlertSeverity.CRITICAL: "CRIT", AlertSeverity.WARNING: "WARN"}
#: Cells of the words at the left of an alert's facts.
_LABEL_CELLS = 11
_STYLES = {AlertSeverity.CRITICAL: "bad", AlertSeverity.WARNING: "warn"}


def alert_id(alert: Alert) -> str:
    """The same for the same rule and subject, whatever it is worth now."""
    about = alert.key.row_id if alert.key is not None else alert.subject
    return f"{alert.rule} {alert.region} {about}"


def about(alert: Alert) -> str:
    """Its service, or what else it is about."""
    return clean_line(alert.key.fold_id if alert.key is not None else alert.subject, 120)


def alert_row(alert: Alert, now: float) -> Row:
    """One alert; those that do not fire (any more) are dim."""
    style = _STYLES[alert.severity] if alert.state is AlertState.FIRING and alert.clear_since is None else "dim"
    value, limit = _numbers(alert)
    cells = (
        Cell(SEVERITY_WORDS[alert.severity], style),
        Cell("over" if alert.clear_since is not None else str(alert.state), style),
        Cell(rule(alert.rule).title),
        Cell(about(alert)),
        Cell(clean_line(alert.region, 60)),
        Cell(fmt.span(max(0.0, now - alert.since))),
        Cell(value),
        Cell(limit),
        Cell(clean_line(f"not judged: {alert.unjudged}" if alert.unjudged else alert.text, 200),
             "dim" if alert.unjudged else ""),
    )  # fmt: skip
    return Row(cells)


def _numbers(alert: Alert) -> tuple[str, str]:
    limit = fmt.UNKNOWN if alert.threshold is None else fmt.plain_value(alert.threshold, alert.value.unit)
    return fmt.measure(alert.value), limit


def alert_lines(alert: Alert, now: float, width: int) -> list[list[SpanLike]]:
    """Everything about one alert, in lines of at most ``width`` cells."""
    each, (value, limit) = rule(alert.rule), _numbers(alert)
    since = f"{fmt.clock(alert.since)}, {fmt.span_words(max(0.0, now - alert.since))} ago"
    if alert.fired_at is None:
        fires = f"pending: fires when it has been so for {fmt.span_words(each.for_s)}"
    elif alert.clear_since is not None:
        fires = f"over since {fmt.clock(alert.clear_since)}: ends when it has been so for {fmt.span_words(each.hold_s)}"
    else:
        fires = f"fires since {fmt.clock(alert.fired_at)}"
    pairs = [
        ("what", alert.text), ("value", f"{value}, limit {limit}"), ("since", f"{since}; {fires}"),
        ("do", alert.remedy),
    ]  # fmt: skip
    if alert.unjudged:
        pairs.insert(1, ("not judged", f"{alert.unjudged}; until it can be, it neither fires nor ends"))
    return [
        [(f"{name if first else '':<{_LABEL_CELLS}}", "dim"), line]
        for name, text in pairs
        for first, line in _lines(text, max(20, width - _LABEL_CELLS))
    ]


def _lines(text: str, width: int) -> list[tuple[bool, str]]:
    return [(not index, line) for index, line in enumerate(wrapped(clean_line(text, 300), width))]


def rule_rows(alerts: Alerts) -> list[tuple[str, Row]]:
    """Each rule of the table with what it could be judged for: those that could not be judged first."""
    told: Mapping[str, RuleStatus] = {each.rule: each for each in alerts.rules}
    rows = [(each, told.get(each.name, RuleStatus(rule=each.name, reason="not looked at yet"))) for each in RULES]
    rows.sort(key=lambda pair: bool(pair[1].judged))
    return [(each.name, _rule_row(each, status)) for each, status in rows]


def _rule_row(each: Rule, status: RuleStatus) -> Row:
    if not status.judged:
        judged, style = "not judged here" if each.unjudged else "not judged", "dim"
    else:
        judged, style = f"judged {status.judged} of {status.judged + status.unjudged}", ""
    cells = (
        Cell(SEVERITY_WORDS[each.severity], style),
        Cell(each.title, style),
        Cell(fmt.span(each.for_s) if each.for_s else "at once", style),
        Cell(judged, style),
        Cell(clean_line(status.reason or each.words, 200), "dim" if status.reason else ""),
    )
    return Row(cells)


def headline(alerts: Alerts) -> str:
    """``2 firing · 1 pending``."""
    firing = len(alerts.firing)
    pending = len(alerts.alerts) - firing
    return f"{firing} firing" + (f" · {pending} pending" if pending else "")


def empty_words(alerts: Alerts) -> str:
    """What is said where there is no alert: that none is, or that nothing could be judged."""
    if not alerts.judged:
        return alerts.note if alerts.rules else "no alert can be judged yet"
    return "no alerts: what can be judged is as it should be"


def plain(alert: Alert) -> str:
    """One line of text."""
    value, limit = _numbers(alert)
    told = f"{SEVERITY_WORDS[alert.severity]} {alert.state} {alert.rule} {about(alert)} in {alert.region}"
    so = f"since {fmt.clock(alert.since)}: {alert.text} ({value}, limit {limit})"
    return clean_line(f"{told} {so}; {alert.remedy}", 500)
