"""Two real clusters at once: what happens to one of them is nothing to the other, and it comes back where it was.

The audit log of an API server is the judge of what was asked of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from nimify_tui.domain.regions import Region, RegionKind, RegionState
from nimify_tui.domain.services import ServiceState
from nimify_tui.domain.updates import RegionListed, RegionSeen, ReplicaGone, ServiceGone, Update
from nimify_tui.fleet.frames import ServiceRow
from tests.kube import pki
from tests.kube.acting import READS, grant
from tests.kube.cluster import Cluster
from tests.kube.faults import FaultProxy, answer, drop
from tests.kube.fixtures import need_simulation
from tests.kube.reach import behind, let_pass, place_of, run
from tests.kube.watching import SPACE, TRITON, Watching, agrees, deployment

WEST = Region(name="us-west-2", kind=RegionKind.KUBERNETES, address="context us-west-2", short="usw2")
#: The age of a region that is well stays below this, whatever happens to another one, seconds.
FRESH_S = 3.0
#: A real second of a test machine that is busy with other things is worth less.
SOON_S = 1.0


@pytest.fixture(scope="module")
def west(cluster: Cluster) -> Iterator[Cluster]:
    """A second cluster, which these tests may stop, freeze and cut off."""
    folder = Path(tempfile.mkdtemp(prefix="nk-", dir="/tmp"))
    made = Cluster(folder, cluster.assets, WEST.name)
    try:
        made.up(nodes=1)
        made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        yield made
    finally:
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def space(cluster: Cluster, west: Cluster) -> Iterator[None]:
    """A namespace of these tests' own in both; what is in it goes with each test."""
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, deployment("calm", TRITON)
    )
    west.apply(deployment("a", TRITON))
    yield
    for each in (cluster, west):
        each.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


def oldest_s(watching: Watching, since: int) -> float:
    """The largest age of the region's last contact among what was told from update ``since`` on."""
    seen = [each for each in watching.updates[since:] if isinstance(each, RegionSeen)]
    assert seen, "the age is told at least every two seconds"
    return max(each.at - (each.health.last_contact_at or 0.0) for each in seen)


@contextlib.asynccontextmanager
async def both(east: Watching, other: Watching) -> AsyncGenerator[None]:
    """Both are watched and LIVE; at the end the first one was LIVE and fresh throughout."""
    async with east.running(), other.running():
        await east.until(lambda: "calm" in east.rows, "the calm row")
        await other.until(lambda: "a" in other.rows, "the row")
        await east.until_state(RegionState.LIVE)
        await other.until_state(RegionState.LIVE)
        since = len(east.updates)
        yield
        await east.until(
            lambda: any(isinstance(each, RegionSeen) for each in east.updates[since:]), "its age"
        )
        states = {each.health.state for each in east.updates[since:] if isinstance(each, RegionSeen)}
        assert states == {RegionState.LIVE}
        assert oldest_s(east, since) < FRESH_S


def asked(cluster: Cluster, begin: int) -> Counter[tuple[str, str]]:
    """(verb, resource or path) of what the program asked for since line ``begin`` of the audit log."""
    ours = [each for each in cluster.audited()[begin:] if each.get("userAgent", "").startswith("nimify-tui/")]
    return Counter(
        (each["verb"], each.get("objectRef", {}).get("resource") or each["requestURI"].partition("?")[0])
        for each in ours
        if each["stage"] == "ResponseStarted" or each["verb"] != "watch"
    )


def held(watching: Watching) -> dict[str, str]:
    """By kind: the version up to which the source knows what happened."""
    return {each.kind.plural: each._version for each in watching.source._reflectors}


def resumed(cluster: Cluster, begin: int) -> dict[str, str]:
    """By kind: the version from which the first watch since line ``begin`` of the audit log goes on."""
    found: dict[str, str] = {}
    for each in cluster.audited()[begin:]:
        if each["verb"] == "watch" and each["stage"] == "ResponseStarted" and "nimify-tui/" in each["userAgent"]:
            version = parse_qs(urlsplit(each["requestURI"]).query)["resourceVersion"][0]
            found.setdefault(each["objectRef"]["resource"], version)
    return found


async def scaled(cluster: Cluster, name: str, replicas: int) -> None:
    await asyncio.to_thread(
        cluster.kubectl, "--namespace", SPACE, "scale", f"deploy/{name}", f"--replicas={replicas}"
    )


