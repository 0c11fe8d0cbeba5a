"""`nimify-tui logs` over several regions of a real control plane: merged, each line with its region, one may fail."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.acting import kubeconfig, proxied, workload
from tests.kube.cluster import Cluster, free_port
from tests.kube.faults import drop
from tests.kube.fixtures import need_simulation
from tests.kube.following import write
from tests.support import PYTHON, REPO, run_cli, wait_for

SPACE = "told"


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace with one pod, and nothing in the log from the test before."""
    need_simulation(cluster)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    cluster.apply(workload("web", SPACE, replicas=1))
    cluster.kubectl("rollout", "status", "deployment/web", "-n", SPACE)
    cluster.container_log.write_bytes(b"")
    yield
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


def regions(folder: Path, file: Path, *names: str) -> list[str]:
    """The words by which these contexts are the regions of a call."""
    text = "version = 1\n" + "".join(
        f'[[region]]\nname = "{name}"\nkind = "kubernetes"\ncontext = "{name}"\nnamespaces = ["{SPACE}"]\n'
        for name in names
    )
    config = folder / "regions.toml"
    config.write_text(text, encoding="utf-8")
    return ["--config", str(config), "--kubeconfig", str(file)]


def contexts(file: Path, **servers: str) -> None:
    """More contexts in a kubeconfig: the same cluster by another name, or (with an address) a server elsewhere."""
    made = json.loads(file.read_text(encoding="utf-8"))
    first = made["contexts"][0]["context"]
    for name, server in servers.items():
        place = dict(first)
        if server:
            inside = {**made["clusters"][0]["cluster"], "server": server}
            made["clusters"].append({"name": name, "cluster": inside})
            place["cluster"] = name
        made["contexts"].append({"name": name, "context": place})
    made["current-context"] = next(iter(servers))  # that one is a region in any case
    file.write_text(json.dumps(made), encoding="utf-8")


def test_every_region_is_read_and_one_that_is_gone_hinders_none(cluster: Cluster, tmp_path: Path) -> None:
    file = kubeconfig(cluster, tmp_path)
    contexts(file, east="", west="", gone=f"https://127.0.0.1:{free_port()}")
    now = time.time()
    for number, word in enumerate(("one", "two")):
        write(cluster.container_log, word, at=now - 10 + number)
    every = regions(tmp_path, file, "east", "west", "gone")
    done = run_cli("logs", "web", "--timeout", "15", *every)
    assert done.returncode == 2, "a region did not answer"
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sorted((line[0], line[-1]) for line in lines) == [
        ("east", "one"), ("east", "two"), ("west", "one"), ("west", "two"),
    ]  # fmt: skip
    assert [line[-1] for line in lines] == ["one", "one", "two", "two"], "merged by time"
    assert "gone: " in done.stderr
    assert "its lines are missing until it is back" in done.stderr

    some = run_cli("logs", "web", "--region", "east", "--region", "west", "-o", "json", *every)
    assert some.returncode == 0, some.stderr
    assert {json.loads(line)["region"] for line in some.stdout.splitlines()} == {"east", "west"}
    one = run_cli("logs", "web@west", "--tail", "1", *every)
    assert one.returncode == 0
    assert [line.split()[-1] for line in one.stdout.splitlines()] == ["two"]
    assert not one.stdout.startswith("west"), "of one region alone it is not said again"


def test_a_region_that_is_lost_is_told_and_the_others_go_on(cluster: Cluster, tmp_path: Path) -> None:
    """The region behind the proxy goes while the call follows both."""
    with proxied(cluster, tmp_path, {}) as proxy:
        file = kubeconfig(cluster, tmp_path, proxy=proxy)
        straight = kubeconfig(cluster, tmp_path)
        made, whole = (json.loads(each.read_text(encoding="utf-8")) for each in (file, straight))
        made["clusters"][0]["name"] = "shaky"
        made["contexts"][0] = {
            "name": "shaky", "context": {**made["contexts"][0]["context"], "cluster": "shaky"},
        }  # fmt: skip
        made["clusters"] += whole["clusters"]
        made["contexts"].append({"name": "firm", "context": whole["contexts"][0]["context"]})
        made["current-context"] = "firm"
        file.write_text(json.dumps(made), encoding="utf-8")
        words = [PYTHON, "-m", "nimify_tui", "logs", "web", "-f", "-o", "json"]
        words += regions(tmp_path, file, "firm", "shaky")
        env = {**os.environ, "PYTHONPATH": str(REPO)}
        out, errors = tmp_path / "out", tmp_path / "errors"
        with (
            out.open("wb") as to,
            errors.open("wb") as to_errors,
            subprocess.Popen(words, stdout=to, stderr=to_errors, env=env) as call,
        ):
            try:
                write(cluster.container_log, "both-have-it", at=time.time())
                wait_for(lambda: told(out, "both-have-it") == {"firm", "shaky"}, 60, why="both")
                proxy.faults["/"] = drop
                assert proxy._server is not None
                asyncio.run_coroutine_threadsafe(proxy.sever(), proxy._server.get_loop()).result(10)
                wait_for(lambda: "its lines are missing" in errors.read_text(), 60, why="the loss is told")
                write(cluster.container_log, "after-it", at=time.time())
                wait_for(lambda: told(out, "after-it") == {"firm"}, 30, why="the other goes on")
                assert call.poll() is None
                assert "shaky: " in errors.read_text()
            finally:
                call.send_signal(signal.SIGINT)
                call.wait(20)
        assert call.returncode == 130


def told(out: Path, word: str) -> set[str]:
    """The regions from which a line with this word came."""
    lines = [line for line in out.read_text().splitlines() if line.endswith("}")]
    return {json.loads(line)["region"] for line in lines if word in line}
