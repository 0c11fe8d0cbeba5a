"""Workloads with several models on a real cluster: the row opens by model, from the objects that are there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.domain.services import ServiceState
from nimify_tui.fleet.frames import ModelRow
from tests.kube.cluster import Cluster
from tests.kube.custom import custom
from tests.kube.reach import place_of, run
from tests.kube.test_kinds import defined
from tests.kube.watching import SPACE, TRITON, Watching, deployment

__all__ = ["defined"]
VLLM, NIM = "vllm/vllm-openai:v0.11.0", "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.12.0"
ADAPTERS = ["--served-model-name", "chat", "--lora-modules", "sql=/loras/sql"]


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """A namespace of these tests' own; what is in it goes with each test."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield
    cluster.kubectl("delete", "deployments", "--all", "--namespace", SPACE, "--wait=false")


def models(watching: Watching, name: str) -> list[tuple[str, str, ServiceState]]:
    """(name, kind, state) of the models below a row."""
    rows: tuple[ModelRow, ...] = watching.fleet.publish(watching.clock.now()).models.get(f"{SPACE}/{name}", ())
    return [(each.name, str(each.kind), each.state) for each in rows]


def test_a_row_opens_by_model_and_follows_its_workload(cluster: Cluster, tmp_path: Path) -> None:
    key = {"name": "NGC_API_KEY", "value": "nvapi-never-shown"}
    peft = {"name": "NIM_PEFT_SOURCE", "value": "/loras"}
    cluster.apply(
        deployment("chat", VLLM, args=["meta/llama", *ADAPTERS]),
        deployment("peft", NIM, env=[key, peft]),
        deployment("folder", TRITON, args=["tritonserver", "--model-repository=/models"]),
    )
    known = [("chat", "base", ServiceState.UNKNOWN), ("sql", "adapter", ServiceState.UNKNOWN)]

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path))
        async with watching.running():
            await watching.until(lambda: models(watching, "chat") == known, "a base model and an adapter")
            await watching.until(lambda: {"peft", "folder"} <= watching.rows.keys(), "all rows")
            rows = watching.rows
            assert rows["chat"].expandable
            assert rows["peft"].models_note == (
                "its adapters lie in /loras (NIM_PEFT_SOURCE); which, the server alone knows"
            )
            assert "in its model repository /models" in rows["folder"].models_note
            assert not rows["folder"].expandable
            assert "nvapi" not in repr(watching.source.cluster.workloads)
            more = [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "fr=/loras/fr"}]
            patch = ("--namespace", SPACE, "patch", "deploy/chat", "--type=json", f"--patch={json.dumps(more)}")
            await asyncio.to_thread(cluster.kubectl, *patch)
            await watching.until(lambda: len(models(watching, "chat")) == 3, "the third one")

    run(go(), 120)


def test_a_custom_resource_tells_the_base_models_state(cluster: Cluster, defined: None, tmp_path: Path) -> None:
    status = {"state": "Ready", "model": {"name": "meta/llama"}}
    cluster.apply(custom("nimservices", "nim", {"replicas": 1}, status))
    shown = ("--namespace", SPACE, "get", "nimservice/nim", "--output=jsonpath={.metadata.uid}")
    made = deployment("nim", NIM, env=[{"name": "NIM_PASSTHROUGH_ARGS", "value": "--lora-modules x=/p"}])
    made["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps.nvidia.com/v1alpha1", "kind": "NIMService", "name": "nim", "uid": cluster.kubectl(*shown),
         "controller": True}
    ]  # fmt: skip
    cluster.apply(made)
    wanted = [("meta/llama", "base", ServiceState.OK), ("x", "adapter", ServiceState.UNKNOWN)]

    async def go() -> None:
        watching = Watching(place_of(cluster, tmp_path))
        async with watching.running():
            await watching.until(lambda: models(watching, "nim") == wanted, "the operator's own word", 60)

    run(go(), 120)
