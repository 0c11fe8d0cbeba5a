"""A whole session on a real cluster: engine, gate, desk, audit trail, as the screen and the command line have it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.clock import SystemClock
from nimify_tui.clusters import Wanted
from nimify_tui.config import load
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Plan, Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import Replica, ReplicaState
from nimify_tui.session import Needs, Session
from tests.kube import pki
from tests.kube.cluster import Cluster
from tests.kube.faults import Exchange, Fault, FaultProxy
from tests.kube.reach import OtherLoop
from tests.support import wait_for

#: Enough to watch a namespace.
READS: tuple[dict[str, Any], ...] = (
    {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["get", "list", "watch"]},
)
WRITES = ("create", "update", "patch", "delete", "deletecollection")


def workload(
    name: str, space: str, kind: str = "Deployment", image: str = "web:1", replicas: int = 2, **spec: Any
) -> dict[str, Any]:
    """A workload of simulated pods."""
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}}
    body: dict[str, Any] = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    if kind != "DaemonSet":
        body["replicas"] = replicas
    if kind == "StatefulSet":
        body["serviceName"] = name
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": space}, "spec": body,
    }  # fmt: skip


def kubeconfig(cluster: Cluster, folder: Path, user: str = "admin", proxy: FaultProxy | None = None) -> Path:
    """A kubeconfig of one user; through a fault proxy where one is given."""
    made = cluster.kubeconfig(user)
    if proxy is not None:
        inside = made["clusters"][0]["cluster"]
        inside |= {"server": proxy.address}
        inside.pop("certificate-authority-data")
        inside["certificate-authority"] = str(proxy.pair.certificate)
    file = folder / f"kubeconfig-{user}{'-proxy' if proxy else ''}"
    file.write_text(json.dumps(made), encoding="utf-8")
    return file


class Acting:
    """One session that watches a namespace, and what the tests ask of it."""

    def __init__(self, session: Session, region: str, space: str) -> None:
        self.session, self.region, self.space = session, region, space
        self.said: list[str] = []

    def key(self, name: str) -> ServiceKey:
        return ServiceKey(self.region, name, self.space)

    def plan(self, verb: Verb, name: str, *, simulation: bool = False, **fields: Any) -> Plan:
        request = ActionRequest(verb=verb, targets=(self.key(name),), **fields)
        return self.session.plan(request, simulation=simulation).result(30)

    def replan(self, request: ActionRequest) -> Plan:
        return self.session.plan(request).result(30)

    def carry_out(self, plan: Plan, answer: str = "y") -> ActionResult:
        return self.session.carry_out(plan, answer, lambda step: self.said.append(step.text)).result(90)

    def act(self, verb: Verb, name: str, **fields: Any) -> ActionResult:
        """Plan and carry out; it must end OK."""
        return self.do(self.plan(verb, name, **fields))

    def undo(self, result: ActionResult) -> ActionResult:
        assert result.undo is not None
        return self.do(self.replan(result.undo))

    def do(self, plan: Plan) -> ActionResult:
        result = self.carry_out(plan, self.session.review(plan).expected)
        assert result.state is ActionState.OK, (result, self.said)
        return result

    def until(self, probe: Callable[[], object], why: str, deadline_s: float = 40.0) -> None:
        wait_for(probe, deadline_s, why=why)

    def until_ready(self, name: str, count: int) -> None:
        """Until the console's own rows show so many ready replicas and nothing under way."""
        self.until(lambda: self.ready(name) == count and not self.progress(name), f"{count} of {name} ready")

    def ready(self, name: str) -> int:
        return sum(each.state is ReplicaState.READY for each in self.replicas(name))

    def progress(self, name: str) -> str:
        found = self.session.service(self.key(name))
        return "not seen" if found is None else found.progress

    def replicas(self, name: str) -> Sequence[Replica]:
        return self.session.replicas(self.key(name))

    def trail(self) -> list[Mapping[str, Any]]:
        return list(AuditLog(AuditPlaces.default(), SystemClock()).records())


def fact(plan: Plan, label: str) -> str:
    """All lines of a plan under one label."""
    return " | ".join(text for name, text in plan.facts if name == label)


