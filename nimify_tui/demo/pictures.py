"""Pictures for the README: the real console on the real demo, headless, at three sizes, while a scenario burns."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nimify_tui.base.errors import ClusterError, DeadlineError
from nimify_tui.demo.director import Play, Played
from nimify_tui.demo.scenarios import NONE, SURPRISE
from nimify_tui.demo.wire import connected
from nimify_tui.domain.services import ServiceState

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from nimify_tui.demo.main import Fleet
    from nimify_tui.session import Session
    from nimify_tui.ui.terminal import TerminalProfile

SIZES = ((80, 24), (120, 40), (200, 60))
#: What burns when nothing else was asked for.
SCENARIO = "bad-rollout"
LIVE_S = 60.0
#: The chart has some columns then, and the latency before the onset is on it.
BEFORE_S = 45.0
#: How long the scenario burns until the first picture, at least and at most.
BURNS_S, BURNT_S = 20.0, 60.0
#: For a screen to fill itself.
SETTLE_S = 2.5


@dataclass(frozen=True)
class Shot:
    """One picture: its name and what brings the app there from the fleet screen, and back."""

    name: str
    keys: tuple[str, ...]
    back: tuple[str, ...] = ()


def take_pictures(fleet: Fleet, folder: Path, options: argparse.Namespace, console: argparse.Namespace) -> int:
    """Play the scenario and write ``folder/SCREEN-WIDTHxHEIGHT.svg`` and ``.png``. Raises NimifyError."""
    from nimify_tui.session import Needs, Session
    from nimify_tui.wanted import read_config

    if not fleet.wait(lambda: fleet.status.phase == "live", LIVE_S):
        raise DeadlineError("the demo was not live in time", f"see the logs in {fleet.places.root}")
    name = SCENARIO if options.scenario in (NONE, SURPRISE) else options.scenario
    os.environ.update(_profile(SIZES[0]).textual_env())
    session = Session(read_config(console), Needs(numbers=True), tuple(console.region))
    session.engine.start()
    try:
        asyncio.run(_all(session, fleet, folder, Play(scenario=name, seed=options.seed, lasts_s=600.0)))
    finally:
        session.engine.stop()
    return 0


async def _all(session: Session, fleet: Fleet, folder: Path, play: Play) -> None:
    await asyncio.sleep(BEFORE_S)
    truth = await _play(fleet.places.director, play)
    await asyncio.sleep(BURNS_S)
    await asyncio.to_thread(session.engine.wait, _burns, BURNT_S)
    _say(f"{truth.scenario}: {truth.service} {truth.region}: {truth.cause}")
    shots = _shots(fleet)
    for size in SIZES:
        await _pictures(session, folder, size, shots)


def _burns(frame: Any) -> bool:
    return any(row.state in (ServiceState.DOWN, ServiceState.DEGRADED) for row in frame.rows.values())


async def _play(socket: Path, play: Play) -> Any:
    reader, writer = await connected(socket, "the director", 5.0)
    writer.write(msgspec.json.encode(play) + b"\n")
    played = msgspec.json.decode(await reader.readline(), type=Played)
    writer.close()
    if not played.ok or played.truth is None:
        raise ClusterError(f"the scenario could not be played: {played.error}")
    return played.truth


def _shots(fleet: Fleet) -> tuple[Shot, ...]:
    model = fleet.places.models / "toxicity.onnx"
    wizard = (":", *f"new {model}", "enter")
    return (
        Shot("fleet", ()),
        Shot("detail", ("enter",), ("escape",)),
        Shot("logs", ("l",), ("escape",)),
        Shot("plan", ("r",), ("escape",)),
        Shot("help", ("question_mark",), ("escape",)),
        Shot("wizard", wizard, ("escape", "escape", "escape")),
    )


async def _pictures(session: Session, folder: Path, size: tuple[int, int], shots: tuple[Shot, ...]) -> None:
    from nimify_tui.ui.console import ConsoleApp
    from nimify_tui.ui.screenshot import save

    app = ConsoleApp(session, _profile(size))
    async with app.run_test(size=size) as pilot:
        await _settle(pilot)
        for shot in shots:
            await _press(pilot, shot.keys)
            await _settle(pilot)
            saved = save(app, folder, f"{shot.name}-{size[0]}x{size[1]}")
            _say(f"{saved.svg}" + (f", {saved.png}" if saved.png else f" ({saved.note})"))
            await _press(pilot, shot.back)
            await _settle(pilot, 0.3)


def _profile(size: tuple[int, int]) -> TerminalProfile:
    """A good terminal: the pictures do not depend on where they are made."""
    from nimify_tui.ui.terminal import TerminalProfile

    return TerminalProfile("truecolor", True, False, "", "xterm-256color", *size, mouse=False)


async def _press(pilot: Pilot[Any], keys: tuple[str, ...]) -> None:
    named = {":": "colon", "/": "slash", ".": "full_stop", "-": "minus", " ": "space", "_": "underscore"}
    for key in keys:
        await pilot.press(named.get(key, key))


async def _settle(pilot: Pilot[Any], seconds: float = SETTLE_S) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _forever(pilot.pause)


async def _forever(work: Callable[[float], Awaitable[None]]) -> None:
    while True:
        await work(0.05)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  progress of a call without a screen
