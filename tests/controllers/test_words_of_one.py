"""The words of plans and progress when there is one of a thing, and when there are several."""

from __future__ import annotations

import msgspec
import pytest

from nimify_tui.controllers.drafts import draft_scale, draft_stop_or_start, objects, plural
from nimify_tui.controllers.goals import standing_of
from nimify_tui.controllers.world import Receipt
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.domain.services import Replica, ReplicaState
from tests.controllers.world import KEY, replica, service


def _ready(number: int) -> list[Replica]:
    return [replica(KEY, f"r-{index}", 3) for index in range(number)]


def _capacity(before: int, after: int, ready: int) -> str:
    part = ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=after)
    draft = draft_scale(part, service(replicas=before), _ready(ready))
    return dict(draft.facts)["capacity"]


@pytest.mark.parametrize(
    ("before", "after", "ready", "words"),
    [
        (1, 2, 1, "the 1 that serves goes on; 1 more starts beside"),
        (2, 4, 2, "the 2 that serve go on; 2 more start beside"),
        (1, 4, 1, "the 1 that serves goes on; 3 more start beside"),
        (1, 2, 0, "none serves now; 1 more starts beside"),
        (3, 2, 3, "1 drains and ends; 2 of 2 serve all the time"),
        (4, 1, 4, "3 drain and end; 1 of 1 serve all the time"),
    ],
)
def test_a_scaling_counts_what_goes_on_and_what_comes(
    before: int, after: int, ready: int, words: str
) -> None:
    assert _capacity(before, after, ready) == words


@pytest.mark.parametrize(("number", "words"), [(1, "has 1 replica already"), (2, "has 2 replicas already")])
def test_nothing_to_do_says_how_many_there_are(number: int, words: str) -> None:
    part = ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=number)
    assert draft_scale(part, service(replicas=number), []).nothing_to_do == words


@pytest.mark.parametrize(("number", "words"), [(1, "1 replica starts"), (3, "3 replicas start")])
def test_a_start_says_how_many_start(number: int, words: str) -> None:
    stopped = msgspec.structs.replace(service(replicas=number), stopped=True)
    draft = draft_stop_or_start(ActionRequest(verb=Verb.START, targets=(KEY,)), stopped, [])
    assert dict(draft.facts)["change"] == words


@pytest.mark.parametrize(("number", "words"), [(1, "0 of 1 replica ready"), (2, "0 of 2 replicas ready")])
def test_what_is_touched_is_counted(number: int, words: str) -> None:
    assert words in objects(service(replicas=number), [])
    assert plural("service", number) == ("service" if number == 1 else "services")


@pytest.mark.parametrize(
    ("verb", "left", "words"),
    [
        (Verb.DELETE, 1, "1 replica drains"),
        (Verb.DELETE, 2, "2 replicas drain"),
        (Verb.STOP, 1, "1 replica drains"),
        (Verb.STOP, 3, "3 replicas drain"),
    ],
)
def test_what_still_drains_is_counted(verb: Verb, left: int, words: str) -> None:
    now = msgspec.structs.replace(service(), stopped=verb is Verb.STOP, generation=8)
    running = [replica(KEY, f"r-{index}", 3, ReplicaState.DRAINING) for index in range(left)]
    part = ActionRequest(verb=verb, targets=(KEY,))
    assert standing_of(part, now, running, Receipt(uid="u1", generation=8)).text == words


@pytest.mark.parametrize(("left", "words"), [(1, "1 replica still ends"), (2, "2 replicas still end")])
def test_what_still_ends_of_a_deleted_service_is_counted(left: int, words: str) -> None:
    running = [replica(KEY, f"r-{index}", 3, ReplicaState.DRAINING) for index in range(left)]
    part = ActionRequest(verb=Verb.DELETE, targets=(KEY,))
    assert standing_of(part, None, running, Receipt(uid="u1", generation=8)).text == words
