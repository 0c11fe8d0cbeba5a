"""The console on a real cluster: keys on a workload's row, and keys that its rights leave dim."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.domain.demands import RightsDemand
from nimify_tui.domain.plans import Rights, Verb
from tests.kube.acting import READS, acting, asked_rights, kubeconfig, workload, written
from tests.kube.cluster import Cluster
from tests.support import Home, run_cli, wait_for
from tests.tui import PtyRun

SPACE = "screened"
CONSOLE = [sys.executable, "-m", "nimify_tui"]


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own with two workloads that any user may read."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    cluster.apply(workload("web", SPACE), workload("other", SPACE))
    api = "rbac.authorization.k8s.io"
    cluster.apply(
        {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": "view", "namespace": SPACE}, "rules": [
            *READS, {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"],
                     "resourceNames": ["web"]},
        ]},
        {
            "apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": {"name": "view", "namespace": SPACE},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "view"},
            "subjects": [{"kind": "User", "name": "viewer", "apiGroup": api}],
        },
    )  # fmt: skip
    yield
    cluster.kubectl("delete", "deployments,roles,rolebindings", "--all", "--namespace", SPACE, "--wait=true")


def test_rights_are_asked_for_what_is_looked_at_and_only_then(cluster: Cluster, tmp_path: Path) -> None:
    since = len(cluster.audited())
    with acting(kubeconfig(cluster, tmp_path, "viewer"), cluster.name, SPACE) as it:
        it.until_ready("web", 2)
        it.until_ready("other", 2)
        assert asked_rights(cluster, since) == 0, "nobody looks"

        def rights(name: str) -> Rights:
            key = it.key(name)
            it.session.demand(RightsDemand(key))
            wait_for(lambda: key in it.session.frame.rights, 20, why="the rights")
            it.session.release(RightsDemand(key))
            return it.session.frame.rights[key]

        web = rights("web")
        assert Verb.SCALE not in web.refused, "allowed for this one by its name"
        assert web.refused[Verb.RESTART] == web.refused[Verb.ROLLBACK] == "patch deployments.apps"
        assert web.refused[Verb.DELETE] == "delete deployments.apps"
        assert asked_rights(cluster, since) == 6, "three for all, and these three for this one"
        rights("web")
        assert asked_rights(cluster, since) == 6, "an answer holds"
        pods = RightsDemand(it.key("web"), pods=True)
        it.session.demand(pods)
        wait_for(lambda: it.session.frame.rights[it.key("web")].pods, 20, why="the rights on its pods")
        it.session.release(pods)
        assert it.session.frame.rights[it.key("web")].pods == {
            Verb.DELETE: "delete pods", Verb.SHELL: "get pods/exec", Verb.DEBUG: "patch pods/ephemeralcontainers",
            Verb.FORWARD: "get pods/portforward",
        }  # fmt: skip
        assert asked_rights(cluster, since) == 10, "one each, the first that is missing"
        assert Verb.SCALE in rights("other").refused
        assert asked_rights(cluster, since) == 13, "only for the other name"
    assert written(cluster, since) == []


def test_of_a_read_only_region_nothing_is_asked(cluster: Cluster, tmp_path: Path) -> None:
    """What comes later on the same loop has come, and no question was asked before it."""
    since = len(cluster.audited())
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE, read_write=False) as it:
        it.until_ready("web", 2)
        it.session.demand(RightsDemand(it.key("web")))
        cluster.kubectl("scale", "deployment", "web", "--replicas=3", "-n", SPACE)
        it.until_ready("web", 3)
    assert asked_rights(cluster, since) == 0


def _console(home: Home, file: Path, *words: str) -> PtyRun:
    command = [*CONSOLE, "--kubeconfig", str(file), "-n", SPACE, "--read-write", *words]
    return PtyRun(command, width=120, height=40, env=home.env)


def _stored(cluster: Cluster) -> tuple[int, str]:
    spec = json.loads(cluster.kubectl("get", "deployment", "web", "-n", SPACE, "-o", "json"))["spec"]
    return spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]


@pytest.mark.e2e
def test_keys_change_a_cluster_after_the_name_was_typed(cluster: Cluster, home: Home, tmp_path: Path) -> None:
    cluster.kubectl("delete", "deployment", "other", "-n", SPACE)
    with _console(home, kubeconfig(cluster, tmp_path), "--context", cluster.name) as tty:
        tty.wait(lambda text: "web" in text and "2/2" in text, 30, "the workload")
        tty.press("s")
        tty.send("3\r")
        tty.wait_text("+ spec.replicas: 3", 15)
        assert _stored(cluster) == (2, "web:1"), "a plan changes nothing"
        tty.send("web\r")
        tty.wait(lambda text: "3/3" in text, 30, "three replicas")
        tty.wait_text("u undoes it", 15)
        tty.press("u")
        tty.wait_text("+ spec.replicas: 2", 15)
        tty.send("web\r")
        tty.wait(lambda text: "2/2" in text, 30, "two replicas again")
        tty.send(":image web:2\r")
        tty.wait_text("+ spec.template.spec.containers[main].image: web:2", 15)
        tty.send("web\r")
        wait_for(lambda: _stored(cluster) == (2, "web:2"), 30, why="the new image")
        tty.wait_text(f"OK image {SPACE}/web@", 30)
    assert run_cli("audit", "verify").returncode == 0


@pytest.mark.e2e
def test_keys_without_a_right_say_so_and_send_nothing(cluster: Cluster, home: Home, tmp_path: Path) -> None:
    cluster.kubectl("delete", "deployment", "web", "-n", SPACE)
    since = len(cluster.audited())
    with _console(home, kubeconfig(cluster, tmp_path, "viewer")) as tty:
        tty.wait(lambda text: "other" in text and "2/2" in text, 30, "the workload")
        wait_for(lambda: asked_rights(cluster, since) == 6, 20, why="the rights of the row under the cursor")
        tty.wait(lambda _: _refused(tty), 10, "the refusal")
    assert written(cluster, since) == []


def _refused(tty: PtyRun) -> bool:
    tty.press("r")
    return "restart: you may not patch deployments.apps in " in tty.text()
