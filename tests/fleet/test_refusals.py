"""Whose fault a refusal is: the model's that cannot run, the roll-out's that wants other inputs, or an attacker's."""

from __future__ import annotations

import pytest

from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.services import ServiceState
from nimify_tui.fleet.details import chart_column
from nimify_tui.fleet.snapshot import project
from tests.fleet.town import Load, Town

KEY = ServiceKey("us-east-1", "score")
PLACES = {"us-east-1": {"score": 1, "embed": 2}, "eu-west-1": {"score": 1}}


def town_of(load: Load, warm_s: int = 40) -> Town:
    town = Town(PLACES, load=load)
    town.fleet.demand(DetailDemand("score"))
    town.run(warm_s)
    return town


def roll_out(town: Town, *, region: str = "us-east-1", revision: int = 3, **load: float) -> None:
    """The revision changes, and so does what its replicas do."""
    key = ServiceKey(region, "score")
    town.see_service(key, revision=revision, changed_at=town.at)
    town.say(
        ChangeKind.ROLLOUT,
        key,
        f"revision {revision - 1} -> {revision} by ci: another model",
        revision=revision,
    )
    for server in town.of("score", region):
        for name, value in load.items():
            setattr(server.load, name, value)


def assert_attacked(town: Town) -> None:
    """For 24 s it is never laid to a roll-out, and in the end it is told."""
    reasons = set()
    for _ in range(24):
        town.run(1)
        reasons.add(town.row("score", "us-east-1").reason)
    assert not [each for each in reasons if each.startswith("clients refused")]
    assert town.row("score").reason.startswith("attacked: ")


def attacks(town: Town) -> list[Change]:
    return [change for change in town.fleet.frame.changes if change.kind is ChangeKind.ATTACK]


# -- requests that the model could not run ---------------------------------------------------


