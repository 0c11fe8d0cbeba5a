"""What stands around workloads: each finds its workload, moves with it, and says in plain words how it is."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from nimify_tui.domain.services import Service
from nimify_tui.domain.workloads import Scaler
from nimify_tui.sources.kubernetes.around import AUTOSCALER, BUDGET, FRONT, SLICE, scaler_of, selects
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.kinds import DEPLOYMENT
from tests.sources_kubernetes.support import cluster, read, sample, shown, uid_of


def meta(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "ml", "uid": f"uid-{name}", "resourceVersion": "1", **more}


def hpa(
    *conditions: tuple[str, str, str, str], metrics: Any = None, current: Any = None, **status: Any
) -> dict[str, Any]:
    told = [
        {"type": kind, "status": yes, "reason": why, "message": said} for kind, yes, why, said in conditions
    ]
    return {
        "metadata": meta("triton"),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "triton"},
            "minReplicas": 2, "maxReplicas": 8, "metrics": metrics,
        },
        "status": {"conditions": told, "currentMetrics": current, **status},
    }  # fmt: skip


def pods_metric(name: str, **target: Any) -> dict[str, Any]:
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}


def scaler(one: dict[str, Any]) -> Scaler:
    return scaler_of(read(AUTOSCALER, one))


ABLE = ("AbleToScale", "True", "ReadyForNewScale", "")
ACTIVE = ("ScalingActive", "True", "ValidMetricFound", "")
NO_METRIC = (
    "the HPA was unable to compute the replica count: unable to get metric vllm_waiting: unable to fetch metrics from"
    " custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"
)


@pytest.mark.parametrize(
    ("one", "verdict", "well"),
    [
        (hpa(), "the autoscaler has not looked at it yet", True),
        (hpa(ABLE, ACTIVE, currentReplicas=3, desiredReplicas=3), "as many as the metrics ask for", True),
        (hpa(ABLE, ACTIVE, currentReplicas=3, desiredReplicas=5), "it wants 5, 3 are there", True),
        (
            hpa(ABLE, ("ScalingActive", "False", "FailedGetPodsMetric", NO_METRIC)),
            "it does not scale: there is no custom metrics API: install prometheus-adapter or KEDA",
            False,
        ),
        (
            hpa(
                ABLE,
                (
                    "ScalingActive",
                    "False",
                    "FailedGetResourceMetric",
                    "missing request for cpu in container main",
                ),
            ),
            "it does not scale: its containers name no request to compare with",
            False,
        ),
        (
            hpa(ABLE, ("ScalingActive", "False", "ScalingDisabled", "")),
            "it is off while the service is scaled to 0",
            True,
        ),
        (
            hpa(
                ABLE,
                ACTIVE,
                ("ScalingLimited", "True", "TooManyReplicas", ""),
                currentReplicas=8,
                desiredReplicas=8,
            ),
            "capped: the metrics ask for more than its maximum of 8",
            False,
        ),
        (
            hpa(("AbleToScale", "False", "FailedGetScale", "no such\x1b[2J thing"), ACTIVE),
            "it cannot scale: no such thing",
            False,
        ),
        (
            hpa(("AbleToScale", "True", "ScaleDownStabilized", ""), ACTIVE),
            "it waits with scaling down: shortly before it needed more",
            True,
        ),
    ],
)
def test_why_it_scales_or_not(one: dict[str, Any], verdict: str, well: bool) -> None:
    found = scaler(one)
    assert (found.verdict, found.well) == (verdict, well)


def test_each_metric_against_its_target() -> None:
    cpu = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    queue = {
        "metric": {"name": "depth"},
        "describedObject": {"kind": "Service", "name": "q"},
        "target": {"value": "10"},
    }
    wanted = [pods_metric("vllm_waiting", averageValue="5"), cpu, {"type": "Object", "object": queue}]
    seen = [
        {
            "type": "Resource",
            "resource": {"name": "cpu", "current": {"averageUtilization": 63, "averageValue": "1"}},
        },
        {"type": "Pods", "pods": {"metric": {"name": "vllm_waiting"}, "current": {"averageValue": "12500m"}}},
        {"type": ""},
    ]
    found = scaler(hpa(ABLE, ACTIVE, metrics=wanted, current=seen))
    assert [(each.name, each.current, each.target) for each in found.metrics] == [
        ("vllm_waiting", "12500m", "5 a pod"),
        ("cpu", "63 %", "80 % of the request"),
        ("depth of Service q", "", "10"),
    ]
    assert (found.least, found.most) == (2, 8)


def triton(world: Cluster) -> Service:
    return shown("triton", world)[0]


def test_what_is_about_a_workload_is_told_with_it_and_goes_with_its_labels() -> None:
    """Sabotage seen failing: a workload that is not looked at again when a selector leaves it."""
    world = cluster()
    labels = sample("deployments", "triton")["spec"]["template"]["metadata"]["labels"]
    budget = {
        "metadata": meta("guard"), "spec": {"selector": {"matchLabels": labels}},
        "status": {"currentHealthy": 3, "desiredHealthy": 2, "disruptionsAllowed": 1, "expectedPods": 3},
    }  # fmt: skip
    front = {
        "metadata": meta("triton"),
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 8000}]},
    }
    points = [{"conditions": {"ready": True}}, {"conditions": {"ready": False}}, {"conditions": {}}]
    part = {
        "metadata": meta("triton-x1", labels={"kubernetes.io/service-name": "triton"}),
        "endpoints": points,
    }
    world.dirty.clear()
    for kind, made in ((AUTOSCALER, hpa(ABLE, ACTIVE)), (BUDGET, budget), (FRONT, front), (SLICE, part)):
        world.apply(kind, (), [read(kind, made)])
        assert world.dirty == {uid_of(world, "triton")}, kind.name
        world.dirty.clear()
    around = triton(world).around
    assert [each.name for each in around.scalers] == ["triton"]
    assert [(each.name, each.allowed, each.healthy) for each in around.budgets] == [("guard", 1, 3)]
    (address,) = around.addresses
    assert (address.host, address.ports, address.ready, address.total) == (
        "triton.ml.svc",
        ("8000 http",),
        2,
        3,
    )
    assert shown("llama", world)[0].around.addresses == ()
    moved = copy.deepcopy(front)
    moved["spec"]["selector"] = {"app": "elsewhere"}
    world.apply(FRONT, (), [read(FRONT, moved)])
    assert world.dirty == {uid_of(world, "triton")}
    assert triton(world).around.addresses == ()
    for kind, made in ((AUTOSCALER, hpa()), (BUDGET, budget), (SLICE, part)):
        world.apply(kind, [read(kind, made)], ())
    assert (triton(world).around.scalers, triton(world).around.budgets) == ((), ())


@pytest.mark.parametrize(
    ("selector", "yes"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Whatever"}]}, False),
    ],
)
def test_selectors_select_as_the_api_says(selector: dict[str, Any] | None, yes: bool) -> None:
    one = read(BUDGET, {"metadata": meta("b"), "spec": {"selector": selector}})
    assert selects(one.spec.selector, {"a": "1"}) is yes


def test_the_revisions_that_a_cluster_keeps_are_told_with_what_each_brought() -> None:
    kept = triton(cluster()).around.kept
    assert [(each.number, each.wanted) for each in kept] == [(1, 0), (2, 3)]
    assert all(each.holder.startswith("ReplicaSet triton-") for each in kept)
    assert kept[1].note == "image nvcr.io/nvidia/tritonserver 26.09-py3 -> 26.10-py3"
    redis = shown("redis")[0].around.kept
    assert [each.number for each in redis] == [1, 2]
    assert all(each.holder.startswith("ControllerRevision redis-") for each in redis)


def test_a_hidden_namespace_has_nothing_around_either() -> None:
    world = cluster()
    one = hpa()
    one["metadata"]["namespace"] = "kube-system"
    world.apply(AUTOSCALER, (), [read(AUTOSCALER, one)])
    assert world.nearby.scaler("uid-triton") is None
    assert DEPLOYMENT in {world.kind_of[each] for each in world.workloads}
