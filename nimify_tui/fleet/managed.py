"""What Alertmanagers tell, merged with what is judged here: one alert is one, however many tell of it.

The same labels (fingerprint) of the same region are the same alert, from whichever of that region's Alertmanagers it
comes; equal labels from another region's own Alertmanager are another one. An alert of a rule that we exported, about
a service for which the console judges that rule, is that alert: the row judged here stands, with their origins and
silences. A Watchdog is never an alert: where it is missing, alerts do not arrive, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from nimify_tui.base.clock import rfc3339
from nimify_tui.domain.alertmanagers import (
    WATCHDOGS,
    Managed,
    Manager,
    ManagerFacts,
    ManagerState,
    Origin,
    Silence,
    ToldAlert,
    place_of,
)
from nimify_tui.domain.alerts import Alert, Alerts, AlertSeverity, AlertState
from nimify_tui.domain.measures import absent
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.rules import EXPORTED_AS
from nimify_tui.fleet.alarms import order
from nimify_tui.fleet.matching import Services, about, service_of

#: Services come and go: what an alert fits is looked at again so often, seconds.
LOOK_AGAIN_S = 5.0
#: What one told that does not answer is shown for so long, seconds: afterwards it says nothing of now (karma's time).
FORGET_S = 900.0
_CRITICAL = frozenset({"critical", "crit", "fatal", "emergency", "page", "disaster", "p1", "high"})
_INFO = frozenset({"info", "information", "informational", "none", "notice", "debug", "low"})
_TEXTS, _REMEDIES = ("summary", "description", "message"), ("remedy", "runbook_url", "runbook")
#: What is told of an alert that only Alertmanagers know.
_NO_NUMBER = absent("count", "an Alertmanager tells no number")


#: Of each that tells of an alert: which it is, why it does not answer, its silences where one holds the alert back.
_Told = tuple[tuple[str, str, tuple[Silence, ...], ToldAlert], ...]


class ManagedAlerts:
    """Remembers the newest merge; the same object while nothing is another."""

    def __init__(self) -> None:
        self._managers: dict[str, ManagerFacts] = {}
        #: By region and fingerprint: what was told of an alert, and the alert that was made of it.
        self._made: dict[tuple[str, str], tuple[_Told, Alert]] = {}
        self._judged: Alerts | None = None
        self._looked_at = 0.0
        self._told: tuple[Alert, ...] = ()
        self._regions: frozenset[str] = frozenset()
        self._alerts = Alerts()

    def merged(
        self, judged: Alerts, managers: Mapping[str, ManagerFacts], services: Callable[[], Services], at: float
    ) -> Alerts:
        """What is judged here with what the Alertmanagers tell, as of ``at`` (unix seconds).

        ``services`` gives what they may be about; it is asked now and then only.
        """
        if not managers:
            return judged
        states = any(self._managers.get(name) is not each for name, each in managers.items())
        if any(_told_news(self._managers.get(name), each) for name, each in managers.items()) or (
            at - self._looked_at >= LOOK_AGAIN_S
        ):
            self._looked_at, seen = at, services()
            told = self._merge([each for each in managers.values() if not _too_old(each, at)], seen)
            if len(told) != len(self._told) or any(a is not b for a, b in zip(told, self._told, strict=True)):
                self._told, states = told, True
            # A region that came may have a Watchdog of its own; what is silent gets old.
            states = states or seen.regions != self._regions or any(each.cause for each in managers.values())
            self._regions = seen.regions
        self._managers = dict(managers)
        if judged is self._judged and not states:
            return self._alerts
        self._judged, regions = judged, self._regions
        made = msgspec.structs.replace(
            judged, alerts=_joined(judged.alerts, self._told),
            managers=tuple(_manager(each, regions, at) for each in managers.values()),
            alerting=tuple(_alerting(managers.values(), regions)),
        )  # fmt: skip
        if made != self._alerts:
            self._alerts = made
        return self._alerts


    def _merge(self, managers: Sequence[ManagerFacts], services: Services) -> tuple[Alert, ...]:
        """One alert for all that tell of it; what is told as before, and fits a service, is the same object."""
        found: dict[tuple[str, str], list[tuple[ManagerFacts, ToldAlert]]] = {}
        for manager in managers:
            for alert in manager.alerts:
                if alert.name not in WATCHDOGS:
                    region = place_of(alert, manager.regions, services.regions)
                    found.setdefault((region, alert.fingerprint), []).append((manager, alert))
        made: dict[tuple[str, str], tuple[_Told, Alert]] = {}
        for place, told in found.items():
            sign = tuple((each.origin, each.cause, each.silences if one.silences else (), one) for each, one in told)
            known = self._made.get(place)
            if known is not None and known[0] == sign:
                one, key = known[1], known[1].key
                if key is None and (key := service_of(told[0][1], place[0], services)) is not None:
                    one = msgspec.structs.replace(one, key=key, subject="")
                made[place] = (known[0], one)
            else:
                made[place] = (sign, _alert(place[0], told, services))
        self._made = made
        return tuple(alert for _, alert in made.values())


def _too_old(facts: ManagerFacts, at: float) -> bool:
    return bool(facts.cause) and facts.answered_at is not None and at - facts.answered_at > FORGET_S


def _told_news(before: ManagerFacts | None, now: ManagerFacts) -> bool:
    """Whether an Alertmanager tells of another alert or silence, or began or ceased to answer."""
    if before is None or before.alerts is not now.alerts or before.silences is not now.silences:
        return True
    return before.cause != now.cause


def _alert(region: str, told: list[tuple[ManagerFacts, ToldAlert]], services: Services) -> Alert:
    first = told[0][1]
    silences: dict[str, Silence] = {}
    for manager, alert in told:
        silences |= {each.id: each for each in manager.silences if each.id in alert.silences}
    managed = Managed(
        name=first.name, fingerprint=first.fingerprint, labels=first.labels, annotations=first.annotations,
        since=min(alert.since for _, alert in told), silences=tuple(silences.values()),
        origins=tuple(
            Origin(manager.origin, bool(alert.silences), alert.inhibited, bool(manager.cause))
            for manager, alert in told
        ),
    )  # fmt: skip
    said = dict(first.annotations)
    key = service_of(first, region, services)
    return Alert(
        rule=managed.name or "an alert without a name", severity=_severity(first), state=AlertState.FIRING,
        region=region, key=key, subject="" if key is not None else about(first), since=managed.since,
        fired_at=managed.since, value=_NO_NUMBER, threshold=None, managed=(managed,),
        text=next((said[name] for name in _TEXTS if said.get(name)), ""),
        remedy=next((said[name] for name in _REMEDIES if said.get(name)), ""),
        unjudged=_stale(told) if managed.stale else "",
    )  # fmt: skip


def _stale(told: list[tuple[ManagerFacts, ToldAlert]]) -> str:
    last = max((manager for manager, _ in told), key=lambda each: each.answered_at or 0.0)
    return f"as told at {rfc3339(last.answered_at or 0.0)[11:19]}: {last.origin} does not answer"


def _severity(alert: ToldAlert) -> AlertSeverity:
    """By its label; one without, or with a word that nobody agreed on, is a warning."""
    word = alert.label("severity", "priority", "level").lower()
    if word in _CRITICAL:
        return AlertSeverity.CRITICAL
    return AlertSeverity.INFO if word in _INFO else AlertSeverity.WARNING


def _joined(judged: Sequence[Alert], told: Sequence[Alert]) -> tuple[Alert, ...]:
    """All in one list; an exported rule's alert goes into the row that is judged here."""
    ours = {(each.rule, each.key or _thing(each.region, each.subject)): each for each in judged}
    alone: list[Alert] = []
    for each in told:
        [managed] = each.managed
        rule = EXPORTED_AS.get(managed.name, "")
        labels = dict(managed.labels)
        thing = _thing(labels.get("Hostname", ""), f"GPU {labels.get('gpu', '')}")
        here = next((place for place in ((rule, each.key or thing), (rule, thing)) if place in ours), None)
        if here is None:
            alone.append(each)
            continue
        one = ours[here]
        fires = not managed.stale
        ours[here] = msgspec.structs.replace(
            one, managed=(*one.managed, managed),
            state=AlertState.FIRING if fires else one.state,
            fired_at=one.fired_at if one.fired_at is not None or not fires else managed.since,
            clear_since=None if fires else one.clear_since,
        )  # fmt: skip
    return tuple(sorted([*ours.values(), *alone], key=order))


