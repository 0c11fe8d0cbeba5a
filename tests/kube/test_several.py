"""Three real clusters in one session: two of them are hurt, and brought back one after the other.

The third one is operated meanwhile as always. ``python -m tests.bench kube_outages`` does it with six, in real time.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from nimify_tui.sources.kubernetes.livez import livez
from nimify_tui.sources.kubernetes.region import Link
from tests.kube.acting import workload
from tests.kube.cluster import Cluster
from tests.kube.fixtures import need_simulation
from tests.kube.outages import agreed, is_back, is_hurt
from tests.kube.reach import OtherLoop
from tests.kube.several import (
    NAMES,
    SERVICE,
    SPACE,
    Ways,
    Witness,
    configured,
    cut_off,
    frozen,
    hung,
    key_of,
    lists_since,
    restarted,
    scaled,
    settled,
    started,
    stopped,
    throttled,
    watched,
)
from tests.support import PYTHON, Home, run_cli, wait_for
from tests.tui import PtyRun

#: A region that is well is never older than this in these tests: a beat, its telling, and a busy machine's second.
FRESH_S = 4.0


@pytest.fixture(scope="module")
def three(cluster: Cluster) -> Iterator[list[Cluster]]:
    """The shared cluster, and two that these tests may stop, freeze and cut off."""
    need_simulation(cluster)
    with started(cluster.assets, *NAMES[1:3]) as others:
        yield [cluster, *others]


def test_what_happens_to_two_is_nothing_to_the_third(
    quick: None, three: list[Cluster], tmp_path: Path
) -> None:
    """Sabotage seen failing: the next test."""
    east, west, europe = three
    settled(*three)
    with OtherLoop() as loop:
        ways = Ways(three, tmp_path, loop)
        line, proxy = ways.line(west), ways.proxy(europe)
        pairs = (
            (hung(west, line, loop), throttled(europe, proxy, loop)),
            (cut_off(west, line, loop), stopped(europe)),
        )
        with watched(ways) as session, Witness(session) as witness:
            key = key_of(east)
            usual_s, usual_restart_s = max(scaled(session, key) for _ in range(3)), restarted(session, key)
            took, restarts, ages = [0.0], [0.0], [0.0]
            for pair in pairs:
                witness.begin()
                for trouble in pair:
                    trouble.hurt()
                took.append(scaled(session, key))
                for trouble in pair:
                    is_hurt(session, trouble)
                restarts.append(restarted(session, key))
                for trouble in pair:
                    took.append(scaled(session, key))
                    is_back(session, trouble)
                ages.append(witness.undisturbed(east.name, FRESH_S))
            for each in three:
                wait_for(lambda at=each: agreed(session, at), 60, why=f"{each.name}: its pods", every_s=0.5)  # type: ignore[misc]  # a default in a lambda
    print(
        f"scale {usual_s:.2f} s, while others are hurt {max(took):.2f} s at most; restart {usual_restart_s:.2f} s"
    )
    print(f"and {max(restarts):.2f} s; oldest {max(ages):.1f} s")
    assert max(took) < 2 * usual_s + 1.0, (took, usual_s)
    assert max(restarts) < 2 * usual_restart_s + 1.0, (restarts, usual_restart_s)


def test_a_heartbeat_that_holds_up_the_loop_is_seen_by_the_others(
    quick: None, three: list[Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sabotage: the heartbeat of the silent region waits for it inside the loop that serves all."""
    east, west, _ = three
    settled(east, west)
    with OtherLoop() as loop:
        ways = Ways((east, west), tmp_path, loop)
        line = ways.line(west)

        async def waits(link: Link, wait_s: float) -> float | None:
            if link.address == line.address and hurt:
                threading.Event().wait(FRESH_S + 1.0)
            return await livez(link, wait_s)

        hurt: list[bool] = []
        monkeypatch.setattr("nimify_tui.sources.kubernetes.region.livez", waits)
        with watched(ways) as session, Witness(session) as witness:
            witness.begin()
            loop.run(line.freeze())
            hurt.append(True)
            wait_for(lambda: witness.found().get(east.name, (0.0,))[0] > FRESH_S, 30, why="it grows old")
            with pytest.raises(AssertionError):
                witness.undisturbed(east.name, FRESH_S)


