"""A small fleet that a test holds: replicas with counters, scraped every two seconds of a clock that the test moves."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate

import msgspec

from nimify_tui.advice.causes import explain
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.measures import Histogram, ReplicaSample
from nimify_tui.domain.names import ReplicaKey, ServiceKey, short_region
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.slos import Slo
from nimify_tui.domain.updates import (
    Changed,
    RegionListed,
    RegionSeen,
    ReplicaSeen,
    Sampled,
    ServiceSeen,
    Tick,
)
from nimify_tui.fleet.frames import Frame, ServiceRow
from nimify_tui.fleet.store import Fleet

#: A whole column begins here.
START_AT = 1_800_000_000.0
BOUNDS_S = (
    0.000125, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.0075, 0.015, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.35, 0.5,
    0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0,
)  # fmt: skip


class Counts:
    """A histogram that counts."""

    def __init__(self, bounds: tuple[float, ...] = BOUNDS_S) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value

    def told(self) -> Histogram:
        return Histogram(self.bounds, tuple(float(each) for each in accumulate(self.buckets)), self.total)


@dataclass
class Load:
    """What a replica is asked each second, and how it does. Latencies are log-normal around ``latency_s``."""

    rps: float = 10.0
    latency_s: float = 0.004
    errors: float = 0.0
    unavailable: float = 0.0
    #: Parts of the usual requests: well formed and not run by the model; refused by it as the clients' mistake.
    failed: float = 0.0
    refused: float = 0.0
    not_finite: float = 0.0
    malformed_rps: float = 0.0
    limited_rps: float = 0.0
    cpu_ratio: float = 0.3
    answers: bool = True


@dataclass
class Server:
    """One replica's process: its counters, and what is asked of it."""

    key: ReplicaKey
    started_at: float
    load: Load = field(default_factory=Load)
    codes: dict[str, float] = field(default_factory=dict)
    rejected: dict[str, float] = field(default_factory=dict)
    security: dict[tuple[str, str], float] = field(default_factory=dict)
    duration: Counts = field(default_factory=Counts)
    compute: Counts = field(default_factory=Counts)
    cpu_s: float = 0.5
    #: The digests of the models that it serves, None where it does not tell.
    digests: tuple[str, ...] | None = None
    owed: float = 0.0

    def work(self, seconds: float, rng: random.Random) -> None:
        """Do what is asked in so many seconds."""
        load = self.load
        if not load.answers:
            return
        self.owed += load.rps * seconds
        while self.owed >= 1.0:
            self.owed -= 1.0
            chance = rng.random()
            code = "200"
            if chance < load.errors:
                code = "500"
            elif chance < load.errors + load.unavailable:
                code = "503"
                self.rejected["queue_full"] = self.rejected.get("queue_full", 0.0) + 1
            else:
                chance -= load.errors + load.unavailable
                for part, status, reason in (
                    (load.failed, "422", "failed"), (load.refused, "400", "malformed"),
                    (load.not_finite, "422", "not_finite"),
                ):  # fmt: skip
                    if chance < part:
                        code = status
                        self.rejected[reason] = self.rejected.get(reason, 0.0) + 1
                        if reason == "malformed":
                            self.security[reason, "refused"] = self.security.get((reason, "refused"), 0.0) + 1
                        break
                    chance -= part
            self.codes[code] = self.codes.get(code, 0.0) + 1
            if code == "400":
                continue
            took_s = load.latency_s * rng.lognormvariate(0.0, 0.25)
            self.duration.observe(took_s)
            self.compute.observe(took_s * 0.9)
        for reason, rps in (("malformed", load.malformed_rps), ("limited", load.limited_rps)):
            count = rps * seconds
            if count:
                self.rejected[reason] = self.rejected.get(reason, 0.0) + count
                self.security[reason, "refused"] = self.security.get((reason, "refused"), 0.0) + count
                if reason == "malformed":
                    self.codes["400"] = self.codes.get("400", 0.0) + count
        self.cpu_s += load.cpu_ratio * seconds

    def sample(self, at: float) -> ReplicaSample:
        """What it would tell now."""
        return ReplicaSample(
            at=at, source="test", started_at=self.started_at, requests=dict(self.codes), duration=self.duration.told(),
            compute=self.compute.told(), rejected=dict(self.rejected), security=dict(self.security),
            batch_sum=self.compute.told().counts[-1], batch_count=self.compute.told().counts[-1], cpu_s=self.cpu_s,
            rss_bytes=5e7, in_flight=1.0, queued=0.0, digests=self.digests,
        )  # fmt: skip


def region_fact(name: str) -> Region:
    """An embedded region that may be changed."""
    return Region(
        name=name, kind=RegionKind.EMBEDDED, address=f"unix:{name}", short=short_region(name), read_write=True
    )


