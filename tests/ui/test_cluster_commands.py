"""Commands for clusters: what each asks for, and what the region's own rights leave dim."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Rights, Verb
from tests.tui import screen_lines
from tests.ui import frames
from tests.ui.world import World, run_console, type_text

KEY = ServiceKey("us-west-2", "rerank-v2")


def typed(world: World, line: str) -> str:
    """What the last line says after ``line`` was typed on the row of one region."""

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("down", "down")
        await type_text(pilot, f":{line}")
        await pilot.press("enter")
        await pilot.pause()
        return screen_lines(app)[-1]

    return str(run_console(script, world))


def node(verb: Verb, **fields: Any) -> ActionRequest:
    return ActionRequest(verb=verb, targets=(ServiceKey("us-west-2", "node-1"),), kind="Node", **fields)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("pause", ActionRequest(verb=Verb.PAUSE, targets=(KEY,))),
        ("resume", ActionRequest(verb=Verb.RESUME, targets=(KEY,))),
        ("restart stop-first", ActionRequest(verb=Verb.RESTART, targets=(KEY,), stop_first=True)),
        ("image web:2", ActionRequest(verb=Verb.SET_IMAGE, targets=(KEY,), image="web:2")),
        ("image main=web:2", ActionRequest(verb=Verb.SET_IMAGE, targets=(KEY,), image="web:2", container="main")),
        ("cordon node-1", node(Verb.CORDON)),
        ("uncordon node-1", node(Verb.UNCORDON)),
        ("drain node-1", node(Verb.DRAIN)),
        ("drain node-1 force", node(Verb.DRAIN, force=True)),
        (
            "bounds web 2 6",
            ActionRequest(
                verb=Verb.SET_BOUNDS, targets=(ServiceKey("us-west-2", "web"),), kind="HorizontalPodAutoscaler",
                least=2, most=6,
            ),
        ),
        (
            "kill web-1",
            ActionRequest(verb=Verb.DELETE, targets=(ServiceKey("us-west-2", "web-1"),), kind="Pod"),
        ),
    ],
)  # fmt: skip
def test_a_command_asks_for_its_plan(line: str, wanted: ActionRequest) -> None:
    world = World()
    typed(world, line)
    assert world.asked == [wanted]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("restart now", "'now' is not stop-first"),
        ("cordon", "which node?"),
        ("drain node-1 please", "which node?"),
        ("bounds web 2", "from how many to how many?"),
        ("bounds web two six", "from how many to how many?"),
        ("kill", "which pod?"),
    ],
)
def test_half_a_command_is_asked_back_and_nothing_is_planned(line: str, said: str) -> None:
    world = World()
    assert said in typed(world, line)
    assert world.asked == []


def test_an_object_needs_the_row_of_one_region() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> str:
        await type_text(pilot, ":cordon node-1")  # the first row stands for three regions
        await pilot.press("enter")
        await pilot.pause()
        return screen_lines(app)[-1]

    assert "choose the row of one region first" in run_console(script, world)
    assert world.asked == []


def test_a_command_that_the_region_would_refuse_says_what_is_missing_and_asks_for_nothing() -> None:
    missing = {Verb.RESTART: "patch deployments.apps"}
    rights = {KEY: Rights(at=frames.NOW, refused=missing)}
    world = World(msgspec.structs.replace(frames.drawn(), rights=rights))

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        said = screen_lines(app)[-1]
        await pilot.press("s")
        await pilot.pause()
        return said + screen_lines(app)[-1]

    said = run_console(script, world)
    assert "restart: you may not patch deployments.apps in us-west-2 (asked " in said
    assert "scale to" in said, "what is allowed goes on"
    assert world.asked == []


def test_what_one_of_several_regions_allows_is_left_to_the_plan() -> None:
    keys = frames.drawn().rows["llama-chat"].keys
    refused = Rights(at=frames.NOW, refused={Verb.RESTART: "patch deployments.apps"})
    world = World(msgspec.structs.replace(frames.drawn(), rights={keys[0]: refused}))

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("r")
        await pilot.pause()

    run_console(script, world)
    assert [request.verb for request in world.asked] == [Verb.RESTART]
