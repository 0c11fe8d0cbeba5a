"""A Prometheus and an Alertmanager inside of a cluster, reached through the API server's service proxy."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from nimify_tui.backends.alertmanager.errors import SilenceRefused
from nimify_tui.base.errors import NimifyError
from nimify_tui.config.schema import RegionConfig
from nimify_tui.domain.alertmanagers import Matcher, Silence
from nimify_tui.domain.alerts import Alert
from nimify_tui.domain.gpus import Gpu
from nimify_tui.domain.measures import MeasureState
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Verb
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.monitors import looked_at
from nimify_tui.sources.metrics import dcgm_prometheus
from nimify_tui.sources.metrics import prometheus as source
from tests.alerts.am import managers
from tests.kube.acting import READS, Acting, acting, grant, kubeconfig, workload, written
from tests.kube.cluster import Cluster
from tests.kube.fixtures import need_simulation
from tests.kube.test_metrics import own_address
from tests.metrics.dcgm_pages import ada
from tests.metrics.pages import VLLM_NEW
from tests.metrics.prom import Instead, front, growing, prometheus
from tests.metrics.test_other_servers import CORTEX, answers
from tests.support import private_home, wait_for

SPACE = "monitored"
URL = "k8s://monitored/prometheus:9090"
KEY = f'prometheus = {{url = "{URL}", tenant = "team-a"}}\n'
PROXY = {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]}


@pytest.fixture(scope="module")
def pod(cluster: Cluster) -> Iterator[str]:
    """A simulated pod of vLLM in a namespace of its own."""
    need_simulation(cluster)
    assert own_address(), "this machine has no address but its loopback's"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    cluster.apply(workload("chat", SPACE, image="vllm/vllm-openai:v0.13.0", replicas=1))
    cluster.kubectl("-n", SPACE, "rollout", "status", "deployment/chat", "--timeout=90s")
    with private_home():
        yield cluster.kubectl("-n", SPACE, "get", "pods", "-l", "app=chat", "-o", "name").strip().partition("/")[2]
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=true")


def service(cluster: Cluster, pod: str, port: int, name: str = "prometheus") -> None:
    """The service in front of a server at this machine's own address: the proxy goes to pods alone, and no loopback."""
    at, ref = own_address(), {"kind": "Pod", "name": pod, "namespace": SPACE}
    patch = json.dumps([{"op": "replace", "path": "/status/podIP", "value": at},
                        {"op": "replace", "path": "/status/podIPs", "value": [{"ip": at}]}])  # fmt: skip
    cluster.kubectl("-n", SPACE, "patch", "pod", pod, "--type=json", "--subresource=status", f"--patch={patch}")
    meta = {"name": name, "namespace": SPACE}
    ports = [{"name": "web", "port": 9090, "targetPort": port}]
    cluster.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports}},
        {
            "apiVersion": "v1", "kind": "Endpoints", "metadata": meta,
            "subsets": [{"addresses": [{"ip": at, "targetRef": ref}], "ports": [{"name": "web", "port": port}]}],
        },
    )  # fmt: skip


def refusing(status: int, body: bytes) -> Callable[[str, dict[str, str]], Instead]:
    """What answers each request so."""
    return lambda _path, _headers: (status, body, 0.0)


def reason(it: Acting) -> str:
    row = it.session.frame.rows.get(f"{SPACE}/chat")
    return row.rps.reason if row is not None else ""