#: A service that only the first region has.
CALM = "calm"


def pressed(tty: PtyRun, replicas: int) -> float:
    """Scale the one service that the filter shows, by keys; seconds from the last key until it is on the screen."""
    tty.send("s")
    tty.wait_text("now ", 15)
    tty.send(f"{replicas}\r")
    tty.wait_text(f"+ spec.replicas: {replicas}", 15)
    tty.send("y")
    begun_s = time.monotonic()
    tty.wait(lambda text: re.search(rf"{CALM} .* {replicas}/{replicas} ", text) is not None, 30, f"{replicas} replicas")
    took_s = time.monotonic() - begun_s
    tty.wait_text("u undoes it", 15)
    return took_s


def says(tty: PtyRun, region: str, words: str) -> bool:
    """Whether the screen's strip says so of a region."""
    return f"{region} {words}" in tty.text()


def strip(tty: PtyRun, region: str) -> str:
    """What the screen says of a region."""
    return next((line.strip() for line in tty.text().splitlines() if line.strip().startswith(region)), "")


@pytest.mark.e2e
def test_the_screen_and_a_snapshot_through_half_a_minute_without_two_of_three(
    three: list[Cluster], home: Home, tmp_path: Path
) -> None:
    """The program itself in its own time: one server stopped in its tracks, the line to another one dead."""
    east, west, europe = three
    settled(*three)
    east.apply(workload(CALM, SPACE))
    with OtherLoop() as loop:
        ways = Ways(three, tmp_path, loop)
        silent, dead = frozen(west), cut_off(europe, ways.line(europe), loop)
        files = ["--config", str(configured(ways)), "--kubeconfig", str(ways.kubeconfig())]
        with PtyRun([PYTHON, "-m", "nimify_tui", *files], width=120, height=40, env=home.env) as tty:
            tty.wait(lambda text: "6/6" in text and "2/2" in text, 60, "all rows")
            assert "us-east-1 ●   us-west-2 ●   eu-west-1 ●" in tty.text()
            tty.send(f"/{CALM}\r")
            tty.wait_gone("6/6")
            usual_s = max(pressed(tty, 3), pressed(tty, 2))
            since, begun_s = len(west.audited()), time.monotonic()
            for trouble in (silent, dead):
                trouble.hurt()
            took = [pressed(tty, 3)]
            for name in (west.name, europe.name):
                wait_for(partial(says, tty, name, "✕ DOWN"), 40, why=f"{name} DOWN", detail=tty.text)
                assert "no contact from this host (no answer" in strip(tty, name)
                assert ", next try in " in strip(tty, name)
            down_s = time.monotonic() - begun_s
            assert strip(tty, east.name) == "us-east-1 ●"
            told = run_cli("snapshot", "-o", "json", *files, env=home.env)
            took.append(pressed(tty, 2))
            wait_for(lambda: time.monotonic() - begun_s > 30.0, 40, why="half a minute")
            for trouble in (silent, dead):
                trouble.heal()
                wait_for(partial(says, tty, trouble.cluster.name, "●"), 60, why="it is back", detail=tty.text)
            out_s = time.monotonic() - begun_s
            assert strip(tty, east.name).startswith("us-east-1 ●   us-west-2 ●   eu-west-1 ●")
            west.kubectl("-n", SPACE, "scale", f"deploy/{SERVICE}", "--replicas=4")
            tty.send("/\x15\r")
            tty.wait_text("8/8", 30)
            assert lists_since(west, since) == {}, "half a minute later it goes on where it was"
    assert told.returncode == 2, told.stderr
    taken = json.loads(told.stdout)
    states = {each["name"]: each["state"] for each in taken["regions"]}
    assert states == {east.name: "LIVE", west.name: "DOWN", europe.name: "DOWN"}
    assert {each["region"] for each in taken["problems"]} == {west.name, europe.name}
    assert all(each["reason"].startswith("no contact from this host (") for each in taken["problems"])
    print(f"keys {usual_s:.2f} s, without the others {max(took):.2f} s at most; DOWN after {down_s:.1f} s")
    print(f"LIVE {out_s:.1f} s after the cut")
    assert max(took) < 2 * usual_s + 1.0, (took, usual_s)
