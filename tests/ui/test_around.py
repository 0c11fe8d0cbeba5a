"""A service of a cluster: what stands around it on the configuration tab, its roll-out tree, its drift, its count."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.plans import Verb
from nimify_tui.domain.services import ReplicaState, Service, ServiceState
from nimify_tui.domain.workloads import (
    Address,
    Budget,
    KeptRevision,
    OwnerSeen,
    Scaler,
    ScalerMetric,
    Surroundings,
)
from nimify_tui.fleet.frames import Frame, ServiceDetail
from nimify_tui.ui.present.around import address_text, around_facts, budget_text, scaler_lines
from nimify_tui.ui.present.services import ready_text, reason_text
from tests.tui import check_golden, screen_text
from tests.ui import frames
from tests.ui.world import World, run_console

EUW1 = ServiceKey("eu-west-1", "llama-chat")
AROUND = Surroundings(
    owners=(OwnerSeen(kind="NIMService", name="llama-chat", state="NotReady", trouble="its NIMCache is not ready"),),
    scalers=(
        Scaler(
            name="llama-chat", least=2, most=8, current=2, wanted=4, well=False,
            metrics=(
                ScalerMetric(name="vllm_num_requests_waiting", current="12", target="5 a pod"),
                ScalerMetric(name="gpu_cache_usage_perc", current="", target="0.8"),
            ),
            verdict="it does not scale: there is no custom metrics API: install prometheus-adapter or KEDA",
        ),
    ),
    budgets=(Budget(name="llama-chat", allowed=0, healthy=1, needed=2, expected=2),),
    addresses=(Address(name="llama-chat", host="llama-chat.ml.svc", ports=("8000 api",), ready=1, total=2),),
    kept=(
        KeptRevision(number=11, holder="ReplicaSet llama-chat-5c7d", created_at=frames.NOW - 90_000, wanted=0),
        KeptRevision(
            number=12, holder="ReplicaSet llama-chat-7d9f", created_at=frames.NOW - 400, wanted=2,
            note="image nvcr.io/nim/meta/llama 1.11.0 -> 1.12.0",
        ),
    ),
)  # fmt: skip


def detail() -> ServiceDetail:
    """llama-chat as a Deployment in one region: one pod of each revision."""
    drawn = frames.drawn_detail()
    service = msgspec.structs.replace(
        drawn.services[0], revisions=(), endpoint="", model_sha256="", around=AROUND,
        model_name="llama 1.12.0",
        labels={"kind": "Deployment", "image": "nvcr.io/nim/meta/llama", "version": "1.12.0"},
    )  # fmt: skip
    pods = []
    for row, name, number, state in (
        (drawn.replicas[0], "llama-chat-7d9f-aaaaa", 12, ReplicaState.BACKOFF),
        (drawn.replicas[1], "llama-chat-5c7d-bbbbb", 11, ReplicaState.READY),
    ):
        replica = msgspec.structs.replace(row.replica, key=ReplicaKey(EUW1, name), revision=number, state=state)
        pods.append(msgspec.structs.replace(row, replica=replica))
    return msgspec.structs.replace(drawn, services=(service,), replicas=tuple(pods))


def world() -> World:
    frame = frames.drawn()
    made: Frame = msgspec.structs.replace(frame, details={**frame.details, "llama-chat": detail()})
    return World(made)


def pressing(*keys: str) -> Any:
    async def script(app: Any, pilot: Any) -> str:
        for key in keys:
            await pilot.press(key)
        await pilot.pause()
        return screen_text(app)

    return script


@pytest.mark.parametrize(("digit", "name"), [("4", "revisions"), ("6", "configuration")])
def test_golden(digit: str, name: str) -> None:
    for width, height in ((80, 24), (120, 40)):
        text = run_console(pressing("enter", digit), world(), size=(width, height))
        pane = text.splitlines()[3:-1]  # head, tabs and keys have goldens of their own
        check_golden(f"cluster-{name}-{width}x{height}", "\n".join(pane).rstrip())


def test_enter_on_a_kept_revision_goes_back_to_it_and_on_a_pod_does_nothing() -> None:
    seen = world()

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("enter", "4", "down", "enter")  # the pod of r12
        await pilot.pause()
        assert seen.asked == []
        await pilot.press("down", "enter")  # r11
        await pilot.pause()

    run_console(script, seen)
    (request,) = seen.asked
    assert (request.verb, request.revision) == (Verb.ROLLBACK, 11)


def test_what_is_not_known_or_not_there_says_so() -> None:
    assert address_text(Address(name="a", host="a.ml.svc", ports=())) == "a.ml.svc, no port"
    empty = Address(name="a", host="a.ml.svc", ports=("80",), outside="10.0.0.9", ready=0, total=0)
    assert address_text(empty) == "a.ml.svc, port 80, outside 10.0.0.9, no endpoint: nothing answers there"
    assert budget_text(Budget(name="a", allowed=1, healthy=3, needed=2, expected=3)) == (
        "PDB a allows 1 (3 well of 3, 2 needed)"
    )
    assert scaler_lines(AROUND.scalers[0])[3] == "  gpu_cache_usage_perc  – of 0.8"
    bare: Service = msgspec.structs.replace(frames.drawn_detail().services[0])
    assert around_facts(bare) == []


@pytest.mark.parametrize(
    ("ready", "desired", "text"),
    [(5, 6, "5/6"), (12, 12, "12/12"), (None, 2, "?/2"), (100, 100, "100"), (99, 100, "99%"), (0, 5000, "0%"),
     (None, 5000, "?"), (4999, 5000, "99%")],
)  # fmt: skip
def test_counts_that_are_too_wide_for_the_column(ready: int | None, desired: int, text: str) -> None:
    """99.98 % is never told as all."""
    assert ready_text(ready, desired) == text


def test_versions_that_differ_are_the_reason_of_a_row_that_has_no_other() -> None:
    row = next(each for each in frames.drawn().rows.values() if each.state is ServiceState.OK)
    calm = msgspec.structs.replace(row, reason="", progress="", drift="1.12.0 us-east-1; 1.11.0 eu-west-1")
    assert reason_text(calm, frames.NOW, False) == "versions differ: 1.12.0 us-east-1; 1.11.0 eu-west-1"
    assert "differ" not in reason_text(msgspec.structs.replace(calm, reason="out of memory"), frames.NOW, False)
