"""Shells and port-forwards on the screen: they are planned like every change, listed, and ended."""

from __future__ import annotations

from typing import Any

import msgspec

from nimify_tui.domain.live import Forward
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.plans import Verb
from nimify_tui.domain.regions import RegionKind
from nimify_tui.domain.services import ImageSpec
from tests.hostile import CORPUS
from tests.tui import check_golden, screen_text, until
from tests.ui import frames
from tests.ui.test_hostile_screens import check_inert
from tests.ui.test_object_screen import KEY, POD, world
from tests.ui.world import World, run_console, type_text


def forward(number: int, **more: Any) -> Forward:
    fields: dict[str, Any] = {
        "id": f"f{number}", "key": ReplicaKey(KEY, POD), "pod_port": 8000, "local_port": 8000 + number,
        "opened_at": frames.NOW - 90,
    }  # fmt: skip
    return Forward(**(fields | more))


def test_a_port_is_asked_for_and_planned() -> None:
    made = world()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("enter", "F")
        await type_text(pilot, "80x")
        await pilot.press("enter")
        await pilot.pause()
        wrong = screen_text(app)
        await pilot.press("colon")
        await type_text(pilot, "forward 8000")
        await pilot.press("enter")
        await until(pilot, lambda: bool(made.asked))
        await pilot.press("escape")
        return wrong

    assert "'80x' is no port" in run_console(script, made)
    [request] = made.asked
    assert (request.verb, request.targets, request.replica, request.port) == (Verb.FORWARD, (KEY,), POD, 8000)


def test_a_shell_is_planned_and_needs_a_terminal() -> None:
    """These tests have none: nothing is opened, and the plan is cancelled."""
    made = world()
    made.typed = False

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("enter", "S")
        await until(pilot, lambda: bool(made.asked))
        await pilot.pause()
        await pilot.press("y")
        await until(pilot, lambda: bool(made.cancelled))
        await pilot.pause()
        return screen_text(app)

    assert "a shell needs a terminal" in run_console(script, made)
    assert (made.asked[0].verb, made.asked[0].replica) == (Verb.SHELL, POD)
    assert made.carried == []


def hosted() -> World:
    """One service on a Docker host."""
    key = ServiceKey("dock", "llama-chat")
    row = msgspec.structs.replace(frames.row("llama-chat", ("dock",)), keys=(key,))
    detail = frames.drawn_detail(row.id)
    one = msgspec.structs.replace(detail.replicas[0].replica, key=ReplicaKey(key, "llama-chat-r1-2"))
    detail = msgspec.structs.replace(
        detail, replicas=(msgspec.structs.replace(detail.replicas[0], replica=one),),
        services=tuple(msgspec.structs.replace(each, key=key) for each in detail.services[:1]),
    )  # fmt: skip
    host = frames.region("dock", production=False, rps=None, p95=None)
    host = msgspec.structs.replace(host, region=msgspec.structs.replace(host.region, kind=RegionKind.DOCKER))
    made = World(frames.frame_of([row], regions=[host], details={row.id: detail}))
    made.typed = False
    return made


def test_an_image_is_run_on_the_docker_host_of_the_row() -> None:
    made = hosted()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("colon")
        await type_text(pilot, "run team/web:1 speed=1")
        await pilot.press("enter")
        await pilot.pause()
        wrong = screen_text(app)
        await pilot.press("colon")
        await type_text(pilot, "run")
        await pilot.press("enter")
        await type_text(pilot, "team/web:1 memory=1g gpus=all")
        await pilot.press("enter")
        await until(pilot, lambda: bool(made.asked))
        await pilot.pause()
        await pilot.press("escape")
        return wrong

    assert "'speed' is not known here" in run_console(script, made)
    [asked] = made.asked
    assert (asked.verb, asked.targets) == (Verb.CREATE, (ServiceKey("dock", "web"),))
    assert (asked.image, asked.gpus, asked.image_spec) == ("team/web:1", "all", ImageSpec(memory_bytes=1 << 30))


def test_a_container_of_a_docker_host_takes_a_shell_by_the_same_key_and_word() -> None:
    made = hosted()

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("enter", "S")
        await until(pilot, lambda: len(made.asked) == 1)
        await pilot.pause()
        await pilot.press("escape", "colon")
        await type_text(pilot, "exec")
        await pilot.press("enter")
        await until(pilot, lambda: len(made.asked) == 2)
        await pilot.pause()
        await pilot.press("escape")

    run_console(script, made)
    for asked in made.asked:
        assert (asked.verb, asked.targets, asked.replica, asked.container) == (
            Verb.SHELL, (ServiceKey("dock", "llama-chat"),), "llama-chat-r1-2", "",
        )  # fmt: skip


def test_neither_is_offered_where_nothing_may_be_changed_or_there_is_no_pod() -> None:
    nowhere = ("only in a pod of a cluster or a container of a Docker host", "only for a pod of a cluster")
    for made, both in ((World(read_only=True), ("read-only", "read-only")), (World(), nowhere)):

        async def script(app: Any, pilot: Any, both: tuple[str, str] = both) -> None:
            await pilot.press("enter")
            for key, said in zip(("S", "F"), both, strict=True):
                await pilot.press(key)
                await pilot.pause()
                assert said in screen_text(app)

        run_console(script, made)
        assert made.asked == []


def test_forwards_are_listed_and_ended() -> None:
    made = world()
    made.open_forwards = [
        forward(1, connections=12, open_now=2, received_bytes=3_400_000, sent_bytes=21_000),
        forward(2, trouble="connection refused in the pod"),
        forward(3, ended="ended by the operator"),
    ]

    async def script(app: Any, pilot: Any) -> tuple[str, str]:
        await pilot.press("colon")
        await type_text(pilot, "forwards")
        await pilot.press("enter")
        await pilot.pause()
        first = screen_text(app)
        await pilot.press("down", "down", "ctrl+d")
        await until(pilot, lambda: "1 open" in screen_text(app))
        return first, "\n".join(app.top.summary_lines())

    first, after = run_console(script, made)
    check_golden("forwards-120x40", first)
    assert "127.0.0.1:8001 -> llama-chat-7d9f8b6c5-x2x7k:8000 in eu-west-1: ended by the operator" in after


def test_hostile_forwards_change_their_cell_and_nothing_else() -> None:
    made = world()

    async def script(app: Any, pilot: Any) -> None:
        app.global_deeds["forwards"]("")
        for text in CORPUS.values():
            made.open_forwards = [forward(1, key=ReplicaKey(KEY, text), trouble=text), forward(2, ended=text)]
            app.refresh_screens()
            await pilot.pause()
            check_inert(screen_text(app), (80, 24))

    run_console(script, made, size=(80, 24))
