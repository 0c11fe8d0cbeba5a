"""States, reasons and onsets out of what regions tell, and what happens when a region is not seen."""

from __future__ import annotations

import pytest

from nimify_tui.base.errors import ValidationError
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.measures import MeasureState
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.domain.security import SecurityEvent, Severity
from nimify_tui.domain.services import ReplicaState, ServiceState
from nimify_tui.domain.updates import (
    RegionGone,
    RegionListed,
    RegionSeen,
    ReplicaGone,
    ReplicaSeen,
    SecuritySeen,
    ServiceGone,
)
from nimify_tui.fleet.store import Fleet
from tests.fleet.town import START_AT, Load, Town, region_fact, replica_fact, service_fact

KEY = ServiceKey("us-east-1", "embed")
ONE, TWO = ReplicaKey(KEY, "embed-1"), ReplicaKey(KEY, "embed-2")


def town() -> Town:
    made = Town({"us-east-1": {"embed": 2, "score": 1}, "eu-west-1": {"embed": 1}})
    made.run(20)
    return made


def test_a_killed_replica_degrades_until_it_has_been_well_for_a_while() -> None:
    here = town()
    crashed_at = here.at
    here.say(ChangeKind.CRASH, KEY, "embed-1 killed by SIGKILL", replica="embed-1", revision=1)
    here.see(ONE, ReplicaState.BACKOFF, reason="killed by SIGKILL", restarts=1)
    here.run(1)
    row = here.row("embed", "us-east-1")
    assert (row.state, row.ready, row.desired) == (ServiceState.DEGRADED, 1, 2)
    assert row.reason == "embed-1 killed by SIGKILL"
    assert row.since == crashed_at
    here.see(ONE, ReplicaState.STARTING, restarts=1, run=2)
    here.run(1)
    assert here.row("embed", "us-east-1").reason == "embed-1 killed by SIGKILL", "why tells more than that it starts"
    here.see(ONE, ReplicaState.READY, restarts=1, run=2)
    here.run(2)
    row = here.row("embed", "us-east-1")
    assert (row.state, row.ready) == (ServiceState.DEGRADED, 2)
    assert row.reason.startswith("well again; before: embed-1")
    assert row.since == crashed_at
    here.run(30)
    assert here.row("embed", "us-east-1").state is ServiceState.OK


def test_the_onset_of_a_crash_loop_is_its_first_crash() -> None:
    here = town()
    first = here.at
    for turn in range(1, 5):
        here.say(ChangeKind.CRASH, KEY, f"embed-1 exited with code {turn}", replica="embed-1")
        here.see(ONE, ReplicaState.BACKOFF, reason="exited with code 1", restarts=turn, last_words="no such file")
        here.run(10)
        here.see(ONE, ReplicaState.STARTING, restarts=turn, run=turn + 1)
        here.run(2)
    row = here.row("embed", "us-east-1")
    assert row.since == first
    assert row.state is ServiceState.DEGRADED
    # Another console that only now attaches knows the same onset.
    fresh = Town({"us-east-1": {"embed": 2}})
    fresh.at = here.at
    for change in here.fleet.frame.changes:
        fresh.say(change.kind, KEY, change.text, at=change.at, replica=change.replica)
    fresh.see(ONE, ReplicaState.BACKOFF, reason="exited with code 1", restarts=4)
    fresh.run(1)
    assert fresh.row("embed").since == first


def test_a_stopped_replica_is_seen_and_with_no_other_the_service_is_down() -> None:
    here = town()
    score = ReplicaKey(ServiceKey("us-east-1", "score"), "score-1")
    here.see(score, ReplicaState.HUNG, reason="stopped by a signal (SIGSTOP), not answering")
    here.run(1)
    row = here.row("score")
    assert row.state is ServiceState.DOWN
    assert row.reason == "score-1 hangs: stopped by a signal (SIGSTOP), not answering"
    assert here.fleet.frame.order[0] == "score"
    assert here.fleet.frame.summary.unhealthy == 1