def test_a_model_whose_every_run_fails_has_errors_everywhere() -> None:
    town = town_of(Load(rps=8.0))
    began = town.at
    for server in town.of("score", "us-east-1"):
        server.load.failed = 1.0
    reasons = set()
    for _ in range(30):
        town.run(1)
        reasons.add(town.row("score", "us-east-1").reason)
    row = town.row("score", "us-east-1")
    assert row.state is ServiceState.DEGRADED
    assert row.error_ratio.value == pytest.approx(1.0, abs=0.01)
    assert row.reason == "errors 100 % (422: the model cannot run the inputs)"
    assert row.since is not None
    assert abs(row.since - began) <= 4.0
    assert not [each for each in reasons if "attacked" in each]
    assert attacks(town) == []
    (track,) = [each for each in town.fleet._world.services.values() if each.key == KEY]
    newest = chart_column([track], int(town.at // 4) - 2)
    assert newest.error_ratio == pytest.approx(1.0)
    told = project(town.fleet.frame, [])
    (service,) = [each for each in told["services"] if each["name"] == "score"]
    assert service["error_ratio"]["value"] == pytest.approx(0.5, abs=0.1), "one of its two regions"
    assert told["summary"]["error_ratio"]["value"] > 0.1
    assert town.fleet.frame.details["score"].why.symptom == row.reason


@pytest.mark.parametrize("load", [Load(rps=8.0, refused=0.5), Load(rps=8.0, not_finite=0.5)])
def test_what_clients_did_wrong_is_no_error(load: Load) -> None:
    """Seen failing with every 422 counted as an error, and with every 4xx."""
    town = town_of(load)
    row = town.row("score")
    assert row.error_ratio.value == 0.0
    assert "errors" not in row.reason


def test_failures_of_both_kinds_are_both_named() -> None:
    town = town_of(Load(rps=10.0))
    for server in town.of("score", "us-east-1"):
        server.load.failed, server.load.errors = 0.4, 0.4
    town.run(24)
    assert "(5xx, 422: the model cannot run the inputs)" in town.row("score").reason


def test_clients_that_leave_are_no_attack() -> None:
    """Seen failing with 499 counted among the refusals."""
    town = town_of(Load(rps=6.0))
    server = town.of("score", "us-east-1")[0]
    for _ in range(20):
        server.codes["499"] = server.codes.get("499", 0.0) + 10.0
        town.run(1)
    assert attacks(town) == []


# -- roll-outs that clients do not fit ---------------------------------------------------------


@pytest.mark.parametrize(("rps", "refused"), [(3.0, 1.0), (10.0, 0.98), (40.0, 0.98), (20.0, 0.4)])
def test_clients_that_a_roll_out_refuses_are_no_attack(rps: float, refused: float) -> None:
    town = town_of(Load(rps=rps))
    began = town.at
    roll_out(town, refused=refused)
    reasons = set()
    for _ in range(40):
        town.run(1)
        reasons.add(town.row("score", "us-east-1").reason)
    row = town.row("score")
    assert row.state is ServiceState.DEGRADED
    assert row.reason_region == "us-east-1"
    assert row.reason.startswith("clients refused since r3: ")
    assert row.reason.endswith(" % 400")
    share = float(row.reason.removeprefix("clients refused since r3: ").split()[0])
    assert share == pytest.approx(100 * refused, abs=15)
    assert row.since is not None
    assert abs(row.since - began) <= 4.0
    assert not [each for each in reasons if each.startswith("attacked")]
    assert attacks(town) == []
    why = town.fleet.frame.details["score"].why
    assert why.clues[0].change.kind is ChangeKind.ROLLOUT
    assert row.error_ratio.value == pytest.approx(0.0), "a refusal is no error of the service"


def test_it_is_well_again_after_the_roll_back() -> None:
    town = town_of(Load(rps=8.0))
    roll_out(town, refused=1.0)
    town.run(60)
    assert town.row("score").reason.startswith("clients refused")
    roll_out(town, revision=4, refused=0.0)
    town.run(45)
    assert town.row("score").state is ServiceState.OK
    assert attacks(town) == []


def test_it_stays_so_for_as_long_as_clients_are_refused() -> None:
    town = town_of(Load(rps=4.0))
    roll_out(town, refused=1.0)
    town.run(20)
    for _ in range(40):
        town.run(30)
        assert town.row("score").reason.startswith("clients refused since r3"), town.row("score").reason


@pytest.mark.parametrize("rolled_out_s", [None, 0, 20])
@pytest.mark.parametrize("rps", [3.0, 10.0, 40.0])
def test_an_attack_beside_the_usual_traffic_stays_one(rps: float, rolled_out_s: int | None) -> None:
    """Also right after a roll-out. Seen failing when a recent revision alone makes refusals the roll-out's."""
    town = town_of(Load(rps=rps))
    if rolled_out_s is not None:
        roll_out(town)
        town.run(rolled_out_s or 1)
    for server in town.of("score", "us-east-1"):
        server.load.malformed_rps, server.load.limited_rps = 12.0, 8.0
    assert_attacked(town)
    assert len(attacks(town)) == 1


@pytest.mark.parametrize("noise_rps", [0.0, 6.0])
def test_an_attack_while_traffic_ebbs_after_a_roll_out_stays_one(noise_rps: float) -> None:
    """Less traffic is not in the attack's place. Seen failing when only the missing traffic is asked for."""
    town = town_of(Load(rps=40.0, limited_rps=noise_rps))
    roll_out(town)
    town.run(150)
    for server in town.of("score", "us-east-1"):
        server.load.rps, server.load.malformed_rps, server.load.limited_rps = 30.0, 12.0, 20.0 + noise_rps
    assert_attacked(town)


def test_the_noise_of_the_internet_is_no_attack_beside_a_roll_out_that_refuses() -> None:
    """What is always turned away at other doors hides no refused clients. Seen failing without knowing the usual."""
    town = town_of(Load(rps=10.0, limited_rps=15.0))
    roll_out(town, refused=1.0)
    town.run(30)
    assert town.row("score", "us-east-1").reason.startswith("clients refused since r3: ")


def test_without_a_roll_out_refusals_are_not_laid_to_one() -> None:
    """Seen failing without asking for the revision's change."""
    town = town_of(Load(rps=8.0))
    for server in town.of("score", "us-east-1"):
        server.load.refused = 1.0
    town.run(20)
    assert "since r" not in town.row("score").reason
    assert town.row("score").state is ServiceState.DEGRADED


def test_a_roll_out_in_another_region_explains_nothing_here() -> None:
    """Seen failing when a change in any region counts."""
    town = town_of(Load(rps=8.0))
    roll_out(town, region="eu-west-1")
    for server in town.of("score", "us-east-1"):
        server.load.refused = 1.0
    town.run(20)
    assert "since r" not in town.row("score", "us-east-1").reason


def test_statuses_are_foreign_text() -> None:
    """Seen failing with any label that begins with a 4 told in the row."""
    town = town_of(Load(rps=8.0))
    roll_out(town, refused=1.0)
    server = town.of("score", "us-east-1")[0]
    for _ in range(20):
        server.codes["4\x1b[31m"] = server.codes.get("4\x1b[31m", 0.0) + 4.0
        town.run(1)
    reason = town.row("score").reason
    assert reason.startswith("clients refused")
    assert reason.endswith(" 400")
