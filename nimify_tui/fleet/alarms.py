"""The alert rules judged here, with an Alertmanager or without: pending, firing after their time, over after a hold.

Time counts only while it was known to be so: what is absent or stale neither fires an alert nor ends it, and says
why. A service is looked at once a second while its row is derived anew, and when its state changes; what is
pending or fires, once a second.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

from nimify_tui.domain.alerts import NO_ALERTS, Alert, Alerts, AlertSeverity, AlertState, Incident, RuleStatus
from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionHealth
from nimify_tui.domain.rules import RULES, Looks, Rule
from nimify_tui.fleet.judges import JUDGES, Look, Memory, Verdict, certificate, gpu
from nimify_tui.fleet.tracks import ServiceTrack

#: At most so much time passes between two looks: this host slept, and what was in between nobody knows, seconds.
LONGEST_STEP_S = 10.0
#: What an alert is about, a GPU that no reading told of, say, is kept in mind for so long: it neither fires nor ends.
UNSEEN_S = 600.0
_UNSEEN = Verdict(None, "not told any more")
#: With so many alerts no further warning is followed: nobody reads them, and each costs. Those of critical rules are.
MOST = 1000
_ABOUT_SERVICES = tuple((each, JUDGES[each.looks]) for each in RULES if each.looks in JUDGES)
_ABOUT_GPUS = tuple(each for each in RULES if each.looks is Looks.GPU)
_ABOUT_CERTIFICATES = tuple(each for each in RULES if each.looks is Looks.CERTIFICATE)
#: Of services without a cache there is nothing to remember.
_NOTHING = Memory()
#: Ways of being judged that are remembered, so that services share them.
_KINDS = 256
#: Alerts that are over, of all services: a chart marks them.
_PAST = 1000
_RANK = {AlertSeverity.CRITICAL: 0, AlertSeverity.WARNING: 1, AlertSeverity.INFO: 2}


class _Subject(NamedTuple):
    """What a rule holds for: a service in a region, or (``key`` None) something else that ``words`` name."""

    rule: str
    region: str
    key: ServiceKey | None
    words: str


class _Entry:
    """One alert's life."""

    __slots__ = (
        "alert", "at", "clear_at", "clear_s", "fired_at", "held_s", "last", "rule", "seen_at", "since", "subject",
        "unjudged", "verdict", "was",
    )  # fmt: skip

    def __init__(self, rule: Rule, subject: _Subject, verdict: Verdict, at: float) -> None:
        self.rule, self.subject, self.verdict = rule, subject, verdict
        self.at = self.seen_at = at
        self.since = min(at, verdict.since) if verdict.since is not None else at
        #: For how long it was known to be so, and known to be over, seconds.
        self.held_s, self.clear_s = 0.0, 0.0
        self.fired_at: float | None = None
        self.clear_at: float | None = None
        #: What the last look said; None at first, and when it could not be judged.
        self.was: bool | None = None
        self.unjudged = ""
        #: What the last look said, and what is told of it; None where that is another now.
        self.last = verdict
        self.alert: Alert | None = None
        self.step(verdict, at)

    def step(self, verdict: Verdict, at: float) -> bool:
        """One more look; False when there is no alert any more."""
        before = self.verdict, self.fired_at, self.clear_at, self.unjudged
        self.last = verdict
        self.seen_at = at if verdict is not _UNSEEN else self.seen_at
        there = self._step(verdict, at)
        if before != (self.verdict, self.fired_at, self.clear_at, self.unjudged):
            self.alert = None
        return there

    def _step(self, verdict: Verdict, at: float) -> bool:
        passed_s = min(max(0.0, at - self.at), LONGEST_STEP_S)
        self.at = at
        was, self.was = self.was, verdict.breach
        self.unjudged = verdict.text if verdict.breach is None else ""
        if verdict.breach is None:
            return True
        if not verdict.breach:
            if self.fired_at is None:
                return False
            self.clear_s += passed_s if was is False else 0.0
            self.clear_at = self.clear_at if self.clear_at is not None else at
            self.verdict = self.verdict._replace(value=verdict.value, threshold=verdict.threshold)
            return self.clear_s < self.rule.hold_s
        self.clear_s, self.clear_at = 0.0, None
        self.verdict = verdict
        self.held_s += passed_s if was else 0.0
        if verdict.since is not None:
            self.held_s = max(self.held_s, at - verdict.since)
        if self.fired_at is None and self.held_s >= self.rule.for_s:
            self.fired_at = at
        return True

    def told(self) -> Alert:
        """The alert as it stands."""
        if self.alert is not None:
            return self.alert
        rule, subject, verdict = self.rule, self.subject, self.verdict
        self.alert = Alert(
            rule=rule.name, severity=rule.severity,
            state=AlertState.PENDING if self.fired_at is None else AlertState.FIRING, region=subject.region,
            key=subject.key, subject=subject.words, since=self.since, value=verdict.value,
            threshold=verdict.threshold, text=verdict.text or rule.words, remedy=rule.remedy,
            fired_at=self.fired_at, clear_since=self.clear_at, unjudged=self.unjudged,
        )  # fmt: skip
        return self.alert


