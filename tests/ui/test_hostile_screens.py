"""Foreign text through every screen: it changes its own cell and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from nimify_tui.domain.alerts import AlertSeverity, Incident
from nimify_tui.domain.demands import LogLine
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ServiceState
from nimify_tui.fleet.frames import Frame
from tests.hostile import CORPUS, FORBIDDEN, switch_off_cleaning
from tests.tui import screen_lines, screen_text
from tests.ui import frames
from tests.ui.world import World, run_console

ROW = "poisoned"
#: Short attacks go through every screen; the very long ones through the fleet and the logs.
SHORT = {name: text for name, text in CORPUS.items() if len(text) < 10_000}
LONG = {name: text for name, text in CORPUS.items() if len(text) >= 10_000}


def poisoned(text: str) -> Frame:
    """A fleet in which everything that comes from outside is ``text``."""
    key = ServiceKey(text, text)
    row = frames.row(
        text, (text,), ServiceState.DEGRADED, family=text, reason=text, since_s=5, rps=1, p=(0.1, 0.2, 0.3)
    )
    row = msgspec.structs.replace(row, id=ROW)
    region = frames.region("x", RegionState.DOWN, cause=text, remedy=text)
    fact = msgspec.structs.replace(region.region, name=text, short=text, address=text, monitor=text)
    region = msgspec.structs.replace(region, region=fact)
    live = msgspec.structs.replace(frames.region("y"), region=fact)
    changes = tuple(
        msgspec.structs.replace(each, text=text, evidence=text, by=text, source=text, region=text, key=key)
        for each in frames.drawn_changes()
    )
    security = tuple(
        msgspec.structs.replace(
            each, text=text, client=text, category=text, action=text, key=key, region=text
        )
        for each in frames.drawn_security()
    )
    gpu = msgspec.structs.replace(frames.gpu("n", 0, 5, 5, 5, 5), node=text, name=text, note=text)
    detail = frames.drawn_detail(row.id)
    replicas = tuple(
        msgspec.structs.replace(
            each,
            replica=msgspec.structs.replace(
                each.replica,
                key=ReplicaKey(key, f"{text}{index}"),
                reason=text,
                last_words=text,
                exit_signal=text,
            ),
        )
        for index, each in enumerate(detail.replicas)
    )
    services = tuple(
        msgspec.structs.replace(
            each,
            key=key,
            endpoint=text,
            model_name=text,
            progress=text,
            failure=text,
            labels={text: text},
            revisions=tuple(
                msgspec.structs.replace(one, note=text, created_by=text) for one in each.revisions
            ),
        )
        for each in detail.services[:1]
    )
    why = msgspec.structs.replace(
        detail.why,
        row_id=text,
        region=text,
        symptom=text,
        verdict=text,
        elsewhere=text,
        clues=tuple(
            msgspec.structs.replace(clue, change=change)
            for clue, change in zip(detail.why.clues, changes, strict=True)
        ),
    )
    metrics = tuple(msgspec.structs.replace(each, name=text, region=text) for each in detail.metrics)
    caches = tuple(msgspec.structs.replace(each, tier=text, note=text) for each in frames.drawn_caches())
    severity, since = AlertSeverity.WARNING, frames.NOW - 60
    fired = (Incident(rule=text, severity=severity, key=key, fired_at=since, ended_at=None, text=text),)
    detail = msgspec.structs.replace(
        detail,
        services=services,
        replicas=replicas,
        why=why,
        changes=changes,
        security=security,
        metrics=metrics,
        caches=caches,
        history=msgspec.structs.replace(detail.history, source=text, reason=text, marks=changes, incidents=fired),
    )
    panels = (GpuPanel(at=frames.NOW, gpus=(gpu,), source=text), GpuPanel(at=None, reason=text))
    return frames.frame_of(
        [row],
        regions=[region, live],
        security=security,
        changes=changes,
        gpus=panels,
        caches=caches,
        details={row.id: detail},
    )


#: The keys that lead to each screen, panel and tab, and to a plan.
WAYS: dict[str, tuple[str, ...]] = {
    "fleet": (),
    "gpu": ("2",),
    "cache": ("3",),
    "security": ("4",),
    "changes": ("5",),
    "overview": ("enter",),
    "logs": ("enter", "2"),
    "events": ("enter", "3"),
    "revisions": ("enter", "4"),
    "metrics": ("enter", "5"),
    "configuration": ("enter", "6"),
    "plan": ("r",),
    "chart": ("v", "left"),
    "chart by region": ("v", "o"),
}


def check_inert(text: str, size: tuple[int, int]) -> None:
    """Nothing a terminal obeys, no line too many, the frame of the screen where it was."""
    bad = sorted({char for char in text if char in FORBIDDEN and char != "\n"})
    assert bad == [], bad
    lines = text.split("\n")
    assert len(lines) == size[1]
    assert lines[0].startswith(" nimify")


def go_through(way: str, attacks: Iterable[str], size: tuple[int, int]) -> None:
    """Show every attack on one screen, one after the other, and check what is drawn."""
    world = World(poisoned("harmless"))

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press(*WAYS[way])
        await pilot.pause()
        for text in attacks:
            world.frame = poisoned(text)
            for tail in world.tails.values():
                tail.lines += [LogLine(frames.NOW, text, 1, text, container=text)] * 3
            if way == "plan":
                app.pop_screen()
                await pilot.press("r")
            if way == "logs":
                app.top.logs.poll()
            app.drain()
            await pilot.pause()
            check_inert(screen_text(app), size)

    run_console(script, world, size=size)


@pytest.mark.parametrize("way", WAYS)
def test_every_screen_stays_whole(way: str) -> None:
    go_through(way, SHORT.values(), (80, 24))


@pytest.mark.parametrize("way", ["fleet", "logs"])
def test_ten_megabytes_change_nothing_but_their_cell(way: str) -> None:
    go_through(way, LONG.values(), (120, 40))


def test_markup_is_shown_as_it_stands() -> None:
    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("4")
        await pilot.pause()
        return screen_text(app)

    assert "[bold red]x[/" in run_console(script, World(poisoned(CORPUS["markup"])), size=(200, 60))


@pytest.mark.parametrize("way", WAYS)
def test_sabotage_with_the_cleaning_switched_off_the_check_fails(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch_off_cleaning(monkeypatch)
    with pytest.raises(AssertionError, match="x1b"):
        go_through(way, [CORPUS["clear screen"]], (80, 24))


def test_the_footer_survives_a_hostile_message() -> None:
    async def script(app: Any, pilot: Any) -> list[str]:
        said = []
        for text in SHORT.values():
            app.say(text, "bad", text)
            await pilot.pause()
            said.append(screen_lines(app)[-1])
        return said

    for line in run_console(script):
        assert not [char for char in line if char in FORBIDDEN]
