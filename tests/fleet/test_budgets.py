"""Error budgets: two windows that must both burn, what is left, and never a word about what nobody watched."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.base.errors import ValidationError
from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.measures import Histogram, Measure, MeasureState, TokenSample, absent
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.domain.slos import Burning, Slo, read_slo
from nimify_tui.domain.updates import RegionListed, RegionSeen, Sampled
from nimify_tui.fleet.budgets import PAIRS, Budget, Kept, Ledger, budget_lines, burn
from nimify_tui.fleet.series import BUCKETS, COLUMN_S, ERRORS, TOTAL, Window
from nimify_tui.fleet.snapshot import snapshot
from nimify_tui.fleet.store import Fleet
from nimify_tui.lastknown import LastKnown
from tests.fleet.town import Load, Town, region_fact
from tests.support import Home

SLO = Slo(service="score", objective=0.999)
#: Columns of an hour.
HOUR = 900
BOUNDS = (0.01, 0.1, 1.0)


def window(bad: float, total: float = 40.0) -> Window:
    values = [0.0] * BUCKETS + [0.0, total, total, total]
    values[TOTAL], values[ERRORS] = total, bad
    return Window(BOUNDS, values, COLUMN_S)


def feed(ledger: Ledger, begin: int, columns: int, bad: float, total: float = 40.0) -> int:
    """The same for so many columns; the next column."""
    for column in range(begin, begin + columns):
        ledger.learn(column, window(bad * total, total))
    return begin + columns


def lines(budget: Budget) -> dict[str, Measure]:
    return dict(budget_lines(budget, burn(budget, 1.0, "metrics"), "metrics"))


def pair(budget: Budget, number: int) -> Measure:
    return list(lines(budget).values())[1 + number]  # the objective comes first


def test_a_fast_burn_is_told_early_and_says_how_much_it_knows() -> None:
    ledger = Ledger(SLO)
    budget = Budget(SLO, (ledger,))
    assert burn(budget, None, "metrics").reason == "no requests yet to measure the SLO with"
    feed(ledger, 0, 45, 0.5)
    now = burn(budget, 1.0, "metrics")
    assert now.value == pytest.approx(500.0)
    assert now.reason == "have 3 min of 1 h"
    assert budget.burning() is Burning.FAST


def test_the_longer_windows_say_nothing_before_enough_was_really_spent() -> None:
    """8 times too fast: below the first limit, above the second; what was not watched counts as nothing bad."""
    ledger = Ledger(SLO)
    budget = Budget(SLO, (ledger,))
    at = feed(ledger, 0, 4 * HOUR, 0.008)
    assert budget.burning() is Burning.NO, "four hours of six at 8 are 5.3, were the rest without an error"
    assert pair(budget, 1).value is None
    assert pair(budget, 1).reason == "have 4 h of 6 h"
    at = feed(ledger, at, 2 * HOUR, 0.008)
    assert budget.burning() is Burning.FAST
    assert pair(budget, 1).value == pytest.approx(8.0)
    assert pair(budget, 3).reason == "have 6 h of 3 d"
    feed(ledger, at, HOUR // 2 + 10, 0.0)
    assert budget.burning() is Burning.NO, "it has stopped: the short window says so"


def test_a_slow_burn_is_told_after_days() -> None:
    ledger = Ledger(SLO)
    budget = Budget(SLO, (ledger,))
    feed(ledger, 0, 3 * 24 * HOUR, 0.002, total=4.0)
    assert budget.burning() is Burning.SLOW
    assert pair(budget, 3).value == pytest.approx(2.0, rel=0.01)
    assert pair(budget, 3).reason == ""


def test_hours_that_nobody_watched_are_missing_and_make_no_peak() -> None:
    ledger = Ledger(SLO)
    budget = Budget(SLO, (ledger,))
    at = feed(ledger, 0, 2 * HOUR, 0.002)
    feed(ledger, at + 47 * HOUR, HOUR, 0.002)
    assert burn(budget, 1.0, "metrics").value == pytest.approx(2.0)
    assert pair(budget, 2).reason == "have 60 min of 1 d"
    assert pair(budget, 3).reason == "have 3 h of 3 d"


def test_too_few_requests_are_no_ground_for_a_judgement() -> None:
    slo = Slo(service="score", objective=0.999, min_requests=50)
    ledger = Ledger(slo)
    feed(ledger, 0, 40, 0.5, total=1.0)
    budget = Budget(slo, (ledger,))
    assert burn(budget, 1.0, "metrics").value is None
    assert burn(budget, 1.0, "metrics").reason == "40 requests: too few to measure the SLO with (at least 50)"
    assert budget.burning() is Burning.NO
    feed(ledger, 40, 10, 0.5, total=1.0)
    assert budget.burning() is Burning.FAST


def test_what_is_left_and_how_long_it_lasts() -> None:
    slo = Slo(service="score", objective=0.99, window_s=2 * 3600.0)
    ledger = Ledger(slo)
    budget = Budget(slo, (ledger,))
    at = feed(ledger, 0, HOUR, 0.0)
    told = lines(budget)
    assert told["error budget left of 2 h"].reason == "have 60 min of 2 h"
    assert told["budget gone in"].reason == "it burns no faster than it may"
    feed(ledger, at, HOUR, 0.005)
    told = lines(budget)
    assert told["error budget left of 2 h"].value == pytest.approx(0.75, abs=0.01)
    assert told["budget gone in"].reason == "it burns no faster than it may"
    feed(ledger, 2 * HOUR, HOUR, 0.02)
    told = lines(budget)
    assert told["error budget left of 2 h"].value == pytest.approx(-0.25, abs=0.01), "it is overspent"
    assert told["budget gone in"].value == 0.0

    young = Ledger(slo)
    feed(young, 0, 100, 0.04)
    told = lines(Budget(slo, (young,)))
    assert told["at this rate a whole budget lasts"].value == pytest.approx(1800.0)
    assert "budget gone in" not in told, "what is left of it is not known"


def test_regions_are_added_before_the_rate_is_taken() -> None:
    one, other = Ledger(SLO), Ledger(SLO)
    feed(one, 0, 100, 0.1, total=10.0)
    feed(other, 0, 100, 0.0, total=90.0)
    assert burn(Budget(SLO, (one, other)), 1.0, "metrics").value == pytest.approx(10.0)


def test_slow_requests_and_late_first_tokens_are_bad_ones() -> None:
    slow = Ledger(Slo(service="score", objective=0.9, latency_ms=100.0))
    values = [0.0] * BUCKETS + [0.0, 30.0, 40.0, 40.0]
    values[TOTAL] = 40.0
    slow.learn(0, Window(BOUNDS, values, COLUMN_S))
    assert slow.sum(3600.0).bad == pytest.approx(10.0)

    late = Ledger(Slo(service="score", objective=0.9, ttft_ms=1000.0))
    late.learn(0, window(0.0))
    late.first_tokens(1.0, (1.0, 5.0), (30.0, 40.0, 40.0))
    assert late.sum(3600.0).bad == pytest.approx(10.0)
    late.first_tokens(2.0, (1.0, 5.0), (0.0, 400.0, 400.0))
    assert Budget(late.slo, (late,)).sum(3600.0).bad == 40.0, "never more bad ones than there were requests"
    slow.first_tokens(1.0, (1.0,), (0.0, 40.0))
    assert slow.sum(3600.0).bad == pytest.approx(10.0), "it has no such objective"


def test_first_tokens_of_a_real_scrape_burn_the_budget_and_a_restart_does_not() -> None:
    slo = Slo(service="score", objective=0.99, ttft_ms=500.0)
    town = Town({"us-east-1": {"score": 1}}, slos=(slo,), load=Load(rps=10.0))
    (server,) = town.of("score", "us-east-1")
    counts = 0.0
    for second in range(60):
        town.run(1)
        counts += 10.0
        if second == 30:
            counts = 0.0
        late = counts if second >= 30 else 0.0
        told = TokenSample(ttft=Histogram((0.5, 1.0), (counts - late, counts, counts)))
        town.fleet.apply(Sampled(town.at, server.key, msgspec.structs.replace(server.sample(town.at), tokens=told)))
    row = town.row("score")
    assert row.burn.value is not None
    assert 30.0 < row.burn.value < 60.0, "half of them came late"
    assert row.burning is Burning.FAST
    assert town.fleet.frame.summary.burning == 1


def test_what_was_spent_is_known_after_a_restart_of_the_console() -> None:
    slo = Slo(service="score", objective=0.99)
    town = Town({"us-east-1": {"score": 1}}, slos=(slo,), load=Load(rps=20.0, errors=0.5))
    town.run(60)
    before = town.row("score").burn.value
    assert before is not None
    assert before > 14.4
    kept = town.fleet.last_known()["us-east-1"]
    later = Fleet(slos=(slo,))
    later.restore("us-east-1", kept)
    key = ServiceKey("us-east-1", "score")
    live = RegionHealth(state=RegionState.LIVE, since=town.at, last_contact_at=town.at)
    later.apply(RegionSeen(town.at, region_fact("us-east-1"), live))
    later.apply(RegionListed(town.at, "us-east-1", (town.services[key],), ()))
    frame = later.publish(town.at + 5)
    assert frame.rows["score"].burn.value == pytest.approx(before, rel=0.05)
    without = Fleet()
    without.restore("us-east-1", kept)
    assert without.publish(town.at + 5).rows == {}, "the objective is gone: nothing is said, nothing breaks"


def test_a_column_that_closes_after_first_tokens_of_later_still_counts() -> None:
    """Seen failing with what comes late for a step that nobody told of left out: all its requests were gone."""
    ledger = Ledger(Slo(service="score", objective=0.9, ttft_ms=1000.0))
    ledger.first_tokens(21.0, (1.0, 5.0), (30.0, 40.0, 40.0))
    ledger.learn(4, window(0.0))
    ledger.learn(3, window(0.0))
    assert ledger.sum(3600.0)[:2] == pytest.approx((10.0, 80.0))


def test_what_burnt_before_nobody_watched_does_not_burn_now() -> None:
    """Seen failing with windows that end at the newest column: the fire of Friday was told on Monday."""
    slo = Slo(service="score", objective=0.99)
    town = Town({"us-east-1": {"score": 1}}, slos=(slo,), load=Load(rps=20.0, errors=0.5))
    town.run(60)
    assert town.row("score").burning is Burning.FAST
    frame = town.fleet.publish(town.at + 120)
    assert frame.rows["score"].burning is Burning.FAST, "it is in the last five minutes"
    for minute in range(3, 9):
        frame = town.fleet.publish(town.at + 60.0 * minute)
    row = frame.rows["score"]
    assert (row.burning, row.burn.value) == (Burning.NO, None)
    assert row.burn.reason == "no requests for 5 min"

    later = Fleet(slos=(slo,))
    later.restore("us-east-1", town.fleet.last_known()["us-east-1"])
    key, monday = ServiceKey("us-east-1", "score"), town.at + 3 * 86400.0
    live = RegionHealth(state=RegionState.LIVE, since=monday, last_contact_at=monday)
    later.apply(RegionSeen(monday, region_fact("us-east-1"), live))
    later.apply(RegionListed(monday, "us-east-1", (town.services[key],), ()))
    row = later.publish(monday + 1).rows["score"]
    assert (row.burning, row.burn.value) == (Burning.NO, None)


@pytest.mark.parametrize(
    ("steps", "sums"),
    [
        (((2, 1), (), ()), ((1.0,) * 6, (), ())),
        (((1,), (), ()), ((1.0,) * 2, (), ())),
        (((1,), (), ()), ((1.0, -1.0, 1.0), (), ())),
        (((1,), (), ()), ((1.0, float("nan"), 1.0), (), ())),
        (((2**62,), (), ()), ((1.0,) * 3, (), ())),
    ],
)
def test_a_garbled_ledger_is_refused(steps: tuple[tuple[int, ...], ...], sums: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(ValidationError, match="garbled"):
        Ledger(SLO).restore(Kept("score", "", steps, sums))


@given(
    st.lists(
        st.tuples(st.integers(1, 4000), st.floats(0, 1), st.integers(0, 50)), min_size=1, max_size=60
    ),
    st.sampled_from([each for pair in PAIRS for each in (pair.long_s, pair.short_s)]),
)
def test_sums_are_those_of_all_columns_in_the_window_to_a_step(
    gaps: list[tuple[int, float, int]], length_s: float
) -> None:
    ledger, column, seen = Ledger(SLO), 0, []
    for gap, bad, total in gaps:
        column += gap
        ledger.learn(column, window(bad * total, float(total)))
        seen.append(((column + 0.5) * COLUMN_S, float(total)))
    newest, step_s = seen[-1][0], 20.0 if length_s <= 7200 else 300.0
    least = sum(total for at, total in seen if at > newest - length_s + step_s)
    most = sum(total for at, total in seen if at > newest - length_s - step_s)
    assert least <= ledger.sum(length_s).total <= most


def test_without_an_objective_there_is_nothing_to_burn() -> None:
    town = Town({"us-east-1": {"score": 1}}, load=Load(rps=5.0))
    town.run(20)
    assert town.row("score").burn == absent("count", "no SLO")
    assert town.row("score").burn.state is MeasureState.ABSENT


def test_a_services_own_objective_holds_until_the_configuration_or_the_service_says_otherwise() -> None:
    town = Town({"us-east-1": {"score": 1, "embed": 1}}, slos=(Slo(service="embed"),), load=Load(rps=20.0, errors=0.1))
    for name in ("score", "embed"):
        town.see_service(ServiceKey("us-east-1", name), slo="objective=0.9 latency_ms=80 window=7d")
    town.run(30)
    row = town.row("score")
    assert row.slo == Slo(service="score", objective=0.9, latency_ms=80.0, window_s=7 * 86400.0)
    assert row.burn.value == pytest.approx(1.0, abs=0.5)
    assert town.row("embed").slo == Slo(service="embed"), "the configuration's own"

    town.see_service(ServiceKey("us-east-1", "score"), slo="objective=0.99")
    town.run(1)
    assert town.row("score").burn.value == pytest.approx(10.0, abs=5.0), "what was seen counts by the new one"
    town.see_service(ServiceKey("us-east-1", "score"), slo="")
    town.run(1)
    assert (town.row("score").slo, town.row("score").burn.reason) == (None, "no SLO")


@pytest.mark.parametrize(
    "text",
    ["objective=1.5", "objective=nan", "objective=0.9 objective=0.8", "latency=80", "window=5", "min_requests=0",
     "x" * 5000, "objective=0.9\x1b[2J", "ttft_ms=-1", "quantile=1", "objective"],
)  # fmt: skip
def test_an_objective_that_cannot_be_read_says_so_where_it_would_stand(text: str) -> None:
    town = Town({"us-east-1": {"score": 1}}, load=Load(rps=5.0))
    town.see_service(ServiceKey("us-east-1", "score"), slo=text)
    town.run(10)
    row = town.row("score")
    assert row.slo is None
    assert row.burn.reason.startswith("nimify.dev/slo: ")
    assert "\x1b" not in row.burn.reason
    assert len(row.burn.reason) < 200


@given(st.text(max_size=60))
def test_no_annotation_breaks_the_reading(text: str) -> None:
    with contextlib.suppress(ValidationError):
        found = read_slo("score", text)
        assert 0.0 < found.objective < 1.0
        assert found.window_s > 0.0


def test_what_is_known_is_written_while_the_console_runs_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen failing without ``keep``: a console that was killed had written nothing."""
    monkeypatch.setattr("nimify_tui.lastknown.KEEP_S", 0.01)
    monkeypatch.setenv("XDG_STATE_HOME", str(home.root / "state"))
    town = Town({"us-east-1": {"score": 1}}, slos=(SLO,), load=Load(rps=20.0))
    town.run(20)
    kept = LastKnown(frozenset({"us-east-1"}))
    written = home.root / "state" / "nimify-tui" / "last-known" / "us-east-1.json"

    async def until_written() -> None:
        done, loop, store = asyncio.Event(), asyncio.get_running_loop(), kept._store

        def told(known: Mapping[str, bytes]) -> None:
            store(known)
            loop.call_soon_threadsafe(done.set)

        monkeypatch.setattr(kept, "_store", told)
        task = asyncio.create_task(kept.keep(town.fleet, None))
        async with asyncio.timeout(20):
            await done.wait()
        task.cancel()

    asyncio.run(until_written())
    later = Fleet(slos=(SLO,))
    kept.read(later)
    assert written.read_bytes() == town.fleet.last_known()["us-east-1"]


