"""Who plays in the demo: regions, services, where they run, and how much traffic they get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nimify_tui.domain.services import Limits, ServiceSpec
from nimify_tui.domain.slos import ANNOTATION

#: The six regions, the primary first.
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1")

#: Who the demo says it is when it creates services, and who rolls out.
ACTOR = "demo"
DEPLOYER = "ci"


@dataclass(frozen=True)
class Role:
    """One service: its model in the zoo, replicas and requests per second in each region.

    ``places`` maps a region to (replicas, requests per second). ``binary`` is the ratio of requests
    that use the binary tensor extension, ``fresh`` the ratio that come over a new connection.
    """

    service: str
    model: str
    places: Mapping[str, tuple[int, float]]
    binary: float = 0.3
    fresh: float = 0.1
    stopped: bool = False


@dataclass(frozen=True)
class Part:
    """One service in one region."""

    service: str
    region: str
    model: str
    replicas: int
    rps: float
    binary: float
    fresh: float
    stopped: bool


#: Cheapest models first: they are the first to answer.
ROLES = (
    Role(
        "embed-e5", "embed-e5",
        {"us-east-1": (2, 22), "us-west-2": (1, 12), "eu-west-1": (1, 14), "ap-northeast-1": (1, 9)},
    ),
    Role("toxicity", "toxicity", {"us-east-1": (1, 14), "eu-central-1": (2, 12), "ap-southeast-1": (1, 6)}),
    Role("rank-lgbm", "rank-lgbm", {"us-east-1": (1, 8), "ap-southeast-1": (1, 5)}, binary=0.0),
    Role("fraud-score", "fraud-score", {"ap-northeast-1": (2, 10)}, binary=0.0, fresh=0.3),
    Role("spell-fix", "spell-fix", {"eu-west-1": (1, 6), "eu-central-1": (1, 5)}),
    Role("rerank-v2", "rerank-v2", {"us-west-2": (2, 9)}, binary=0.8),
    Role("guard-mini", "guard-mini", {"us-east-1": (1, 6)}),
    Role("ocr-lines", "ocr-lines", {"us-west-2": (1, 4)}, binary=1.0),
    Role("tts-multi", "tts-multi", {"ap-southeast-1": (1, 3)}, binary=0.5),
    Role("asr-large", "asr-large", {"eu-central-1": (1, 3)}, binary=1.0),
    Role("vision-l14", "vision-l14", {"us-east-1": (1, 3), "eu-west-1": (1, 2)}, binary=1.0),
    Role("batch-llm", "guard-mini", {"us-east-1": (1, 0)}, stopped=True),
)  # fmt: skip


#: Who has promised how many good requests; those that are not named have no objective.
OBJECTIVES = {
    "embed-e5": "objective=0.999", "toxicity": "objective=0.999", "fraud-score": "objective=0.9995",
    "spell-fix": "objective=0.99", "rerank-v2": "objective=0.995", "guard-mini": "objective=0.999",
    "ocr-lines": "objective=0.99", "asr-large": "objective=0.99", "vision-l14": "objective=0.99",
}  # fmt: skip


def labels_of(service: str) -> dict[str, str]:
    """What the demo labels a service with."""
    objective = OBJECTIVES.get(service)
    return {"demo": "true"} | ({ANNOTATION: objective} if objective is not None else {})


def parts(regions: int) -> tuple[Part, ...]:
    """Everything that runs in the first ``regions`` regions, in the order in which it is started."""
    chosen = REGIONS[:regions]
    return tuple(
        Part(role.service, region, role.model, replicas, rps, role.binary, role.fresh, role.stopped)
        for role in ROLES
        for region, (replicas, rps) in role.places.items()
        if region in chosen
    )


def demo_spec(model: Path, limits: Limits | None = None, *, labels: dict[str, str]) -> ServiceSpec:
    """What a service of the demo runs: on the CPU, also where there is a GPU, whose memory is for others."""
    return ServiceSpec(
        model_path=str(model), limits=limits or Limits(), arguments=("--provider", "cpu"), labels=labels
    )
