"""Which models a workload serves, as far as its template and the custom resources above it name them.

Flags and variables: vLLM (docs.vllm.ai, serving/engine_args and features/lora), SGLang (server_args.py), Triton
(docs/user_guide/model_management.md), NVIDIA NIM (docs.nvidia.com/nim, environment variables). What stands in a
model repository or a folder of adapters only the server knows: that is said, and nothing is made up for it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nimify_tui.base.text import clean_line
from nimify_tui.domain.served import ModelKind, ModelState, ServedModel
from nimify_tui.sources.kubernetes.containers import Container
from nimify_tui.sources.kubernetes.custom import INFERENCE_SERVICE, NIM_SERVICE, Custom
from nimify_tui.sources.kubernetes.kinds import Kind

#: Names of one workload that are taken.
MAX_MODELS = 256
_REFERENCE = re.compile(r"\$\(([A-Za-z_]\w*)\)|\$\{([A-Za-z_]\w*)\}|\$([A-Za-z_]\w*)")
_SHELLS = re.compile(r"(^|/)(ba|da|a|k|z)?sh\Z")
_ALONE = "the server alone knows"
_KSERVE_STATES = {
    "Loaded": ModelState.READY, "Loading": ModelState.LOADING, "Pending": ModelState.LOADING,
    "Standby": ModelState.UNLOADED, "FailedToLoad": ModelState.FAILED,
}  # fmt: skip


class Told(NamedTuple):
    """The models that are named, and what is not known of them ("" when nothing)."""

    models: tuple[ServedModel, ...] = ()
    note: str = ""


def words_of(container: Container | None) -> list[str]:
    """The command line of a container as words: a shell's line is taken apart, references to variables are put in."""
    if container is None:
        return []
    words = [*(container.command or ()), *(container.args or ())]
    for at, word in enumerate(words):
        if word in ("-c", "-lc", "-ec") and at and _SHELLS.search(words[at - 1]) and at + 1 < len(words):
            words = words[:at] + _split(words[at + 1]) + words[at + 2 :]
            break
    known = env_of(container)
    return [_REFERENCE.sub(lambda found: known.get(found[1] or found[2] or found[3], found[0]), word) for word in words]


def env_of(container: Container) -> dict[str, str]:
    """The variables of a container that are kept (see :meth:`Workload.packed`), by name."""
    return {each.name: each.value for each in container.env or ()}


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # an open quote: the words as they stand
        return line.split()


def values_of(words: Sequence[str], flag: str) -> list[str]:
    """Everything that follows a flag, up to the next one: ``--flag a b`` and ``--flag=a``, as often as it is there."""
    found: list[str] = []
    for at, word in enumerate(words):
        if word.startswith(f"{flag}="):
            found.append(word.partition("=")[2])
        elif word == flag:
            for each in words[at + 1 :]:
                if each.startswith("-"):
                    break
                found.append(each)
    return found


def served_by(
    family: str, container: Container | None, owners: Sequence[tuple[Kind, Custom]] = ()
) -> Told:
    """What a container of a family serves; ``owners`` are the custom resources above its workload, nearest first."""
    reader = _READERS.get(family)
    if container is None or reader is None:
        return Told()
    told = reader(container)
    models = _unreferenced(told.models)
    note = told.note
    if len(models) < len(told.models):
        note = "; ".join(filter(None, [note, f"a name comes from a variable that is not read here; {_ALONE}"]))
    return Told(_by_owner(models, owners)[:MAX_MODELS], note)


def _unreferenced(models: Sequence[ServedModel]) -> tuple[ServedModel, ...]:
    return tuple(each for each in models if each.name and not _REFERENCE.search(each.name))


def _by_owner(models: tuple[ServedModel, ...], owners: Sequence[tuple[Kind, Custom]]) -> tuple[ServedModel, ...]:
    """The base model's state, as the custom resource above says it; its name where nothing else tells it."""
    for kind, one in owners:
        name, state, reason = _word(kind, one)
        bases = [each for each in models if each.kind is ModelKind.BASE]
        source = f"{kind.name} {clean_line(one.metadata.name, 80)}"
        if not bases and name:
            models = (ServedModel(name=clean_line(name, 200), state=state, reason=reason, source=source), *models)
            break
        if len(bases) == 1 and state is not ModelState.UNKNOWN:
            base = bases[0]
            told = ServedModel(
                name=base.name, kind=base.kind, state=state, reason=reason, source=f"{base.source}; {source}"
            )
            models = tuple(told if each is base else each for each in models)
            break
    return models


def _word(kind: Kind, one: Custom) -> tuple[str, ModelState, str]:
    """(name, state, reason) of the one model that a custom resource tells of."""
    if kind is NIM_SERVICE:
        state = ModelState.READY if one.status.state == "Ready" else ModelState.UNKNOWN
        return one.status.model.name, state, ""
    if kind is INFERENCE_SERVICE:
        said = one.status.model_status
        failure = said.last_failure_info
        state = _KSERVE_STATES.get(said.states.active_model_state, ModelState.UNKNOWN)
        why = clean_line(failure.message or failure.reason, 200) if failure is not None else ""
        return "", state, why if state is ModelState.FAILED else ""
    return "", ModelState.UNKNOWN, ""


