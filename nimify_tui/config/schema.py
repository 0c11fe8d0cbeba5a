"""What may stand in the configuration: every table and key, its type, its default and what it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from nimify_tui.base.durations import seconds
from nimify_tui.base.files import state_home
from nimify_tui.domain.regions import Region, RegionKind
from nimify_tui.domain.slos import Slo
from nimify_tui.gate.policy import GatePolicy, make_region

VERSION = 1

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
Duration = Annotated[
    str, msgspec.Meta(pattern=r"^\d+(\.\d+)?(s|m|h|d|w)$", description='such as "90s", "1h" or "30d"')
]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every table refuses keys it does not know."""


class SecretRef(_Table, frozen=True):
    """Where a secret lies; exactly one of the four. Secrets themselves never stand in the configuration."""

    env: Text | None = None
    file: Text | None = None
    #: A command as a list of words; its first line of output is the secret.
    exec: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)] | None = None
    keyring: Text | None = None


class Endpoint(_Table, frozen=True):
    """A monitoring server of a region, with how to log in.

    ``tenant`` goes into X-Scope-OrgID, as Mimir and Cortex want it; ``cert_file`` and ``key_file`` are a client's own.
    """

    url: Text
    token: SecretRef | None = None
    username: Text | None = None
    password: SecretRef | None = None
    ca_file: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None
    tenant: Text | None = None


class PrometheusConfig(Endpoint, frozen=True):
    """The Prometheus of a region. ``match``: the labels, with their exact values, that its series bear there.

    Where several clusters tell one server, nothing else says which series are whose.
    """

    match: dict[str, Text] = {}


class RedisConfig(_Table, frozen=True):
    """The Redis that a region's services share: its own address, or "prometheus" for what redis_exporter tells there.

    ``instance`` is the exporter's target, where the region's Prometheus has several.
    """

    url: Text
    username: Text | None = None
    password: SecretRef | None = None
    ca_file: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None
    instance: Text | None = None


class EdgeConfig(_Table, frozen=True):
    """What is probed to learn whether the edge before a region answers from its cache."""

    url: Text
    every: Duration = "30s"
    ca_file: Text | None = None


class UiConfig(_Table, frozen=True):
    """``[ui]``: the screen. ``mouse`` None: on, but off over SSH."""

    color: Literal["auto", "truecolor", "256", "16", "none"] = "auto"
    ascii: bool = False
    mouse: bool | None = None


class RegionConfig(_Table, frozen=True):
    """``[[region]]``: a place where services run.

    ``production`` and ``read_write`` None: the product's defaults (read-only and production, the
    embedded region excepted).
    """

    name: Text
    kind: Literal["kubernetes", "docker", "embedded"] = "embedded"
    context: Text | None = None
    url: Text | None = None
    namespaces: tuple[Text, ...] = ()
    production: bool | None = None
    read_write: bool | None = None
    prometheus: PrometheusConfig | Text | None = None
    #: One, or several: those of a cluster of Alertmanagers are named one by one.
    alertmanager: Endpoint | Text | tuple[Endpoint | Text, ...] | None = None
    redis: RedisConfig | Text | None = None
    edge: EdgeConfig | Text | None = None
    token: SecretRef | None = None
    #: Of a Docker region: the HAProxy before a service, what our runtime's image is built on, and a folder of wheels
    #: for engines that reach no package index.
    front_image: Text | None = None
    base_image: Text | None = None
    wheelhouse: Text | None = None


class SloConfig(_Table, frozen=True):
    """``[[slo]]``: an objective of a service in every region."""

    service: Text
    objective: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.999
    window: Duration = "30d"
    latency_ms: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    quantile: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.95
    ttft_ms: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    min_requests: Annotated[int, msgspec.Meta(ge=1)] = 20


class FeedConfig(_Table, frozen=True):
    """``[[feed]]``: a security feed."""

    name: Text
    kind: Text
    path: Text | None = None
    url: Text | None = None
    token: SecretRef | None = None