def test_a_roll_out_that_is_stuck_says_what_the_supervisor_says() -> None:
    here = town()
    failure = "revision 2 does not become ready: exited with code 1 (bad model); revision 1 goes on serving"
    here.see(ReplicaKey(KEY, "embed-3"), ReplicaState.BACKOFF, revision=2, restarts=3, reason="exited with code 1")
    here.see_service(KEY, revision=2, generation=2, failure=failure, progress="0 of 2 replaced")
    here.run(1)
    row = here.row("embed", "us-east-1")
    assert (row.state, row.ready, row.reason) == (ServiceState.DEGRADED, 2, failure)
    assert row.revisions == (1, 2)
    assert here.row("embed").progress == "us-east-1: 0 of 2 replaced"


def test_starting_stopped_and_nobody_there() -> None:
    here = town()
    new = ServiceKey("us-east-1", "fresh")
    here.services[new] = service_fact(new, 1, here.at, generation=1, observed_generation=0)
    here.see_service(new)
    here.run(1)
    assert here.row("fresh").state is ServiceState.STARTING
    here.see(ReplicaKey(new, "fresh-1"), ReplicaState.STARTING, reason="loading the model")
    here.run(1)
    assert (here.row("fresh").state, here.row("fresh").reason) == (ServiceState.STARTING, "loading the model")
    here.see(ReplicaKey(new, "fresh-1"), ReplicaState.READY)
    here.run(1)
    assert here.row("fresh").state is ServiceState.OK
    here.say(ChangeKind.SCALE, new, "stopped by ops@host", by="ops@host")
    here.see_service(new, stopped=True, changed_at=here.at)
    here.fleet.demand(DetailDemand("fresh"))
    here.run(1)
    assert here.fleet.frame.details["fresh"].why.verdict == "nothing to explain: stopped by ops@host"
    row = here.row("fresh")
    assert (row.state, row.reason, row.desired) == (ServiceState.STOPPED, "stopped by ops@host", 0)
    assert row.rps.reason == "stopped"
    here.see_service(new, stopped=False, changed_at=here.at - 60, observed_generation=1)
    here.fleet.apply(ReplicaGone(here.at, ReplicaKey(new, "fresh-1")))
    here.run(1)
    assert (here.row("fresh").state, here.row("fresh").reason) == (ServiceState.DOWN, "no replica, 1 wanted")


def test_an_adopted_replica_that_is_not_asked_yet_raises_no_alarm() -> None:
    here = town()
    here.see(ONE, ReplicaState.NOT_READY, reason="adopted, not asked yet")
    here.run(1)
    assert here.row("embed", "us-east-1").state is ServiceState.OK
    here.see(ONE, ReplicaState.NOT_READY, reason="model unloaded")
    here.run(3)
    row = here.row("embed", "us-east-1")
    assert (row.state, row.reason) == (ServiceState.DEGRADED, "embed-1 is not ready: model unloaded")


def test_a_lost_region_is_unknown_with_what_it_was_and_traffic_still_shows() -> None:
    here = town()
    here.cut.add("eu-west-1")
    lost_at = here.at
    health = RegionHealth(state=RegionState.DOWN, since=here.at + 3, cause="connect timed out", last_contact_at=here.at)
    here.fleet.apply(RegionSeen(here.at + 3, region_fact("eu-west-1"), health))
    here.run(4)
    row = here.row("embed", "eu-west-1")
    assert row.state is ServiceState.UNKNOWN
    assert row.reason == "no contact; was OK, traffic goes on"
    assert row.since == lost_at
    assert row.ready is None
    fold = here.row("embed")
    assert (fold.state, fold.reason_region, fold.ready) == (ServiceState.UNKNOWN, "eu-west-1", None)
    strip = {each.region.name: each for each in here.fleet.frame.regions}
    assert strip["eu-west-1"].traffic_seen
    assert strip["eu-west-1"].age_s == pytest.approx(4.0)
    assert here.fleet.frame.summary.regions_live == 1
    change = next(each for each in here.fleet.frame.changes if each.kind is ChangeKind.REGION)
    assert (change.region, change.key, change.evidence, change.at) == ("eu-west-1", None, "connect timed out", lost_at)
    for server in here.of("embed", "eu-west-1"):
        server.load.answers = False
    here.run(40)
    assert here.row("embed", "eu-west-1").reason == "no contact; was OK"
    assert not {each.region.name: each for each in here.fleet.frame.regions}["eu-west-1"].traffic_seen
    here.cut.clear()
    here.run(2)
    assert here.row("embed").state is ServiceState.OK
    assert any("contact with eu-west-1 again" in each.text for each in here.fleet.frame.changes)


