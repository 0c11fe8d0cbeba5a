"""An Envoy as a gateway: which Service each of its clusters stands for, as Contour and Envoy Gateway name them.

Contour (projectcontour/contour: internal/envoy/cluster.go, AltStatName; since 0.9) tells each cluster's numbers under
"namespace_service_port". Neither of the two has an underscore, and this name is never cut; the one that is cut to 60 or
120 characters with a hash in it ("namespace/service/port/hash") is that of a configuration, and in no number. Other
Envoys may have an "a_b_80" of their own, so the page has to have Contour's cluster too by which it is itself read
("projectcontour_envoy-admin_9001", before that "service-stats"; internal/envoy/v3/bootstrap.go).

Envoy Gateway names a cluster by its route ("httproute/namespace/route/rule/0"). What is behind a route only the route
says: it may be several, and things that are no Services; clusterStatName's %BACKEND_REFS% tells no kind either. Those
are nobody's. With mergeBackends (since 1.9) the cluster is its Service's: "service/namespace/name/port/protocol"
(envoyproxy/gateway: internal/gatewayapi/helpers.go, irBackendClusterName); a rule with settings of its own keeps its
route's name, and is not in these numbers.
"""

from __future__ import annotations

import re
from functools import lru_cache

from nimify_tui.domain.measures import Front
from nimify_tui.sources.metrics.exposition import Page, Series
from nimify_tui.sources.metrics.ingress import by_service
from nimify_tui.sources.metrics.reading import Histograms

BY_CONTOUR, BY_ENVOY_GATEWAY = "by its ingress (Contour)", "by its gateway (Envoy Gateway)"
#: Why Envoy Gateway tells of no service.
ROUTES_ALONE = "it tells of routes, not of the Services behind them: set mergeBackends in its EnvoyProxy"
_SPACE, _SERVICE = r"(?P<space>[a-z0-9][a-z0-9-]{0,62})", r"(?P<service>[a-z][a-z0-9-]{0,62})"
_CONTOUR = re.compile(rf"{_SPACE}_{_SERVICE}_\d{{1,5}}\Z")
_CONTOURS_OWN = re.compile(r"[a-z0-9-]+_(envoy-admin|service-stats)_\d+\Z")
_MERGED = re.compile(rf"service/{_SPACE}/{_SERVICE}/\d{{1,5}}(/[a-z0-9]+)?\Z")
_ROUTE = re.compile(r"(http|grpc)route/[^/]+/[^/]+/rule/\d+")


def cluster_of(each: Series) -> str:
    """The cluster of an Envoy that a series tells of."""
    return each.label("envoy_cluster_name") or each.label("cluster_name")


def gateway(page: Page, name: str, histograms: Histograms) -> tuple[Front | None, str]:
    """What a gateway tells of the Services behind it by its histogram ``name`` (ms), or why it can tell of none."""
    clusters = [cluster_of(each) for each in page.series.get(f"{name}_count", ())]
    for sign, whose, who in (
        (_CONTOURS_OWN, _behind_contour, BY_CONTOUR), (_MERGED, _behind_merged, BY_ENVOY_GATEWAY),
    ):  # fmt: skip
        if any(map(sign.match, clusters)):
            return Front(who, by_service(page, name, histograms, whose, 1e-3)), ""
    return None, ROUTES_ALONE if any(map(_ROUTE.match, clusters)) else ""


def _behind_contour(each: Series) -> tuple[str, str] | None:
    return _named(_CONTOUR, cluster_of(each))


def _behind_merged(each: Series) -> tuple[str, str] | None:
    return _named(_MERGED, cluster_of(each))


@lru_cache(maxsize=1024)
def _named(pattern: re.Pattern[str], cluster: str) -> tuple[str, str] | None:
    """The namespace and the name in a cluster's name; a page has some 20 series of each."""
    found = pattern.match(cluster)
    return (found["space"], found["service"]) if found is not None and not _CONTOURS_OWN.match(cluster) else None
