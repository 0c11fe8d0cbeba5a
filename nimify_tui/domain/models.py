"""What is in a model file, as read without running anything of it."""

from __future__ import annotations

import enum

import msgspec


class ModelVerdict(enum.StrEnum):
    """How far a file can be trusted by what it is. There is no "safe"."""

    DATA_ONLY = "data-only"
    NEEDS_CODE = "needs code we did not see"
    CONTAINS_CODE = "contains code"
    MALFORMED = "malformed"


class FindingLevel(enum.StrEnum):
    """How much a finding matters: an error keeps the model from being served here."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(msgspec.Struct, frozen=True):
    """One thing that the analysis wants said."""

    level: FindingLevel
    text: str


class TensorInfo(msgspec.Struct, frozen=True):
    """One input or output. ``shape`` holds sizes, names of symbolic axes, None for axes of any size.

    ``dtype`` is numpy's word ("float32"), "string", or what the file says for what is no tensor
    ("sequence", "map"); ``shape`` is empty for a scalar and None when the file does not say.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a model file.

    ``deployable`` is False when it cannot be served here; a finding of level "error" says why.
    ``batchable`` is a guess with ``batch_reason`` until it is measured, None when nothing can be said.
    ``verdict`` is None for a format that this version does not read. ``not_checked`` says what nobody
    looked at. ``weights_bytes`` are the initialisers (external ones included), ``size_bytes`` the file.
    """

    path: str
    format: str
    size_bytes: int
    sha256: str = ""
    producer: str = ""
    ir_version: int = 0
    #: (domain, version); the standard domain is "ai.onnx".
    opsets: tuple[tuple[str, int], ...] = ()
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    parameters: int | None = None
    weights_bytes: int | None = None
    nodes: int = 0
    #: The most frequent operators with their counts, most frequent first.
    operators: tuple[tuple[str, int], ...] = ()
    batchable: bool | None = None
    batch_reason: str = ""
    findings: tuple[Finding, ...] = ()
    verdict: ModelVerdict | None = None
    not_checked: tuple[str, ...] = ()
    deployable: bool = False
    suggested_name: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
