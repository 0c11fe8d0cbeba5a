"""Autoscalers, disruption budgets, Services and their endpoints: what is read of them, and in plain words.

Fields: Kubernetes API reference (autoscaling/v2, policy/v1, core/v1, discovery.k8s.io/v1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nimify_tui.base.text import clean_line
from nimify_tui.domain.workloads import Address, Budget, Scaler, ScalerMetric
from nimify_tui.sources.kubernetes.kinds import Kind, Labelled, Object
from nimify_tui.sources.kubernetes.parts import Condition, Part
from nimify_tui.sources.kubernetes.pods import condition

_SAID = 200


class Named(Part, frozen=True):
    """A reference by name."""

    kind: str = ""
    name: str = ""


class Amount(Part, frozen=True):
    """A target or a current value; one of the three."""

    value: str | int | float | None = None
    average_value: str | int | float | None = None
    average_utilization: int | None = None


class MetricPart(Part, frozen=True):
    """One metric of an autoscaler, wanted (``target``) or measured (``current``)."""

    name: str = ""
    container: str = ""
    metric: Named = Named()
    described_object: Named = Named()
    target: Amount | None = None
    current: Amount | None = None


class Metric(Part, frozen=True):
    """A metric by its type; one of the five."""

    type: str = ""
    resource: MetricPart | None = None
    container_resource: MetricPart | None = None
    pods: MetricPart | None = None
    object: MetricPart | None = None
    external: MetricPart | None = None

    @property
    def part(self) -> MetricPart:
        """What is told of it."""
        return (
            self.resource
            or self.container_resource
            or self.pods
            or self.object
            or self.external
            or MetricPart()
        )


class ScalerSpec(Part, frozen=True):
    """What an autoscaler keeps to."""

    scale_target_ref: Named = Named()
    min_replicas: int | None = None
    max_replicas: int = 0
    metrics: list[Metric] | None = None


class ScalerStatus(Part, frozen=True):
    """What it sees."""

    current_replicas: int | None = None
    desired_replicas: int | None = None
    current_metrics: list[Metric] | None = None
    conditions: list[Condition] | None = None


class Autoscaler(Object, frozen=True):
    """autoscaling/v2 HorizontalPodAutoscaler."""

    spec: ScalerSpec = ScalerSpec()
    status: ScalerStatus = ScalerStatus()


class Expression(Part, frozen=True):
    """One condition on a label."""

    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class Selection(Part, frozen=True):
    """A label selector."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[Expression] | None = None


class BudgetSpec(Part, frozen=True):
    """Which pods a budget is about."""

    selector: Selection | None = None


class BudgetStatus(Part, frozen=True):
    """What it allows now."""

    current_healthy: int = 0
    desired_healthy: int = 0
    disruptions_allowed: int = 0
    expected_pods: int = 0


class DisruptionBudget(Object, frozen=True):
    """policy/v1 PodDisruptionBudget."""

    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus = BudgetStatus()


class ServicePort(Part, frozen=True):
    """A port of a Service."""

    name: str = ""
    port: int = 0


class FrontSpec(Part, frozen=True):
    """What a Service stands for."""

    type: str = ""
    selector: dict[str, str] | None = None
    ports: list[ServicePort] | None = None


class Ingress(Part, frozen=True):
    """An address from outside."""

    ip: str = ""
    hostname: str = ""


class Balancer(Part, frozen=True):
    """What a load balancer was given."""

    ingress: list[Ingress] | None = None


class FrontStatus(Part, frozen=True):
    """Where a Service is reached from outside."""

    load_balancer: Balancer = Balancer()


class Front(Object, frozen=True):
    """core/v1 Service."""

    spec: FrontSpec = FrontSpec()
    status: FrontStatus = FrontStatus()


class EndpointConditions(Part, frozen=True):
    """Whether an endpoint takes traffic; None counts as yes (the API's rule)."""

    ready: bool | None = None


_READY = EndpointConditions(True)


