"""Three real clusters in one session: two of them are hurt, and brought back one after the other.

The third one is operated meanwhile as always. ``python -m tests.bench kube_outages`` does it with six, in real time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.base.errors import NetworkError
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ServiceState
from nimify_tui.session import Session
from nimify_tui.sources.kubernetes import region as region_module
from nimify_tui.sources.kubernetes.region import Link
from tests.kube.cluster import Cluster
from tests.kube.fixtures import need_simulation
from tests.kube.reach import OtherLoop
from tests.kube.several import (
    NAMES,
    Trouble,
    Ways,
    Witness,
    cordoned,
    cut_off,
    health,
    hung,
    key_of,
    lists_since,
    restarted,
    scaled,
    settled,
    started,
    stopped,
    throttled,
    until,
    watched,
)
from tests.support import wait_for

#: A region that is well is never older than this in these tests: a beat, its telling, and a busy machine's second.
FRESH_S = 4.0


@pytest.fixture(scope="module")
def three(cluster: Cluster) -> Iterator[list[Cluster]]:
    """The shared cluster, and two that these tests may stop, freeze and cut off."""
    need_simulation(cluster)
    with started(cluster.assets, *NAMES[1:3]) as others:
        yield [cluster, *others]


def is_hurt(session: Session, trouble: Trouble) -> None:
    """The region is called what it is, and only what can be done there is done."""
    name, key = trouble.cluster.name, key_of(trouble.cluster)
    now = until(session, name, trouble.state)
    wait_for(
        lambda: any(word in health(session, name).cause for word in trouble.words), 20, why=f"{name}: the words",
        detail=lambda: health(session, name),
    )  # fmt: skip
    assert now.remedy
    assert "\n" not in now.cause
    if trouble.state is RegionState.DOWN:
        assert now.cause.startswith("no contact from this host (")
        assert now.next_try_at is not None
        with pytest.raises(NetworkError, match=f"region {name} is DOWN"):
            session.plan(ActionRequest(verb=Verb.RESTART, targets=(key,))).result(20)
        row = next(row for row in session.frame.rows.values() if row.keys == (key,))
        assert row.state is ServiceState.UNKNOWN
        assert row.reason.startswith("no contact")


def is_back(session: Session, trouble: Trouble) -> None:
    """It goes on where it was: what others do is seen, and it can be operated; only what was forgotten is listed."""
    cluster, key = trouble.cluster, key_of(trouble.cluster)
    begin = len(cluster.audited())
    trouble.heal()
    until(session, cluster.name, RegionState.LIVE)
    cluster.kubectl("-n", key.namespace, "scale", f"deploy/{key.name}", "--replicas=4")
    wait_for(lambda: wanted(session, cluster) == 4, 30, why=f"{cluster.name}: four wanted")
    lists = lists_since(cluster, begin)  # before the console's own plans, which look for budgets
    assert max(lists.values(), default=0) <= int(trouble.forgets), lists
    # The controllers of a server that was away take up to a minute to come back to it.
    cordoned(session, cluster) if trouble.forgets else scaled(session, key)


def wanted(session: Session, cluster: Cluster) -> int:
    """How many replicas the console says are wanted."""
    service = session.service(key_of(cluster))
    assert service is not None
    return service.desired_replicas


def agreed(session: Session, cluster: Cluster) -> bool:
    """Whether the console's pods are the server's."""
    has = cluster.kubectl("get", "pods", "-n", key_of(cluster).namespace, "-o", "name").split()
    return {f"pod/{each.key.replica}" for each in session.replicas(key_of(cluster))} == set(has)


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
                wait_for(lambda at=each: agreed(session, at), 60, why=f"{each.name}: its pods", every_s=0.5)  # type: ignore[misc]
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
    asked = region_module._livez
    with OtherLoop() as loop:
        ways = Ways((east, west), tmp_path, loop)
        line = ways.line(west)

        async def waits(link: Link, wait_s: float) -> float | None:
            if link.address == line.address and hurt:
                time.sleep(FRESH_S + 1.0)  # noqa: ASYNC251  it is what must not be
            return await asked(link, wait_s)

        hurt: list[bool] = []
        monkeypatch.setattr(region_module, "_livez", waits)
        with watched(ways) as session, Witness(session) as witness:
            witness.begin()
            loop.run(line.freeze())
            hurt.append(True)
            wait_for(lambda: witness.found().get(east.name, (0.0,))[0] > FRESH_S, 30, why="it grows old")
            with pytest.raises(AssertionError):
                witness.undisturbed(east.name, FRESH_S)
