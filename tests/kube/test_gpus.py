"""GPUs of a real cluster whose nodes have some: read out of dcgm-exporter's pod through the API server's proxy, and
joined with the pods that hold and want them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.sources.metrics import dcgm_direct
from tests.kube.acting import READS, Acting, acting, grant, kubeconfig, workload
from tests.kube.cluster import Cluster
from tests.kube.fixtures import need_simulation
from tests.kube.test_metrics import PROXY, own_address
from tests.metrics.dcgm_pages import ada
from tests.metrics.prom import serving
from tests.support import private_home, wait_for

SPACE, GPU = "gpus", "nvidia.com/gpu"


def panel(it: Acting) -> GpuPanel | None:
    return next((each for each in it.session.frame.gpus if each.region == "us-east-1"), None)


def told(it: Acting) -> str:
    return repr(panel(it))


def set_up(cluster: Cluster, port: int) -> str:
    """An exporter on node-0, a pod that holds a GPU there, and one that wants too many; the holder's name."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    exporter = workload("nvidia-dcgm-exporter", SPACE, kind="DaemonSet",
                        image="nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-distroless")  # fmt: skip
    inside = exporter["spec"]["template"]["spec"]
    inside["nodeSelector"] = {"kubernetes.io/hostname": "node-0"}
    inside["containers"][0]["ports"] = [{"name": "metrics", "containerPort": port}]
    chat, big = workload("chat", SPACE, replicas=1), workload("big", SPACE, replicas=1)
    for made, count in ((chat, 1), (big, 99)):
        made["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {GPU: str(count)}}
    chat["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "node-0"}
    cluster.apply(exporter, chat, big)
    for one in ("deployment/chat", "daemonset/nvidia-dcgm-exporter"):
        cluster.kubectl("-n", SPACE, "rollout", "status", one, "--timeout=90s")
    at = own_address()
    patch = json.dumps([{"op": "replace", "path": "/status/podIP", "value": at},
                        {"op": "replace", "path": "/status/podIPs", "value": [{"ip": at}]}])  # fmt: skip
    pods = cluster.kubectl("-n", SPACE, "get", "pods", "-l", "app=nvidia-dcgm-exporter", "-o", "name").split()
    cluster.kubectl("-n", SPACE, "patch", *pods, "--type=json", "--subresource=status", f"--patch={patch}")
    return cluster.kubectl("-n", SPACE, "get", "pods", "-l", "app=chat", "-o", "name").strip().partition("/")[2]


def test_gpus_come_through_the_pod_proxy_and_stand_beside_who_holds_and_wants_them(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_simulation(cluster)
    assert own_address(), "this machine has no address but its loopback's"
    monkeypatch.setattr(dcgm_direct, "EVERY_S", 1.0)
    page = {"text": ""}
    with private_home(), serving(lambda _: (200, page["text"].encode()), "0.0.0.0") as port:
        holder = set_up(cluster, port)
        grant(cluster, SPACE, "viewer", *READS)
        page["text"] = ada(pod=holder, space=SPACE, GPU_UTIL="3")
        with acting(kubeconfig(cluster, tmp_path, "viewer"), "us-east-1", SPACE, numbers=True) as it:
            wait_for(lambda: f"no right to pods/proxy in ns {SPACE}: ask for `get`" in told(it), 60,
                     why="the missing right", detail=lambda: told(it))  # fmt: skip
            grant(cluster, SPACE, "viewer", *READS, PROXY)
            wait_for(lambda: (found := panel(it)) is not None and found.gpus, 60, why="GPUs", detail=lambda: told(it))
        begin = len(cluster.audited())
        with acting(kubeconfig(cluster, tmp_path), "us-east-1", SPACE, numbers=True) as it:
            wait_for(lambda: (found := panel(it)) is not None and found.gpus and found.places is not None
                     and found.places.rooms, 60, why="GPUs and nodes", detail=lambda: told(it))  # fmt: skip
            found = panel(it)
            assert found is not None
            assert found.places is not None
            (card,) = found.gpus
            assert (card.node, card.index, card.region) == ("node-0", 0, "us-east-1")
            assert (card.pods, card.holders) == ((f"{SPACE}/{holder}",), ("chat",))
            assert card.utilisation.value == 3.0
            assert card.utilisation.source.startswith(f"DCGM in pod {SPACE}/nvidia-dcgm-exporter-")
            first, second = (each for each in found.places.rooms if each.resource == GPU)
            assert (first.node, first.capacity, first.held, first.free) == ("node-0", 8, ((card.pods[0], 1),), 7)
            assert (second.node, second.free, second.product) == ("node-1", 8, "NVIDIA-H100-80GB-HBM3")
            ((waiting, resource, count),) = found.places.waiting
            assert (waiting.startswith(f"{SPACE}/big-"), resource, count) == (True, GPU, 99)
            assert found.places.partial == f"only pods of ns {SPACE} are seen"
            # Our numbers' scraper leaves the exporter alone: its one path is asked as often as GPUs are.
            rows = it.session.frame.rows
            assert "panel of their own" in rows[f"{SPACE}/nvidia-dcgm-exporter"].rps.reason
        paths = {
            each["requestURI"] for each in cluster.audited()[begin:]
            if each.get("objectRef", {}).get("subresource") == "proxy"
        }  # fmt: skip
        assert [each.partition("/proxy")[2] for each in paths] == ["/metrics"]
    cluster.kubectl("delete", "deployments,daemonsets", "--all", "--namespace", SPACE, "--wait=true")