async def done(what: Callable[[], object]) -> None:
    await asyncio.to_thread(what)


@pytest.mark.parametrize("fault", ["frozen", "stopped"])
def test_one_that_falls_silent_or_ends_costs_the_other_nothing(
    fault: str, cluster: Cluster, west: Cluster, tmp_path: Path
) -> None:
    """Its last known rows stay, nothing is listed again, and it is right when it is back.

    Sabotage seen failing: a call that waits for the lost server inside the loop that serves both.
    """
    hurt, heal = {"frozen": (west.freeze, west.thaw), "stopped": (west.stop, west.start)}[fault]
    (tmp_path / "west").mkdir()

    async def go() -> None:
        east = Watching(place_of(cluster, tmp_path))
        other = Watching(place_of(west, tmp_path / "west"), WEST)
        async with both(east, other):
            await done(hurt)
            try:
                await other.until_state(RegionState.DOWN)
                row = other.rows["a"]
                assert row.state is ServiceState.UNKNOWN
                assert row.reason.startswith("no contact")
                await scaled(cluster, "calm", 3)
                await east.until(lambda: east.rows["calm"].desired == 3, "the other goes on")
            finally:
                begin, versions = len(west.audited()), held(other)
                await done(heal)
            await other.until_state(RegionState.LIVE)
            await scaled(west, "a", 2)
            await other.until(lambda: other.rows["a"].desired == 2, "two wanted")
            await agrees(other, west)
            lists = {key: count for key, count in asked(west, begin).items() if key[0] == "list"}
            # A server that starts anew may have no versions of before: then each kind is listed once.
            assert max(lists.values(), default=0) <= (1 if fault == "stopped" else 0), lists
            if fault == "frozen":
                assert resumed(west, begin) == versions, "it went on where it was"
            assert len([each for each in other.updates if isinstance(each, RegionListed)]) == 1

    try:
        run(go(), 150)
    finally:
        if fault == "stopped":
            restarted(west)


def restarted(cluster: Cluster) -> None:
    """A process ends with the thread that started it, and that one was a helper of the loop."""
    cluster.stop()
    cluster.start()


def test_what_the_server_has_forgotten_is_listed_again_and_nothing_leaves_the_screen(
    west: Cluster, tmp_path: Path
) -> None:
    """Its old versions are compacted away: 410. Sabotage seen failing: rows that are dropped before the new list."""

    async def go() -> None:
        watching = Watching(place_of(west, tmp_path), WEST)
        async with watching.running():
            await watching.until(lambda: watching.row("a", ServiceState.OK), "well")
            await agrees(watching, west)
            since, begin = len(watching.updates), len(west.audited())
            await scaled(west, "a", 3)
            await watching.until(lambda: watching.rows["a"].ready == 3, "three are there")
            await done(west.forget)
            await scaled(west, "a", 2)
            await watching.until(lambda: watching.rows["a"].desired == 2, "two wanted")
            await agrees(watching, west)
            assert [key for key in asked(west, begin) if key[0] == "list"], "some kind had to be listed again"

            def gone() -> list[Update]:
                return [each for each in watching.updates[since:] if isinstance(each, ServiceGone | ReplicaGone)]

            await watching.until(gone, "the one of three that is no longer wanted")
            # A controller that lost its server may have made one pod too many: the server says which are there.
            names = await asyncio.to_thread(west.kubectl, "-n", SPACE, "get", "pods", "-o", "name")
            there = {line.rpartition("/")[2] for line in names.split()}
            left = {each.key.replica for each in gone() if isinstance(each, ReplicaGone)}
            assert not left & there, f"gone from the screen: {left}; there: {there}"
            assert not [each for each in gone() if isinstance(each, ServiceGone)]

    try:
        run(go(), 120)
    finally:
        restarted(west)


