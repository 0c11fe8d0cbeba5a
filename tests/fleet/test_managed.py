"""What Alertmanagers tell, in the fleet: one alert is one, whose it is, and whether alerts would arrive at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.artifacts.alerting import EXPORTED, WATCHDOG, rules_text
from nimify_tui.domain.alertmanagers import (
    WATCHDOGS,
    ManagerFacts,
    ManagerState,
    Matcher,
    Silence,
    ToldAlert,
    place_of,
)
from nimify_tui.domain.alerts import Alert, Alerts, AlertSeverity, AlertState
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.rules import EXPORTED_AS
from nimify_tui.domain.services import ReplicaState
from nimify_tui.domain.updates import AlertmanagerSeen
from nimify_tui.fleet.managed import FORGET_S, LOOK_AGAIN_S
from nimify_tui.fleet.matching import Services, about, service_of
from nimify_tui.fleet.snapshot import project
from tests.fleet.town import Town, service_fact

EU, LATER = ServiceKey("eu-west-1", "chat"), ServiceKey("eu-west-1", "later")
DOG = {"alertname": "Watchdog", "severity": "none"}


def told(labels: dict[str, str], mark: str = "", **more: Any) -> ToldAlert:
    pairs = tuple(sorted(labels.items()))
    return ToldAlert(fingerprint=mark or str(pairs), labels=pairs, annotations=(), since=1_800_000_000.0, **more)


def facts(origin: str, *alerts: ToldAlert, regions: tuple[str, ...] = ("eu-west-1",), **more: Any) -> ManagerFacts:
    return ManagerFacts(origin=origin, regions=regions, answered_at=1_800_000_000.0, alerts=alerts, **more)


def tell(made: Town, *those: ManagerFacts) -> Alerts:
    for each in those:
        made.fleet.apply(AlertmanagerSeen(made.at, each))
    made.run(1)
    return made.fleet.frame.alerts


def town() -> Town:
    return Town({"eu-west-1": {"chat": 1}, "us-east-1": {"chat": 1}})


def of(alerts: Alerts, name: str) -> list[Alert]:
    return [each for each in alerts.alerts if each.rule == name]


def test_the_names_of_the_exported_rules_are_those_that_come_back() -> None:
    assert {each.name: each.rule for each in EXPORTED if each.rule} == EXPORTED_AS
    assert WATCHDOG in WATCHDOGS
    assert f"alert: {WATCHDOG}" in rules_text()


def test_an_exported_rule_that_comes_back_is_the_row_that_is_judged_here() -> None:
    """Sabotage seen failing: an empty EXPORTED_AS, so that both are shown."""
    made = town()
    made.see(made.of("chat", "eu-west-1")[0].key, ReplicaState.BACKOFF, since=made.at - 90, restarts=3)
    made.run(2)
    [alone] = of(made.fleet.frame.alerts, "Unavailable")
    assert alone.managed == ()
    ours = told({"alertname": "NimifyUnavailable", "job": "chat", "severity": "critical"})
    pair = facts("am-0", ours, told(DOG)), facts("am-1", ours, told(DOG))
    now = tell(made, *pair)
    [one] = of(now, "Unavailable")
    assert of(now, "NimifyUnavailable") == []
    assert [each.name for each in one.managed[0].origins] == ["am-0", "am-1"]
    assert (one.state, one.text, one.key) == (AlertState.FIRING, alone.text, EU)
    assert made.fleet.frame.summary.alerts == 1
    # The same about a service that is well here is told by the Alertmanager alone.
    other = told({"alertname": "NimifyUnavailable", "job": "chat", "region": "us-east-1"})
    now = tell(made, facts("am-0", ours, other, told(DOG)))
    [theirs] = of(now, "NimifyUnavailable")
    assert theirs.key == ServiceKey("us-east-1", "chat")
    # Silenced there, it counts no more, here neither.
    silence = Silence(id="s", matchers=(Matcher("job", "chat"),), ends_at=1_900_000_000.0, by="ann", comment="known")
    quiet = msgspec.structs.replace(ours, silences=("s",))
    now = tell(made, *(facts(each.origin, quiet, told(DOG), silences=(silence,)) for each in pair))
    [one] = of(now, "Unavailable")
    assert one.held_back
    assert made.fleet.frame.summary.alerts == 0
    document = project(made.fleet.frame, [])["alerts"]
    [item] = [each for each in document["items"] if each["rule"] == "Unavailable"]
    assert (item["silenced"], item["managed"][0]["silences"][0]["by"]) == (True, "ann")
    assert document["count"] == 0


def test_the_same_labels_in_two_regions_are_two_alerts() -> None:
    same = told({"alertname": "DiskFull", "instance": "db:9100"}, "f")
    made = town()
    now = tell(made, facts("a", same), facts("b", same, regions=("us-east-1",)))
    assert [each.region for each in of(now, "DiskFull")] == ["eu-west-1", "us-east-1"]
    # One for both regions tells by a label which it is.
    named = told({"alertname": "DiskFull", "instance": "db:9100", "cluster": "us-east-1"}, "g")
    now = tell(made, facts("a", named, regions=("eu-west-1", "us-east-1")), facts("b", named, regions=("us-east-1",)))
    [one] = of(now, "DiskFull")
    assert (one.region, len(one.managed[0].origins)) == ("us-east-1", 2)


def test_a_watchdog_that_names_a_region_is_that_regions_alone() -> None:
    made = town()
    both = ("eu-west-1", "us-east-1")
    here = told(DOG | {"cluster": "eu-west-1"})
    now = tell(made, facts("a", here, regions=both))
    assert now.alerting == (("us-east-1", "no Watchdog at a"),)
    assert "no Watchdog of us-east-1" in now.managers[0].text
    assert made.fleet.frame.summary.alerting.startswith("alerting does not work in us-east-1")
    now = tell(made, facts("a", told(DOG), regions=both))
    assert (now.alerting, now.managers[0].state) == ((), ManagerState.WORKS)
    # Not asked yet says nothing; nothing judged and nobody answering says so.
    asking = ManagerFacts(origin="z", regions=("eu-west-1",))
    now = tell(made, facts("a", told(DOG), regions=both), asking)
    assert now.managers[1].state is ManagerState.ASKING
    down = ManagerFacts(origin="a", regions=both, cause="connection refused", next_try_at=made.at + 5)
    now = tell(made, down, msgspec.structs.replace(asking, cause="name not found"))
    assert dict(now.alerting)["us-east-1"] == "no Alertmanager answers: connection refused"
    assert "connection refused; name not found" in now.broken
    blind = Alerts(managers=now.managers, alerting=now.alerting)
    assert (blind.judged, blind.note) == (False, now.broken)


@pytest.mark.parametrize(
    ("label", "severity"),
    [("critical", AlertSeverity.CRITICAL), ("page", AlertSeverity.CRITICAL), ("none", AlertSeverity.INFO),
     ("", AlertSeverity.WARNING), ("sev-3", AlertSeverity.WARNING)],
)  # fmt: skip
def test_severities_of_others(label: str, severity: AlertSeverity) -> None:
    made = town()
    now = tell(made, facts("a", told({"alertname": "X", "severity": label}), told(DOG)))
    assert of(now, "X")[0].severity is severity
    assert made.fleet.frame.summary.alerts == (0 if severity is AlertSeverity.INFO else 1)


def test_what_an_alert_fits_is_looked_at_again() -> None:
    made = town()
    alert = told({"alertname": "X", "job": "later"})
    assert of(tell(made, facts("a", alert)), "X")[0].key is None
    made.services[LATER] = service_fact(LATER)
    made.see_service(LATER)
    made.run(int(LOOK_AGAIN_S) + 1)
    assert of(made.fleet.frame.alerts, "X")[0].key == LATER


def test_what_a_silent_one_told_is_shown_for_a_while() -> None:
    """Sabotage seen failing: no end of it."""
    made = town()
    silent = msgspec.structs.replace(facts("a", told({"alertname": "X"})), cause="connection refused",
                                     answered_at=made.at)  # fmt: skip
    [one] = of(tell(made, silent), "X")
    assert one.unjudged.endswith("a does not answer")
    made.at += FORGET_S
    made.run(int(LOOK_AGAIN_S) + 1)
    now = made.fleet.frame.alerts
    assert of(now, "X") == []
    assert "is too old to be shown" in now.managers[0].text
    assert now.broken
    [again] = of(tell(made, facts("a", told({"alertname": "X"}))), "X")
    assert not again.unjudged


SHOP, LAB = ServiceKey("eu", "web", "shop"), ServiceKey("eu", "web", "lab")
ONLY = ServiceKey("eu", "chat", "shop")
POD = "web-7d9f-x2x4z"
KNOWN = Services(
    frozenset({"eu"}), lambda key: (POD,) if key == SHOP else ("chat-0",) if key == ONLY else (),
    lambda region, name: [each for each in (SHOP, LAB, ONLY) if (each.region, each.name) == (region, name)],
)  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "key", "words"),
    [
        ({"namespace": "shop", "pod": POD, "job": "kube-state-metrics"}, SHOP, f"shop/{POD}"),
        ({"pod": POD}, SHOP, POD),
        ({"namespace": "lab", "pod": POD, "service": "chat"}, None, f"lab/{POD}"),
        ({"namespace": "monitoring", "exported_namespace": "shop", "service": "chat"}, ONLY, "monitoring/chat"),
        ({"service": "web"}, None, "web"),
        ({"namespace": "lab", "deployment": "web"}, LAB, "lab/web"),
        ({"job": "lab/web"}, LAB, "lab/web"),
        ({"job": "chat"}, ONLY, "chat"),
        ({"nimify_dev_service": "chat", "job": "docker"}, ONLY, "chat"),
        ({"instance": "db-7:9100", "job": "node"}, None, "node"),
        ({"pod": "-" * 5000}, None, "-" * 5000),
        ({"namespace": "kube-system"}, None, "kube-system"),
        ({}, None, "nothing that is named"),
    ],
)  # fmt: skip
def test_which_service_an_alert_is_about(labels: dict[str, str], key: ServiceKey | None, words: str) -> None:
    """Labels as kube-prometheus 0.13 (kube-state-metrics 2.9), the operator 0.68 and Prometheus itself set them."""
    alert = told(labels | {"alertname": "X"})
    assert place_of(alert, ("eu", "us"), frozenset({"eu"})) == "eu"
    assert service_of(alert, "eu", KNOWN) == key
    assert about(alert) == words
    assert ReplicaKey(SHOP, POD).service == SHOP
