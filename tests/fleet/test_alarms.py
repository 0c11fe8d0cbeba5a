"""The console's own alert rules: pending, firing, over after a hold; what cannot be judged says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nimify_tui.domain.alerts import Alert, AlertSeverity, AlertState
from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.measures import Histogram, ReplicaSample, TokenSample
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.domain.rules import RULES, Looks, rule
from nimify_tui.domain.services import ReplicaState
from nimify_tui.domain.slos import Slo
from nimify_tui.domain.updates import RegionGone, RegionSeen, Sampled, ServiceGone
from nimify_tui.fleet.judges import JUDGES
from nimify_tui.fleet.snapshot import project
from nimify_tui.fleet.store import Fleet
from tests.fleet.town import START_AT, Load, Town, region_fact

EU = ServiceKey("eu-west-1", "chat")


def town(**more: object) -> Town:
    return Town({"eu-west-1": {"chat": 1}, "us-east-1": {"chat": 1}}, **more)  # type: ignore[arg-type]  # passed on


def alerts(made: Town, name: str) -> list[Alert]:
    return [each for each in made.fleet.frame.alerts.alerts if each.rule == name]


def one(made: Town, name: str) -> Alert:
    [found] = alerts(made, name)
    return found


def status(made: Town, name: str) -> tuple[int, int, str]:
    found = next(each for each in made.fleet.frame.alerts.rules if each.rule == name)
    return found.judged, found.unjudged, found.reason


def until(made: Town, is_so: Callable[[], bool], most_s: int) -> int:
    """Seconds until it is so."""
    for passed in range(most_s):
        if is_so():
            return passed
        made.run(1)
    pytest.fail(f"not within {most_s} s: {made.fleet.frame.alerts}")


# -- the table -------------------------------------------------------------------------------
def test_each_rule_has_a_judge() -> None:
    assert len({each.name for each in RULES}) == len(RULES)
    for each in RULES:
        assert each.looks in JUDGES or each.looks in (Looks.GPU, Looks.CERTIFICATE), each.name
        assert each.words
        assert each.remedy
        assert each.hold_s > 0
    assert {each.name: (each.severity, each.for_s) for each in RULES} == {
        "Unavailable": ("critical", 60), "ErrorsHigh": ("critical", 120), "SecurityBreach": ("critical", 0),
        "CertificateExpiring": ("critical", 0), "LatencyHigh": ("warning", 300), "UtilisationHigh": ("warning", 600),
        "CacheDegraded": ("warning", 300), "TrafficUnusual": ("warning", 60),
    }  # fmt: skip


# -- nothing, and nothing known ---------------------------------------------------------------
def test_none_is_zero_and_nothing_judged_is_not_zero() -> None:
    """Sabotage seen failing: ``Alerts.judged`` that is always True."""
    empty = Fleet()
    frame = empty.publish(START_AT)
    assert frame.summary.alerts is None
    assert frame.summary.alerts_note == "nothing is seen that could be judged"
    made = town()
    frame = made.run(30)
    assert (frame.summary.alerts, frame.summary.alerts_note) == (0, "")
    assert status(made, "ErrorsHigh") == (2, 0, "")
    assert status(made, "CertificateExpiring") == (0, 0, "nothing is seen that it could be judged for")
    assert status(made, "SecurityBreach") == (0, 2, "its runtime tells no digest of what it serves")


def test_a_fleet_that_is_not_seen_is_not_judged() -> None:
    made = town()
    for server in made.servers.values():
        server.load.answers = False
    health = RegionHealth(state=RegionState.DOWN, since=START_AT, cause="refused")
    made.cut |= {"eu-west-1", "us-east-1"}
    for name in made.cut:
        made.fleet.apply(RegionSeen(made.at, region_fact(name), health))
    frame = made.run(60)
    assert frame.summary.alerts is None
    assert frame.summary.alerts_note.startswith("nothing can be judged: ")


# -- errors ----------------------------------------------------------------------------------
def test_errors_are_pending_then_fire_then_are_over_after_the_hold() -> None:
    """Sabotages seen failing: an entry that fires at once; one that ends with the first good look."""
    made = town()
    made.run(40)
    for server in made.of("chat", "eu-west-1"):
        server.load.errors = 0.4
    until(made, lambda: bool(alerts(made, "ErrorsHigh")), 15)
    found = one(made, "ErrorsHigh")
    assert (found.state, found.key, found.severity) == (AlertState.PENDING, EU, AlertSeverity.CRITICAL)
    assert made.fleet.frame.summary.alerts == 0
    made.run(110)
    assert one(made, "ErrorsHigh").state is AlertState.PENDING
    made.run(15)
    found = one(made, "ErrorsHigh")
    assert found.state is AlertState.FIRING
    assert found.fired_at is not None
    assert 119 <= found.fired_at - found.since <= 123
    assert found.value.value is not None
    assert found.value.value > 0.05
    assert found.threshold == 0.05
    assert "more than 5 %" in found.text
    summary = made.fleet.frame.summary
    assert (summary.alerts, summary.alerts_critical) == (1, 1)
    for server in made.of("chat", "eu-west-1"):
        server.load.errors = 0.0
    until(made, lambda: one(made, "ErrorsHigh").clear_since is not None, 40)
    made.run(50)
    assert one(made, "ErrorsHigh").state is AlertState.FIRING
    made.run(15)
    assert alerts(made, "ErrorsHigh") == []


def test_a_short_burst_of_errors_never_fires() -> None:
    made = town()
    made.run(40)
    for _ in range(3):
        made.of("chat", "eu-west-1")[0].load.errors = 0.5
        made.run(60)
        assert made.fleet.frame.summary.alerts == 0
        made.of("chat", "eu-west-1")[0].load.errors = 0.0
        made.run(60)
        assert alerts(made, "ErrorsHigh") == []


def test_what_is_stale_neither_fires_nor_ends() -> None:
    """Sabotage seen failing: a look that could not judge, taken for one that was good."""
    made = town()
    made.run(40)
    server = made.of("chat", "eu-west-1")[0]
    server.load.errors = 0.5
    made.run(70)
    assert one(made, "ErrorsHigh").state is AlertState.PENDING
    server.load.answers = False
    made.run(300)
    found = one(made, "ErrorsHigh")
    assert found.state is AlertState.PENDING
    assert found.unjudged.startswith("no scrape answered for")
    assert status(made, "ErrorsHigh")[:2] == (1, 1)
    server.load.answers = True
    until(made, lambda: one(made, "ErrorsHigh").state is AlertState.FIRING, 120)
    server.load.answers = False
    made.run(600)
    found = one(made, "ErrorsHigh")
    assert (found.state, found.unjudged != "") == (AlertState.FIRING, True)


def test_a_host_that_slept_does_not_count_the_time() -> None:
    made = town()
    made.run(40)
    made.of("chat", "eu-west-1")[0].load.errors = 0.5
    made.run(30)
    made.at += 3600
    made.run(30)
    assert all(each.state is AlertState.PENDING for each in alerts(made, "ErrorsHigh"))


# -- unavailable -----------------------------------------------------------------------------
def test_unavailable_fires_after_a_minute_for_the_region_that_is_down() -> None:
    made = town()
    made.run(20)
    server = made.of("chat", "eu-west-1")[0]
    server.load.answers = False
    made.see(server.key, ReplicaState.BACKOFF, reason="exit 1", restarts=3)
    made.run(58)
    assert one(made, "Unavailable").state is AlertState.PENDING
    made.run(4)
    found = one(made, "Unavailable")
    assert (found.state, found.key) == (AlertState.FIRING, EU)
    assert "exit 1" in found.text


def test_what_has_been_down_for_long_fires_at_the_first_look() -> None:
    """A snapshot looks for seconds only: the region's own facts say since when no replica was ready."""
    made = town()
    made.see(made.of("chat", "eu-west-1")[0].key, ReplicaState.BACKOFF, since=made.at - 90, restarts=3)
    made.run(2)
    assert one(made, "Unavailable").state is AlertState.FIRING