def lines(plan: Plan) -> list[str]:
    """The diff of a plan."""
    return [f"{line.mark} {line.text}" for line in plan.diff]


@contextlib.contextmanager
def acting(
    file: Path,
    region: str,
    space: str,
    *,
    read_write: bool = True,
    production: bool = False,
    read_only: bool = False,
    numbers: bool = False,
    more: str = "",
) -> Iterator[Acting]:
    """A session on the current context of ``file``, whose rights are its user's; ``more`` keys of the region."""
    text = (
        f"version = 1\n[gate]\nread_only = {str(read_only).lower()}\nmax_changes_per_minute = 0\n"
        f'[[region]]\nname = "{region}"\nkind = "kubernetes"\nnamespaces = ["{space}"]\n'
        f"read_write = {str(read_write).lower()}\nproduction = {str(production).lower()}\n{more}"
    )
    where = file.with_suffix(".toml")
    where.write_text(text, encoding="utf-8")
    session = Session(load([where], env={}), Needs(numbers=numbers), wanted=Wanted(kubeconfig=str(file)))
    session.engine.start()
    try:
        made = Acting(session, region, space)
        live = session.engine.wait(
            lambda frame: any(
                row.region.name == region and row.health.state is RegionState.LIVE for row in frame.regions
            ),
            90.0,
        )
        assert live, [(row.region.name, row.health) for row in session.frame.regions]
        yield made
    finally:
        session.engine.stop(20.0)


def written(cluster: Cluster, since: int, agent: str = "nimify-tui") -> list[str]:
    """What our program wrote since line ``since`` of the server's audit log: "patch deployments/scale dry-run"."""
    found = []
    for record in cluster.audited()[since:]:
        reference = record.get("objectRef", {})
        if not record.get("userAgent", "").startswith(agent) or record["verb"] not in WRITES:
            continue
        if reference.get("resource") == "selfsubjectaccessreviews":
            continue
        sub = f"/{reference['subresource']}" if reference.get("subresource") else ""
        dry = " dry-run" if "dryRun=" in record["requestURI"] else ""
        found.append(f"{record['verb']} {reference.get('resource')}{sub}{dry}")
    return found


def asked_rights(cluster: Cluster, since: int) -> int:
    """How many rights reviews our program asked for."""
    return sum(
        record.get("objectRef", {}).get("resource") == "selfsubjectaccessreviews"
        and record.get("userAgent", "").startswith("nimify-tui")
        for record in cluster.audited()[since:]
    )


@contextlib.contextmanager
def proxied(cluster: Cluster, folder: Path, faults: Mapping[str, Fault]) -> Iterator[FaultProxy]:
    """A fault proxy on a loop of its own: the session under test has another one."""
    with OtherLoop() as loop:
        yield loop.enter(FaultProxy(cluster.port, pki.own(folder, "proxy"), dict(faults)))


async def honest(one: Exchange) -> None:
    """No fault: for the dry run, whose path begins like that of the real change."""
    await one.forward()


def grant(cluster: Cluster, space: str, user: str, *rules: dict[str, Any]) -> None:
    """Rights in one namespace, and nowhere else; in force when this returns."""
    api = "rbac.authorization.k8s.io"
    meta = {"name": user, "namespace": space}
    cluster.apply(
        {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": meta, "rules": list(rules)},
        {
            "apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": meta,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": user},
            "subjects": [{"kind": "User", "name": user, "apiGroup": api}],
        },
    )  # fmt: skip
    group = rules[-1]["apiGroups"][0]
    resource, _, sub = rules[-1]["resources"][0].replace("*", "deployments").partition("/")
    words = [rules[-1]["verbs"][0], f"{resource}.{group}" if group else resource, "--as", user, "-n", space]

    def allowed() -> bool:
        with contextlib.suppress(AssertionError):  # it says no by its exit code
            return "yes" in cluster.kubectl("auth", "can-i", *words, *([f"--subresource={sub}"] if sub else []))
        return False

    wait_for(allowed, 20, why=f"the rights of {user}")
