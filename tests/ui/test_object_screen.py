"""An object of a cluster on the screen: YAML and words, searched, turned, read again, inert."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.demands import ObjectDemand
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.objects import ObjectEvent, ObjectText
from nimify_tui.fleet.frames import Frame
from tests.tui import check_golden, screen_text, until
from tests.ui import frames
from tests.ui.test_hostile_screens import SHORT, check_inert
from tests.ui.world import World, run_console, type_text

KEY = ServiceKey("eu-west-1", "llama-chat", "ml")
POD = "llama-chat-7d9f8b6c5-x2x7k"
OF_POD, OF_WORKLOAD = ObjectDemand(KEY, POD), ObjectDemand(KEY)


def clustered() -> Frame:
    """One service in a cluster, with one pod."""
    row = msgspec.structs.replace(frames.row("llama-chat", ("eu-west-1",)), id="ml/llama-chat", keys=(KEY,))
    detail = frames.drawn_detail(row.id)
    first = detail.replicas[0]
    pod = msgspec.structs.replace(first.replica, key=ReplicaKey(KEY, POD))
    services = tuple(msgspec.structs.replace(each, key=KEY) for each in detail.services[:1])
    replicas = (msgspec.structs.replace(first, replica=pod),)
    detail = msgspec.structs.replace(detail, replicas=replicas, services=services)
    return frames.frame_of([row], regions=frames.drawn_regions(), details={row.id: detail})


def answer(name: str, kind: str = "Pod", **more: Any) -> ObjectText:
    lines = ["apiVersion: v1", f"kind: {kind}", "metadata:", f"  name: {name}", "spec:"]
    lines += [f"  field{number}: value {number}" for number in range(60)]
    fields: dict[str, Any] = {
        "at": frames.NOW - 12,
        "name": name,
        "kind": kind,
        "yaml": tuple(lines),
        "words": (("name", name), ("kind", f"{kind} (v1)"), ("  image", "nvcr.io/nim/chat:1.9.0")),
        "events": (
            ObjectEvent(at=frames.NOW - 30, type="Warning", reason="BackOff", text="Back-off restarting", count=14),
            ObjectEvent(at=frames.NOW - 90, type="Normal", reason="Pulled", text="Container image present"),
        ),
    }
    return ObjectText(**(fields | more))


def world() -> World:
    made = World(clustered())
    give(made, {OF_POD: answer(POD), OF_WORKLOAD: answer("llama-chat", "Deployment")})
    return made


def give(made: World, objects: dict[ObjectDemand, ObjectText]) -> None:
    made.frame = msgspec.structs.replace(made.frame, objects=objects)


def demanded(made: World) -> list[ObjectDemand]:
    return [each for each in made.demands if isinstance(each, ObjectDemand)]


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_drawn(size: tuple[int, int]) -> None:
    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("enter", "y")
        await pilot.pause()
        return screen_text(app)

    check_golden(f"object-{size[0]}x{size[1]}", run_console(script, world(), size=size))


def test_the_pod_under_the_cursor_is_read_while_it_is_looked_at() -> None:
    made = world()
    give(made, {})

    async def script(app: Any, pilot: Any) -> list[str]:
        seen = []
        await pilot.press("enter", "y")
        await pilot.pause()
        assert demanded(made) == [OF_POD]
        seen.append(screen_text(app))
        give(made, {OF_POD: answer(POD)})
        app.drain()
        await pilot.pause()
        seen.append(screen_text(app))
        await pilot.press("d")
        await pilot.pause()
        seen.append(screen_text(app))
        await pilot.press("o")
        await pilot.pause()
        assert demanded(made) == [OF_WORKLOAD]
        await pilot.press("o", "r")
        await pilot.pause()
        assert demanded(made) == [ObjectDemand(KEY, POD, 1)]
        await pilot.press("escape")
        await pilot.pause()
        assert demanded(made) == []
        return seen

    reading, yaml, words = run_console(script, made)
    assert "being read" in reading
    assert f"  name: {POD}" in yaml
    assert "Back-off restarting" in yaml
    assert "nvcr.io/nim/chat:1.9.0" in words
    assert "apiVersion" not in words


def test_on_other_tabs_it_is_the_workload() -> None:
    made = world()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("enter", "3", "colon")
        await type_text(pilot, "describe")
        await pilot.press("enter")
        await pilot.pause()
        assert demanded(made) == [OF_WORKLOAD]
        return screen_text(app)

    assert "Deployment llama-chat @ eu-west-1/ml in words" in run_console(script, made)


def test_it_is_searched_and_copied_whole() -> None:
    async def script(app: Any, pilot: Any) -> tuple[str, str, list[str]]:
        await pilot.press("enter", "y", "slash")
        await type_text(pilot, "field55")
        await pilot.press("enter")
        await until(pilot, lambda: "field55" in screen_text(app))
        found = screen_text(app)
        await pilot.press("slash")
        await type_text(pilot, "nowhere")
        await pilot.press("enter")
        await pilot.pause()
        return found, screen_text(app), app.top.summary_lines()

    found, missed, lines = run_console(script, world(), size=(80, 24))
    assert "value 55" in found
    assert "'nowhere' is not in this text" in missed
    assert len(lines) == 65


def test_why_it_could_not_be_read_is_said() -> None:
    made = world()
    refused = answer(POD, yaml=(), words=(), events=(), error="pods is forbidden")
    give(made, {OF_POD: msgspec.structs.replace(refused, remedy="ask for the right to get pods")})

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("enter", "y")
        await pilot.pause()
        return screen_text(app)

    text = run_console(script, made)
    assert "not read: pods is forbidden" in text
    assert "ask for the right to get pods" in text


def test_an_embedded_service_has_none_and_says_so() -> None:
    made = World()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("enter", "y")
        await pilot.pause()
        return screen_text(app)

    assert "there is an object only in a cluster" in run_console(script, made)
    assert demanded(made) == []


def test_hostile_objects_change_their_lines_and_nothing_else() -> None:
    made = world()

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("enter", "y")
        for text in SHORT.values():
            event = ObjectEvent(at=None, type=text, reason=text, text=text)
            hostile = answer(text, text, yaml=(text, text), words=((text, text),), events=(event,), events_error=text)
            for each in (hostile, msgspec.structs.replace(hostile, error=text, remedy=text)):
                give(made, {OF_POD: each})
                for key in ("y", "d"):
                    await pilot.press(key)
                    app.drain()
                    await pilot.pause()
                    check_inert(screen_text(app), (80, 24))

    run_console(script, made, size=(80, 24))
