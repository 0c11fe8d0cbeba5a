"""From the facts of a file to what an operator needs to know of it."""

from __future__ import annotations

import os
from pathlib import Path

from nimify_tui.domain.models import Finding, FindingLevel, ModelReport, ModelVerdict, TensorInfo
from nimify_tui.domain.names import suggest_name
from nimify_tui.models.external import check_external
from nimify_tui.models.onnx_file import OnnxFile

#: Protobuf's own limit; onnx and onnxruntime refuse a larger single file.
MAX_SINGLE_FILE_BYTES = 2**31 - 1
#: What the runtime carries over HTTP (Open Inference Protocol v2 and its binary extension).
CARRIED = frozenset(
    {"bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
    | {"float16", "float32", "float64", "string"}
)
_STANDARD = frozenset({"ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training"})
#: Operators that onnxruntime brings itself.
_BUILT_IN = frozenset({"com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"})
#: The oldest operator set that onnxruntime promises to run.
_OLDEST_OPSET = 7
_SHOWN = 64

NOT_CHECKED = (
    "the values of the weights",
    "whether the runtime knows every operator (the first replica will tell)",
    "what the model answers",
)


def judge_onnx(path: Path, size_bytes: int, sha256: str, facts: OnnxFile) -> ModelReport:
    """The report on an ONNX file."""
    inputs = [item for item in facts.inputs if item.name not in facts.initialised]
    findings = [*_code(facts), *_sizes(path, size_bytes, facts), *_interface(inputs, facts), *_notes(facts)]
    findings.sort(key=lambda item: list(FindingLevel).index(item.level))
    batchable, reason = batch_guess(inputs, facts.outputs)
    operators = [
        (op if domain == "ai.onnx" else f"{domain}.{op}", n)
        for (domain, op), n in facts.operators.most_common(12)
    ]
    return ModelReport(
        path=os.fsencode(path).decode("utf-8", "replace"),
        format="ONNX",
        size_bytes=size_bytes,
        sha256=sha256,
        producer=facts.producer,
        ir_version=facts.ir_version,
        opsets=tuple(sorted(facts.opsets.items()))[:_SHOWN],
        inputs=tuple(inputs[:_SHOWN]),
        outputs=tuple(facts.outputs[:_SHOWN]),
        parameters=facts.parameters,
        weights_bytes=facts.weights_bytes,
        nodes=sum(facts.operators.values()),
        operators=tuple(operators),
        batchable=batchable,
        batch_reason=reason,
        findings=tuple(findings),
        verdict=_verdict(facts),
        not_checked=NOT_CHECKED,
        deployable=not any(item.level is FindingLevel.ERROR for item in findings),
        suggested_name=suggest_name(path.stem),
        metadata=tuple(facts.metadata[:_SHOWN]),
    )


def batch_guess(inputs: list[TensorInfo], outputs: list[TensorInfo]) -> tuple[bool | None, str]:
    """Whether requests could be batched along the first axis: a guess from the shapes, with its reason.

    Triton's rule: the first axis is open in all inputs and all outputs. A model may still mix rows, so
    only a measurement proves it.
    """
    values = [("input", item) for item in inputs] + [("output", item) for item in outputs]
    if not inputs or not outputs:
        return None, "there are no inputs or no outputs to tell by"
    for what, item in values:
        if item.shape is None:
            return None, f"the shape of {what} {item.name!r} is not known"
        if not item.shape:
            return False, f"{what} {item.name!r} is a scalar"
        if isinstance(item.shape[0], int):
            return False, f"the first axis of {what} {item.name!r} is fixed at {item.shape[0]}"
    names = {item.shape[0] for _, item in values if item.shape}
    if len(names) == 1 and isinstance(next(iter(names)), str):
        return (
            True,
            f"first axis {next(iter(names))!r} is symbolic in all inputs and outputs (a guess until measured)",
        )
    if len(names) == 1:
        return True, "the first axis is open in all inputs and outputs (a guess until measured)"
    shown = ", ".join(sorted(repr(name) for name in names if name is not None)[:4])
    return True, f"the first axis is open everywhere, but under different names ({shown}): a weak guess"


def _verdict(facts: OnnxFile) -> ModelVerdict:
    if any(op == "EPContext" for _, op in facts.operators):
        return ModelVerdict.CONTAINS_CODE
    return ModelVerdict.NEEDS_CODE if _foreign(facts) else ModelVerdict.DATA_ONLY


def _foreign(facts: OnnxFile) -> list[str]:
    known = _STANDARD | _BUILT_IN
    return sorted(
        {
            domain
            for domain, op in facts.operators
            if domain not in known and (domain, op) not in facts.functions
        }
    )


def _code(facts: OnnxFile) -> list[Finding]:
    found = []
    if foreign := _foreign(facts):
        text = f"operators of the domain {', '.join(foreign[:4])} need native code that is not in this file"
        found.append(Finding(FindingLevel.ERROR, text))
    if any(op == "EPContext" for _, op in facts.operators):
        text = "it holds a compiled program for one accelerator (EPContext): only its maker's runtime can judge that"
        found.append(Finding(FindingLevel.ERROR, text))
    if any(domain in _BUILT_IN for domain, _ in facts.operators):
        found.append(Finding(FindingLevel.NOTE, "uses operators that only onnxruntime has (com.microsoft)"))
    return found


def _sizes(path: Path, size_bytes: int, facts: OnnxFile) -> list[Finding]:
    found = []
    if size_bytes > MAX_SINGLE_FILE_BYTES:
        text = "larger than 2 GB in one file: onnxruntime cannot load that; save it again with external data"
        found.append(Finding(FindingLevel.ERROR, text))
    for name, needs, carries in facts.wrong_sizes[:3]:
        text = f"tensor {name[:80]!r} needs {needs} bytes by its shape and carries {carries}"
        found.append(Finding(FindingLevel.ERROR, text))
    if facts.external:
        files = sorted({ref.location for ref in facts.external})
        shown = ", ".join(repr(name[:80]) for name in files[:3]) + (" and more" if len(files) > 3 else "")
        text = f"its weights lie in other files ({shown}): this version deploys single-file models only"
        found.append(Finding(FindingLevel.ERROR, text))
        found += check_external(path.parent, facts.external)
    return found


def _interface(inputs: list[TensorInfo], facts: OnnxFile) -> list[Finding]:
    found = []
    if not facts.outputs:
        found.append(Finding(FindingLevel.ERROR, "it has no outputs"))
    if not inputs:
        found.append(Finding(FindingLevel.ERROR, "it has no inputs: there is nothing to ask it"))
    for what, values in (("input", inputs), ("output", facts.outputs)):
        for item in values[:_SHOWN]:
            if item.dtype not in CARRIED:
                text = f"{what} {item.name[:80]!r} is a {item.dtype}, which the HTTP API cannot carry"
                found.append(Finding(FindingLevel.ERROR, text))
            elif item.shape is None:
                found.append(
                    Finding(FindingLevel.WARNING, f"the shape of {what} {item.name[:80]!r} is not said")
                )
        if len(values) > _SHOWN:
            found.append(Finding(FindingLevel.NOTE, f"{len(values)} {what}s, of which {_SHOWN} are shown"))
        if len({item.name for item in values}) != len(values):
            found.append(Finding(FindingLevel.ERROR, f"two {what}s have the same name"))
    return found


def _notes(facts: OnnxFile) -> list[Finding]:
    found = []
    opset = facts.opsets.get("ai.onnx", 0)
    if not facts.opsets:
        found.append(Finding(FindingLevel.WARNING, "it does not say which operator set it uses"))
    elif 0 < opset < _OLDEST_OPSET:
        text = (
            f"operator set {opset} is older than {_OLDEST_OPSET}, the oldest that onnxruntime promises to run"
        )
        found.append(Finding(FindingLevel.WARNING, text))
    if facts.graphs > 1:
        found.append(Finding(FindingLevel.WARNING, f"{facts.graphs} graphs in one file: readers merge them"))
    if wide := facts.weight_types["float64"]:
        found.append(Finding(FindingLevel.NOTE, f"{wide} weights are float64: float32 is half the memory"))
    loops = [op for op in ("Loop", "Scan", "If") if facts.operators[("ai.onnx", op)]]
    if loops:
        text = f"uses {', '.join(loops)}: how long it runs may depend on the input"
        found.append(Finding(FindingLevel.NOTE, text))
    return found
