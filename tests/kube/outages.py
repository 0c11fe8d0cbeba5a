"""What has to be so while a region is hurt and when it is back: for the tests and the benchmark of several clusters."""

from __future__ import annotations

import pytest

from nimify_tui.base.errors import NetworkError
from nimify_tui.domain.plans import ActionRequest, Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ServiceState
from nimify_tui.session import Session
from tests.kube.cluster import Cluster
from tests.kube.several import Trouble, cordoned, health, key_of, lists_since, scaled, until
from tests.support import wait_for


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