def test_numbers_come_through_the_service_proxy_and_no_pod_is_asked(
    cluster: Cluster, pod: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a door that wants to know whose series are meant, as a Cortex does.

    Seen failing where the region is read by us as well: the row spoke of the right to pods/proxy. And where the tenant
    was not handed on: the row said what the door says without it.
    """
    for name, value in (("TROUBLE_CAP_S", 1.0), ("AGAIN_S", 0.5), ("STEPS_S", (1, 2, 5, 60)), ("CAP_RPS", 20.0)):
        monkeypatch.setattr(source, name, value)
    monkeypatch.setattr(dcgm_prometheus, "EVERY_S", 1.0)
    exporter = {"namespace": "gpu-operator", "pod": "nvidia-dcgm-exporter-x7k2p"}
    begin = len(cluster.audited())
    grant(cluster, SPACE, "viewer", *READS)
    with (
        growing(VLLM_NEW, 0.1) as page, growing(ada(pod=pod, space=SPACE, GPU_UTIL="64"), 0.0) as gpus,
        prometheus(
            tmp_path,
            [(f"127.0.0.1:{page}", {"namespace": SPACE, "pod": pod}), (f"127.0.0.1:{gpus}", exporter)],
            least=0,
        ) as made,
        front(made.url, "0.0.0.0") as door,
        acting(kubeconfig(cluster, tmp_path, "viewer"), "us-east-1", SPACE, numbers=True, more=KEY) as it,
    ):
        no_tenant, limit = (answers(CORTEX)[each] for each in ("no tenant", "series"))
        door.instead = lambda _path, headers: (
            None if headers.get("x-scope-orgid") == "team-a" else (no_tenant["status"], no_tenant["body"].encode(), 0.0)
        )
        wait_for(
            lambda: f"no right to services/proxy in ns {SPACE}: ask for `get`" in reason(it), 60,
            why="the missing right", detail=lambda: reason(it),
        )  # fmt: skip
        grant(cluster, SPACE, "viewer", *READS, PROXY)
        wait_for(lambda: "there is no such service" in reason(it), 60, why="no service", detail=lambda: reason(it))
        service(cluster, pod, int(door.url.rpartition(":")[2]))

        def look() -> ServiceRow | None:
            found = it.session.frame.rows.get(f"{SPACE}/chat")
            return found if found is not None and found.rps.value is not None else None

        row = wait_for(look, 90, why="numbers", detail=lambda: reason(it))
        assert row.rps.state is MeasureState.FRESH
        assert row.rps.source == "Prometheus monitored/prometheus:9090, metrics of 1 replica"
        assert row.p50.value == pytest.approx(1.35875, rel=0.01)
        card = wait_for(lambda: next((one for each in it.session.frame.gpus for one in each.gpus if one.region), None),
                        60, why="its GPU", detail=lambda: repr(it.session.frame.gpus))  # fmt: skip
        assert isinstance(card, Gpu)
        assert (card.holders, card.utilisation.value) == (("chat",), 64.0)
        assert card.utilisation.source == "DCGM through Prometheus monitored/prometheus:9090"
        assert not any("authorization" in headers for _, headers in door.asked), "the cluster's login is the cluster's"
        # What the server behind refuses is told in its own words.
        item = RegionConfig(name="us-east-1", kind="kubernetes", context=cluster.name, prometheus=URL)
        for said, words in ((no_tenant, "the tenant (401: no org id)"), (limit, "hit the max number of series limit")):
            door.instead = refusing(said["status"], said["body"].encode())
            with pytest.raises(NimifyError, match=re.escape(words)):
                asyncio.run(looked_at(item, str(kubeconfig(cluster, tmp_path, "viewer"))))
    resources = {
        (each["objectRef"]["resource"], each["verb"])
        for each in cluster.audited()[begin:]
        if each.get("objectRef", {}).get("subresource") == "proxy" and each["user"]["username"] == "viewer"
    }
    assert resources == {("services", "get")}


def test_alerts_and_silences_go_through_the_service_proxy(cluster: Cluster, pod: str, tmp_path: Path) -> None:
    """Reading takes ``get``, a silence ``create`` and its end ``delete`` on services/proxy: what misses is said."""
    begin = len(cluster.audited())
    grant(cluster, SPACE, "viewer", *READS, PROXY)
    where = 'alertmanager = "k8s://monitored/alertmanager:9090"\n'
    with (
        managers(tmp_path, 1, host="0.0.0.0") as [am],
        acting(kubeconfig(cluster, tmp_path, "viewer"), "us-east-1", SPACE, more=where) as it,
    ):
        am.post({"alertname": "PodSlow", "namespace": SPACE, "pod": pod}, {"alertname": "Watchdog"})
        service(cluster, pod, am.port, "alertmanager")

        def found() -> Alert | None:
            alerts = it.session.frame.alerts
            return next((each for each in alerts.alerts if each.rule == "PodSlow"), None)

        one = wait_for(found, 90, why="the alert", detail=lambda: it.session.frame.alerts.managers)
        assert one.key == it.key("chat")
        assert it.session.frame.alerts.broken == ""
        key = ServiceKey("us-east-1", "PodSlow")
        now = it.session.clock.now()
        wanted = Silence(matchers=(Matcher("alertname", "PodSlow"),), starts_at=now, ends_at=round(now + 600.0, 3),
                         by="ann", comment="known")  # fmt: skip
        request = ActionRequest(verb=Verb.SILENCE, targets=(key,), silence=wanted)
        refused = it.carry_out(it.replan(request), "y")
        assert (refused.state, am.ask("GET", "/api/v2/silences")) == (ActionState.FAILED, []), refused
        assert f"no right to services/proxy in ns {SPACE}: ask for `create` and `delete` on" in refused.message
        grant(cluster, SPACE, "viewer", *READS, PROXY | {"verbs": ["get", "create", "delete"]})
        # What the Alertmanager does not take is told in its own words.

        def asks(value: str) -> ActionRequest:
            silence = msgspec.structs.replace(wanted, matchers=(Matcher("pod", value, regex=True),))
            return msgspec.structs.replace(request, silence=silence)

        with pytest.raises(SilenceRefused, match=r"error parsing regexp"):
            it.replan(asks("("))
        wrong = it.carry_out(it.replan(asks(".*")), "y")
        assert (wrong.state, am.ask("GET", "/api/v2/silences")) == (ActionState.FAILED, []), wrong
        assert wrong.message == (
            "Alertmanager monitored/alertmanager:9090: silence invalid:"
            " at least one matcher must not match the empty string"
        )
        done = it.do(it.replan(request))
        assert "1 alert held back" in done.message
        wait_for(lambda: (held := found()) and held.held_back, 30, why="it is shown as silenced")
        assert it.undo(done).message == "the silence has ended"
    changed = [each for each in written(cluster, begin) if each.endswith("services/proxy")]
    # The server notes the begin and the end of each.
    assert changed[::2] == changed[1::2] == [*["create services/proxy"] * 3, "delete services/proxy"]
