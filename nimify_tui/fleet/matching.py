"""Which service an alert is about, by its labels; what fits none is told by what its labels name.

Labels: a target's own (``job``, ``instance``), kube-state-metrics' (``namespace``, ``pod``, ``deployment`` ...), those
that the Prometheus operator adds (``service``), ours as an exporter turns them into labels (``nimify_dev_service``),
and each with ``exported_`` in front, where a target had it already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from nimify_tui.domain.alertmanagers import ToldAlert
from nimify_tui.domain.names import ServiceKey
from nimify_tui.fleet.world import World

#: No pod has a longer name (Kubernetes: a DNS subdomain).
MAX_NAME = 253
_NAMESPACES = ("namespace", "exported_namespace", "kubernetes_namespace")
_PODS = ("pod", "exported_pod", "pod_name", "kubernetes_pod_name", "container_name", "name")
_NAMES = (
    "nimify_dev_service", "container_label_nimify_dev_service", "deployment", "statefulset", "inferenceservice",
    "app_kubernetes_io_name", "label_app_kubernetes_io_name", "service", "exported_service", "app", "job",
    "exported_job",
)  # fmt: skip
_THINGS = ("service", "job", "instance", "node", "container")


class Services(NamedTuple):
    """What an alert may be about.

    ``named``: the services of a name in a region, in any namespace; ``replicas``: the names of one's replicas.
    """

    regions: frozenset[str]
    replicas: Callable[[ServiceKey], Collection[str]]
    named: Callable[[str, str], Sequence[ServiceKey]]


def services_of(world: World) -> Services:
    """All services as they are now."""
    by_name: defaultdict[tuple[str, str], list[ServiceKey]] = defaultdict(list)
    for key in world.services:
        by_name[key.region, key.name].append(key)

    def replicas(key: ServiceKey) -> Collection[str]:
        track = world.services.get(key)
        return track.replicas.keys() if track is not None else ()

    return Services(frozenset(world.regions), replicas, lambda region, name: by_name.get((region, name), ()))


def service_of(alert: ToldAlert, region: str, services: Services) -> ServiceKey | None:
    """The service, when the labels mean exactly one; a pod's name goes before all others."""
    labels = dict(alert.labels)
    spaces = {labels[name] for name in _NAMESPACES if labels.get(name)}
    for pod in (labels[name] for name in _PODS if labels.get(name)):
        if (found := _owner(region, pod, spaces, services)) is not None:
            return found
    for name in (labels[name] for name in _NAMES if labels.get(name)):
        # A scrape pool of the Prometheus operator is called namespace/name.
        space, _, bare = name.rpartition("/")
        fits = [each for each in services.named(region, bare) if not (wanted := spaces | {space} - {""}) or not
                each.namespace or each.namespace in wanted]  # fmt: skip
        if len(fits) == 1:
            return fits[0]
    return None


def _owner(region: str, pod: str, spaces: set[str], services: Services) -> ServiceKey | None:
    """The service that has a replica of this name: its own name is the beginning of it."""
    name = pod if len(pod) <= MAX_NAME else ""
    while name:
        fits = [
            each for each in services.named(region, name)
            if pod in services.replicas(each) and (not spaces or not each.namespace or each.namespace in spaces)
        ]  # fmt: skip
        if len(fits) == 1:
            return fits[0]
        name = name.rpartition("-")[0]
    return None


def about(alert: ToldAlert) -> str:
    """What it is about in words, where that is no service that is seen: foreign text."""
    space, pod = alert.label(*_NAMESPACES), alert.label(*_PODS)
    thing = pod or alert.label(*_NAMES[:-2], *_THINGS)
    return f"{space}/{thing}" if space and thing else thing or space or "nothing that is named"
