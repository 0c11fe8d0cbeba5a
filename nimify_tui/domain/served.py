"""The models and adapters that one server serves, as it announces them or as its region's objects name them."""

from __future__ import annotations

import enum

import msgspec


class ModelKind(enum.StrEnum):
    """What answers under a name: a model of its own, the same one under another name, or an adapter (LoRA) of one."""

    BASE = "base"
    ALIAS = "alias"
    ADAPTER = "adapter"


class ModelState(enum.StrEnum):
    """How far a model is. UNKNOWN: nobody who knows was asked; it is never guessed from its server's state."""

    READY = "ready"
    LOADING = "loading"
    FAILED = "failed"
    UNLOADED = "unloaded"
    UNKNOWN = "unknown"


class ServedModel(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One name that a server answers to, in one version ("" where there are none).

    ``source`` says where the name is from ("--lora-modules", "v2/repository/index"), ``reason`` why it is not
    ready, or why its state is not known.
    """

    name: str
    kind: ModelKind = ModelKind.BASE
    state: ModelState = ModelState.UNKNOWN
    version: str = ""
    reason: str = ""
    source: str = ""
