"""A replica that serves other bytes than anybody deployed is a breach of security; a roll-out is none."""

from __future__ import annotations

import pytest

from nimify_tui.domain.alerts import Alert, AlertState
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.served import ServedModel
from nimify_tui.domain.services import ReplicaState, Revision, ServiceSpec
from nimify_tui.domain.updates import ReplicaSeen
from tests.fleet.town import Town, replica_fact

KEY = ServiceKey("use1", "score")
OURS, NEXT, STRANGE = "aa" * 32, "bb" * 32, "ee" * 32


def town(replicas: int = 2) -> Town:
    made = Town({"use1": {"score": replicas}})
    for server in made.servers.values():
        server.digests = (OURS,)
    made.run(10)
    return made


def breaches(made: Town) -> list[Alert]:
    return [each for each in made.fleet.frame.alerts.alerts if each.rule == "SecurityBreach"]


def judged(made: Town) -> tuple[int, int, str]:
    found = next(each for each in made.fleet.frame.alerts.rules if each.rule == "SecurityBreach")
    return found.judged, found.unjudged, found.reason


def test_what_was_deployed_is_no_breach() -> None:
    made = town()
    assert breaches(made) == []
    assert judged(made) == (1, 0, "")


def test_other_bytes_are_one_at_once_until_they_are_gone() -> None:
    """Seen failing with a digest that is never forgotten."""
    made = town()
    server = made.of("score", "use1")[1]
    server.digests = (STRANGE,)
    made.run(3)
    (found,) = breaches(made)
    assert (found.state, found.severity) == (AlertState.FIRING, "critical")
    assert found.text == f"score-2 serves a model that no revision has: sha256 {STRANGE[:11]}…"
    assert found.value.value == 1
    assert made.fleet.frame.summary.alerts == 1
    made.of("score", "use1")[0].digests = ("ff" * 32,)
    made.run(3)
    assert "score-1 (and 1 more) serves a model" in breaches(made)[0].text
    for each in made.servers.values():
        each.digests = (OURS,)
    made.run(70)
    assert breaches(made) == []
    assert judged(made) == (1, 0, "")


def revision(number: int, digest: str) -> Revision:
    spec = ServiceSpec(model_path="/m.onnx", model_sha256=digest)
    return Revision(number=number, created_at=0.0, created_by="ci", spec=spec)


def test_a_roll_out_and_the_way_back_are_none() -> None:
    """Old and new replicas stand beside each other. Seen failing when only the digest that should run counts."""
    made = town()
    made.see_service(KEY, revision=2, model_sha256=NEXT, revisions=(revision(1, OURS), revision(2, NEXT)))
    new = made.of("score", "use1")[1]
    made.fleet.apply(ReplicaSeen(made.at, replica_fact(new.key, ReplicaState.READY, made.at, revision=2)))
    new.digests = (NEXT,)
    made.run(10)
    assert breaches(made) == []
    made.see_service(KEY, revision=3, model_sha256=OURS, revisions=(revision(2, NEXT), revision(3, OURS)))
    made.run(10)
    assert breaches(made) == []
    assert judged(made) == (1, 0, "")


def test_a_replica_of_a_revision_that_nobody_tells_any_more_is_not_judged() -> None:
    """It may well serve what that revision had. Seen failing without asking for its revision."""
    made = town()
    made.of("score", "use1")[0].digests = (STRANGE,)
    made.see_service(KEY, revision=9, model_sha256=NEXT, revisions=(revision(9, NEXT),))
    made.run(70)
    assert breaches(made) == []


@pytest.mark.parametrize(
    ("facts", "digests", "why"),
    [
        ({"model_sha256": ""}, (STRANGE,), "the digest of the model that it should serve is not known here"),
        ({"models": (ServedModel(name="a", source="its folder"),)}, (STRANGE,), "the digest of the model that"),
        ({}, None, "its runtime tells no digest of what it serves"),
    ],
)
def test_what_cannot_be_known_is_said(facts: dict[str, object], digests: tuple[str, ...] | None, why: str) -> None:
    """A folder's digest is none of its models'. Seen failing without that exception."""
    made = Town({"use1": {"score": 1}})
    made.see_service(KEY, **facts)
    made.of("score", "use1")[0].digests = digests
    made.run(10)
    assert breaches(made) == []
    told = judged(made)
    assert told[:2] == (0, 1)
    assert told[2].startswith(why)


def test_one_that_has_loaded_nothing_yet_serves_nothing_strange() -> None:
    made = town(1)
    made.of("score", "use1")[0].digests = ()
    made.run(10)
    assert breaches(made) == []


def test_a_silent_replica_is_no_news() -> None:
    """It neither fires nor ends. Seen failing when the last digest counts however old it is."""
    made = town(1)
    server = made.of("score", "use1")[0]
    server.digests = (STRANGE,)
    made.run(3)
    server.load.answers = False
    made.run(120)
    (found,) = breaches(made)
    assert found.state is AlertState.FIRING
    assert found.unjudged == "no replica has told it lately"