def test_over_regions_it_has_what_the_least_watched_one_has() -> None:
    """Seen failing: all as if watched whole, as one of them was. And no burn, judged by the least watched one."""
    long, short = Ledger(SLO), Ledger(SLO)
    feed(long, 0, 24 * HOUR, 0.004)
    feed(short, 24 * HOUR - 180, 180, 0.004)
    for ledgers in ((long, short), (short, long)):
        both = Budget(SLO, ledgers)
        assert burn(both, 1.0, "metrics").reason == "have 12 min of 1 h"
        assert [pair(both, each).reason for each in (1, 2)] == ["have 12 min of 6 h", "have 12 min of 1 d"]
        # What was really spent is known of the other one.
        assert both.burning() is Budget(SLO, (long,)).burning() is Burning.SLOW
        stopped = both._replace(idle=(short,))
        assert burn(stopped, 1.0, "metrics").reason == "", "nothing is asked where it is stopped"
        assert pair(stopped, 2).value == pytest.approx(4.0, rel=0.01)
        assert burn(both._replace(idle=ledgers), 1.0, "metrics").reason == "have 12 min of 1 h", "all are stopped"


def test_row_detail_and_snapshot_of_several_regions_tell_the_least_that_one_has() -> None:
    """Seen failing with what the longest one has, and with one counted that is stopped."""
    slo = Slo(service="embed", objective=0.9, min_requests=1)
    town = Town({"us-east-1": {"embed": 1}, "eu-west-1": {"embed": 1}}, slos=(slo,), load=Load(rps=10.0, errors=0.1))
    town.fleet.demand(DetailDemand("embed"))
    [late] = town.of("embed", "eu-west-1")
    late.load.answers = False
    town.run(240)
    late.load.answers = True
    town.run(80)

    def told() -> tuple[str, str, str]:
        row, at = town.row("embed"), "burn 1 h, 5 min (limit 14.4)"
        (line,) = [each for each in town.fleet.frame.details["embed"].metrics if (each.region, each.name) == ("", at)]
        (service,) = json.loads(json.dumps(snapshot(town.fleet, town.at)))["services"]
        return row.burn.reason, line.measure.reason, service["burn"]["reason"]

    mine, eu = town.row("embed", "us-east-1").burn.reason, town.row("embed", "eu-west-1").burn.reason
    assert mine != eu
    assert told() == (eu, eu, eu)
    town.see_service(late.key.service, stopped=True, desired_replicas=0)
    town.run(2)
    mine = town.row("embed", "us-east-1").burn.reason
    assert told() == (mine, mine, mine)
