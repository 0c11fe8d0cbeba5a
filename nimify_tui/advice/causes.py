"""Which known changes explain the onset of a trouble best. Pure: facts in, a ranked answer out; it never guesses.

The score of a change is kind x place x nearness, each 0 to 1. The weights are judgement, not
statistics: most outages follow a change that somebody made (Google's SRE book, chapter 12, names
binary and configuration pushes first), so those stand above symptoms like crashes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nimify_tui.domain.changes import Change, ChangeKind, Clue, Onset, Peer, Why

#: Looked at: so long before and after the onset, seconds.
BEFORE_S = 1800.0
AFTER_S = 60.0
#: Nearness halves over so many seconds before the onset, and after it.
HALF_BEFORE_S = 120.0
HALF_AFTER_S = 20.0
#: What comes after the onset is rather its consequence.
AFTER_WEIGHT = 0.55
#: A change within this distance counts as at the onset: clocks, and the time until a cause bites.
NEAR_S = 1.0
#: Below this a change explains nothing.
MIN_SCORE = 0.04
MAX_CLUES = 8

#: How likely a change of this kind makes a service unwell.
_WEIGHTS: dict[ChangeKind, float] = {
    ChangeKind.ROLLOUT: 1.0,
    ChangeKind.CONFIG: 0.95,
    ChangeKind.REGION: 0.9,
    ChangeKind.ATTACK: 0.85,
    ChangeKind.TRAFFIC: 0.8,
    ChangeKind.HANG: 0.8,
    ChangeKind.CRASH: 0.75,
    ChangeKind.OPERATOR: 0.7,
    ChangeKind.SCALE: 0.65,
    ChangeKind.SLOWDOWN: 0.6,
    ChangeKind.RESTART: 0.5,
    ChangeKind.CREATE: 0.4,
    ChangeKind.DELETE: 0.3,
}
_SYMPTOMS = frozenset({ChangeKind.CRASH, ChangeKind.HANG, ChangeKind.SLOWDOWN})
_MADE = frozenset({ChangeKind.ROLLOUT, ChangeKind.CONFIG})
#: A symptom of the new revision itself speaks for the roll-out, and ranks below it.
_OF_THE_ROLLOUT = 0.6
#: What the numbers show at the onset is the trouble itself seen from another side.
_SERVICE, _REGION, _SAME_SERVICE_ELSEWHERE = 1.0, 0.7, 0.25


def explain(onset: Onset, changes: Iterable[Change], peers: Sequence[Peer], now: float) -> Why:
    """Why a service is as it is.

    ``changes`` may be any changes in any order; what cannot matter is left out. Changes later than
    ``now`` are left out too.
    """
    region = onset.key.region
    if onset.at is None:
        return Why(row_id=onset.row_id, region=region, onset_at=None, symptom=onset.symptom,
                   clues=(), verdict="nothing to explain: it is well")  # fmt: skip
    known = {change.id: change for change in changes if change.at <= now and change.kind in _WEIGHTS}
    around = [each for each in known.values() if -BEFORE_S <= each.at - onset.at <= AFTER_S + onset.slack_s]
    clues = [
        Clue(change=change, offset_s=change.at - onset.at, score=score)
        for change in around
        if (score := score_of(change, onset, around)) >= MIN_SCORE
    ]
    clues.sort(key=lambda clue: (-round(clue.score, 6), abs(clue.offset_s), clue.change.at, clue.change.id))
    chosen = tuple(clues[:MAX_CLUES])
    return Why(
        row_id=onset.row_id, region=region, onset_at=onset.at, symptom=onset.symptom, clues=chosen,
        verdict=_verdict(chosen), elsewhere=elsewhere(onset, peers),
    )  # fmt: skip


def score_of(change: Change, onset: Onset, around: Sequence[Change] = ()) -> float:
    """How well one change explains the onset, 0 to 1; ``around`` are the others, for symptoms of a roll-out."""
    assert onset.at is not None
    place = _place(change, onset)
    if place == 0.0:
        return 0.0
    kind = _WEIGHTS.get(change.kind, 0.0)
    if change.kind in _SYMPTOMS and _follows_a_change(change, onset, around):
        kind *= _OF_THE_ROLLOUT
    return kind * place * nearness(change.at - onset.at, onset.slack_s)


def nearness(offset_s: float, slack_s: float = 0.0) -> float:
    """1 at the onset, halving with the distance; what comes after it counts less."""
    near = NEAR_S + slack_s
    if -near <= offset_s <= near:
        return 1.0
    if offset_s < 0.0:
        return math.exp2((offset_s + near) / HALF_BEFORE_S)
    return AFTER_WEIGHT * math.exp2(-(offset_s - near) / HALF_AFTER_S)


def _place(change: Change, onset: Onset) -> float:
    if change.key is None:
        return _REGION if change.region == onset.key.region else 0.0
    if change.key == onset.key:
        return _SERVICE
    same = (change.key.name, change.key.namespace) == (onset.key.name, onset.key.namespace)
    if same and change.kind in _MADE:
        return _SAME_SERVICE_ELSEWHERE
    return 0.0


def _follows_a_change(symptom: Change, onset: Onset, around: Sequence[Change]) -> bool:
    """Whether the symptom is of the revision that a roll-out (or configuration) before it brought."""
    for change in around:
        made_before = change.kind in _MADE and change.key == onset.key and change.at <= symptom.at
        unknown = symptom.revision is None or change.revision is None
        if made_before and (unknown or symptom.revision == change.revision):
            return True
    return False


def _verdict(clues: Sequence[Clue]) -> str:
    if not clues:
        return "nothing known changed around the onset in this service or region"
    best = clues[0]
    when = _offset(best.offset_s)
    return f"most telling: {best.change.text}, {when}"


def _offset(seconds: float) -> str:
    if abs(seconds) < NEAR_S:
        return "at the onset"
    return f"{abs(seconds):.0f} s {'before' if seconds < 0 else 'after'} the onset"


def elsewhere(onset: Onset, peers: Sequence[Peer]) -> str:
    """How what runs here does in other regions, "" when there is nothing to compare with."""
    if not onset.content and onset.revision is None:
        return ""

    def same(peer: Peer) -> bool:
        if onset.content and peer.content:
            return peer.content == onset.content
        return peer.revision == onset.revision

    mine = sorted((peer for peer in peers if same(peer)), key=lambda peer: peer.region)
    other = sorted((peer for peer in peers if not same(peer)), key=lambda peer: peer.region)
    well = [peer.region for peer in mine if peer.well]
    unwell = [peer.region for peer in mine if peer.well is False]
    what = "the same model" if onset.content else f"r{onset.revision}"
    parts = []
    if well:
        parts.append(f"{what} is well in {', '.join(well)}")
    if unwell:
        parts.append(f"{'and ' if well else what + ' is '}unwell in {', '.join(unwell)}")
    others = [peer.region for peer in other if peer.well]
    if others and not well:
        parts.append(f"another {'model' if onset.content else 'revision'} is well in {', '.join(others)}")
    return "; ".join(parts)
