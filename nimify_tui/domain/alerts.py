"""Alerts: what a rule has found, for how long, and what could not be judged."""

from __future__ import annotations

import enum

import msgspec

from nimify_tui.domain.alertmanagers import Managed, Manager, ManagerState
from nimify_tui.domain.measures import Measure
from nimify_tui.domain.names import ServiceKey


class AlertSeverity(enum.StrEnum):
    """How soon somebody has to look, worst first; the value is Prometheus' label. INFO: nobody has to."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class AlertState(enum.StrEnum):
    """PENDING: so, but not for long enough yet. What is over is no alert any more."""

    FIRING = "firing"
    PENDING = "pending"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that holds for one subject.

    ``key`` is the service, None for an alert that fits none (``subject`` then says in words what it is about).
    ``since`` is when it began to be so, ``fired_at`` when it had been so for long enough (both unix seconds).
    ``value`` is the newest number that was judged, ``threshold`` its limit in the same unit, None where there is no
    single number. ``unjudged`` says why it cannot be judged at the moment ("" when it can): it then neither fires
    nor ends. ``clear_since`` is set while it is over and only held. ``managed`` is what Alertmanagers tell of it:
    empty for one that is judged here alone. One that only they know has their alertname as its ``rule``.
    """

    rule: str
    severity: AlertSeverity
    state: AlertState
    region: str
    key: ServiceKey | None
    subject: str
    since: float
    value: Measure
    threshold: float | None
    text: str
    remedy: str
    fired_at: float | None = None
    clear_since: float | None = None
    unjudged: str = ""
    managed: tuple[Managed, ...] = ()

    @property
    def held_back(self) -> bool:
        """True when its Alertmanagers notify nobody of it (silenced, inhibited): it counts as no alert then."""
        return bool(self.managed) and all(each.held_back for each in self.managed)

    @property
    def fires(self) -> bool:
        """Whether it fires and nobody holds it back."""
        return self.state is AlertState.FIRING and not self.held_back


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """An alert about a service that fired from ``fired_at`` to ``ended_at`` (unix seconds; None: it still fires)."""

    rule: str
    severity: AlertSeverity
    key: ServiceKey
    fired_at: float
    ended_at: float | None
    text: str


#: What these find, or do not find, says nothing of how services are.
_ASIDE = frozenset({"CertificateExpiring"})


class RuleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule could look at: for how many subjects it was judged, for how many not, and mostly why not."""

    rule: str
    judged: int = 0
    unjudged: int = 0
    reason: str = ""


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts, firing and critical first, and what each rule could be judged for.

    Without any judgement ``judged`` is False: that there are no alerts then says nothing. ``managers`` are the
    Alertmanagers, ``alerting`` says where alerts do not arrive and why, by region; a region without one is not in it.
    """

    alerts: tuple[Alert, ...] = ()
    rules: tuple[RuleStatus, ...] = ()
    managers: tuple[Manager, ...] = ()
    alerting: tuple[tuple[str, str], ...] = ()

    @property
    def judged(self) -> bool:
        """Whether any rule could be judged for anything, here or by who tells an Alertmanager that works."""
        told = any(each.state is ManagerState.WORKS for each in self.managers)
        return told or any(each.judged for each in self.rules if each.rule not in _ASIDE) or bool(self.alerts)

    @property
    def broken(self) -> str:
        """Where and why alerting does not work, "" where it does (or there is no Alertmanager)."""
        if not self.alerting:
            return ""
        causes: dict[str, list[str]] = {}
        for region, why in self.alerting:
            causes.setdefault(why, []).append(region)
        where = "; ".join(f"{', '.join(regions)}: {why}" for why, regions in causes.items())
        return f"alerting does not work in {where}"

    @property
    def firing(self) -> tuple[Alert, ...]:
        """Those that fire, without what Alertmanagers hold back."""
        return tuple(each for each in self.alerts if each.fires)

    def count(self, severity: AlertSeverity) -> int:
        """How many of a severity fire."""
        return sum(each.severity is severity and each.fires for each in self.alerts)

    @property
    def note(self) -> str:
        """Why nothing can be judged, "" when something is."""
        if self.judged:
            return ""
        if self.broken:
            return self.broken
        seen = [each for each in self.rules if each.unjudged]
        most = max(seen, key=lambda each: each.unjudged, default=None)
        return f"nothing can be judged: {most.reason}" if most is not None else "nothing is seen that could be judged"


#: Before anything is looked at.
NO_ALERTS = Alerts()
