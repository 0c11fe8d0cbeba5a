"""An object of a cluster as its server has it, read once for somebody who looks at it."""

from __future__ import annotations

import msgspec


class ObjectEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster said about an object: last ``at`` (unix seconds), ``count`` times in all."""

    at: float | None
    type: str
    reason: str
    text: str
    count: int = 1
    by: str = ""


class ObjectText(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an ObjectDemand, read ``at`` (unix seconds).

    ``yaml`` is the object as lines, credentials masked and the notes of its managers folded; ``words`` says the
    same for people, as pairs of label and text, a label indented by two blanks for each level. ``error`` and
    ``remedy`` say why it could not be read. ``events_error`` the same of its events alone.
    """

    at: float
    name: str
    kind: str = ""
    yaml: tuple[str, ...] = ()
    words: tuple[tuple[str, str], ...] = ()
    events: tuple[ObjectEvent, ...] = ()
    error: str = ""
    remedy: str = ""
    events_error: str = ""