def test_one_that_is_cut_off_or_throttled_costs_the_other_nothing(
    cluster: Cluster, west: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "west").mkdir()

    async def go() -> None:
        proxy = FaultProxy(west.port, pki.own(tmp_path, "proxy"))
        async with proxy:
            east = Watching(place_of(cluster, tmp_path))
            other = Watching(behind(proxy, west, tmp_path / "west"), WEST)
            async with both(east, other):
                proxy.faults["/"] = drop
                await proxy.sever()
                await other.until_state(RegionState.DOWN)
                proxy.faults.clear()
                await other.until_state(RegionState.LIVE)
                proxy.faults[f"/api/v1/namespaces/{SPACE}/pods"] = answer(
                    "429 Too Many Requests", headers="Retry-After: 2\r\n"
                )
                await proxy.sever()
                await other.until_state(RegionState.THROTTLED)
                assert other.health.next_try_at is not None
                proxy.faults.clear()
                await other.until_state(RegionState.LIVE)
                await scaled(west, "a", 2)
                await other.until(lambda: other.rows["a"].desired == 2, "two wanted")
                await agrees(other, west)

    run(go(), 120)


def test_what_kubectl_does_is_on_the_row_within_a_second(cluster: Cluster, tmp_path: Path) -> None:
    """By the real clock, the best of five: a busy machine is not the console."""

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path), faster=1.0)
        loop = asyncio.get_running_loop()
        took: list[float] = []
        async with watching.running():
            await watching.until(lambda: watching.row("calm", ServiceState.OK), "well")
            for replicas in (2, 1, 3, 2, 1):
                await scaled(cluster, "calm", replicas)
                begun = loop.time()

                def there(replicas: int = replicas) -> ServiceRow | None:
                    row = watching.rows["calm"]
                    return row if row.desired == replicas else None

                await watching.until(there, "the other count")
                took.append(loop.time() - begun)
        assert min(took) < SOON_S, took

    run(go(), 90)


def test_after_a_hundred_and_fifty_pods_were_rolled_it_has_what_the_server_has(west: Cluster, tmp_path: Path) -> None:
    """``python -m tests.bench kube_rolled`` does it with a thousand."""
    need_simulation(west)
    names = [f"many-{number}" for number in range(10)]
    west.apply(*(deployment(name, TRITON, 15) for name in names))

    async def go() -> None:
        watching = Watching(place_of(west, tmp_path), WEST)

        def well() -> bool:
            rows = watching.rows
            return all(name in rows and rows[name].ready == 15 and not rows[name].progress for name in names)

        async with watching.running():
            await watching.until(well, "150 pods ready", 120)
            await done(
                lambda: west.kubectl("-n", SPACE, "rollout", "restart", *(f"deploy/{name}" for name in names))
            )

            def renewed() -> bool:
                return well() and all(watching.rows[name].revisions == (2,) for name in names)

            await watching.until(renewed, "150 pods of revision 2", 150)
            await agrees(watching, west)

    run(go(), 400)


def test_ten_idle_minutes_are_heartbeats_and_nothing_else(west: Cluster, tmp_path: Path) -> None:
    """Its own time runs 60 times faster. Sabotage seen failing: watches that wait for less
    than the time between two bookmarks, and are opened anew."""
    faster, idle_s = 60.0, 600.0

    async def go() -> None:
        watching = Watching(place_of(west, tmp_path), WEST, faster)
        async with watching.running():
            await watching.until(lambda: watching.row("a", ServiceState.OK), "well")
            await agrees(watching, west)
            begin = len(west.audited())
            await let_pass(idle_s / faster)
            found = asked(west, begin)
        beats = found.pop(("get", "/livez"))
        assert beats >= 30, "heartbeats went on"
        assert found.pop(("get", "/apis"), 0) <= 3, "new kinds are looked for every five minutes"
        assert found == {}, "no list, no watch, no review of rights"

    run(go(), 90)


def test_ten_idle_minutes_of_somebody_with_few_rights_have_no_list_either(west: Cluster, tmp_path: Path) -> None:
    """What is refused is not asked for again and again. Sabotage seen failing: every five minutes, as before."""
    faster, idle_s = 60.0, 600.0
    grant(west, SPACE, "viewer", *READS)

    async def go() -> None:
        watching = Watching(place_of(west, tmp_path, user="viewer"), WEST, faster)
        async with watching.running():
            await watching.until(lambda: watching.row("a", ServiceState.OK), "well")
            await watching.until(lambda: "nodes (forbidden)" in watching.health.cause, "what is refused")
            begin = len(west.audited())
            await let_pass(idle_s / faster)
            found = asked(west, begin)
            assert found.pop(("get", "/livez")) >= 30, "heartbeats went on"
            assert [each for each in found if each[0] == "list"] == []
            watching.source.again()
            await watching.until(lambda: asked(west, begin)["list", "nodes"] == 1, "the wish is heard")

    run(go(), 90)
