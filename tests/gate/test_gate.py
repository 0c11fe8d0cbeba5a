"""The gate: what it refuses, what it asks for, and that nothing passes it without its permit."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nimify_tui.base.audit import AuditDamaged
from nimify_tui.base.errors import GateRefused
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import (
    ActionRequest,
    ActionResult,
    ActionState,
    ConfirmKind,
    Permit,
    Plan,
    Precondition,
    Verb,
)
from nimify_tui.domain.regions import RegionKind
from nimify_tui.gate.gate import Gate
from nimify_tui.gate.policy import GatePolicy, make_region
from tests.controllers.world import KEY, Bench

OTHER = ServiceKey("local", "embed-e5")
PROD = ServiceKey("eu-west-1", "llama-chat")


def plan_for(bench: Bench, *keys: ServiceKey, plan_id: str = "p1", simulation: bool = False) -> Plan:
    now = bench.clock.now()
    return Plan(
        id=plan_id,
        request=ActionRequest(verb=Verb.RESTART, targets=keys),
        summary="Restart",
        facts=(),
        diff=(),
        preconditions=tuple(Precondition(key, "u1", 7) for key in keys),
        production=False,
        created_at=now,
        expires_at=now + 300.0,
        simulation=simulation,
    )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def done(plan: Plan) -> ActionResult:
    return ActionResult(plan_id=plan.id, state=ActionState.OK, message="done")


def test_one_service_that_is_not_production_is_confirmed_by_a_key(bench: Bench) -> None:
    verdict = bench.gate.review(plan_for(bench, KEY))
    assert (verdict.allowed, verdict.confirm, verdict.expected) == (True, ConfirmKind.KEY, "y")


def test_several_services_are_confirmed_by_their_count(bench: Bench) -> None:
    verdict = bench.gate.review(plan_for(bench, KEY, OTHER))
    assert (verdict.confirm, verdict.expected) == (ConfirmKind.TYPED, "2 services")


def test_production_is_confirmed_by_its_name_whatever_the_plan_says_of_itself(tmp_path: Path) -> None:
    region = make_region("eu-west-1", RegionKind.KUBERNETES, "https://x", read_write=True)
    bench = Bench(tmp_path, None, region)
    plan = plan_for(bench, PROD)
    assert not plan.production
    verdict = bench.gate.review(plan)
    assert (verdict.confirm, verdict.expected) == (ConfirmKind.TYPED, "llama-chat")
    with pytest.raises(GateRefused, match="does not confirm"):
        bench.gate.authorise(plan, "y")
    assert bench.gate.authorise(plan, "llama-chat").plan_id == plan.id


def test_one_service_in_several_regions_is_confirmed_by_the_count_of_regions(tmp_path: Path) -> None:
    region = make_region("eu-west-1", RegionKind.EMBEDDED, "x")
    bench = Bench(tmp_path, None, region)
    assert bench.gate.review(plan_for(bench, KEY, PROD)).expected == "2 regions"


@pytest.mark.parametrize("answer", ["", "n", "Y", "yes", "2 service", "llama"])
def test_every_other_answer_cancels_and_is_recorded(bench: Bench, answer: str) -> None:
    with pytest.raises(GateRefused) as caught:
        bench.gate.authorise(plan_for(bench, KEY), answer)
    assert "--yes" in caught.value.remedy
    assert bench.kinds()[-1] == "action.refused"
    assert "action.begin" not in bench.kinds()


def test_the_defaults_of_regions() -> None:
    local = make_region("local", RegionKind.EMBEDDED, "x")
    assert (local.read_write, local.production) == (True, False)
    remote = make_region("r", RegionKind.KUBERNETES, "x")
    assert (remote.read_write, remote.production) == (False, True)
    opened = GatePolicy(open_regions=True)
    assert make_region("r", RegionKind.KUBERNETES, "x", policy=opened).read_write
    assert not make_region("r", RegionKind.KUBERNETES, "x", read_write=False, policy=opened).read_write
    assert make_region("local", RegionKind.EMBEDDED, "x", production=True).production


def read_only(tmp_path: Path) -> tuple[Bench, Plan]:
    bench = Bench(tmp_path, GatePolicy(read_only=True))
    return bench, plan_for(bench, KEY)


def closed_region(tmp_path: Path) -> tuple[Bench, Plan]:
    bench = Bench(tmp_path, None, make_region("eu-west-1", RegionKind.KUBERNETES, "x"))
    return bench, plan_for(bench, PROD)


def unknown_region(tmp_path: Path) -> tuple[Bench, Plan]:
    bench = Bench(tmp_path)
    return bench, plan_for(bench, ServiceKey("nowhere", "x"))


def expired(tmp_path: Path) -> tuple[Bench, Plan]:
    bench = Bench(tmp_path)
    plan = plan_for(bench, KEY)
    bench.clock.advance(300.0)
    return bench, plan


def dry_run(tmp_path: Path) -> tuple[Bench, Plan]:
    bench = Bench(tmp_path)
    return bench, plan_for(bench, KEY, simulation=True)


def no_precondition(tmp_path: Path) -> tuple[Bench, Plan]:
    bench = Bench(tmp_path)
    return bench, msgspec.structs.replace(plan_for(bench, KEY), preconditions=())


def too_many(tmp_path: Path) -> tuple[Bench, Plan]:
    bench = Bench(tmp_path, GatePolicy(max_changes_per_minute=1))
    return bench, plan_for(bench, KEY, OTHER)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (read_only, "read-only"),
        (closed_region, "eu-west-1 is read-only"),
        (unknown_region, "not known"),
        (expired, "expired"),
        (dry_run, "dry run"),
        (no_precondition, "which state"),
        (too_many, "at most 1"),
    ],
)
def test_what_is_refused_says_why_and_gives_no_permit(tmp_path: Path, case: object, words: str) -> None:
    assert callable(case)
    bench, plan = case(tmp_path)
    verdict = bench.gate.review(plan)
    assert not verdict.allowed
    assert words in verdict.reason
    assert verdict.remedy
    for answer in ("y", "llama-chat", "1 services", "2 services", "x"):
        with pytest.raises(GateRefused, match=verdict.reason.split(" ", maxsplit=1)[0]):
            bench.gate.authorise(plan, answer)
    assert "action.begin" not in bench.kinds()


def test_the_begin_is_written_before_there_is_a_permit_and_carries_plan_actor_and_process(
    bench: Bench,
) -> None:
    plan = plan_for(bench, KEY)
    permit = bench.gate.authorise(plan, "y")
    record = list(bench.audit.records())[-1]
    assert record["type"] == "action.begin"
    assert record["actor"] == permit.actor == "ops@host"
    assert record["process"]["pid"] > 0
    assert msgspec.convert(record["plan"], Plan, strict=False) == plan
    assert permit.seal not in str(record)


def test_without_a_trail_nothing_is_permitted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.audit, "append", full)
    with pytest.raises(GateRefused, match="audit trail cannot be written"):
        bench.gate.authorise(plan_for(bench, KEY), "y")


def test_a_damaged_trail_permits_nothing(bench: Bench) -> None:
    bench.gate.cancel(plan_for(bench, KEY))
    bench.places.key.unlink()
    with pytest.raises(GateRefused, match="cannot be written") as caught:
        bench.gate.authorise(plan_for(bench, KEY, plan_id="p2"), "y")
    assert isinstance(caught.value.__cause__, AuditDamaged)


def test_a_permit_fits_one_plan_once_for_a_while(bench: Bench) -> None:
    plan = plan_for(bench, KEY)
    permit = bench.gate.authorise(plan, "y")
    other = msgspec.structs.replace(plan, request=msgspec.structs.replace(plan.request, verb=Verb.DELETE))
    with pytest.raises(GateRefused, match="another plan"):
        bench.gate.verify(permit, other)
    bench.gate.verify(permit, plan)
    with pytest.raises(GateRefused, match="used up"):
        bench.gate.verify(permit, plan)


def test_a_permit_has_one_use_for_each_target(bench: Bench) -> None:
    plan = plan_for(bench, KEY, OTHER)
    permit = bench.gate.authorise(plan, "2 services")
    bench.gate.verify(permit, plan)
    bench.gate.verify(permit, plan)
    with pytest.raises(GateRefused, match="used up"):
        bench.gate.verify(permit, plan)


def test_a_permit_expires_and_ends_with_its_action(bench: Bench) -> None:
    plan = plan_for(bench, KEY)
    permit = bench.gate.authorise(plan, "y")
    bench.gate.finish(plan, permit, done(plan))
    with pytest.raises(GateRefused, match="used up"):
        bench.gate.verify(permit, plan)
    late = plan_for(bench, KEY, plan_id="p2")
    permit = bench.gate.authorise(late, "y")
    bench.clock.advance(bench.gate.policy.permit_ttl_s)
    with pytest.raises(GateRefused, match="expired"):
        bench.gate.verify(permit, late)


def test_a_plan_is_carried_out_or_cancelled_once(bench: Bench) -> None:
    plan = plan_for(bench, KEY)
    bench.gate.finish(plan, bench.gate.authorise(plan, "y"), done(plan))
    with pytest.raises(GateRefused, match="already"):
        bench.gate.authorise(plan, "y")
    other = plan_for(bench, KEY, plan_id="p2")
    bench.gate.cancel(other)
    with pytest.raises(GateRefused, match="already"):
        bench.gate.authorise(other, "y")


FORGERIES = [
    {"seal": "0" * 64},
    {"seal": ""},
    {"expires_at": 9e9},
    {"actor": "root@host"},
    {"plan_id": "p2"},
    {"id": "0011223344556677"},
]


def forged_permit_is_refused(gate: Gate, permit: Permit, plan: Plan) -> None:
    try:
        gate.verify(permit, plan)
    except GateRefused:
        return
    raise AssertionError("a forged permit was taken")


@pytest.mark.parametrize("change", FORGERIES, ids=lambda change: next(iter(change)))
def test_a_forged_permit_is_refused(bench: Bench, change: dict[str, object]) -> None:
    plan = plan_for(bench, KEY)
    permit = bench.gate.authorise(plan, "y")
    forged_permit_is_refused(bench.gate, msgspec.structs.replace(permit, **change), plan)


def test_a_permit_of_another_gate_is_refused(bench: Bench, tmp_path: Path) -> None:
    plan = plan_for(bench, KEY)
    foreign = Bench(tmp_path / "other").gate.authorise(plan, "y")
    forged_permit_is_refused(bench.gate, foreign, plan)


def test_sabotage_without_verify_a_forged_permit_is_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(bench, KEY)
    permit = msgspec.structs.replace(bench.gate.authorise(plan, "y"), seal="0" * 64)
    monkeypatch.setattr(bench.gate, "verify", lambda *_: None)
    with pytest.raises(AssertionError, match="was taken"):
        forged_permit_is_refused(bench.gate, permit, plan)


def test_the_rate_counts_the_changes_of_every_console(tmp_path: Path) -> None:
    first = Bench(tmp_path, GatePolicy(max_changes_per_minute=3))
    second = Bench(tmp_path, GatePolicy(max_changes_per_minute=3))
    two = plan_for(first, KEY, OTHER)
    first.gate.finish(two, first.gate.authorise(two, "2 services"), done(two))
    another = plan_for(second, KEY, plan_id="p2")
    second.gate.finish(another, second.gate.authorise(another, "y"), done(another))
    third = plan_for(second, KEY, plan_id="p3")
    with pytest.raises(GateRefused, match="more than 3 changes") as caught:
        second.gate.authorise(third, "y")
    assert "wait 60 s" in caught.value.remedy
    second.clock.advance(61.0)
    assert second.gate.authorise(third, "y").plan_id == "p3"


def test_what_is_dimmed_is_what_would_be_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, None, make_region("eu-west-1", RegionKind.KUBERNETES, "x"))
    assert bench.gate.may_change("local").allowed
    assert "read-only" in bench.gate.may_change("eu-west-1").reason
    assert "not known" in bench.gate.may_change("nowhere").reason
    assert not Bench(tmp_path, GatePolicy(read_only=True)).gate.may_change("local").allowed


def test_the_begin_is_on_the_disk_before_there_is_a_permit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    synced: list[int] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        text = os.readlink(f"/proc/self/fd/{handle}")
        if text.endswith(".jsonl"):
            synced.append(os.fstat(handle).st_size)
        real(handle)

    monkeypatch.setattr("nimify_tui.base.audit.os.fsync", fsync)
    bench.gate.authorise(plan_for(bench, KEY), "y")
    newest = max(bench.places.folder.glob("*.jsonl"))
    assert synced[-1] == newest.stat().st_size