def test_a_region_whose_clock_is_behind_does_not_make_it_older() -> None:
    """Its moments are a minute and a half early. Seen failing without the skew: it fires at once."""
    made = town()
    made.skews_s["eu-west-1"] = -90.0
    made.run(2)
    made.see(made.of("chat", "eu-west-1")[0].key, ReplicaState.BACKOFF, since=made.at - 90, restarts=3)
    made.run(2)
    assert one(made, "Unavailable").state is AlertState.PENDING
    made.run(62)
    assert one(made, "Unavailable").state is AlertState.FIRING


def test_who_was_only_degraded_for_long_is_not_unavailable_for_long() -> None:
    made = Town({"eu-west-1": {"chat": 2}})
    first, second = made.of("chat", "eu-west-1")
    made.see(first.key, ReplicaState.BACKOFF, since=made.at - 900, restarts=3)
    made.run(20)
    assert alerts(made, "Unavailable") == []
    made.see(second.key, ReplicaState.BACKOFF, restarts=3)
    made.run(10)
    assert one(made, "Unavailable").state is AlertState.PENDING


def test_a_stopped_service_and_one_that_is_gone_have_no_alerts() -> None:
    made = town()
    made.see(made.of("chat", "eu-west-1")[0].key, ReplicaState.BACKOFF, since=made.at - 90, restarts=3)
    made.see(made.of("chat", "us-east-1")[0].key, ReplicaState.BACKOFF, since=made.at - 90, restarts=3)
    made.run(2)
    assert len(alerts(made, "Unavailable")) == 2
    made.see_service(EU, stopped=True)
    made.run(1)
    assert one(made, "Unavailable").region == "us-east-1"
    made.fleet.apply(ServiceGone(made.at, ServiceKey("us-east-1", "chat")))
    made.run(1)
    assert alerts(made, "Unavailable") == []
    made.cut.add("us-east-1")
    made.fleet.apply(RegionGone(made.at, "us-east-1"))
    made.run(1)
    assert sum(status(made, "Unavailable")[:2]) == 0