# -- one reader for each family ----------------------------------------------------------


def _openai(words: Sequence[str], model: str, adapters: str) -> tuple[ServedModel, ...]:
    """VLLM and SGLang: names of the base model, then adapters as NAME=PATH or as JSON objects."""
    names = values_of(words, "--served-model-name")
    source = "--served-model-name"
    if not names:
        names, source = [model] if model else [], "its arguments"
    return (*_named(names, source), *_adapters(values_of(words, adapters), adapters))


def _named(names: Sequence[str], source: str) -> tuple[ServedModel, ...]:
    """The first name is the model's, the others mean the same."""
    return tuple(
        ServedModel(name=clean_line(name, 200), kind=ModelKind.ALIAS if at else ModelKind.BASE, source=source)
        for at, name in enumerate(dict.fromkeys(names))
    )


def _adapters(values: Sequence[str], source: str) -> tuple[ServedModel, ...]:
    names = [_adapter_name(each) for each in values]
    return tuple(
        ServedModel(name=clean_line(name, 200), kind=ModelKind.ADAPTER, source=source)
        for name in dict.fromkeys(names)
        if name
    )


def _adapter_name(value: str) -> str:
    if value.startswith("{"):
        try:
            made = json.loads(value)
        except (ValueError, RecursionError):
            return ""
        for key in ("name", "lora_name"):
            if isinstance(made, dict) and isinstance(made.get(key), str):
                return str(made[key])
        return ""
    return value.partition("=")[0]


def _vllm(container: Container) -> Told:
    words = words_of(container)
    first = values_of(words, "--model")[:1]
    if not first and "serve" in words[:-1]:
        after = words[words.index("serve") + 1]
        first = [] if after.startswith("-") else [after]
    if not first and not container.command and words and not words[0].startswith("-"):
        first = words[:1]  # the image's own command is `vllm serve`
    models = _openai(words, first[0] if first else "", "--lora-modules")
    at_run_time = env_of(container).get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").lower() in ("1", "true")
    return Told(models, f"adapters may come and go while it runs; which, {_ALONE}" if at_run_time else "")


def _sglang(container: Container) -> Told:
    words = words_of(container)
    first = values_of(words, "--model-path")[:1] or values_of(words, "--model")[:1]
    return Told(_openai(words, first[0] if first else "", "--lora-paths"))


def _nim(container: Container) -> Told:
    env, words = env_of(container), words_of(container)
    passed = _split(env.get("NIM_PASSTHROUGH_ARGS", ""))
    names = [each.strip() for each in env.get("NIM_SERVED_MODEL_NAME", "").split(",") if each.strip()]
    models = _named(names, "NIM_SERVED_MODEL_NAME") or _openai([*words, *passed], "", "--lora-modules")
    if names:
        models += _adapters(values_of([*words, *passed], "--lora-modules"), "--lora-modules")
    folder = env.get("NIM_PEFT_SOURCE", "")
    note = f"its adapters lie in {clean_line(folder, 80)} (NIM_PEFT_SOURCE); which, {_ALONE}" if folder else ""
    return Told(models, note)


def _triton(container: Container) -> Told:
    words = words_of(container)
    mode = [*values_of(words, "--model-control-mode"), ""][0]
    loaded = values_of(words, "--load-model")
    named = [name for name in loaded if name != "*"]
    models = tuple(
        ServedModel(name=clean_line(name, 200), source="--load-model") for name in dict.fromkeys(named)
    )
    if mode == "explicit" and "*" not in loaded:
        return Told(models, f"models may be loaded and unloaded while it runs; which, {_ALONE}")
    folders = values_of(words, "--model-repository") or values_of(words, "--model-store")
    where = f" {clean_line(folders[0], 80)}" if folders else ""
    return Told((), f"it serves what lies in its model repository{where}; which models, {_ALONE}")


def _kserve(container: Container) -> Told:
    words = words_of(container)
    name = [*values_of(words, "--model_name"), *values_of(words, "--model-name"), ""][0]
    return Told(_openai(words, name, "--lora-modules"))


def _ours(container: Container) -> Told:
    words = words_of(container)
    if "serve" not in words[:-1]:
        return Told()
    after = words[words.index("serve") + 1 :]
    place = next((each for each in after if not each.startswith("-")), "")
    if not place or place.endswith(".onnx"):
        return Told(_named(values_of(words, "--name")[:1], "--name"))
    return Told((), f"it serves what lies in {clean_line(place, 80)}; which models, {_ALONE}")


_READERS: dict[str, Callable[[Container], Told]] = {
    "vllm": _vllm, "sglang": _sglang, "nim": _nim, "triton": _triton, "kserve": _kserve, "ours": _ours,
}  # fmt: skip
