"""Everything that is read of a cluster: one line for each kind."""

from __future__ import annotations

from nimify_tui.sources.kubernetes.around import AUTOSCALER, BUDGET, FRONT, SLICE
from nimify_tui.sources.kubernetes.custom import (
    INFERENCE_SERVICE,
    LLM_INFERENCE_SERVICE,
    NIM_CACHE,
    NIM_PIPELINE,
    NIM_SERVICE,
    ROLLOUT,
    TRAINED_MODEL,
)
from nimify_tui.sources.kubernetes.kinds import (
    DAEMON_SET,
    DEPLOYMENT,
    EVENT,
    NODE,
    POD,
    REPLICA_SET,
    REVISION,
    STATEFUL_SET,
    Kind,
)

#: In the order in which they are asked for.
KINDS: tuple[Kind, ...] = (
    DEPLOYMENT, STATEFUL_SET, DAEMON_SET, REPLICA_SET, POD, REVISION, NODE, EVENT, AUTOSCALER, BUDGET, FRONT, SLICE,
)  # fmt: skip
#: Read where the server has them (:mod:`nimify_tui.sources.kubernetes.discovery`).
CUSTOM_KINDS: tuple[Kind, ...] = (
    NIM_SERVICE, NIM_CACHE, NIM_PIPELINE, INFERENCE_SERVICE, LLM_INFERENCE_SERVICE, TRAINED_MODEL, ROLLOUT,
)  # fmt: skip
