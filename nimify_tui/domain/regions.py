"""Regions: places where services run, and how well we see them."""

from __future__ import annotations

import enum

import msgspec


class RegionKind(enum.StrEnum):
    """What kind of place a region is."""

    EMBEDDED = "embedded"
    KUBERNETES = "kubernetes"
    DOCKER = "docker"


class RegionState(enum.StrEnum):
    """How well this host sees a region; DOWN never says that the services there are down."""

    CONNECTING = "CONNECTING"
    LIVE = "LIVE"
    THROTTLED = "THROTTLED"
    STALE = "STALE"
    DOWN = "DOWN"
    AUTH = "AUTH"
    PAUSED = "PAUSED"


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A configured region. ``address`` is where it is reached, for people ("unix:...", a URL).

    ``monitor`` is the Prometheus that has its past, in words ("Prometheus prom:9090"), "" where there is none.
    """

    name: str
    kind: RegionKind
    address: str
    short: str
    production: bool = True
    read_write: bool = False
    demo: bool = False
    monitor: str = ""


class CertificateSeen(msgspec.Struct, frozen=True):
    """A certificate on the way to a region: whose it is in words, and when it ends (unix seconds)."""

    what: str
    ends_at: float


class RegionHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a region is seen now.

    ``since`` is when this state began, ``last_contact_at`` the last sign of life, ``next_try_at``
    when the source tries again (None while connected). ``cause`` is plain words ("connect timed
    out"), ``remedy`` what helps. ``keeper`` says who supervises an embedded region
    ("pid 4711, started by ops").
    """

    state: RegionState
    since: float
    cause: str = ""
    remedy: str = ""
    last_contact_at: float | None = None
    next_try_at: float | None = None
    keeper: str = ""
    certificates: tuple[CertificateSeen, ...] = ()
    #: How far the region's clock is ahead of this host's, seconds; 0 unless ``cause`` tells of it.
    skew_s: float = 0.0