# -- latency ---------------------------------------------------------------------------------
def test_p95_above_200_ms_warns_after_five_minutes() -> None:
    made = town()
    made.of("chat", "eu-west-1")[0].load.latency_s = 0.4
    made.run(300)
    assert one(made, "LatencyHigh").state is AlertState.PENDING
    made.run(30)
    found = one(made, "LatencyHigh")
    assert (found.state, found.key, found.threshold) == (AlertState.FIRING, EU, 0.2)
    summary = made.fleet.frame.summary
    assert (summary.alerts, summary.alerts_critical) == (1, 0)


@pytest.mark.parametrize(("limit_ms", "alarmed"), [(1000.0, False), (300.0, True)])
def test_an_own_objective_stands_in_place_of_the_200_ms(limit_ms: float, alarmed: bool) -> None:
    """Sabotage seen failing: the threshold of the table for everybody."""
    made = town(slos=(Slo(service="chat", latency_ms=limit_ms, quantile=0.9),), load=Load(latency_s=0.4))
    made.run(60)
    assert len(alerts(made, "LatencyHigh")) == (2 if alarmed else 0)
    if alarmed:
        assert one_of(made).threshold == 0.3
        assert one_of(made).text.startswith("p90 ")


def one_of(made: Town) -> Alert:
    return alerts(made, "LatencyHigh")[0]


def test_a_language_model_is_judged_by_its_first_token_and_never_by_a_whole_answer() -> None:
    made = Town({"eu-west-1": {"chat": 1}}, load=Load(latency_s=8.0))
    made.see_service(EU, family="vllm")
    made.run(60)
    assert alerts(made, "LatencyHigh") == []
    judged, unjudged, reason = status(made, "LatencyHigh")
    assert (judged, unjudged) == (0, 1)
    assert reason == "this runtime does not tell it"
    server = made.of("chat", "eu-west-1")[0]
    for slow in (False, True):
        for step in range(1, 20):
            made.run(2)
            many = float(10 * step)
            counts = (many, many, many) if not slow else (0.0, 0.0, many)
            told = TokenSample(ttft=Histogram((0.5, 1.0), (*counts[:2], counts[2])))
            if slow:
                told = TokenSample(ttft=Histogram((0.5, 1.0, 5.0), (0.0, 0.0, many, many)))
            sample = server.sample(made.at)
            fields = {each: getattr(sample, each) for each in sample.__struct_fields__} | {"tokens": told}
            made.fleet.apply(Sampled(made.at, server.key, ReplicaSample(**fields)))
            made.fleet.publish(made.at)
            server.load.answers = False
        assert len(alerts(made, "LatencyHigh")) == slow
    assert one(made, "LatencyHigh").threshold == 1.0
    assert "time to first token" in one(made, "LatencyHigh").text


# -- traffic, caches, GPUs -------------------------------------------------------------------
def test_unusual_traffic_warns_and_its_past_must_be_known() -> None:
    made = town(load=Load(rps=10.0))
    made.run(6)
    assert status(made, "TrafficUnusual")[0] == 0
    made.run(60)
    assert status(made, "TrafficUnusual") == (2, 0, "")
    made.of("chat", "eu-west-1")[0].load.rps = 90.0
    made.run(90)
    found = one(made, "TrafficUnusual")
    assert (found.state, found.severity, found.key) == (AlertState.FIRING, AlertSeverity.WARNING, EU)
    assert found.text.startswith("traffic ")


