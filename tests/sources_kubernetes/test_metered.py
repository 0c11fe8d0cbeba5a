"""Where pods tell their numbers: annotations, ports with telling names, flags, and the default of the runtime."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.sources.families import family_of
from nimify_tui.sources.kubernetes.kinds import Template
from nimify_tui.sources.kubernetes.metered import metrics_at


def place(container: dict[str, Any], annotations: dict[str, str] | None = None) -> str:
    made = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [{"name": "main", **container}]}}
    template = msgspec.convert(made, Template)
    packed = [each.packed() for each in template.spec.containers or ()]
    family, found = family_of({}, packed)
    return metrics_at(template, family, found)


SCRAPED = {"prometheus.io/scrape": "true"}


@pytest.mark.parametrize(
    ("container", "annotations", "found"),
    [
        ({"image": "vllm/vllm-openai:v0.13.0"}, {}, "8000/metrics"),
        ({"image": "vllm/vllm-openai:v0.13.0", "args": ["--port", "9000"]}, {}, "9000/metrics"),
        ({"image": "nvcr.io/nim/meta/llama:1.12.0"}, {}, "8000/v1/metrics"),
        (
            {"image": "nvcr.io/nim/meta/llama:1", "env": [{"name": "NIM_SERVER_PORT", "value": "9001"}]}, {},
            "9001/v1/metrics",
        ),
        ({"image": "nvcr.io/nvidia/tritonserver:26.10-py3"}, {}, "8002/metrics"),
        ({"image": "nvcr.io/nvidia/tritonserver:1", "args": ["--metrics-port=8202"]}, {}, "8202/metrics"),
        ({"image": "nvcr.io/nvidia/tensorrt-llm/release:1.2.0"}, {}, "8000/prometheus/metrics"),
        ({"image": "own/llm:1", "args": ["trtllm-serve", "m", "--port", "9000"]}, {}, "9000/prometheus/metrics"),
        ({"image": "r/nimify:1", "args": ["serve", "m", "--port", "80", "--admin-port", "81"]}, {}, "81/metrics"),
        (
            {"image": "envoyproxy/envoy:distroless-v1.35.8", "command": ["envoy"],
             "args": ["-c", "/config/envoy.json", "--service-cluster $(CONTOUR_NAMESPACE)"]}, {},
            "8002/stats/prometheus",
        ),
        ({"image": "envoyproxy/envoy:distroless-v1.35.8", "args": ["--service-cluster mine"]}, {}, ""),
        ({"image": "vllm/vllm-openai:1", "ports": [{"name": "metrics", "containerPort": 7}]}, {}, "7/metrics"),
        ({"image": "own/app:1"}, {}, ""),
        ({"image": "own/app:1", "ports": [{"name": "http", "containerPort": 80}]}, {}, ""),
        ({"image": "own/app:1"}, {"prometheus.io/port": "80"}, ""),
        ({"image": "own/app:1"}, {**SCRAPED, "prometheus.io/port": "80"}, "80/metrics"),
        (
            {"image": "own/app:1"},
            {**SCRAPED, "prometheus.io/port": "80", "prometheus.io/path": "/a/m", "prometheus.io/scheme": "https"},
            "https:80/a/m",
        ),
        ({"image": "own/app:1"}, {**SCRAPED, "prometheus.io/port": "99999"}, ""),
        ({"image": "own/app:1"}, {**SCRAPED, "prometheus.io/port": "８０"}, ""),
    ],
)  # fmt: skip
def test_where_it_is_told(container: dict[str, Any], annotations: dict[str, str], found: str) -> None:
    assert place(container, annotations) == found


@pytest.mark.parametrize("label", ["owning-gateway-name", "owning-gatewayclass"])
def test_an_envoy_is_envoy_gateways_by_the_label_of_whose_it_is(label: str) -> None:
    """Deployments as envoyproxy/gateway 1.9.1 makes them (internal/infrastructure/kubernetes/proxy/testdata)."""
    pod = {"containers": [{"name": "envoy", "image": "envoyproxy/envoy:distroless-v1.39.1"}]}
    template = msgspec.convert({"metadata": {}, "spec": pod}, Template)
    packed = [each.packed() for each in template.spec.containers or ()]
    family, found = family_of({f"gateway.envoyproxy.io/{label}": "eg"}, packed)
    assert family is not None
    assert (family.name, metrics_at(template, family, found)) == ("gateway", "19001/stats/prometheus")


@pytest.mark.parametrize(
    "path", ["/../../secrets", "/a?x=1", "//evil", "/a#b", "metrics", "/a/./b", "/%2e%2e/b", "/a\nb"]
)
def test_a_path_that_leads_elsewhere_is_none(path: str) -> None:
    assert place({"image": "own/app:1"}, {**SCRAPED, "prometheus.io/port": "80", "prometheus.io/path": path}) == ""
