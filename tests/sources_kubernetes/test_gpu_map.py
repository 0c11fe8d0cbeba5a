"""Who holds the GPUs of a cluster: kept up to date pod by pod, told only when it is another map."""

from __future__ import annotations

import json
from typing import Any

from nimify_tui.domain.gpus import GpuMap
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.exporters import exporters_of
from nimify_tui.sources.kubernetes.kinds import NODE, POD, Node, Pod

GPU = "nvidia.com/gpu"


def pod(name: str, node: str = "", phase: str = "Running", image: str = "x:1", **limits: str) -> Pod:
    wanted = {f"nvidia.com/{key.replace('_', '-')}": value for key, value in limits.items()}
    made: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "ml", "uid": name},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": image, "resources": {"limits": wanted}}]},
        "status": {"phase": phase},
    }
    found = POD.decoder.decode(json.dumps(made).encode())
    assert isinstance(found, Pod)
    return found


def node(name: str, can: dict[str, str], has: dict[str, str] | None = None, ready: str = "True", **spec: Any) -> Node:
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100", "nvidia.com/gpu.count": "8", "other": "x"}
    made = {
        "metadata": {"name": name, "uid": name, "labels": labels}, "spec": spec,
        "status": {"allocatable": can, "capacity": has or can, "conditions": [{"type": "Ready", "status": ready}]},
    }  # fmt: skip
    found = NODE.decoder.decode(json.dumps(made).encode())
    assert isinstance(found, Node)
    return found


def news(cluster: Cluster) -> GpuMap | None:
    return cluster.gpus.news(cluster.nodes.values())


def test_a_map_of_nodes_and_pods_is_told_when_it_is_another_one() -> None:
    cluster = Cluster()
    cluster.apply(POD, (), [pod("web", "n1"), pod("a", "n1", gpu="2"), pod("b", "n2", mig_1g_10gb="1")])
    cluster.apply(NODE, (), [
        node("n1", {GPU: "7", "cpu": "9"}, {GPU: "8"}), node("n2", {"nvidia.com/mig-1g_10gb": "7"}, spec={}),
        node("n3", {GPU: "4"}, unschedulable=True), node("n4", {GPU: "4"}, ready="Unknown"), node("cpu", {GPU: "0"}),
    ])  # fmt: skip
    told = news(cluster)
    assert told is not None
    first, *others = told.rooms
    assert (first.node, first.capacity, first.allocatable, first.missing) == ("n1", 8, 7, 1)
    assert (first.held, first.free, first.product, first.cards) == ((("ml/a", 2),), 5, "NVIDIA-H100", 8)
    barred = [(each.node, each.barred, each.free) for each in others[1:]]
    assert barred == [("n3", "cordoned", 0), ("n4", "not ready", 0)]
    assert news(cluster) is None
    # What is no GPU's business tells nothing. Seen failing with a map for each pod.
    cluster.apply(POD, (), [pod("web2", "n1"), pod("a", "n1", gpu="2")])
    assert news(cluster) is None
    cluster.apply(POD, (), [pod("big", gpu="9"), pod("a", "n1", "Succeeded", gpu="2")])
    told = news(cluster)
    assert told is not None
    assert (told.rooms[0].held, told.waiting) == ((), (("ml/big", GPU, 9),))
    cluster.apply(POD, [pod("big", gpu="9")], ())
    told = news(cluster)
    assert told is not None
    assert told.waiting == ()


def test_only_some_namespaces_are_a_map_that_says_so() -> None:
    cluster = Cluster()
    cluster.gpus.only = ("ml",)
    cluster.apply(NODE, (), [node("n1", {GPU: "8"})])
    told = news(cluster)
    assert told is not None
    assert told.partial == "only pods of ns ml are seen"


def test_exporters_are_known_by_their_image_and_only_those_that_run_are_asked() -> None:
    image = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-distroless"
    cluster = Cluster()
    cluster.apply(POD, (), [pod("e1", "n1", image=image), pod("e2", "n2", "Pending", image=image), pod("w", "n1")])
    assert [(each.name, each.node, each.place) for each in exporters_of(cluster)] == [("e1", "n1", "9400/metrics")]
    told = news(cluster)
    assert told is not None
    assert told.exporters == (("e1", "n1"), ("e2", "n2"))
