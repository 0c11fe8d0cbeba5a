"""Kinds that operators bring to a cluster: their definitions take every field, a test plays the operator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.kube.cluster import Cluster
from tests.kube.watching import SPACE

CUSTOM = {
    "nimservices": ("NIMService", "apps.nvidia.com", "v1alpha1"),
    "nimcaches": ("NIMCache", "apps.nvidia.com", "v1alpha1"),
    "inferenceservices": ("InferenceService", "serving.kserve.io", "v1beta1"),
    "llminferenceservices": ("LLMInferenceService", "serving.kserve.io", "v1alpha2"),
    "trainedmodels": ("TrainedModel", "serving.kserve.io", "v1alpha1"),
    "rollouts": ("Rollout", "argoproj.io", "v1alpha1"),
}


def named(plural: str) -> str:
    """The name of a kind's definition."""
    return f"{plural}.{CUSTOM[plural][1]}"


def definition(plural: str) -> dict[str, Any]:
    """A custom resource definition that takes every field."""
    kind, group, version = CUSTOM[plural]
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    served = {"name": version, "served": True, "storage": True, "schema": schema}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": named(plural)},
        "spec": {
            "group": group, "scope": "Namespaced", "versions": [served],
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
        },
    }  # fmt: skip


def custom(
    plural: str, name: str, spec: dict[str, Any], status: dict[str, Any], space: str = SPACE
) -> dict[str, Any]:
    """A custom resource; its operator is not there, so the test says how it is."""
    kind, group, version = CUSTOM[plural]
    meta = {"name": name, "namespace": space}
    return {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": meta, "spec": spec, "status": status}


@contextlib.contextmanager
def known(cluster: Cluster, *plurals: str) -> Iterator[None]:
    """The cluster knows these kinds; they are gone afterwards, with all objects of theirs."""
    names = [named(each) for each in plurals]
    cluster.apply(*map(definition, plurals))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in names))
    try:
        yield
    finally:
        cluster.kubectl("delete", "crd", *names, "--wait=true")
