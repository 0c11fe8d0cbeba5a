"""Six real clusters in one session: five hurt in five ways at once, the sixth operated, all back one after the other.

In real time, with the program's own heartbeats. Six control planes with controllers: some 4 GB.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from nimify_tui.session import Session
from tests.bench.harness import Result, at_most
from tests.kube.assets import find_or_build
from tests.kube.cluster import Cluster
from tests.kube.outages import agreed, is_back, is_hurt
from tests.kube.reach import OtherLoop
from tests.kube.several import (
    NAMES,
    Ways,
    Witness,
    cut_off,
    frozen,
    hung,
    key_of,
    restarted,
    scaled,
    settled,
    started,
    stopped,
    throttled,
    watched,
)
from tests.support import wait_for

#: A heartbeat every five seconds, its telling, and a moment.
AGE_BAR_S = 8.0
DOWN_BAR_S = 25.0


def through(six: list[Cluster], folder: Path) -> list[Result]:
    """All of it in one session."""
    well, west, europe, central, asia, japan = six
    settled(*six)
    with OtherLoop() as loop:
        ways = Ways(six, folder, loop)
        troubles = (
            frozen(west), hung(europe, ways.line(europe), loop), cut_off(central, ways.line(central), loop),
            throttled(asia, ways.proxy(asia), loop), stopped(japan),
        )  # fmt: skip
        with watched(ways) as session, Witness(session) as witness:
            key, took, restarts = key_of(well), [0.0], [0.0]
            usual_s, usual_restart_s = max(scaled(session, key) for _ in range(3)), restarted(session, key)
            witness.begin()
            began_s = time.monotonic()
            for trouble in troubles:
                trouble.hurt()
            took.append(scaled(session, key))
            for trouble in troubles:
                is_hurt(session, trouble)
            down_s = time.monotonic() - began_s
            for trouble in troubles:
                took.append(scaled(session, key))
                restarts.append(restarted(session, key))
                is_back(session, trouble)
            age_s = witness.undisturbed(well.name, 1e9)
            problems = [each.name for each in six if not _same(session, each)]
    usual = {"usual_scale_s": round(usual_s, 2), "usual_restart_s": round(usual_restart_s, 2)}
    return [
        at_most("six clusters, five hurt: all five are told", round(down_s, 1), "s", DOWN_BAR_S, usual, problems),
        at_most("six clusters, five hurt: age of the sixth", round(age_s, 1), "s", AGE_BAR_S),
        at_most("six clusters, five hurt: scaling the sixth", round(max(took) / usual_s, 2), "x", 2.0),
        at_most("six clusters, five hurt: restarting it", round(max(restarts) / usual_restart_s, 2), "x", 2.0),
    ]


def _same(session: Session, cluster: Cluster) -> bool:
    try:
        return wait_for(lambda: agreed(session, cluster), 60, every_s=0.5)
    except AssertionError:
        return False


def run() -> list[Result]:
    """On six clusters of its own."""
    with started(find_or_build(), *NAMES) as six, tempfile.TemporaryDirectory() as folder:
        return through(six, Path(folder))