class GateConfig(_Table, frozen=True):
    """``[gate]``: what may be changed from here.

    ``open_regions`` opens every region that does not say ``read_write = false`` (``--read-write``).
    """

    read_only: bool = False
    open_regions: bool = False
    max_changes_per_minute: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 60
    plan_ttl_s: Annotated[float, msgspec.Meta(ge=5.0, le=3600.0)] = 300.0


class SecurityConfig(_Table, frozen=True):
    """``[security]``: nothing can be set here yet."""


class ComplianceConfig(_Table, frozen=True):
    """``[compliance]``: nothing can be set here yet."""


class Settings(_Table, frozen=True):
    """The whole file."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)] = VERSION
    ui: UiConfig = UiConfig()
    region: tuple[RegionConfig, ...] = ()
    slo: tuple[SloConfig, ...] = ()
    feed: tuple[FeedConfig, ...] = ()
    gate: GateConfig = GateConfig()
    security: SecurityConfig = SecurityConfig()
    compliance: ComplianceConfig = ComplianceConfig()


class Config(Settings, frozen=True):
    """The configuration that holds, with the origin of each value ("default", a file's line, a variable, a flag)."""

    origins: dict[str, str] = {}
    #: Files that were read, in order.
    files: tuple[str, ...] = ()

    @property
    def gate_policy(self) -> GatePolicy:
        """The gate's rules."""
        gate = self.gate
        return GatePolicy(
            read_only=gate.read_only,
            open_regions=gate.open_regions,
            max_changes_per_minute=gate.max_changes_per_minute,
            plan_ttl_s=gate.plan_ttl_s,
        )

    @property
    def is_default(self) -> bool:
        """True when nobody configured a region: then the kubeconfig's current context is watched too."""
        return self.origins.get("region[0].name") == "default"

    @property
    def regions(self) -> tuple[Region, ...]:
        """The configured regions with the gate's defaults; ``address`` is the folder of an embedded one."""
        return tuple(
            make_region(
                item.name,
                RegionKind(item.kind),
                _address(item),
                production=item.production,
                read_write=item.read_write,
                monitor=_monitor(item),
                policy=self.gate_policy,
            )
            for item in self.region
        )

    @property
    def slos(self) -> tuple[Slo, ...]:
        """The objectives."""
        return tuple(
            Slo(
                service=item.service,
                objective=item.objective,
                window_s=seconds(item.window),
                latency_ms=item.latency_ms,
                quantile=item.quantile,
                ttft_ms=item.ttft_ms,
                min_requests=item.min_requests,
            )
            for item in self.slo
        )

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(key, value, origin) of every value, defaults too; a secret shows as its reference."""
        for name in Settings.__struct_fields__:
            yield from _rows(name, getattr(self, name), self.origins)


def _address(item: RegionConfig) -> str:
    if item.kind == "kubernetes":
        return f"context {item.context}" if item.context else "the kubeconfig's current context"
    if item.kind == "docker":
        return item.url or (f"Docker context {item.context}" if item.context else "the local Docker engine")
    return item.url or str(state_home() / "embedded" / item.name)


def _monitor(item: RegionConfig) -> str:
    """The region's Prometheus in words, without its login."""
    if item.prometheus is None:
        return ""
    from nimify_tui.config.monitoring import place_of

    return place_of(item.prometheus).who


def _rows(path: str, value: Any, origins: dict[str, str]) -> Iterator[tuple[str, Any, str]]:
    if isinstance(value, SecretRef):
        kinds = {
            name: getattr(value, name) for name in value.__struct_fields__ if getattr(value, name) is not None
        }
        yield (
            path,
            "{" + ", ".join(f"{name} = {item!r}" for name, item in kinds.items()) + "}",
            origins.get(path, "default"),
        )
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _rows(f"{path}.{name}", getattr(value, name), origins)
    elif isinstance(value, tuple) and any(isinstance(item, msgspec.Struct) for item in value):
        for index, item in enumerate(value):
            yield from _rows(f"{path}[{index}]", item, origins)
    else:
        yield path, list(value) if isinstance(value, tuple) else value, origins.get(path, "default")
