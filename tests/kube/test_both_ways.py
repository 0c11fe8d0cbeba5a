"""kubectl sees what the console did, and the console what kubectl did: within a second, the real one both times.

Each kind of change is made twice, and the better of the two counts: a busy machine is not the console.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Verb
from nimify_tui.domain.services import ServiceState
from tests.kube.acting import Acting, acting, kubeconfig, workload
from tests.kube.cluster import Cluster
from tests.kube.fixtures import need_simulation
from tests.support import wait_for

SPACE = "bothways"
SOON_S = 1.0
TURNS = 2


@pytest.fixture
def it(cluster: Cluster, tmp_path: Path) -> Iterator[Acting]:
    """A session on a namespace with one service of two pods, well."""
    need_simulation(cluster)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, workload("web", SPACE))
    with acting(kubeconfig(cluster, tmp_path), cluster.name, SPACE) as made:
        made.until_ready("web", 2)
        yield made
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=true")


class Kubectl:
    """``kubectl get KIND --watch``: every object as it was told last, and when."""

    def __init__(self, cluster: Cluster, kind: str) -> None:
        self._seen: dict[str, tuple[str, dict[str, Any]]] = {}
        self._process = subprocess.Popen(
            [str(cluster.assets / "kubectl"), f"--kubeconfig={cluster.folder / 'kubeconfig'}", "get", kind, "--watch",
             "--namespace", SPACE, "--output-watch-events", "--output=json"],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Kubectl:
        self._thread.start()
        wait_for(lambda: self._seen, 30, why="what kubectl sees at first")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)
        self._thread.join(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        event: dict[str, Any]
        text = ""
        for line in self._process.stdout:
            text += line
            if not line.rstrip().endswith("}"):
                continue
            with contextlib.suppress(json.JSONDecodeError):  # its end is a line further down
                event, text = json.loads(text), ""
                self._seen[event["object"]["metadata"]["name"]] = (event["type"], event["object"])

    def says(self, name: str, probe: Callable[[dict[str, Any]], object]) -> bool:
        """Whether the object is there and as ``probe`` wants it."""
        kind, found = self._seen.get(name, ("", {}))
        return kind in ("ADDED", "MODIFIED") and bool(probe(found))

    def gone(self, name: str) -> bool:
        """Whether kubectl was told that it is deleted."""
        return self._seen.get(name, ("", {}))[0] == "DELETED"


class Stopwatch:
    """How long each kind of change took to be seen, seconds."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = {}

    def until(self, what: str, probe: Callable[[], object]) -> None:
        """From now until it is seen."""
        begun_s = time.monotonic()
        wait_for(probe, 30, why=what, every_s=0.005)
        self.took.setdefault(what, []).append(time.monotonic() - begun_s)

    def judge(self, way: str) -> None:
        """Each kind of change was seen soon."""
        every = [each for took in self.took.values() for each in took]
        print(f"{way}: {len(every)} changes of {len(self.took)} kinds, {max(every):.2f} s at most")
        late = {what: took for what, took in self.took.items() if min(took) >= SOON_S}
        assert not late, late


def test_the_console_sees_what_kubectl_did(cluster: Cluster, it: Acting) -> None:
    watch = Stopwatch()

    def kubectl(*words: str) -> None:
        cluster.kubectl("--namespace", SPACE, *words)

    def service() -> Any:
        return it.session.service(it.key("web"))

    def row() -> Any:
        return it.session.frame.rows.get(it.key("web").fold_id)

    for turn in range(1, TURNS + 1):
        kubectl("scale", "deploy/web", f"--replicas={2 + turn}")
        watch.until("scale", lambda at=2 + turn: row().desired == at)  # type: ignore[misc]  # a default in a lambda
        it.until_ready("web", 2 + turn)
        gone = it.replicas("web")[0].key.replica
        kubectl("delete", "pod", gone, "--wait=false")
        watch.until("delete a pod", lambda at=gone: at not in {each.key.replica for each in it.replicas("web")})  # type: ignore[misc]  # a default in a lambda
        it.until_ready("web", 2 + turn)
        revision = service().revision
        kubectl("set", "image", "deploy/web", f"main=web:{turn + 1}")
        watch.until("set image", lambda at=revision: service().revision > at or it.progress("web"))  # type: ignore[misc]  # a default in a lambda
        it.until_ready("web", 2 + turn)
        revision = service().revision
        kubectl("rollout", "restart", "deploy/web")
        watch.until("restart", lambda at=revision: service().revision > at or it.progress("web"))  # type: ignore[misc]  # a default in a lambda
        it.until_ready("web", 2 + turn)
        kubectl("create", "deployment", f"new-{turn}", "--image=web:1")
        fold = it.key(f"new-{turn}").fold_id
        watch.until("create", lambda at=fold: at in it.session.frame.rows)  # type: ignore[misc]  # a default in a lambda
        kubectl("scale", f"deploy/new-{turn}", "--replicas=0")
        watch.until("stop", lambda at=fold: it.session.frame.rows[at].state is ServiceState.STOPPED)  # type: ignore[misc]  # a default in a lambda
        kubectl("delete", "deployment", f"new-{turn}", "--wait=false")
        watch.until("delete", lambda at=fold: at not in it.session.frame.rows)  # type: ignore[misc]  # a default in a lambda
    watch.judge("kubectl to console")


