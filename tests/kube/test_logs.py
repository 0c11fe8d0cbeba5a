"""Logs of a real cluster's pods: live, over cut lines and replaced pods, bounded, and inert."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.domain.demands import LogDemand
from nimify_tui.sources.kubernetes import logs, logstream
from nimify_tui.sources.kubernetes.logs import pods_of
from tests.kube import pki
from tests.kube.cluster import Cluster, cri
from tests.kube.faults import Exchange, FaultProxy, first, stream
from tests.kube.fixtures import need_simulation
from tests.kube.following import SPACE, Following, deployment, key, tick, write
from tests.kube.reach import behind, place_of, run

_NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own, and nothing in the log from the test before."""
    need_simulation(cluster)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    for file in (cluster.container_log, cluster.previous_log, cluster.beside_log):
        file.write_bytes(b"")
    yield
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


def unique(word: str) -> str:
    """A word that no other line has."""
    return f"{word}-{next(_NUMBERS)}"


def test_lines_of_all_pods_and_containers_come_merged_while_they_are_looked_at(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.apply(deployment("both", 2, beside=True))
    earlier, later, aside = unique("earlier"), unique("later"), unique("aside")
    write(cluster.container_log, earlier)

    async def go() -> None:
        following, demand = Following(place_of(cluster, tmp_path)), LogDemand(key("both"))
        async with following.running(demand, ready=2):
            pods = set(following.pods("both"))
            seen = await following.until(
                lambda: [each for each in following.lines(demand) if each.text == earlier][:2], "earlier"
            )
            assert {(each.replica, each.container) for each in seen} == {(pod, "main") for pod in pods}
            write(cluster.beside_log, aside)
            write(cluster.container_log, later)
            await following.until(lambda: following.texts(demand).count(later) == 2, "later")
            await following.until(lambda: following.texts(demand).count(aside) == 2, "aside")
            assert {each.container for each in following.lines(demand) if each.text == aside} == {"beside"}
            one = LogDemand(key("both"), min(pods))
            following.fleet.demand(one)
            await following.until(lambda: later in following.texts(one), "one pod alone")
            assert {each.replica for each in following.lines(one)} == {one.replica}

    run(go())


def test_nothing_is_followed_that_nobody_looks_at(cluster: Cluster, tmp_path: Path) -> None:
    """By the API server's own record. Sabotage seen failing: streams that are kept when a demand is given back."""
    cluster.apply(deployment("quiet", 2))
    word = unique("word")
    write(cluster.container_log, word)

    async def go() -> list[str]:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy")) as proxy:
            following, demand = Following(behind(proxy, cluster, tmp_path)), LogDemand(key("quiet"))
            async with following.running(ready=2):
                await following.until(lambda: following.ready("quiet") == 2, "two ready pods")
                assert not [each for each in proxy.asked if "/log?" in each]
                following.fleet.demand(demand)
                await following.until(lambda: following.texts(demand).count(word) == 2, "both")
                asked = [each for each in proxy.asked if "/log?" in each]
                assert len(proxy.streams("/log?")) == 2
                following.fleet.release(demand)
                await following.until(lambda: not proxy.streams("/log?"), "streams ended")
            return asked

    asked = run(go())
    assert len(asked) == 2
    assert all("follow=true" in each and "timestamps=true" in each for each in asked)


def test_a_stream_that_is_cut_again_and_again_says_so_and_loses_and_doubles_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Sabotage seen failing: going on from the last stamp without knowing what was seen (lines are doubled)."""
    cluster.apply(deployment("cut"))
    word = unique("n")
    path = f"/api/v1/namespaces/{SPACE}/pods/cut-"
    budgets = iter([900, 333, 1500, 2222, 4001, 1717, 5003])

    async def cutting(one: Exchange) -> None:
        left = next(budgets, None)
        await one.forward(left if left is None else left + 400)

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy")) as proxy:
            proxy.faults[path] = cutting
            following, demand = Following(behind(proxy, cluster, tmp_path)), LogDemand(key("cut"))
            async with following.running(demand):
                await following.until(lambda: [each for each in proxy.asked if "/log?" in each], "asked")
                for number in range(0, 400, 20):
                    # Several lines have one and the same stamp, as in a burst within a clock's tick.
                    write(cluster.container_log, *(f"{word} {each}" for each in range(number, number + 20)))
                    await tick(0.1)

                def all_there() -> bool:
                    return f"{word} 399" in following.texts(demand)

                await following.until(all_there, "the last line")
                found = [each for each in following.texts(demand) if each.startswith(word)]
                assert found == [f"{word} {number}" for number in range(400)]
                marks = following.marks(demand)
                assert any("the stream broke (" in each for each in marks)
                assert any("the stream goes on from " in each for each in marks)
                broke = [each for each in marks if "broke" in each]
                on = [each for each in marks if "goes on" in each]
                assert len(broke) == len(on) > 1

    run(go())


def test_a_server_that_is_killed_and_comes_back_is_followed_on(cluster: Cluster, tmp_path: Path) -> None:
    """Lines are written while it is away."""
    cluster.apply(deployment("killed", 2))
    word = unique("n")

    async def go() -> None:
        following, demand = Following(place_of(cluster, tmp_path)), LogDemand(key("killed"))
        async with following.running(demand, ready=2):
            write(cluster.container_log, *(f"{word} {number}" for number in range(20)))
            await following.until(lambda: following.texts(demand).count(f"{word} 19") == 2, "before")
            cluster.stop()
            await following.until(lambda: sum("broke" in each for each in following.marks(demand)) == 2, "both broke")
            write(cluster.container_log, *(f"{word} {number}" for number in range(20, 40)))
            cluster.start()  # in this thread: a server ends with the thread that started it
            write(cluster.container_log, *(f"{word} {number}" for number in range(40, 60)))
            await following.until(lambda: following.texts(demand).count(f"{word} 59") == 2, "after", 60)
            for pod in following.pods("killed"):
                lines = [each.text for each in following.lines(demand) if each.replica == pod and not each.mark]
                assert [each for each in lines if each.startswith(word)] == [f"{word} {number}" for number in range(60)]

    run(go(), 120)


def test_half_a_line_at_the_end_of_a_stream_is_none(cluster: Cluster, tmp_path: Path) -> None:
    """Sabotage seen failing: the half is kept for the stream that comes after."""
    cluster.apply(deployment("half"))
    word = unique("whole")
    write(cluster.container_log, f"{word} 1", f"{word} 2", at=1_795_428_000.0)
    half = b"2026-11-23T10:00:00.000000000Z %b 1\n2026-11-23T10:00:00.000001000Z %b"

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy")) as proxy:
            ended = stream(half % (word.encode(), word.encode()), kind="text/plain")
            proxy.faults[f"/api/v1/namespaces/{SPACE}/pods/half-"] = first(1, ended)
            following, demand = Following(behind(proxy, cluster, tmp_path)), LogDemand(key("half"))
            async with following.running(demand):
                await following.until(lambda: f"{word} 2" in following.texts(demand), "the whole line")
                texts = [each.text for each in following.lines(demand) if not each.mark]
                assert texts == [f"{word} 1", f"{word} 2"]

    run(go())


def test_a_replaced_pod_is_followed_and_the_lines_of_the_one_before_stay(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "GRACE_S", 0.5)
    cluster.apply(deployment("swap"))
    old, new = unique("old"), unique("new")

    async def go() -> None:
        following, demand = Following(place_of(cluster, tmp_path)), LogDemand(key("swap"))
        async with following.running(demand):
            [pod] = following.pods("swap")
            write(cluster.container_log, old)
            await following.until(lambda: old in following.texts(demand), "the old one's line")
            await asyncio.to_thread(cluster.kubectl, "-n", SPACE, "delete", "pod", pod, "--wait=false")
            await following.until(lambda: following.pods("swap") not in ([pod], []), "another pod")
            await following.until(lambda: pod not in following.pods("swap"), "the old one is gone")
            await following.until(lambda: following.ready("swap") == 1, "the new one is ready")
            await following.until(
                lambda: f"-- {pod} is gone; its lines stay --" in following.marks(demand), "said so"
            )
            write(cluster.container_log, new)
            [other] = following.pods("swap")

            def named() -> set[str]:
                return {each.replica for each in following.lines(demand) if each.text == new}

            await following.until(lambda: named() == {other}, "the new one's line")
            assert pod in {each.replica for each in following.lines(demand) if each.text == old}

    run(go())


def test_the_run_before_of_a_crash_looping_pod(cluster: Cluster, tmp_path: Path) -> None:
    cluster.apply(deployment("loop", fault="crashloop"))
    last_words = unique("CUDA out of memory")
    write(cluster.previous_log, last_words)

    async def go() -> None:
        following = Following(place_of(cluster, tmp_path))
        async with following.running():

            def crashed() -> list[int]:
                pods = pods_of(following.source.cluster, LogDemand(key("loop")))
                return [
                    each.restart_count
                    for pod in pods
                    for each in pod.status.container_statuses or ()
                    if each.last_state and each.last_state.terminated
                ]

            await following.until(crashed, "a crash")
            before = LogDemand(key("loop"), following.pods("loop")[0], previous=True)
            following.fleet.demand(before)
            await following.until(lambda: last_words in following.texts(before), "its last words")
            [line] = [each for each in following.lines(before) if each.text == last_words][:1]
            assert line.run == 1

    run(go())


def test_a_service_that_never_crashed_has_no_run_before(cluster: Cluster, tmp_path: Path) -> None:
    cluster.apply(deployment("well"))

    async def go() -> None:
        following, demand = Following(place_of(cluster, tmp_path)), LogDemand(key("well"), "", previous=True)
        async with following.running(demand):
            await following.until(lambda: following.marks(demand), "a word")
            assert following.texts(demand) == ["-- us-east-1: no run before the current one is known --"]

    run(go())


def test_hostile_lines_come_as_one_line_each_and_bounded(cluster: Cluster, tmp_path: Path) -> None:
    cluster.apply(deployment("hostile"))
    end = unique("end")
    hostile = [b"\x1b[2J\x1b]52;c;aGk=\x07red", b"[bold]markup[/bold] [@click=app.quit]x[/]", b"\xff\xfe\x80 bytes",
               b"", b"null \0 byte", "\u202egnirts".encode(), b'{"level": "error", "msg": "\x1b[31m"}']  # fmt: skip

    async def go() -> None:
        following, demand = Following(place_of(cluster, tmp_path)), LogDemand(key("hostile"))
        async with following.running(demand):
            await following.until(lambda: following.logs._following.followed, "followed")
            write(cluster.container_log, *hostile, b"y" * 10_000_000, end)
            await following.until(lambda: end in following.texts(demand), "the last one")
            texts = [each.text for each in following.lines(demand) if not each.mark]
            assert texts[: len(hostile)] == [each.decode("utf-8", "replace") for each in hostile]
            assert len(texts) == len(hostile) + 2
            assert texts[-2] == "y" * len(texts[-2])
            assert 4096 <= len(texts[-2]) <= 32 * 1024

    run(go())


def test_a_flood_is_bounded_and_counted_and_the_newest_line_is_there(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few that lines are left out at any speed of the machine, and that the tail holds more than the
    # seconds between two marks: at 4,000 a slow node's lines, all read, push the only mark out of it.
    monkeypatch.setattr(logstream.Outlet, "MOST_LINES", 500)
    cluster.apply(deployment("flood"))
    end = unique("end")

    async def go() -> None:
        following, demand = Following(place_of(cluster, tmp_path)), LogDemand(key("flood"))
        async with following.running(demand):
            await following.until(lambda: following.logs._following.followed, "followed")
            await tick(1.0)
            block = cri(*(f"line {number}" for number in range(20_000)))
            with cluster.container_log.open("ab") as log:
                await asyncio.to_thread(log.write, block * 20 + cri(end))
            await following.until(lambda: end in following.texts(demand), "the last words of the flood", 60)
            said = "came faster than they can be read"
            await following.until(lambda: said in "".join(following.marks(demand)), "said so")
            _, lines, dropped = following.fleet.log_tail(demand).since(0)
            assert len(lines) <= 20_000
            assert dropped + len(lines) >= 400_000

    run(go(), 120)


def test_more_containers_than_streams_are_named(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_STREAMS", 3)
    cluster.apply(deployment("many", 5))
    word = unique("word")
    write(cluster.container_log, word)

    async def go() -> None:
        async with FaultProxy(cluster.port, pki.own(tmp_path, "proxy")) as proxy:
            following, demand = Following(behind(proxy, cluster, tmp_path)), LogDemand(key("many"))
            async with following.running(demand, ready=5):
                await following.until(lambda: following.texts(demand).count(word) == 3, "three")
                [mark] = following.marks(demand)
                assert "us-east-1: 3 of 5 containers are followed, not many-" in mark
                assert len(proxy.streams("/log?")) == 3

    run(go())


def test_who_may_not_read_logs_is_told_so_once(cluster: Cluster, tmp_path: Path) -> None:
    rules = [{"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    rules[0]["resources"] = ["pods", "deployments", "replicasets", "events"]
    subject = {"kind": "User", "name": "viewer", "apiGroup": "rbac.authorization.k8s.io"}
    cluster.apply(
        deployment("secretive", 3),
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
         "metadata": {"name": "no-logs", "namespace": SPACE}, "rules": rules},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
         "metadata": {"name": "no-logs", "namespace": SPACE}, "subjects": [subject],
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "no-logs"}},
    )  # fmt: skip

    async def go() -> None:
        following, demand = Following(place_of(cluster, tmp_path, user="viewer")), LogDemand(key("secretive"))
        async with following.running(demand, ready=3):
            await following.until(lambda: following.marks(demand), "a word")
            await tick(1.5)
            [mark] = following.marks(demand)
            assert mark.startswith("-- us-east-1: logs may not be read: ")
            assert "is forbidden" in mark

    run(go())
    asked = {
        each["auditID"]
        for each in cluster.audited()
        if each.get("objectRef", {}).get("subresource") == "log" and each["user"]["username"] == "viewer"
    }
    assert len(asked) == 3
