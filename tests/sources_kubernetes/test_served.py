"""Which models a workload serves, as its template and the custom resources above it name them.

Command lines are those of the projects' own documentation: vLLM (features/lora), SGLang (advanced_features/lora),
Triton (user_guide/model_management), NVIDIA NIM (environment variables, PEFT), KServe (huggingface runtime).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from nimify_tui.domain.served import ModelState
from nimify_tui.domain.services import Service
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.custom import INFERENCE_SERVICE, NIM_SERVICE
from nimify_tui.sources.kubernetes.kinds import DEPLOYMENT, Kind
from nimify_tui.sources.kubernetes.workloads import service_of
from tests.sources_kubernetes.support import NOW, REGION

VLLM, SGLANG = "vllm/vllm-openai:v0.11.0", "lmsysorg/sglang:v0.5"
TRITON, NIM = "nvcr.io/nvidia/tritonserver:26.08-py3", "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.12.0"


def deployment(image: str, owner: str = "", **container: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": "s", "namespace": "ml", "uid": "d", "generation": 1}
    if owner:
        meta["ownerReferences"] = [{"kind": "x", "uid": owner, "controller": True}]
    inside = {"containers": [{"name": "m", "image": image, **container}]}
    template = {"metadata": {"labels": {"app": "s"}}, "spec": inside}
    return {"metadata": meta, "spec": {"replicas": 1, "template": template}, "status": {"observedGeneration": 1}}


def custom(status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "s", "namespace": "ml", "uid": "o"}, "spec": {}, "status": status}


def shown(made: dict[str, Any], *others: tuple[Kind, dict[str, Any]]) -> Service:
    world = Cluster()
    for kind, each in (*others, (DEPLOYMENT, made)):
        world.apply(kind, (), [kind.decoder.decode(json.dumps(each).encode()).packed({})])
    return service_of(world, "d", REGION, NOW)[0]


def told(service: Service) -> list[tuple[str, str]]:
    return [(each.name, str(each.kind)) for each in service.models]


LORA = ["--enable-lora", "--lora-modules", "sql=/loras/sql", '{"name": "fr", "path": "/loras/fr"}', "--port", "8000"]


@pytest.mark.parametrize(
    ("image", "container", "models"),
    [
        (VLLM, {"args": ["meta/llama", *LORA]}, [("meta/llama", "base"), ("sql", "adapter"), ("fr", "adapter")]),
        (VLLM, {"command": ["vllm", "serve", "meta/llama"], "args": ["--served-model-name", "a", "b", "--port=1"]},
         [("a", "base"), ("b", "alias")]),
        (VLLM, {"command": ["/bin/bash", "-c", "exec vllm serve meta/llama --lora-modules 'x=/p q' # why\n"]},
         [("meta/llama", "base"), ("x", "adapter")]),
        (VLLM, {"args": ["--model", "$(MODEL)"], "env": [{"name": "MODEL", "value": "qwen"}]}, [("qwen", "base")]),
        (VLLM, {"args": ["--model=m"]}, [("m", "base")]),
        (SGLANG, {"command": ["python3", "-m", "sglang.launch_server"],
                  "args": ["--model-path", "m", "--lora-paths", "l0=/a", "l1=/b"]},
         [("m", "base"), ("l0", "adapter"), ("l1", "adapter")]),
        (TRITON, {"command": ["tritonserver"], "args": ["--model-repository=/models", "--model-control-mode=explicit",
                                                        "--load-model=a", "--load-model=b"]},
         [("a", "base"), ("b", "base")]),
        (NIM, {"env": [{"name": "NIM_SERVED_MODEL_NAME", "value": "llama, chat"}]},
         [("llama", "base"), ("chat", "alias")]),
        (NIM, {"env": [{"name": "NIM_PASSTHROUGH_ARGS", "value": "--served-model-name a --lora-modules x=/p"}]},
         [("a", "base"), ("x", "adapter")]),
        ("kserve/huggingfaceserver:v0.15", {"args": ["--model_name=llama", "--lora-modules", "x=/p"]},
         [("llama", "base"), ("x", "adapter")]),
        ("ghcr.io/x/nimify-tui:1", {"args": ["serve", "/models/m.onnx", "--name", "m"]}, [("m", "base")]),
        ("web:1", {"args": ["--model", "x"]}, []),
    ],
)  # fmt: skip
def test_names_out_of_arguments_and_variables(
    image: str, container: dict[str, Any], models: list[tuple[str, str]]
) -> None:
    service = shown(deployment(image, **container))
    assert told(service) == models
    assert {each.state for each in service.models} <= {ModelState.UNKNOWN}, "whether it is loaded nobody said"


@pytest.mark.parametrize(
    ("image", "container", "words"),
    [
        (TRITON, {"args": ["tritonserver", "--model-repository=/models"]}, "in its model repository /models"),
        (TRITON, {"args": ["tritonserver", "--model-control-mode=explicit", "--load-model=*"]},
         "in its model repository"),
        (TRITON, {"args": ["tritonserver", "--model-control-mode=explicit"]}, "may be loaded and unloaded"),
        (NIM, {"env": [{"name": "NIM_PEFT_SOURCE", "value": "/loras"}]},
         "its adapters lie in /loras (NIM_PEFT_SOURCE)"),
        (VLLM, {"args": ["m"], "env": [{"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "True"}]}, "come and go"),
        (VLLM, {"args": ["--model", "$(FROM_A_SECRET)"]}, "from a variable that is not read here"),
        ("ghcr.io/x/nimify-tui:1", {"args": ["serve", "/models"]}, "what lies in /models"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said_and_nothing_is_made_up(image: str, container: dict[str, Any], words: str) -> None:
    service = shown(deployment(image, **container))
    assert words in service.models_note
    assert "the server alone knows" in service.models_note
    assert all(each.name == "m" for each in service.models)


def test_keys_in_variables_are_not_kept() -> None:
    """Sabotage seen failing: a container that is kept as it comes."""
    env = [{"name": "NGC_API_KEY", "value": "nvapi-secret"}, {"name": "VLLM_API_KEY", "value": "sk-secret"},
           {"name": "NIM_PEFT_SOURCE", "value": "/loras"}, {"name": "HF_TOKEN", "valueFrom": {}}]  # fmt: skip
    made = deployment(NIM, env=env, args=["--api-key", "$(VLLM_API_KEY)"])
    raw = DEPLOYMENT.decoder.decode(json.dumps(made).encode())
    assert "secret" in repr(raw)
    assert "secret" not in repr(raw.packed({}))
    assert "/loras" in repr(raw.packed({}))


def test_a_custom_resource_says_how_the_base_model_is() -> None:
    nim = custom({"state": "Ready", "model": {"name": "meta/llama"}})
    made = deployment(NIM, "o", env=[{"name": "NIM_PASSTHROUGH_ARGS", "value": "--lora-modules x=/p"}])
    service = shown(made, (NIM_SERVICE, nim))
    assert [(each.name, each.state) for each in service.models] == [
        ("meta/llama", ModelState.READY), ("x", ModelState.UNKNOWN),
    ]  # fmt: skip
    kserve = custom(
        {"modelStatus": {"states": {"activeModelState": "FailedToLoad"}, "transitionStatus": "BlockedByFailedLoad",
                         "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "no shards"}}}
    )  # fmt: skip
    made = deployment("kserve/huggingfaceserver:v0.15", "o", args=["--model_name=llama", "--lora-modules", "x=/p"])
    service = shown(made, (INFERENCE_SERVICE, kserve))
    assert [(each.name, each.state, each.reason) for each in service.models] == [
        ("llama", ModelState.FAILED, "no shards"), ("x", ModelState.UNKNOWN, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "args",
    [["--lora-modules", "{" * 3000], ["--lora-modules", '{"name": 3}'], ["--served-model-name"],
     ["-c", "vllm serve 'open"], ["--lora-modules", "\x1b[2Jx=/p"],
     ["--lora-modules", *[f"l{n}=/p" for n in range(9000)]]],
)  # fmt: skip
def test_hostile_arguments_cost_nothing_but_themselves(args: list[str]) -> None:
    service = shown(deployment(VLLM, command=["sh"], args=args))
    assert len(service.models) <= 256
    assert not any("\x1b" in each.name for each in service.models)