class Alarms:
    """All rules over one fleet. Time comes in with each call (unix seconds)."""

    def __init__(self, scrape_s: float) -> None:
        self._scrape_s = scrape_s
        self._entries: dict[_Subject, _Entry] = {}
        self._memories: dict[ServiceKey, Memory] = {}
        #: What the last look at a subject could judge: by rule "" or why not.
        self._said: dict[ServiceKey | str, dict[str, str]] = {}
        self._all: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        self._reasons: dict[str, Counter[str]] = {each.name: Counter() for each in RULES}
        self._active: Counter[ServiceKey] = Counter()
        #: Rules of which not all is followed.
        self._full: set[str] = set()
        self._alerts = NO_ALERTS
        self._past: deque[Incident] = deque(maxlen=_PAST)

    def look(self, track: ServiceTrack, at: float, skew_s: float = 0.0) -> None:
        """Judge one service in one region by its row as it is now; its region's clock is ``skew_s`` ahead of ``at``."""
        row, key = track.row, track.key
        if row is None:
            return
        stopped = track.service is not None and (track.service.stopped or track.service.desired_replicas == 0)
        memory = self._memories.get(key, _NOTHING)
        if memory is _NOTHING and track.caches is not None:
            memory = self._memories[key] = Memory()
        said, active = {}, key in self._active
        for rule, judge in _ABOUT_SERVICES:
            # A service that nobody wants to run cannot fail.
            verdict = None if stopped else judge(Look(track, row, memory, at, self._scrape_s, rule.threshold))
            if verdict is not None:
                if verdict.since is not None and skew_s:
                    verdict = verdict._replace(since=min(at, verdict.since - skew_s))
                said[rule.name] = (verdict.text or "not known") if verdict.breach is None else ""
            if active or (verdict is not None and verdict.breach):
                self._step(rule, _Subject(rule.name, key.region, key, ""), verdict, at)
        self._say(key, self._shared(said))

    def _shared(self, said: dict[str, str]) -> dict[str, str]:
        """Most services are judged alike, by the same rules and reasons: one dictionary for all those."""
        what = tuple(said.items())
        known = self._all.get(what)
        if known is None:
            if len(self._all) >= _KINDS:
                self._all.clear()
            known = self._all[what] = said
        return known

    def forget(self, key: ServiceKey) -> None:
        """The service is gone."""
        self._memories.pop(key, None)
        self._say(key, {})
        if key in self._active:
            for rule, _ in _ABOUT_SERVICES:
                self._step(rule, _Subject(rule.name, key.region, key, ""), None, 0.0)

    def pass_time(self, at: float) -> None:
        """What was so at the last look is so still: time alone makes an alert fire, or be over."""
        for entry in [each for each in self._entries.values() if each.subject.key is not None and each.at < at]:
            self._step(entry.rule, entry.subject, entry.last, at)

    def things(self, panels: Iterable[GpuPanel], regions: Iterable[tuple[str, RegionHealth]], at: float) -> None:
        """Judge all GPUs, and the certificates of all regions (name, health)."""
        subjects, there = set(), set()
        for region, each in ((name, each) for name, health in regions for each in health.certificates):
            said = {}
            for rule in _ABOUT_CERTIFICATES:
                subject = _Subject(rule.name, region, None, each.what)
                subjects.add(subject)
                verdict = certificate(each, at, rule.threshold)
                said[rule.name] = ""
                self._step(rule, subject, verdict, at)
            there.add(who := f"{region} {each.what}")
            self._say(who, said)
        for one in (each for panel in panels for each in panel.gpus):
            said = {}
            for rule in _ABOUT_GPUS:
                subject = _Subject(rule.name, one.region or one.node, None, _gpu_name(one))
                subjects.add(subject)
                verdict = gpu(one, at, rule.threshold)
                said[rule.name] = verdict.text if verdict.breach is None else ""
                self._step(rule, subject, verdict, at)
            there.add(who := f"{one.region} {one.node} {one.uuid or one.index} {one.instance}")
            self._say(who, said)
        for entry in [each for each in self._entries.values() if each.subject.key is None]:
            if entry.subject not in subjects:
                told = _UNSEEN if at - entry.seen_at <= UNSEEN_S else None
                self._step(entry.rule, entry.subject, told, at)
        for who in [each for each in self._said if isinstance(each, str) and each not in there]:
            self._say(who, {})

    def incidents(self, keys: Iterable[ServiceKey]) -> tuple[Incident, ...]:
        """What fired and fires about some services, in the order of their beginnings."""
        wanted = frozenset(keys)
        found = [each for each in self._past if each.key in wanted]
        if not wanted.isdisjoint(self._active):
            mine = [each for each in self._entries.values() if each.subject.key in wanted]
            found += [one for each in mine if (one := _incident(each)) is not None]
        return tuple(sorted(found, key=lambda each: each.fired_at))

    def told(self) -> Alerts:
        """All that is so now; the same object while nothing is another."""
        alerts = sorted((each.told() for each in self._entries.values()), key=order)
        made = Alerts(alerts=tuple(alerts), rules=tuple(self._status(each) for each in RULES))
        if made != self._alerts:
            self._alerts = made
        return self._alerts

    def _status(self, rule: Rule) -> RuleStatus:
        if rule.name in self._full:
            if len(self._entries) >= MOST:
                return RuleStatus(
                    rule=rule.name, judged=self._reasons[rule.name].get("", 0),
                    reason=f"more than {MOST:,} alerts: further warnings are not followed",
                )  # fmt: skip
            self._full.discard(rule.name)
        reasons = self._reasons[rule.name]
        judged = reasons.get("", 0)
        why = [(count, text) for text, count in reasons.items() if text]
        reason = min(why, key=lambda each: (-each[0], each[1]))[1] if why else ""
        return RuleStatus(
            rule=rule.name, judged=judged, unjudged=sum(count for count, _ in why),
            reason=reason or ("" if judged else "nothing is seen that it could be judged for"),
        )  # fmt: skip

    def _step(self, rule: Rule, subject: _Subject, verdict: Verdict | None, at: float) -> None:
        entry = self._entries.get(subject)
        if entry is not None:
            if verdict is not None and entry.step(verdict, at):
                return
            del self._entries[subject]
            if (over := _incident(entry, entry.clear_at or entry.at)) is not None:
                self._past.append(over)
            if subject.key is not None:
                self._active[subject.key] -= 1
                if not self._active[subject.key]:
                    del self._active[subject.key]
        elif verdict is not None and verdict.breach:
            if rule.severity is AlertSeverity.WARNING and len(self._entries) >= MOST:
                self._full.add(rule.name)
                return
            self._entries[subject] = _Entry(rule, subject, verdict, at)
            if subject.key is not None:
                self._active[subject.key] += 1

    def _say(self, who: ServiceKey | str, said: dict[str, str]) -> None:
        before = self._said.get(who, {})
        if said is before or said == before:
            return
        for name, reason in before.items():
            self._reasons[name][reason] -= 1
            if not self._reasons[name][reason]:
                del self._reasons[name][reason]
        for name, reason in said.items():
            self._reasons[name][reason] += 1
        if said:
            self._said[who] = said
        else:
            del self._said[who]


def _incident(entry: _Entry, ended_at: float | None = None) -> Incident | None:
    """An alert as an incident; None for one that did not fire, or that is about no service."""
    key, alert = entry.subject.key, entry.told()
    if key is None or entry.fired_at is None:
        return None
    return Incident(
        rule=alert.rule, severity=alert.severity, key=key, fired_at=entry.fired_at, ended_at=ended_at, text=alert.text
    )


def order(alert: Alert) -> tuple[bool, bool, int, float, str, str, str]:
    """What fires first and what is held back last, critical first, then the newest."""
    name = alert.key.fold_id if alert.key is not None else alert.subject
    return (
        alert.held_back, alert.state is AlertState.PENDING, _RANK[alert.severity],
        -(alert.fired_at or alert.since), alert.rule, name, alert.region,
    )  # fmt: skip


def _gpu_name(one: Gpu) -> str:
    """A GPU among those of its host; among those of a region with its node."""
    where = f"{one.node}/" if one.region else ""
    return f"GPU {where}{one.index}{f' {one.instance}' if one.instance else ''}"