def test_a_lost_region_is_told_once_also_when_its_source_tells_it_too() -> None:
    here = town()
    health = RegionHealth(state=RegionState.DOWN, since=here.at, cause="connect timed out", last_contact_at=here.at)
    here.fleet.apply(RegionSeen(here.at, region_fact("eu-west-1"), health))
    told = here.say(ChangeKind.REGION, None, "no contact with eu-west-1 (said nothing for 3 s)", region="eu-west-1")
    here.fleet.publish(here.at)
    assert [each for each in here.fleet.frame.changes if each.kind is ChangeKind.REGION] == [told]


def test_why_of_a_lost_region_is_its_loss() -> None:
    here = town()
    here.fleet.demand(DetailDemand("embed@eu-west-1"))
    here.cut.add("eu-west-1")
    health = RegionHealth(state=RegionState.DOWN, since=here.at, cause="connect timed out", last_contact_at=here.at)
    here.fleet.apply(RegionSeen(here.at, region_fact("eu-west-1"), health))
    here.run(3)
    why = here.fleet.frame.details["embed@eu-west-1"].why
    assert why.clues[0].change.kind is ChangeKind.REGION


def test_a_region_that_is_gone_takes_everything_with_it() -> None:
    here = town()
    here.say(ChangeKind.CRASH, ServiceKey("eu-west-1", "embed"), "x")
    here.fleet.apply(RegionGone(here.at, "eu-west-1"))
    here.fleet.publish(here.at + 1)
    frame = here.fleet.frame
    assert [row.region.name for row in frame.regions] == ["us-east-1"]
    assert "embed@eu-west-1" not in frame.rows
    assert frame.children == {}
    assert frame.changes == ()


def test_services_and_replicas_that_a_listing_does_not_name_are_gone() -> None:
    here = town()
    here.fleet.apply(RegionListed(here.at, "us-east-1", (service_fact(KEY, 1),), (replica_fact(ONE),)))
    frame = here.fleet.publish(here.at + 1)
    assert set(frame.rows) == {"embed", "embed@us-east-1", "embed@eu-west-1"}
    assert frame.rows["embed@us-east-1"].ready == 1
    here.fleet.apply(ServiceGone(here.at, KEY))
    here.fleet.apply(ServiceGone(here.at, ServiceKey("eu-west-1", "embed")))
    frame = here.fleet.publish(here.at + 2)
    assert (dict(frame.rows), frame.order, dict(frame.children)) == ({}, (), {})


def test_a_service_made_anew_under_the_same_name_starts_without_the_old_ones_numbers() -> None:
    here = town()
    assert here.row("score").rps.value
    score = ServiceKey("us-east-1", "score")
    here.see_service(score, uid="another")
    here.fleet.apply(ReplicaSeen(here.at, replica_fact(ReplicaKey(score, "score-9"))))
    frame = here.fleet.publish(here.at + 1)
    assert frame.rows["score"].rps.value is None
    assert frame.rows["score"].ready == 1


