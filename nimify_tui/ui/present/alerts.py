"""Alerts, Alertmanagers and rules as rows and lines."""

from __future__ import annotations

from collections.abc import Mapping

from nimify_tui.base.text import clean_line
from nimify_tui.domain.alertmanagers import Managed, Manager, ManagerState, Origin, Silence
from nimify_tui.domain.alerts import Alert, Alerts, AlertSeverity, RuleStatus
from nimify_tui.domain.rules import RULES, Rule
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present.panels import wrapped
from nimify_tui.ui.widgets.cells import Cell, SpanLike
from nimify_tui.ui.widgets.table import Row

SEVERITY_WORDS = {AlertSeverity.CRITICAL: "CRIT", AlertSeverity.WARNING: "WARN", AlertSeverity.INFO: "INFO"}
#: Cells of the words at the left of an alert's facts.
_LABEL_CELLS = 11
_STYLES = {AlertSeverity.CRITICAL: "bad", AlertSeverity.WARNING: "warn", AlertSeverity.INFO: ""}
_MANAGER_STYLES = {ManagerState.SILENT: "bad", ManagerState.NO_WATCHDOG: "warn", ManagerState.ASKING: "dim"}
_RULES = {each.name: each for each in RULES}
#: What is judged here has no Alertmanager for its origin.
HERE = "here"


def alert_id(alert: Alert) -> str:
    """The same for the same rule and subject, whatever it is worth now."""
    about = alert.key.row_id if alert.key is not None else alert.subject
    alone = alert.managed[0].fingerprint if alert.managed and alert.rule not in _RULES else ""
    return f"{alert.rule} {alert.region} {about} {alone}"


def about(alert: Alert) -> str:
    """Its service, or what else it is about."""
    return clean_line(alert.key.fold_id if alert.key is not None else alert.subject, 120)


def alert_row(alert: Alert, now: float) -> Row:
    """One alert; those that do not fire (any more) are dim."""
    style = _STYLES[alert.severity] if alert.fires and alert.clear_since is None else "dim"
    value, limit = _numbers(alert)
    cells = (
        Cell(SEVERITY_WORDS[alert.severity], style),
        Cell(state_word(alert), style),
        Cell(title(alert)),
        Cell(about(alert)),
        Cell(clean_line(alert.region, 60)),
        Cell(fmt.span(max(0.0, now - alert.since))),
        Cell(value),
        Cell(limit),
        Cell(clean_line(_what(alert), 200),
             "dim" if alert.unjudged else ""),
        Cell(origins(alert), "dim"),
    )  # fmt: skip
    return Row(cells)


def _what(alert: Alert) -> str:
    if not alert.unjudged:
        return alert.text
    return f"not judged: {alert.unjudged}" if alert.rule in _RULES else f"{alert.unjudged}; {alert.text}"


def title(alert: Alert) -> str:
    """The title of our rule, or what its Alertmanager calls it."""
    return _RULES[alert.rule].title if alert.rule in _RULES else clean_line(alert.rule, 80)


def state_word(alert: Alert) -> str:
    """Firing, pending, over, or what holds it back."""
    if alert.held_back:
        silenced = any(origin.silenced for each in alert.managed for origin in each.origins)
        return "silenced" if silenced else "inhibit"
    return "over" if alert.clear_since is not None else str(alert.state)


def origins(alert: Alert) -> str:
    """Who tells of it: this console, Alertmanagers, or both."""
    names = dict.fromkeys(origin.name for each in alert.managed for origin in each.origins)
    return clean_line(", ".join([*([HERE] if alert.rule in _RULES else []), *names]), 200)


def _numbers(alert: Alert) -> tuple[str, str]:
    if alert.rule not in _RULES:
        return "", ""
    limit = fmt.UNKNOWN if alert.threshold is None else fmt.plain_value(alert.threshold, alert.value.unit)
    return fmt.measure(alert.value), limit


def alert_lines(alert: Alert, now: float, width: int) -> list[list[SpanLike]]:
    """Everything about one alert, in lines of at most ``width`` cells."""
    pairs = _ours(alert, now) if alert.rule in _RULES else _theirs(alert, now)
    return [
        [(f"{name if first else '':<{_LABEL_CELLS}}", "dim"), line]
        for name, text in pairs
        if text
        for first, line in _lines(text, max(20, width - _LABEL_CELLS))
    ]


def _ours(alert: Alert, now: float) -> list[tuple[str, str]]:
    """What is judged here, and what Alertmanagers add to it."""
    each, (value, limit) = _RULES[alert.rule], _numbers(alert)
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
    for managed in alert.managed:
        pairs += [("also at", f"{_places(managed)}, as {managed.name}"), *_silences(managed, now), *_labels(managed)]
    return pairs


