"""From the alerts' list to a silence: what is asked, what is wished, what is refused; the plan is the gate's."""

from __future__ import annotations

from typing import Any

import pytest

from nimify_tui.domain.alertmanagers import Matcher
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import Verb
from tests.tui import screen_text
from tests.ui.frames import NOW
from tests.ui.test_alerts_screen import some as ours
from tests.ui.test_alerts_screen import with_alerts
from tests.ui.test_managed_alerts import POD, SILENCE, some
from tests.ui.world import World, run_console, type_text


def seen(world: World, *keys: str, then: str = "", enter: bool = True) -> str:
    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("!", *keys)
        await pilot.pause()
        if then:
            await type_text(pilot, then)
            if enter:
                await pilot.press("enter")
            await pilot.pause()
        return screen_text(app)

    return run_console(script, world)


def test_the_key_asks_for_how_long_and_why_then_shows_the_plan() -> None:
    world = with_alerts(some())
    assert "silence for 2h" in seen(world, "down", "s"), "the default stands there"
    assert "because   known, OPS-412" in seen(world, "down", "s", "enter"), "an example"
    assert world.asked == []
    assert "a silence needs a comment" in seen(world, "down", "s", "enter", "enter")
    assert world.asked == []
    text = seen(world, "down", "s", "enter", then="-pod -container known, OPS-412")
    [request] = world.asked
    assert (request.verb, request.targets) == (Verb.SILENCE, (ServiceKey("eu-west-1", "KubePodCrashLooping"),))
    silence = request.silence
    assert silence is not None
    kept = {name: value for name, value in POD.items() if name not in ("pod", "container")}
    assert {each.name: each.value for each in silence.matchers} == kept | {"alertname": "KubePodCrashLooping"}
    assert all(each == Matcher(each.name, each.value) for each in silence.matchers)
    assert (silence.ends_at, silence.by, silence.comment) == (NOW + 7200, "ops@bastion-1", "known, OPS-412")
    assert "Silence KubePodCrashLooping in eu-west-1" in text, "the plan"
    assert "type  KubePodCrashLooping" in text


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (":silence 2 x", "'2' is no duration"), (":silence known since friday", "'known' is no duration"),
        (":silence 2h", "a silence needs a comment"), (":silence 2h -pod", "a silence needs a comment"),
        (":silence 2h -nosuch x", "it has no label nosuch"), (":unsilence", "it is not silenced"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_and_nothing_is_planned(typed: str, words: str) -> None:
    world = with_alerts(some())
    assert words in seen(world, "down", then=typed)
    assert world.asked == []


def test_what_is_judged_here_alone_cannot_be_silenced() -> None:
    world = with_alerts(ours())
    assert "no Alertmanager has this alert" in seen(world, "s")
    assert world.asked == []


def test_the_end_of_a_silence() -> None:
    world = with_alerts(some())
    text = seen(world, "G", "S")
    [request] = world.asked
    assert (request.verb, request.silence) == (Verb.UNSILENCE, SILENCE)
    assert "Unsilence NodeFilesystemAlmostOutOfSpace in eu-west-1" in text
    other = with_alerts(some())
    assert "which of 1 silences?" in seen(other, "G", then=":unsilence 77")
    assert other.asked == []


@pytest.mark.parametrize("key", ["s", "S", "u"])
def test_read_only_refuses(key: str) -> None:
    world = with_alerts(some())
    world.read_only = True
    assert "read-only" in seen(world, "G", key)
    assert world.asked == []
