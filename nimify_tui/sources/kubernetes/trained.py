"""TrainedModels of KServe: models that an InferenceService loads beside each other. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.domain.served import ModelState, ServedModel
from nimify_tui.sources.kubernetes.custom import TRAINED_MODEL, Custom, owner_seen
from nimify_tui.sources.kubernetes.pods import condition
from nimify_tui.sources.kubernetes.served import MAX_MODELS

#: Set by what serves it, not by the model: while it is false the model waits.
_WAITS = "InferenceServiceReady"


def with_trained(models: Sequence[ServedModel], trained: Sequence[Custom]) -> tuple[ServedModel, ...]:
    """``models`` of a server, with what its TrainedModels say: a model answers to the name of its TrainedModel."""
    said = {each.metadata.name: _model(each) for each in trained}
    told = [said.pop(each.name) if each.state is ModelState.UNKNOWN and each.name in said else each for each in models]
    known = {each.name for each in told}
    return (*told, *(each for name, each in said.items() if name not in known))[:MAX_MODELS]


def _model(one: Custom) -> ServedModel:
    name, seen = clean_line(one.metadata.name, 120), owner_seen(TRAINED_MODEL, one)
    state = ModelState.READY
    if seen.state != "Ready":
        unmet = {each.type for each in one.status.conditions or () if each.status == "False"} - {"Ready"}
        state = ModelState.FAILED if unmet - {_WAITS} else ModelState.LOADING if unmet else ModelState.UNKNOWN
    ready = condition(one.status.conditions, "Ready")
    reason = seen.trouble or ("" if ready is not None and ready.status == "True" else seen.state)
    return ServedModel(name=name, state=state, reason=reason, source=f"{TRAINED_MODEL.name} {name}")
