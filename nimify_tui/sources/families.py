"""Which runtime a workload is: one table, looked at from top to bottom.

Images and ports: docs.nvidia.com/nim, triton-inference-server/server, docs.vllm.ai, docs.sglang.ai,
nvidia.github.io/TensorRT-LLM, kserve/kserve. What only a port suggests is not taken for a family: 8000 is
everybody's port.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from nimify_tui.domain.gpus import EXPORTER_FAMILY

#: What is served by none of the known runtimes.
OTHER = "other"


class Container(Protocol):
    """What is looked at: an image and what it runs, in a pod or on a Docker host."""

    @property
    def image(self) -> str:
        """Its image as it was asked for."""
        ...

    @property
    def command(self) -> Sequence[str] | None:
        """What replaces the image's entry point."""
        ...

    @property
    def args(self) -> Sequence[str] | None:
        """The arguments."""
        ...


C = TypeVar("C", bound=Container)


@dataclass(frozen=True)
class Family:
    """A runtime: recognised by a label, by the image's path or by words of its command line.

    ``metrics_port`` and ``metrics_path``: where it tells its numbers unless its container says otherwise.
    Flags: tritonserver --help, docs.vllm.ai (serve), docs.sglang.ai (server arguments); NIM_SERVER_PORT:
    docs.nvidia.com/nim (environment variables).
    """

    name: str
    images: re.Pattern[str] | None = None
    labels: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    metrics_port: int = 0
    metrics_path: str = "/metrics"
    #: Where it tells statistics in another way should its metrics be off, and the flag that names another port.
    stats_port: int = 0
    stats_path: str = ""
    stats_flag: str = ""
    #: What names another port: flags of its command line, best first, and a variable.
    port_flags: tuple[str, ...] = ()
    port_env: str = ""


def _images(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


#: First match wins. A label with the value "" matches any value. What stands in front of a runtime (KServe) comes after
#: the runtimes themselves: a predictor that is a Triton is told as a Triton.
FAMILIES: tuple[Family, ...] = (
    Family("ours", _images(r"(^|/)nimify(-tui|-serve)?$"), (("app.kubernetes.io/managed-by", "nimify-tui"),),
           ("nimify-tui serve",), 8000, port_flags=("--admin-port", "--port")),
    Family("nim", _images(r"^nvcr\.io/nim/|(^|/)llm-nim$"), (("app.kubernetes.io/managed-by", "k8s-nim-operator"),),
           (), 8000, "/v1/metrics", port_env="NIM_SERVER_PORT"),
    Family("triton", _images(r"(^|/)tritonserver[^/]*$"), (), ("tritonserver",), 8002,
           stats_port=8000, stats_path="/v2/models/stats", stats_flag="--http-port", port_flags=("--metrics-port",)),
    Family("vllm", _images(r"(^|/)vllm[^/]*$"), (), ("vllm serve", "vllm.entrypoints"), 8000,
           port_flags=("--port",)),
    Family("sglang", _images(r"(^|/)sglang[^/]*$"), (), ("sglang.launch_server",), 30000,
           port_flags=("--port",)),
    Family(EXPORTER_FAMILY, _images(r"(^|/)dcgm-exporter$"), (), (), 9400),
    # Its numbers are not at /metrics, which tells of iterations and forgets what it told.
    Family("trtllm", _images(r"^nvcr\.io/nvidia/tensorrt-llm/|(^|/)tensorrt-?llm[^/]*$"), (), ("trtllm-serve",), 8000,
           "/prometheus/metrics", port_flags=("--port",)),
    Family("kserve", _images(r"^(docker\.io/)?kserve/"), (("serving.kserve.io/inferenceservice", ""),), (), 8080),
    # What stands before services tells how long they take.
    Family("ingress", _images(r"(^|/)ingress-nginx/controller[^/]*$"), (), (), 10254),
    Family("waypoint", None, (("gateway.networking.k8s.io/gateway-class-name", "istio-waypoint"),), (), 15020,
           "/stats/prometheus"),
    # Envoy's image is everybody's: who has put it there says so beside it.
    Family("contour", None, (), ("--service-cluster $(CONTOUR_NAMESPACE)",), 8002, "/stats/prometheus"),
    Family("gateway", None, (("gateway.envoyproxy.io/owning-gateway-name", ""),
                             ("gateway.envoyproxy.io/owning-gatewayclass", "")), (), 19001, "/stats/prometheus"),
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """An image's name in its parts; ``version`` is the tag, or the first digits of the digest."""

    path: str
    version: str


def image_of(name: str) -> Image:
    """``nvcr.io/nim/meta/llama:1.12.0@sha256:...`` as path and version ("" when it says none)."""
    path, _, digest = name.partition("@")
    head, slash, last = path.rpartition("/")
    base, _, tag = last.partition(":")
    return Image(f"{head}{slash}{base}", tag or digest.removeprefix("sha256:")[:12])


def family_of(
    labels: Mapping[str, str], containers: Sequence[C]
) -> tuple[Family | None, C | None]:
    """The family of a pod template and the container that is the runtime; (None, first container) when unknown."""
    for family in FAMILIES:
        for container in containers:
            line = " ".join([*(container.command or ()), *(container.args or ())])
            by_image = family.images is not None and family.images.search(image_of(container.image).path)
            if by_image or any(word in line for word in family.words):
                return family, container
        if any(key in labels and value in ("", labels[key]) for key, value in family.labels):
            return family, containers[0] if containers else None
    return None, containers[0] if containers else None


#: Arguments that name the served model, best first.
_MODEL_ARGUMENTS = (
    "--served-model-name",
    "--model-name",
    "--model_name",
    "--model",
    "--model-path",
    "--model_id",
)


def model_of(words: Sequence[str]) -> str:
    """The model that a runtime's command line names; "" when it names none."""
    for name in _MODEL_ARGUMENTS:
        for number, word in enumerate(words):
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
            if word == name and number + 1 < len(words):
                return words[number + 1]
    if "serve" in words[:-1] and "vllm" in " ".join(words[:2]):
        return words[words.index("serve") + 1]
    return ""