class Endpoint(Part, frozen=True):
    """One pod behind a Service."""

    conditions: EndpointConditions = EndpointConditions()


_TAKES = Endpoint(_READY)


class Slice(Labelled, frozen=True):
    """discovery.k8s.io/v1 EndpointSlice."""

    endpoints: list[Endpoint] | None = None

    def packed(self, shared: dict[str, Any]) -> Slice:
        """Thousands of endpoints that are ready are one object."""
        del shared
        every = [_TAKES if each.conditions == _READY else each for each in self.endpoints or ()]
        return msgspec.structs.replace(self, endpoints=every)

    @property
    def service(self) -> str:
        """The Service that it belongs to."""
        return (self.metadata.labels or {}).get("kubernetes.io/service-name", "")

    @property
    def counted(self) -> tuple[int, int]:
        """(ready, all)."""
        every = self.endpoints or ()
        return sum(each.conditions.ready is not False for each in every), len(every)


AUTOSCALER = Kind(
    "HorizontalPodAutoscaler", "/apis/autoscaling/v2", "horizontalpodautoscalers",
    msgspec.json.Decoder(Autoscaler),
)  # fmt: skip
BUDGET = Kind(
    "PodDisruptionBudget", "/apis/policy/v1", "poddisruptionbudgets", msgspec.json.Decoder(DisruptionBudget)
)
FRONT = Kind("Service", "/api/v1", "services", msgspec.json.Decoder(Front))
SLICE = Kind("EndpointSlice", "/apis/discovery.k8s.io/v1", "endpointslices", msgspec.json.Decoder(Slice))


def selects(selection: Selection | None, labels: Mapping[str, str]) -> bool:
    """Whether a selector is about pods with these labels; an empty one is about all (policy/v1), none about none."""
    if selection is None:
        return False
    if not (selection.match_labels or {}).items() <= labels.items():
        return False
    for each in selection.match_expressions or ():
        there, values = each.key in labels, each.values or []
        right = {
            "In": there and labels.get(each.key) in values,
            "NotIn": not there or labels[each.key] not in values,
            "Exists": there,
            "DoesNotExist": not there,
        }.get(each.operator, False)
        if not right:
            return False
    return True


def budget_of(one: DisruptionBudget) -> Budget:
    """A budget as it is now."""
    status = one.status
    return Budget(
        name=clean_line(one.metadata.name, 120), allowed=status.disruptions_allowed, healthy=status.current_healthy,
        needed=status.desired_healthy, expected=status.expected_pods,
    )  # fmt: skip


def address_of(one: Front, slices: Sequence[Slice] | None) -> Address:
    """Where a Service is reached; ``slices`` None: they are not seen."""
    meta, spec = one.metadata, one.spec
    outside = [each.hostname or each.ip for each in one.status.load_balancer.ingress or ()]
    counts = [each.counted for each in slices] if slices is not None else None
    return Address(
        name=clean_line(meta.name, 120),
        host=clean_line(f"{meta.name}.{meta.namespace}.svc", 200),
        ports=tuple(
            f"{each.port}{f' {clean_line(each.name, 20)}' if each.name else ''}" for each in spec.ports or ()
        ),
        outside=clean_line(", ".join(filter(None, outside)), 200),
        ready=None if counts is None else sum(ready for ready, _ in counts),
        total=None if counts is None else sum(total for _, total in counts),
    )


# -- autoscalers in plain words ----------------------------------------------------------


def scaler_of(one: Autoscaler) -> Scaler:
    """An autoscaler: each metric against its target, and what it does about it."""
    spec, status = one.spec, one.status
    verdict, well = _verdict(one)
    return Scaler(
        name=clean_line(one.metadata.name, 120),
        least=spec.min_replicas if spec.min_replicas is not None else 1,  # the API's default
        most=spec.max_replicas,
        current=status.current_replicas or 0,
        wanted=status.desired_replicas or 0,
        metrics=tuple(_metric(each, status.current_metrics or ()) for each in spec.metrics or ()),
        verdict=verdict,
        well=well,
    )


