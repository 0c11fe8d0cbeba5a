"""Ranking causes: order does not matter, nearer is more telling, and nothing is ever invented."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.advice.causes import AFTER_S, BEFORE_S, MAX_CLUES, elsewhere, explain, nearness, score_of
from nimify_tui.domain.changes import Change, ChangeKind, Onset, Peer
from nimify_tui.domain.names import ServiceKey

AT = 1_800_000_000.0
KEY = ServiceKey("eu-west-1", "embed")
KEYS = (KEY, ServiceKey("us-east-1", "embed"), ServiceKey("eu-west-1", "score"), None)
MADE = {ChangeKind.ROLLOUT, ChangeKind.CONFIG}


def onset(**more: object) -> Onset:
    facts: dict[str, object] = {
        "row_id": "embed", "key": KEY, "at": AT, "symptom": "slow", "revision": 2, "content": "bb",
    }  # fmt: skip
    return Onset(**(facts | more))  # type: ignore[arg-type]  # fields of several types


def change(kind: ChangeKind, offset_s: float, key: ServiceKey | None = KEY, **more: object) -> Change:
    facts: dict[str, object] = {
        "id": f"{kind}{offset_s}{key}", "at": AT + offset_s, "kind": kind, "region": key.region if key else "eu-west-1",
        "key": key, "text": f"{kind} happened",
    }  # fmt: skip
    return Change(**(facts | more))  # type: ignore[arg-type]  # fields of several types


changes = st.lists(
    st.builds(
        lambda kind, offset_s, key, number, revision: change(kind, offset_s, key, id=f"c{number}", revision=revision),
        st.sampled_from(list(ChangeKind)), st.floats(-4000, 4000), st.sampled_from(KEYS), st.integers(0, 10**9),
        st.sampled_from((None, 1, 2)),
    ),
    max_size=30, unique_by=lambda each: each.id,
)  # fmt: skip


@given(changes, st.integers(0, 1000), st.floats(0, 4000))
def test_the_order_of_the_facts_does_not_matter(known: list[Change], seed: int, later_s: float) -> None:
    shuffled = list(known)
    random.Random(seed).shuffle(shuffled)
    assert explain(onset(), known, (), AT + later_s) == explain(onset(), [*shuffled, *known], (), AT + later_s)


@given(changes, st.floats(0, 4000))
def test_nothing_is_invented(known: list[Change], later_s: float) -> None:
    why = explain(onset(), known, (), AT + later_s)
    assert len(why.clues) <= MAX_CLUES
    assert [clue.score for clue in why.clues] == sorted((clue.score for clue in why.clues), reverse=True)
    for clue in why.clues:
        assert clue.change in known
        assert clue.offset_s == clue.change.at - AT
        assert -BEFORE_S <= clue.offset_s <= AFTER_S
        assert clue.change.at <= AT + later_s, "what has not happened yet explains nothing"
        assert 0.0 < clue.score <= 1.0
        assert clue.change.key != ServiceKey("eu-west-1", "score")
    if why.clues:
        assert why.clues[0].change.text in why.verdict
    else:
        assert why.verdict == "nothing known changed around the onset in this service or region"


@given(st.sampled_from(sorted(set(ChangeKind) - {ChangeKind.RECOVERY})), st.floats(0, BEFORE_S), st.floats(0, BEFORE_S))
def test_the_nearer_one_of_two_like_changes_is_more_telling(kind: ChangeKind, one: float, other: float) -> None:
    near, far = sorted((one, other))
    assert score_of(change(kind, -near), onset()) >= score_of(change(kind, -far), onset())
    if near <= AFTER_S and far <= AFTER_S:
        assert score_of(change(kind, near), onset()) >= score_of(change(kind, far), onset())
    assert nearness(-near) >= nearness(near), "before the onset tells more than after it"


def test_the_roll_out_stands_above_the_crashes_of_its_revision() -> None:
    rollout = change(ChangeKind.ROLLOUT, -29.0, revision=2)
    crash = change(ChangeKind.CRASH, 0.0, revision=2, replica="embed-3")
    why = explain(onset(), [crash, rollout], (), AT + 60)
    assert [clue.change.kind for clue in why.clues] == [ChangeKind.ROLLOUT, ChangeKind.CRASH]
    assert why.clues[0].offset_s == -29.0


def test_a_crash_of_the_old_revision_is_no_consequence_of_the_roll_out() -> None:
    rollout = change(ChangeKind.ROLLOUT, -600.0, revision=2)
    crash = change(ChangeKind.CRASH, 0.0, revision=1, replica="embed-1")
    assert explain(onset(), [crash, rollout], (), AT + 60).clues[0].change is crash


def test_the_own_service_stands_above_its_region_and_both_above_other_regions() -> None:
    own = change(ChangeKind.ROLLOUT, -10.0)
    region = change(ChangeKind.REGION, -10.0, None)
    other = change(ChangeKind.ROLLOUT, -10.0, ServiceKey("us-east-1", "embed"))
    why = explain(onset(), [other, region, own], (), AT + 60)
    assert [clue.change for clue in why.clues] == [own, region, other]


def test_a_well_service_has_nothing_to_explain() -> None:
    why = explain(onset(at=None), [change(ChangeKind.ROLLOUT, -1.0)], (), AT)
    assert (why.clues, why.onset_at) == ((), None)
    assert why.verdict.startswith("nothing to explain")


def test_how_it_does_elsewhere() -> None:
    peers = (
        Peer(region="us-west-2", well=True, revision=2, content="bb"),
        Peer(region="us-east-1", well=True, revision=7, content="bb"),
        Peer(region="ap-southeast-1", well=None, revision=2, content="bb"),
        Peer(region="eu-central-1", well=True, revision=1, content="aa"),
    )
    assert elsewhere(onset(), peers) == "the same model is well in us-east-1, us-west-2"
    assert elsewhere(onset(), peers[3:]) == "another model is well in eu-central-1"
    assert elsewhere(onset(), ()) == ""
    worse = (Peer(region="us-east-1", well=False, revision=2, content="bb"),)
    assert elsewhere(onset(), worse) == "the same model is unwell in us-east-1"