def test_kubectl_sees_what_the_console_did(cluster: Cluster, it: Acting) -> None:
    """From the confirmation on: the gate, the record on the trail and the request are in it."""
    watch = Stopwatch()

    def did(what: str, request: ActionRequest, probe: Callable[[], object]) -> None:
        plan = it.replan(request)
        answer = it.session.review(plan).expected
        done = it.session.carry_out(plan, answer)
        watch.until(what, probe)
        result = done.result(90)
        assert result.state is ActionState.OK, result

    def image(at: dict[str, Any]) -> str:
        return str(at["spec"]["template"]["spec"]["containers"][0]["image"])

    def restarted(at: dict[str, Any]) -> str:
        return str(at["spec"]["template"]["metadata"].get("annotations", {}).get("kubectl.kubernetes.io/restartedAt"))

    key, node = (it.key("web"),), (ServiceKey(it.region, "node-1", ""),)
    with Kubectl(cluster, "deployments") as seen, Kubectl(cluster, "pods") as pods, Kubectl(cluster, "nodes") as nodes:
        stamp = "None"
        for turn in range(1, TURNS + 1):
            did("scale", ActionRequest(verb=Verb.SCALE, targets=key, replicas=2 + turn),
                lambda at=2 + turn: seen.says("web", lambda one: one["spec"]["replicas"] == at))  # type: ignore[misc]  # a default in a lambda  # fmt: skip
            did("set image", ActionRequest(verb=Verb.SET_IMAGE, targets=key, image=f"web:{turn + 1}"),
                lambda at=turn + 1: seen.says("web", lambda one: image(one) == f"web:{at}"))  # type: ignore[misc]  # a default in a lambda  # fmt: skip
            did("restart", ActionRequest(verb=Verb.RESTART, targets=key),
                lambda at=stamp: seen.says("web", lambda one: restarted(one) != at))  # type: ignore[misc]  # a default in a lambda  # fmt: skip
            stamp = restarted(seen._seen["web"][1])
            did("pause", ActionRequest(verb=Verb.PAUSE, targets=key),
                lambda: seen.says("web", lambda one: one["spec"].get("paused")))  # fmt: skip
            did("resume", ActionRequest(verb=Verb.RESUME, targets=key),
                lambda: seen.says("web", lambda one: not one["spec"].get("paused")))  # fmt: skip
            did("cordon", ActionRequest(verb=Verb.CORDON, targets=node, kind="Node"),
                lambda: nodes.says("node-1", lambda one: one["spec"].get("unschedulable")))  # fmt: skip
            did("uncordon", ActionRequest(verb=Verb.UNCORDON, targets=node, kind="Node"),
                lambda: nodes.says("node-1", lambda one: not one["spec"].get("unschedulable")))  # fmt: skip
            it.until_ready("web", 2 + turn)
            pod = it.replicas("web")[0].key.replica
            did("delete a pod", ActionRequest(verb=Verb.DELETE, targets=(it.key(pod),), kind="Pod"),
                lambda at=pod: pods.gone(at) or pods.says(at, lambda one: "deletionTimestamp" in one["metadata"]))  # type: ignore[misc]  # a default in a lambda  # fmt: skip
            it.until_ready("web", 2 + turn)
        did("delete", ActionRequest(verb=Verb.DELETE, targets=key), lambda: seen.gone("web"))
    watch.judge("console to kubectl")
