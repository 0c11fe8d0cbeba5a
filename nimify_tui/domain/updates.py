"""Updates: the only way facts enter the fleet. Time itself is one of them."""

from __future__ import annotations

import msgspec

from nimify_tui.domain.alertmanagers import ManagerFacts
from nimify_tui.domain.caches import CacheKey, CacheTold
from nimify_tui.domain.changes import Change
from nimify_tui.domain.demands import HistoryDemand, ObjectDemand
from nimify_tui.domain.gpus import GpuMap, GpuPanel
from nimify_tui.domain.history import History
from nimify_tui.domain.measures import ReplicaSample, ReplicaUse
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.objects import ObjectText
from nimify_tui.domain.plans import Rights
from nimify_tui.domain.regions import Region, RegionHealth
from nimify_tui.domain.security import SecurityEvent
from nimify_tui.domain.served import ServedModel
from nimify_tui.domain.services import Replica, Service


class Tick(msgspec.Struct, frozen=True, tag="tick"):
    """Time goes on: ``at`` is now, unix seconds."""

    at: float


class RegionSeen(msgspec.Struct, frozen=True, tag="region"):
    """A region exists and is seen so."""

    at: float
    region: Region
    health: RegionHealth


class RegionGone(msgspec.Struct, frozen=True, tag="region_gone"):
    """A region is no longer configured (a demo ended): it leaves the screen with all it held."""

    at: float
    region: str


class RegionListed(msgspec.Struct, frozen=True, tag="region_listed"):
    """All that a region has at ``at``; what is not in it is gone. ``last_known``: read from disk, not seen."""

    at: float
    region: str
    services: tuple[Service, ...]
    replicas: tuple[Replica, ...]
    last_known: bool = False


class ServiceSeen(msgspec.Struct, frozen=True, tag="service", gc=False):
    """A service is so."""

    at: float
    service: Service


class ServiceGone(msgspec.Struct, frozen=True, tag="service_gone"):
    """A service is no more."""

    at: float
    key: ServiceKey


class ReplicaSeen(msgspec.Struct, frozen=True, tag="replica", gc=False):
    """A replica is so."""

    at: float
    replica: Replica


class ReplicaGone(msgspec.Struct, frozen=True, tag="replica_gone"):
    """A replica is no more."""

    at: float
    key: ReplicaKey


class Sampled(msgspec.Struct, frozen=True, tag="sample", gc=False):
    """A replica's metrics were read."""

    at: float
    key: ReplicaKey
    sample: ReplicaSample


class SampleFailed(msgspec.Struct, frozen=True, tag="sample_failed"):
    """A replica's metrics could not be read; ``reason`` in plain words."""

    at: float
    key: ReplicaKey
    reason: str


class ModelsSeen(msgspec.Struct, frozen=True, tag="models", gc=False):
    """A replica has told which models it has, each version for itself."""

    at: float
    key: ReplicaKey
    models: tuple[ServedModel, ...]


class Used(msgspec.Struct, frozen=True, tag="use", gc=False):
    """What a replica takes of its host was measured, because somebody looks at it."""

    at: float
    key: ReplicaKey
    use: ReplicaUse


class Changed(msgspec.Struct, frozen=True, tag="change"):
    """Something happened."""

    at: float
    change: Change


class SecuritySeen(msgspec.Struct, frozen=True, tag="security"):
    """A security event."""

    at: float
    event: SecurityEvent


class GpusSeen(msgspec.Struct, frozen=True, tag="gpus"):
    """What a node's GPUs say; of a cluster those of all nodes, with its region for a node."""

    at: float
    node: str
    panel: GpuPanel


class CacheSeen(msgspec.Struct, frozen=True, tag="cache"):
    """A cache beside the services was asked."""

    at: float
    told: CacheTold


class CacheFailed(msgspec.Struct, frozen=True, tag="cache_failed"):
    """It could not be asked, and why (one sentence with what helps)."""

    at: float
    key: CacheKey
    reason: str


class AlertmanagerSeen(msgspec.Struct, frozen=True, tag="alertmanager"):
    """An Alertmanager was asked."""

    at: float
    manager: ManagerFacts


class GpuMapSeen(msgspec.Struct, frozen=True, tag="gpu_map"):
    """Who holds the GPUs of a cluster."""

    at: float
    region: str
    places: GpuMap


class ObjectRead(msgspec.Struct, frozen=True, tag="object"):
    """An object that somebody looks at was read, or could not be."""

    at: float
    demand: ObjectDemand
    answer: ObjectText


class HistoryRead(msgspec.Struct, frozen=True, tag="history"):
    """The history of a service that somebody looks at was read, or could not be."""

    at: float
    demand: HistoryDemand
    answer: History


class RightsSeen(msgspec.Struct, frozen=True, tag="rights"):
    """What may be done to a service that is looked at."""

    at: float
    key: ServiceKey
    rights: Rights


Update = (
    Tick
    | RegionSeen
    | RegionGone
    | RegionListed
    | ServiceSeen
    | ServiceGone
    | ReplicaSeen
    | ReplicaGone
    | Sampled
    | SampleFailed
    | ModelsSeen
    | Used
    | Changed
    | SecuritySeen
    | GpusSeen
    | CacheSeen
    | CacheFailed
    | AlertmanagerSeen
    | GpuMapSeen
    | ObjectRead
    | HistoryRead
    | RightsSeen
)
