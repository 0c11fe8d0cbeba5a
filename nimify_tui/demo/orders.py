"""What the traffic process is told, and what it tells: one JSON object a line over a unix socket (0600)."""

from __future__ import annotations

import msgspec

from nimify_tui.demo.menu import Input


class Aim(msgspec.Struct, frozen=True, kw_only=True, tag="aim"):
    """Send ``rps`` requests per second to a service in a region from now on (0: none).

    ``endpoint`` is ``http://127.0.0.1:PORT``; ``binary`` and ``fresh`` are ratios of the requests that
    use binary tensors and that come over a new connection. ``variation`` is how far the rate swings.
    """

    service: str
    region: str
    endpoint: str
    model: str
    inputs: tuple[Input, ...]
    rps: float
    binary: float = 0.3
    fresh: float = 0.1
    variation: float = 0.15
    seed: int = 0
    #: Size of every named axis.
    batch: int = 1


class Pace(msgspec.Struct, frozen=True, kw_only=True, tag="pace"):
    """Multiply the rate of a service in a region by ``factor``."""

    service: str
    region: str
    factor: float


class Raid(msgspec.Struct, frozen=True, kw_only=True, tag="raid"):
    """Attack a service in a region with ``rps`` hostile requests per second from other clients (0: stop)."""

    service: str
    region: str
    rps: float
    seed: int = 0


class Count(msgspec.Struct, frozen=True, kw_only=True, tag="count"):
    """Ask for the counts."""


Order = Aim | Pace | Raid | Count


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the requests to one service in one region.

    ``sent`` counts intended starts, ``failed`` maps a kind ("refused", "reset", "timeout", "http 503")
    to its count; ``sent`` less ``ok`` less the failed ones are still under way. Latencies are
    milliseconds from the intended start, in buckets of which neighbours differ by a tenth.
    ``hostile`` maps what was answered to attacks ("http 400", "closed") to its count.
    """

    service: str
    region: str
    sent: int
    ok: int
    failed: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float
    hostile: dict[str, int]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to every order; ``tallies`` only after :class:`Count`."""

    ok: bool
    error: str = ""
    tallies: tuple[Tally, ...] = ()