def service_fact(key: ServiceKey, replicas: int = 1, at: float = START_AT - 600, **more: object) -> Service:
    """A service as it is wanted."""
    facts: dict[str, object] = {
        "key": key, "uid": f"uid-{key.name}", "family": "ours", "revision": 1, "desired_replicas": replicas,
        "generation": 1, "observed_generation": 1, "created_at": at, "changed_at": at, "model_sha256": "aa" * 32,
    }  # fmt: skip
    return Service(**(facts | more))  # type: ignore[arg-type]  # fields of several types


def replica_fact(
    key: ReplicaKey, state: ReplicaState = ReplicaState.READY, since: float = START_AT - 500, **more: object
) -> Replica:
    """A replica."""
    facts: dict[str, object] = {
        "key": key, "state": state, "since": since, "revision": 1, "pid": 4711, "started_at": since - 1,
        "admin_url": "http://127.0.0.1:1",
    }  # fmt: skip
    return Replica(**(facts | more))  # type: ignore[arg-type]  # fields of several types


class Town:
    """Regions with services; :meth:`run` lets time go on in steps of a second."""

    def __init__(
        self,
        places: dict[str, dict[str, int]],
        *,
        slos: tuple[Slo, ...] = (),
        seed: int = 1,
        load: Load | None = None,
        fleet: Fleet | None = None,
    ) -> None:
        """``places``: region -> service -> replicas."""
        self.fleet = fleet or Fleet(slos=slos, explain=explain)
        self.at = START_AT
        self.rng = random.Random(seed)
        self.servers: dict[ReplicaKey, Server] = {}
        self.services: dict[ServiceKey, Service] = {}
        self.cut: set[str] = set()
        self.skews_s: dict[str, float] = {}
        first = load or Load()
        for region, services in places.items():
            health = RegionHealth(state=RegionState.LIVE, since=self.at, last_contact_at=self.at)
            self.fleet.apply(RegionSeen(self.at, region_fact(region), health))
            for name, count in services.items():
                key = ServiceKey(region, name)
                self.services[key] = service_fact(key, count)
                for number in range(count):
                    replica = ReplicaKey(key, f"{name}-{number + 1}")
                    self.servers[replica] = Server(replica, START_AT - 501, Load(**first.__dict__))
            mine = [key for key in self.services if key.region == region]
            replicas = tuple(replica_fact(each) for each in self.servers if each.service.region == region)
            self.fleet.apply(
                RegionListed(self.at, region, tuple(self.services[key] for key in mine), replicas)
            )
        self.fleet.publish(self.at)

    def of(self, name: str, region: str) -> list[Server]:
        """The servers of a service in a region."""
        return [server for key, server in self.servers.items() if key.service == ServiceKey(region, name)]

    def run(self, seconds: int) -> Frame:
        """Let time go on: work each second, a scrape every other second, a frame each second."""
        for _ in range(seconds):
            self.at += 1.0
            for number, server in enumerate(self.servers.values()):
                server.work(1.0, self.rng)
                if (int(self.at) + number) % 2 == 0 and server.load.answers:
                    self.fleet.apply(Sampled(self.at, server.key, server.sample(self.at)))
            for region in {key.region for key in self.services} - self.cut:
                health = RegionHealth(
                    state=RegionState.LIVE, since=START_AT, last_contact_at=self.at,
                    skew_s=self.skews_s.get(region, 0.0),
                )  # fmt: skip
                self.fleet.apply(RegionSeen(self.at, region_fact(region), health))
            self.fleet.apply(Tick(self.at))
            self.fleet.publish(self.at)
        return self.fleet.frame

    def row(self, name: str, region: str = "") -> ServiceRow:
        """The row of a service, folded or of one region."""
        return self.fleet.frame.rows[f"{name}@{region}" if region else name]

    def say(
        self, kind: ChangeKind, key: ServiceKey | None, text: str, *, region: str = "", **more: object
    ) -> Change:
        """A change that a supervisor tells now."""
        facts: dict[str, object] = {
            "id": f"c{self.rng.random()}", "at": self.at, "kind": kind, "region": key.region if key else region,
            "key": key, "text": text, "source": "supervisor",
        }  # fmt: skip
        change = Change(**(facts | more))  # type: ignore[arg-type]  # fields of several types
        self.fleet.apply(Changed(self.at, change))
        return change

    def see(self, key: ReplicaKey, state: ReplicaState, **more: object) -> None:
        """A replica's new state, since now unless ``since`` is given."""
        since = more.pop("since", self.at)
        assert isinstance(since, float)
        self.fleet.apply(ReplicaSeen(self.at, replica_fact(key, state, since, **more)))

    def see_service(self, key: ServiceKey, **changes: object) -> None:
        """A service's new facts."""
        self.services[key] = msgspec.structs.replace(self.services[key], **changes)
        self.fleet.apply(ServiceSeen(self.at, self.services[key]))