def _thing(region: str, words: str) -> ServiceKey:
    """Stands for what is no service, so that it is found by the same key."""
    return ServiceKey(region, words, "\0")


def _watched(manager: ManagerFacts, region: str, regions: frozenset[str]) -> bool:
    """Whether it has a Watchdog for ``region``: one that names a region is that region's alone."""
    dogs = [each for each in manager.alerts if each.name in WATCHDOGS]
    return any(place_of(each, (region,), regions) == region for each in dogs)


def _manager(facts: ManagerFacts, regions: frozenset[str], at: float) -> Manager:
    blind = [each for each in facts.regions if not _watched(facts, each, regions)]
    remedy, next_try_at = "", None
    if facts.cause:
        state, text, remedy, next_try_at = ManagerState.SILENT, facts.cause, facts.remedy, facts.next_try_at
        if _too_old(facts, at):
            text += f"; what it told at {rfc3339(facts.answered_at or 0.0)[11:19]} is too old to be shown"
    elif facts.answered_at is None:
        state, text = ManagerState.ASKING, "has not answered yet"
    elif blind:
        state, where = ManagerState.NO_WATCHDOG, "" if blind == list(facts.regions) else f" of {', '.join(blind)}"
        began = f"; it began at {rfc3339(facts.started_at)[11:19]}" if facts.started_at is not None else ""
        text = f"no Watchdog{where} arrives: nobody knows whether alerts would{began}"
        remedy = "look at Prometheus (rules, alerting); a rule that always fires: `nimify-tui rules export`"
    else:
        state, text = ManagerState.WORKS, f"answers, its Watchdog fires; {_count(facts)}"
    version = f"version {facts.version}; " if facts.version and state is not ManagerState.SILENT else ""
    return Manager(
        origin=facts.origin, regions=facts.regions, state=state, text=version + text, remedy=remedy,
        next_try_at=next_try_at,
    )  # fmt: skip


def _count(facts: ManagerFacts) -> str:
    many = sum(each.name not in WATCHDOGS for each in facts.alerts)
    more = f" of {many + facts.left_out:,}, the others are not read" if facts.left_out else ""
    return f"{many:,} alert{'s' if many != 1 else ''}{more}"


def _alerting(managers: Iterable[ManagerFacts], regions: frozenset[str]) -> Iterable[tuple[str, str]]:
    """The regions of which no Alertmanager both answers and has a Watchdog, each with why."""
    by_region: dict[str, list[ManagerFacts]] = {}
    for manager in managers:
        for region in manager.regions:
            by_region.setdefault(region, []).append(manager)
    for region, those in by_region.items():
        answering = [each for each in those if not each.cause]
        if any(each.answered_at is None or _watched(each, region, regions) for each in answering):
            continue
        if answering:
            yield region, f"no Watchdog at {', '.join(each.origin for each in answering)}"
        else:
            yield region, "no Alertmanager answers: " + "; ".join(each.cause for each in those)
