"""Commands for clusters: what each asks for, and what the region's own rights leave dim."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.demands import RightsDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Rights, Verb
from tests.tui import screen_lines
from tests.ui import frames
from tests.ui.clusters import clustered
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
        (
            "restart stop-first soak 5m unmeasured",
            ActionRequest(verb=Verb.RESTART, targets=(KEY,), stop_first=True, soak_s=300.0, unmeasured=True),
        ),
        ("restart --soak=90", ActionRequest(verb=Verb.RESTART, targets=(KEY,), soak_s=90.0)),
        ("scale 3 soak 1h", ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=3, soak_s=3600.0)),
        ("rollback 4 soak 30s", ActionRequest(verb=Verb.ROLLBACK, targets=(KEY,), revision=4, soak_s=30.0)),
        ("image web:2 soak 2m", ActionRequest(verb=Verb.SET_IMAGE, targets=(KEY,), image="web:2", soak_s=120.0)),
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
        ("restart now", "'now' is none of stop-first, soak, unmeasured"),
        ("restart soak", "'' is no duration such as 90s, 5m or 1h"),
        ("restart --now", "'--now' is not known here"),
        ("stop soon", "'soon' is none of soak, unmeasured"),
        ("apply web.yaml nowhere", "'nowhere' is no cluster here"),
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


# -- pods and files --------------------------------------------------------------------------
def pod_world(**refused: str) -> World:
    """llama-chat in clusters; what is refused on its pods in eu-west-1."""
    key = ServiceKey("eu-west-1", "llama-chat", "chat")
    pods = {Verb(verb): missing for verb, missing in refused.items()}
    return World(msgspec.structs.replace(clustered(), rights={key: Rights(at=frames.NOW, pods=pods)}))


def on_a_replica(world: World, *keys: str) -> str:
    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("enter", "1", *keys)
        await pilot.pause()
        return screen_lines(app)[-1]

    return str(run_console(script, world))


def test_the_pod_under_the_cursor_is_deleted_by_a_key_after_a_plan() -> None:
    world = pod_world()
    on_a_replica(world, "ctrl+k")
    wanted = ActionRequest(verb=Verb.DELETE, targets=(ServiceKey("eu-west-1", "r-3", "chat"),), kind="Pod")
    assert world.asked == [wanted]
    assert world.carried == []
    assert RightsDemand(ServiceKey("eu-west-1", "llama-chat", "chat"), pods=True) in world.asked_demands


@pytest.mark.parametrize(
    ("key", "verb", "title"),
    [("ctrl+k", "delete", "delete pod"), ("S", "shell", "shell"), ("F", "forward", "forward")],
)
def test_what_may_not_be_done_to_a_pod_is_said_and_not_asked_for(key: str, verb: str, title: str) -> None:
    world = pod_world(**{verb: "create pods/x"})
    said = on_a_replica(world, key)
    assert f"{title}: you may not create pods/x in eu-west-1 (asked " in said
    assert world.asked == []
    on_a_replica(world, "G", key)  # the pod of another region, of which nothing is refused
    assert world.asked or key == "F", "F asks for the port first"


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("apply 'my files/web.yaml'", ("my files/web.yaml", ("eu-west-1",), "chat", False)),
        ("apply web.yaml force", ("web.yaml", ("eu-west-1",), "chat", True)),
        ("apply web.yaml us-east-1 us-west-2 --force", ("web.yaml", ("us-east-1", "us-west-2"), "chat", True)),
    ],
)
def test_a_file_is_applied_where_the_row_is_or_where_it_is_named(line: str, read: tuple[object, ...]) -> None:
    world = World(clustered())

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("right", "down")
        app.top.run_line(line + " soak 60")
        await pilot.pause()

    run_console(script, world)
    if read[1] == ("eu-west-1",):
        assert world.files == [read]
    else:
        assert world.files[0][:2] == read[:2]
        assert world.files[0][3] == read[3]
    assert [(each.verb, each.soak_s) for each in world.asked] == [(Verb.APPLY, 60.0)]


def test_a_manifest_is_for_a_cluster() -> None:
    world = World()
    assert "in which cluster?" in typed(world, "apply web.yaml")
    assert world.asked == []