def test_last_known_rows_are_marked_until_their_region_is_seen() -> None:
    here = town()
    written = here.fleet.last_known()
    assert set(written) == {"us-east-1", "eu-west-1"}
    later = Fleet()
    later.restore("us-east-1", written["us-east-1"])
    assert later.publish(START_AT + 7200).order == ()
    connecting = RegionHealth(state=RegionState.CONNECTING, since=START_AT + 7200)
    later.apply(RegionSeen(START_AT + 7200, region_fact("us-east-1"), connecting))
    frame = later.publish(START_AT + 7201)
    row = frame.rows["embed"]
    assert (row.state, row.ready, row.reason) == (ServiceState.UNKNOWN, None, "from the last session; was OK")
    assert frame.regions[0].last_known
    assert row.since == here.fleet.frame.at
    assert later.targets() == []
    assert later.last_known() == {}, "what was never seen is not written again with a new time"
    live = RegionHealth(state=RegionState.LIVE, since=START_AT + 7202)
    later.apply(RegionSeen(START_AT + 7202, region_fact("us-east-1"), live))
    replicas = (replica_fact(ONE), replica_fact(TWO))
    later.apply(RegionListed(START_AT + 7202, "us-east-1", (service_fact(KEY, 2),), replicas))
    frame = later.publish(START_AT + 7203)
    assert set(frame.rows) == {"embed", "embed@us-east-1"}
    assert (frame.rows["embed"].state, frame.rows["embed"].since) == (ServiceState.OK, None)
    assert not frame.regions[0].last_known


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"version":9,"region":"local","at":1}', b'{"version":1,"region":"x","at":1}']
)
def test_last_known_that_is_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValidationError):
        Fleet().restore("local", data)


def test_log_lines_and_counters_do_not_tell_the_same_twice() -> None:
    here = town()
    server = here.of("score", "us-east-1")[0]
    server.load.malformed_rps = 3.0
    key = ServiceKey("us-east-1", "score")
    for second in range(30):
        here.run(1)
        event = SecurityEvent(
            id="us-s1", at=here.at, severity=Severity.MED, region="us-east-1", key=key, category="malformed",
            text="not JSON", action="refused", client="127.66.6.66", count=3 * (second + 1), source="supervisor",
        )  # fmt: skip
        here.fleet.apply(SecuritySeen(here.at, event))
    assert [(each.source, each.count) for each in here.fleet.frame.security] == [("supervisor", 87)]


def test_sabotage_without_the_log_lines_the_counters_do_tell() -> None:
    here = town()
    here.of("score", "us-east-1")[0].load.malformed_rps = 3.0
    here.run(30)
    assert [each.source for each in here.fleet.frame.security] == ["metrics"]


def test_worst_comes_first_and_the_newest_trouble_before_the_older() -> None:
    here = Town({"us-east-1": dict.fromkeys(("a", "b", "c", "d", "e"), 1)}, load=Load(rps=2.0))
    here.run(4)

    def turn(name: str, state: ReplicaState, **more: object) -> None:
        here.see(ReplicaKey(ServiceKey("us-east-1", name), f"{name}-1"), state, **more)

    turn("d", ReplicaState.HUNG)
    here.run(2)
    turn("b", ReplicaState.HUNG)
    here.see_service(ServiceKey("us-east-1", "a"), stopped=True)
    here.run(1)
    assert here.fleet.frame.order == ("b", "d", "c", "e", "a")


def test_a_frame_shares_what_did_not_change() -> None:
    here = town()
    before = here.fleet.frame
    here.see(ONE, ReplicaState.HUNG)
    after = here.fleet.publish(here.at)
    changed = {row_id for row_id in after.rows if after.rows[row_id] is not before.rows[row_id]}
    assert changed == {"embed", "embed@us-east-1"}
    again = here.fleet.publish(here.at)
    assert again.rows is after.rows
    assert again.order is after.order
    assert again.regions is after.regions
    assert again.version == after.version + 1
    assert before.rows["embed"].state is ServiceState.OK, "a frame never changes afterwards"


def test_numbers_turn_old_and_then_unknown_without_anybody_saying_so() -> None:
    here = town()
    for server in here.servers.values():
        server.load.answers = False
    rps = here.row("score").rps
    assert rps.state is MeasureState.FRESH
    here.run(8)
    old = here.row("score").rps
    assert (old.state, old.value) == (MeasureState.STALE, rps.value)
    assert "last scrape" in old.reason
    assert here.row("score").stale
    here.run(26)
    gone = here.row("score").rps
    assert (gone.state, gone.value) == (MeasureState.ABSENT, None)
    assert gone.reason.startswith("no scrape answered for")
    assert here.row("score").state is ServiceState.OK, "not being able to read is not being unwell"
