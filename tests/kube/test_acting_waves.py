"""A wave over two regions of a real control plane: the second one is touched when the first has been well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from nimify_tui.clusters import Wanted
from nimify_tui.config import load
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Progress, Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.session import Needs, Session
from tests.kube.acting import kubeconfig, workload, written
from tests.kube.cluster import Cluster
from tests.support import wait_for

#: Two regions, each a namespace of the one cluster.
REGIONS = ("wave-a", "wave-b")
KEYS = tuple(ServiceKey(name, "web", name) for name in REGIONS)


@pytest.fixture
def session(cluster: Cluster, tmp_path: Path) -> Iterator[Session]:
    for name in REGIONS:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, workload("web", name))
    text = "version = 1\n[gate]\nmax_changes_per_minute = 0\n" + "".join(
        f'[[region]]\nname = "{name}"\nkind = "kubernetes"\ncontext = "{cluster.name}"\nnamespaces = ["{name}"]\n'
        "read_write = true\nproduction = false\n"
        for name in REGIONS
    )
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    made = Session(load([file], env={}), Needs(), wanted=Wanted(kubeconfig=str(kubeconfig(cluster, tmp_path))))
    made.engine.start()
    try:
        for key in KEYS:
            wait_for(partial(_ready, made, key), 40, why=f"{key.row_id} ready")
        yield made
    finally:
        made.engine.stop(20.0)
        for name in REGIONS:
            cluster.kubectl("delete", "deployments", "--all", "--namespace", name, "--wait=true")


def _ready(session: Session, key: ServiceKey) -> bool:
    service = session.service(key)
    live = all(row.health.state is RegionState.LIVE for row in session.frame.regions)
    return live and service is not None and not service.progress and len(session.replicas(key)) == 2


def go(session: Session, cluster: Cluster, *, harm: bool = False, unmeasured: bool = True) -> ActionResult:
    request = ActionRequest(verb=Verb.RESTART, targets=KEYS, soak_s=5.0, unmeasured=unmeasured)
    plan = session.plan(request).result(30)
    harmed: list[str] = []

    def step(progress: Progress) -> None:
        if harm and "soaks" in progress.text and not harmed:
            harmed.append(progress.text)
            hungry = {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "9"}}}]}
            strategy = {"type": "Recreate", "rollingUpdate": None}
            body = json.dumps({"spec": {"strategy": strategy, "template": {"spec": hungry}}})
            cluster.kubectl("patch", "deployment", "web", "-n", REGIONS[0], "-p", body)

    return session.carry_out(plan, session.review(plan).expected, step).result(120)


def test_both_regions_one_after_the_other(session: Session, cluster: Cluster) -> None:
    since = len(cluster.audited())
    result = go(session, cluster)
    assert result.state is ActionState.OK, result
    assert all("well for 5 s" in target.message for target in result.targets)
    assert written(cluster, since) == ["patch deployments dry-run"] * 2 + ["patch deployments"] * 2


def test_the_second_is_spared_when_the_first_gets_worse(session: Session, cluster: Cluster) -> None:
    since = len(cluster.audited())
    result = go(session, cluster, harm=True)
    first, second = result.targets
    assert (first.state, second.state) == (ActionState.FAILED, ActionState.PLANNED), result
    assert "of 2 ready while it soaked" in first.message
    assert written(cluster, since).count("patch deployments") == 1


def test_without_numbers_it_stops_unless_it_is_told_to_go_without(session: Session, cluster: Cluster) -> None:
    since = len(cluster.audited())
    result = go(session, cluster, unmeasured=False)
    first, second = result.targets
    assert (first.state, second.state) == (ActionState.UNKNOWN, ActionState.PLANNED), result
    assert "how it does cannot be measured" in first.message
    assert written(cluster, since).count("patch deployments") == 1
