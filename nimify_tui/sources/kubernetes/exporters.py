"""Where the dcgm-exporters of a cluster tell their page."""

from __future__ import annotations

from typing import NamedTuple

from nimify_tui.sources.families import family_of
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.metered import metrics_at

#: Where an exporter listens whose workload does not say it (dcgm-exporter --help, --address).
_DEFAULT = "9400/metrics"


class ExporterPod(NamedTuple):
    """A pod of dcgm-exporter that runs on a node. ``place`` as a service's metrics_at."""

    space: str
    name: str
    node: str
    place: str


def exporters_of(cluster: Cluster) -> list[ExporterPod]:
    """Those that can answer, by node."""
    found = []
    for pod in cluster.gpus.exporters.values():
        if pod.status.phase != "Running" or not pod.spec.node_name or pod.metadata.deletion_timestamp:
            continue
        place = ""
        if uid := cluster.owner_of(pod):
            template = cluster.workloads[uid].spec.template
            family, container = family_of(template.metadata.labels or {}, template.spec.containers or ())
            place = metrics_at(template, family, container)
        meta = pod.metadata
        found.append(ExporterPod(meta.namespace, meta.name, pod.spec.node_name, place or _DEFAULT))
    return sorted(found, key=lambda each: (each.node, each.name))
