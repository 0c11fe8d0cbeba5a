"""What changed, and what it explains."""

from __future__ import annotations

import enum

import msgspec

from nimify_tui.domain.names import ServiceKey


class ChangeKind(enum.StrEnum):
    """Kinds of change on the time line."""

    ROLLOUT = "rollout"
    SCALE = "scale"
    CRASH = "crash"
    HANG = "hang"
    RESTART = "restart"
    CONFIG = "config"
    OPERATOR = "operator"
    TRAFFIC = "traffic"
    SLOWDOWN = "slowdown"
    ATTACK = "attack"
    REGION = "region"
    CREATE = "create"
    DELETE = "delete"
    RECOVERY = "recovery"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened at ``at`` (unix seconds).

    ``key`` is the service it touched, None for a change of the whole ``region``. ``text`` is one
    line for people, ``evidence`` what proves it (exit code, last words, numbers), ``source`` who
    said so ("supervisor", "metrics", "audit"). ``id`` makes repeats harmless.
    """

    id: str
    at: float
    kind: ChangeKind
    region: str
    key: ServiceKey | None
    text: str
    evidence: str = ""
    by: str = ""
    source: str = ""
    revision: int | None = None
    replica: str = ""


class Clue(msgspec.Struct, frozen=True, kw_only=True):
    """One change as an explanation: ``offset_s`` from the onset (negative: before), ``score`` 0 to 1."""

    change: Change
    offset_s: float
    score: float


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a service is as it is: since when, what changed around the onset, best explanation first.

    ``clues`` is empty when nothing known changed; ``verdict`` says so in words. ``elsewhere`` says
    how the same revision does in other regions ("r12 is well in us-east-1, eu-west-1"), "" if
    there is nothing to compare with.
    """

    row_id: str
    region: str
    onset_at: float | None
    symptom: str
    clues: tuple[Clue, ...]
    verdict: str
    elsewhere: str = ""


class Onset(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be explained: a service in a region is unwell since ``at`` (None: it is well).

    ``symptom`` is the row's reason. ``slack_s`` is how exactly ``at`` is known (a chart's column for
    what only metrics show). ``revision`` and ``content`` (the model's sha256) are what should run.
    """

    row_id: str
    key: ServiceKey
    at: float | None
    symptom: str
    slack_s: float = 0.0
    revision: int | None = None
    content: str = ""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The same service in another region: what runs there and whether it is well (None: not known)."""

    region: str
    well: bool | None
    revision: int
    content: str = ""
