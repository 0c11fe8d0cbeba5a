"""What stands around a service in a cluster: who owns it, what scales it, what protects it, where it is reached."""

from __future__ import annotations

import msgspec


class KeptRevision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A revision that the cluster keeps: ``holder`` is the object that it is written in ("ReplicaSet llama-7d9f").

    ``note`` says in words what it brought. ``wanted`` replicas it shall have now, None where its kind counts none.
    """

    number: int
    holder: str
    created_at: float | None
    note: str = ""
    wanted: int | None = None


class ScalerMetric(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A metric that an autoscaler looks at, as text with its unit; ``current`` "" when it is not known."""

    name: str
    current: str
    target: str


class Scaler(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An autoscaler. ``verdict`` says in plain words what it does, or why it does not scale (then not ``well``)."""

    name: str
    least: int
    most: int
    current: int
    wanted: int
    metrics: tuple[ScalerMetric, ...] = ()
    verdict: str = ""
    well: bool = True


class Budget(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A disruption budget: how many replicas may be taken away now, of how many that are well and must be."""

    name: str
    allowed: int
    healthy: int
    needed: int
    expected: int


class Address(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a service is reached inside the cluster (``host``) or from outside (``outside``), and what stands behind.

    ``ready`` of ``total`` endpoints take traffic; None when they are not seen.
    """

    name: str
    host: str
    ports: tuple[str, ...]
    outside: str = ""
    ready: int | None = None
    total: int | None = None


class OwnerSeen(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A custom resource that keeps the service, or it depends on; ``trouble``: why it is not well, "" when it is."""

    kind: str
    name: str
    state: str
    trouble: str = ""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All of it."""

    owners: tuple[OwnerSeen, ...] = ()
    scalers: tuple[Scaler, ...] = ()
    budgets: tuple[Budget, ...] = ()
    addresses: tuple[Address, ...] = ()
    kept: tuple[KeptRevision, ...] = ()