def test_a_cache_that_hits_far_less_than_usual_warns_and_one_that_never_did_not() -> None:
    made = town()
    hits = {"eu-west-1": 0.8, "us-east-1": 0.02}
    told = {each: {("l1", "hit"): 0.0, ("l1", "miss"): 0.0} for each in made.servers}
    for server in made.servers.values():
        server.load.answers = False  # its samples are made here, with the caches in them

    def go(seconds: int) -> None:
        for _ in range(seconds // 2):
            made.run(2)
            for key, server in made.servers.items():
                told[key]["l1", "hit"] += 20 * hits[key.service.region]
                told[key]["l1", "miss"] += 20 * (1 - hits[key.service.region])
                sample = server.sample(made.at)
                fields = {each: getattr(sample, each) for each in sample.__struct_fields__}
                fields["cache"] = dict(told[key])
                made.fleet.apply(Sampled(made.at, key, ReplicaSample(**fields)))
            made.fleet.publish(made.at)

    go(60)
    assert status(made, "CacheDegraded") == (0, 2, "what is usual is not known yet")
    go(180)
    assert status(made, "CacheDegraded") == (2, 0, "")
    hits["eu-west-1"] = 0.1
    go(300)
    assert one(made, "CacheDegraded").state is AlertState.PENDING
    go(80)
    found = one(made, "CacheDegraded")
    assert (found.state, found.key) == (AlertState.FIRING, EU)
    assert found.text.startswith("cache l1: 10 % hits, usually 7")  # the edge itself was learnt once


def test_what_fired_is_an_incident_in_the_detail_also_when_it_is_over() -> None:
    """Seen failing with nothing kept of what is over. What was pending alone is no incident."""
    made = town(load=Load(rps=20.0))
    made.fleet.demand(DetailDemand("chat"))

    def incidents() -> list[tuple[str, ServiceKey, bool]]:
        told = made.fleet.publish(made.at).details["chat"].history.incidents
        return [(each.rule, each.key, each.ended_at is not None) for each in told]

    made.run(20)
    made.of("chat", "eu-west-1")[0].load.errors = 0.5
    made.run(20)
    assert alerts(made, "ErrorsHigh")
    assert incidents() == []
    made.run(180)
    assert ("ErrorsHigh", EU, False) in incidents()
    fired = one(made, "ErrorsHigh").fired_at
    made.of("chat", "eu-west-1")[0].load.errors = 0.0
    made.run(300)
    assert alerts(made, "ErrorsHigh") == []
    assert ("ErrorsHigh", EU, True) in incidents()
    kept = next(each for each in made.fleet.frame.details["chat"].history.incidents if each.rule == "ErrorsHigh")
    assert kept.fired_at == fired
    assert fired < (kept.ended_at or 0.0) < made.at


# -- the snapshot ----------------------------------------------------------------------------
def test_the_snapshot_tells_alerts_and_what_could_not_be_judged() -> None:
    made = town()
    made.see(made.of("chat", "eu-west-1")[0].key, ReplicaState.BACKOFF, since=made.at - 90, restarts=3)
    told = project(made.run(30), [])["alerts"]
    assert (told["count"], told["critical"], told["warning"]) == (1, 1, 0)
    [item] = [each for each in told["items"] if each["state"] == "firing"]
    assert (item["rule"], item["service"], item["region"]) == ("Unavailable", "chat", "eu-west-1")
    assert item["remedy"] == rule("Unavailable").remedy
    assert {each["rule"] for each in told["rules"]} == {each.name for each in RULES}
    nothing = project(Fleet().publish(START_AT), [])["alerts"]
    assert (nothing["count"], nothing["critical"]) == (None, None)
    assert nothing["reason"]


def test_of_very_many_alerts_only_the_critical_ones_are_all_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen failing without the bound: each warning is kept, 1 kB each."""
    monkeypatch.setattr("nimify_tui.fleet.alarms.MOST", 3)
    made = Town({"eu-west-1": {f"s{number}": 1 for number in range(6)}})
    for server in made.servers.values():
        server.load.latency_s, server.load.errors = 0.5, 0.2
    made.run(150)
    assert len(alerts(made, "ErrorsHigh")) == 6
    assert len(alerts(made, "LatencyHigh")) <= 3
    assert status(made, "LatencyHigh")[2] == "more than 3 alerts: further warnings are not followed"
    for server in made.servers.values():
        server.load.errors = 0.0
    made.run(200)
    assert alerts(made, "ErrorsHigh") == []
    assert len(alerts(made, "LatencyHigh")) == 3