def _identity(metric: Metric) -> tuple[str, ...]:
    part = metric.part
    return metric.type, part.name, part.container, part.metric.name, part.described_object.name


def _metric(wanted: Metric, seen: Sequence[Metric]) -> ScalerMetric:
    part = wanted.part
    name = part.name or part.metric.name
    if part.described_object.name:
        name += f" of {part.described_object.kind} {part.described_object.name}"
    if part.container:
        name += f" of container {part.container}"
    found = next((each.part.current for each in seen if _identity(each) == _identity(wanted)), None)
    target = part.target or Amount()
    if target.average_utilization is not None:
        aim = f"{target.average_utilization} % of the request"
        value = f"{found.average_utilization} %" if found and found.average_utilization is not None else ""
    elif target.average_value is not None:
        aim = f"{target.average_value} a pod"
        value = str(found.average_value) if found and found.average_value not in (None, "") else ""
    else:
        aim = str(target.value)
        value = str(found.value) if found and found.value not in (None, "") else ""
    return ScalerMetric(name=clean_line(name, 120), current=clean_line(value, 40), target=clean_line(aim, 60))


#: What the autoscaler's messages mean, by words in them.
_MISSING = (
    ("get pods.metrics.k8s.io", "there is no metrics API: install metrics-server"),
    ("get pods.custom.metrics.k8s.io", "there is no custom metrics API: install prometheus-adapter or KEDA"),
    ("no custom metrics API", "there is no custom metrics API: install prometheus-adapter or KEDA"),
    ("no external metrics API", "there is no external metrics API: install prometheus-adapter or KEDA"),
    ("missing request for", "its containers name no request to compare with"),
    ("no metrics returned from", "the metric is absent: nobody tells it, or under another name"),
    ("did not receive metrics", "no ready pod tells the metric"),
)  # fmt: skip


def _verdict(one: Autoscaler) -> tuple[str, bool]:
    """(what it does or why it does not scale, whether that is well)."""
    spec, status = one.spec, one.status
    able, active, limited = (
        condition(status.conditions, name) for name in ("AbleToScale", "ScalingActive", "ScalingLimited")
    )
    if able is None and active is None:
        return "the autoscaler has not looked at it yet", True
    if able is not None and able.status == "False":
        if able.reason in ("BackoffBoth", "BackoffDownscale", "BackoffUpscale"):
            return "it waits: it has scaled just now", True
        return f"it cannot scale: {_meaning(able)}", False
    if active is not None and active.status == "False":
        if active.reason == "ScalingDisabled":
            return "it is off while the service is scaled to 0", True
        return f"it does not scale: {_meaning(active)}", False
    now, wanted = status.current_replicas or 0, status.desired_replicas or 0
    if limited is not None and limited.status == "True":
        known = {
            "TooManyReplicas": (
                f"capped: the metrics ask for more than its maximum of {spec.max_replicas}",
                False,
            ),
            "TooFewReplicas": ("at its minimum: the metrics ask for less", True),
            "ScaleUpLimit": (f"it wants {wanted}, slowed by its scale-up policy", True),
            "ScaleDownLimit": (f"it wants {wanted}, slowed by its scale-down policy", True),
        }
        return known.get(limited.reason, (f"limited: {_meaning(limited)}", False))
    if able is not None and able.reason == "ScaleDownStabilized":
        return "it waits with scaling down: shortly before it needed more", True
    if able is not None and able.reason == "ScaleUpStabilized":
        return "it waits with scaling up: shortly before it needed less", True
    return (
        f"it wants {wanted}, {now} are there" if wanted != now else "as many as the metrics ask for"
    ), True


def _meaning(told: Condition) -> str:
    said = told.message or told.reason
    known = next((words for sign, words in _MISSING if sign in said), "")
    return known or clean_line(said, _SAID)