def _theirs(alert: Alert, now: float) -> list[tuple[str, str]]:
    """What only Alertmanagers tell."""
    since = f"{fmt.date_clock(alert.since, now)}, {fmt.span_words(max(0.0, now - alert.since))} ago"
    pairs = [("what", alert.text or "its rule says nothing of it"), ("not known", alert.unjudged)]
    for managed in alert.managed:
        pairs += _silences(managed, now)
        pairs += [("since", f"{since}; at {_places(managed)}"), ("do", alert.remedy), *_labels(managed)]
        said = [(name, text) for name, text in managed.annotations if text not in (alert.text, alert.remedy)]
        pairs += [("note", f"{name}: {text}") for name, text in said]
    return pairs


def _places(managed: Managed) -> str:
    return ", ".join(map(_place, managed.origins))


def _place(origin: Origin) -> str:
    notes = ("silenced there", origin.silenced), ("inhibited there", origin.inhibited), ("no answer now", origin.stale)
    said = ", ".join(text for text, so in notes if so)
    return f"{origin.name} ({said})" if said else origin.name


def _silences(managed: Managed, now: float) -> list[tuple[str, str]]:
    return [("silenced", silence_words(each, now)) for each in managed.silences]


def silence_words(silence: Silence, now: float) -> str:
    """By whom, until when, why."""
    left = fmt.span_words(max(0.0, silence.ends_at - now))
    return f"by {silence.by} until {fmt.date_clock(silence.ends_at, now)} (in {left}): {silence.comment}"


def _labels(managed: Managed) -> list[tuple[str, str]]:
    return [("labels", ", ".join(f"{name}={value}" for name, value in managed.labels))]


def _lines(text: str, width: int) -> list[tuple[bool, str]]:
    return [(not index, line) for index, line in enumerate(wrapped(clean_line(text, 300), width))]


def rule_rows(alerts: Alerts, now: float) -> list[tuple[str, Row]]:
    """The Alertmanagers, then each rule with what it could be judged for: those that could not be judged first."""
    told: Mapping[str, RuleStatus] = {each.rule: each for each in alerts.rules}
    rows = [(each, told.get(each.name, RuleStatus(rule=each.name, reason="not looked at yet"))) for each in RULES]
    rows.sort(key=lambda pair: bool(pair[1].judged))
    told_of = [(f"alertmanager {each.origin}", _manager_row(each, now)) for each in alerts.managers]
    return told_of + [(each.name, _rule_row(each, status)) for each, status in rows]


def _manager_row(each: Manager, now: float) -> Row:
    style = _MANAGER_STYLES.get(each.state, "")
    again = f"; next try in {fmt.span(max(0.0, each.next_try_at - now))}" if each.next_try_at is not None else ""
    cells = (
        Cell("", style),
        Cell("Alertmanager", style),
        Cell("", style),
        Cell(str(each.state), style),
        Cell(clean_line(_told(each) + again + (f": {each.remedy}" if each.remedy else ""), 400), style),
    )
    return Row(cells)


def _told(each: Manager) -> str:
    return each.text.removeprefix("Alertmanager ") if each.origin in each.text else f"{each.origin}: {each.text}"


def _rule_row(each: Rule, status: RuleStatus) -> Row:
    if not status.judged:
        judged, style = "not judged", "dim"
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
    """``2 firing · 1 pending · 1 silenced``, and where alerting does not work."""
    held, info = sum(each.held_back for each in alerts.alerts), alerts.count(AlertSeverity.INFO)
    firing, pending = len(alerts.firing) - info, len(alerts.alerts) - len(alerts.firing) - held
    counts = ((firing, "firing"), (pending, "pending"), (info, "info"), (held, "silenced"))
    said = [f"{count} {word}" for count, word in counts if count or word == "firing"]
    regions = ", ".join(region for region, _ in alerts.alerting)
    return clean_line(" · ".join([*said, *([f"alerting DOWN: {regions}"] if regions else [])]), 200)


def empty_words(alerts: Alerts) -> str:
    """What is said where there is no alert: that none is, that nothing could be judged, or that none would arrive."""
    if not alerts.judged:
        return clean_line(alerts.note, 400) if alerts.rules or alerts.broken else "no alert can be judged yet"
    if alerts.broken:
        return clean_line(f"{alerts.broken}; what is judged here is as it should be", 400)
    if alerts.managers:
        return "no alerts: what can be judged is as it should be, and the Alertmanagers have none"
    return "no alerts: what can be judged is as it should be"


def plain(alert: Alert) -> str:
    """One line of text."""
    value, limit = _numbers(alert)
    told = f"{SEVERITY_WORDS[alert.severity]} {state_word(alert)} {alert.rule} {about(alert)} in {alert.region}"
    numbers = f" ({value}, limit {limit})" if value else ""
    at = f" [{origins(alert)}]" if alert.managed else ""
    return clean_line(f"{told} since {fmt.clock(alert.since)}: {alert.text}{numbers}{at}; {alert.remedy}", 500)


def plain_manager(each: Manager) -> str:
    """One line of text."""
    return clean_line(f"Alertmanager {each.origin} {each.state}: {each.text}; {each.remedy}", 500)
