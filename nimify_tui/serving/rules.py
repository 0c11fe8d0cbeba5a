"""What a connection may do, and whether this process is going away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nimify_tui.serving.lane import Lane


class Drain:
    """Whether this process is going away; connections ask with every request."""

    def __init__(self) -> None:
        self.began = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What a connection may do. ``report`` is told (reason, status, client, path, text) of every refusal."""

    drain: Drain
    max_body_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    keep_alive_s: float
    report: Callable[[str, int, str, bytes, str], None]
    #: So many at once on the listener; further ones are told so and closed.
    max_connections: int
    #: Targets of requests that may be answered without the application; see ``lane``.
    lanes: Mapping[bytes, Lane]
