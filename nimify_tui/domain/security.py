"""Security events: refused, malformed, limited, crashed."""

from __future__ import annotations

import enum

import msgspec

from nimify_tui.domain.names import ServiceKey


class Severity(enum.StrEnum):
    """How bad, worst first."""

    HIGH = "HIGH"
    MED = "MED"
    LOW = "LOW"
    INFO = "INFO"


class SecurityEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the security feed; repeats are folded into ``count``.

    ``category`` is a word such as "malformed", "limited", "refused", "crashed"; ``action`` what was
    done about it ("refused", "watched", "restarted"); ``client`` who did it, as far as known.
    """

    id: str
    at: float
    severity: Severity
    region: str
    key: ServiceKey | None
    category: str
    text: str
    action: str = ""
    client: str = ""
    count: int = 1
    source: str = ""
