"""The calls without a screen on a real cluster, with kubectl's habits: -n, --context, --kubeconfig, --dry-run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.acting import asked_rights, kubeconfig, workload, written
from tests.kube.cluster import Cluster
from tests.support import run_cli

SPACE = "called"


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own with one deployment."""
    for name in (SPACE, f"{SPACE}-too"):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster.apply(workload("web", name))
        cluster.kubectl("rollout", "status", "deployment/web", "-n", name)
    yield
    for name in (SPACE, f"{SPACE}-too"):
        cluster.kubectl("delete", "deployments", "--all", "--namespace", name, "--wait=true")


@pytest.fixture
def file(cluster: Cluster, tmp_path: Path) -> Path:
    return kubeconfig(cluster, tmp_path)


def stored(cluster: Cluster, name: str = SPACE) -> tuple[int, str]:
    """(replicas, image) as kubectl sees them."""
    found = json.loads(cluster.kubectl("get", "deployment", "web", "-n", name, "-o", "json"))["spec"]
    return found["replicas"], found["template"]["spec"]["containers"][0]["image"]


def call(file: Path, *words: str, confirmed: bool = True) -> subprocess.CompletedProcess[str]:
    """A change, opened and confirmed: a cluster that nobody configured is read-only and production."""
    more = ("--read-write", "--confirm", "web") if confirmed else ()
    return run_cli(*words, "--kubeconfig", str(file), "-n", SPACE, *more, deadline_s=120)


def test_the_calls_change_a_cluster_and_only_the_named_namespace(cluster: Cluster, file: Path) -> None:
    done = call(file, "scale", "web", "--replicas", "3", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "OK"
    assert f"Scale web to 3 in {cluster.name} (production)" in done.stderr
    assert stored(cluster) == (3, "web:1")
    assert stored(cluster, f"{SPACE}-too") == (2, "web:1")
    for words in (("restart", "web"), ("image", "web", "web:2"), ("rollout", "pause", "web")):
        done = call(file, *words)
        assert done.returncode == 0, done.stderr
    assert stored(cluster) == (3, "web:2")
    status = run_cli("rollout", "status", "web", "--kubeconfig", str(file), "-n", SPACE, "--timeout", "20")
    assert status.returncode == 0, status.stdout + status.stderr
    for words in (("rollout", "resume", "web"), ("rollout", "undo", "web"), ("delete", "web")):
        done = call(file, *words)
        assert done.returncode == 0, done.stderr
    assert cluster.kubectl("get", "deployments", "-n", SPACE, "-o", "name") == ""


def test_a_dry_run_is_tried_by_the_server_and_changes_nothing(cluster: Cluster, file: Path) -> None:
    since = len(cluster.audited())
    done = call(file, "scale", "web", "--replicas", "3", "--dry-run=server")
    assert done.returncode == 0, done.stderr
    assert ["+", "spec.replicas:", "3"] in [line.split() for line in done.stdout.splitlines()]
    assert "done by the server" in done.stdout
    assert written(cluster, since) == ["patch deployments/scale dry-run"]
    assert stored(cluster) == (2, "web:1")
    since = len(cluster.audited())
    done = call(file, "scale", "web", "--replicas", "3", "--dry-run=client")
    assert done.returncode == 0, done.stderr
    assert ["+", "spec.replicas:", "3"] in [line.split() for line in done.stdout.splitlines()]
    assert written(cluster, since) == []
    assert asked_rights(cluster, since) == 0


def test_a_cluster_that_nobody_opened_is_only_read(cluster: Cluster, file: Path) -> None:
    since = len(cluster.audited())
    done = call(file, "scale", "web", "--replicas", "3", "--confirm", "web", confirmed=False)
    assert done.returncode == 77
    assert "is read-only" in done.stderr
    assert written(cluster, since) == []
    unconfirmed = call(file, "scale", "web", "--replicas", "3", "--read-write", "--yes", confirmed=False)
    assert unconfirmed.returncode == 77, "production wants the name"
    assert stored(cluster) == (2, "web:1")


def test_contexts_and_namespaces_say_which_one_is_meant(cluster: Cluster, file: Path) -> None:
    made = json.loads(file.read_text(encoding="utf-8"))
    made["contexts"].append({"name": "other", "context": made["contexts"][0]["context"]})
    made["contexts"].append({"name": "nowhere", "context": {"cluster": "none", "user": "admin"}})
    file.write_text(json.dumps(made), encoding="utf-8")
    words = ("scale", "web", "--replicas", "3", "--read-write", "--confirm", "web", "--kubeconfig", str(file))
    unclear = run_cli(*words, "--context", "other")
    assert unclear.returncode == 64
    assert "'web' is in several namespaces" in unclear.stderr
    done = run_cli(*words, "--context", "other", "-n", f"{SPACE}-too", "-o", "name")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{SPACE}-too/web@other"
    assert stored(cluster, f"{SPACE}-too") == (3, "web:1")
    gone = run_cli(*words, "--context", "nowhere", "-n", SPACE, "--timeout", "5")
    assert gone.returncode == 2
    assert "not every region answers" in gone.stderr
