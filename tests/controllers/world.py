"""A world in memory and a supervisor's answers by hand, for tests of plans and actions without a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.clock import ManualClock
from nimify_tui.controllers.desk import ActionDesk
from nimify_tui.controllers.local import LocalController
from nimify_tui.domain.embedded import Reply
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.plans import ActionRequest, Permit, Plan, Verb
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Revision, Service, ServiceSpec
from nimify_tui.gate.gate import Gate
from nimify_tui.gate.journal import Journal
from nimify_tui.gate.policy import GatePolicy, make_region

KEY = ServiceKey("local", "llama-chat")
OTHER = ServiceKey("local", "embed-e5")


def spec(sha256: str = "a" * 64, path: str = "/models/a.onnx") -> ServiceSpec:
    return ServiceSpec(model_path=path, model_sha256=sha256)


def service(key: ServiceKey = KEY, replicas: int = 2, revision: int = 3, generation: int = 7) -> Service:
    revisions = tuple(
        Revision(number=n, created_at=1.0, created_by="ops@host", spec=spec(f"{n:x}" * 64))
        for n in range(1, revision + 1)
    )
    return Service(
        key=key, uid="u1", family="ours", revision=revision, desired_replicas=replicas, generation=generation,
        observed_generation=generation, created_at=1.0, changed_at=1.0, revisions=revisions,
    )  # fmt: skip


def replica(key: ServiceKey, name: str, revision: int, state: ReplicaState = ReplicaState.READY) -> Replica:
    return Replica(
        key=ReplicaKey(key, name),
        state=state,
        since=1.0,
        revision=revision,
        started_at=10.0,
        ready_at=12.5,
        pid=1,
    )


class FakeWorld:
    """Facts by hand. ``changed`` advances the clock and runs the next step of ``script``, if there is one."""

    def __init__(self, clock: ManualClock, *regions: Region) -> None:
        self.clock = clock
        self.regions = {region.name: region for region in regions}
        self.state: dict[str, RegionState] = {}
        self.services: dict[ServiceKey, Service] = {}
        self.running: dict[ServiceKey, list[Replica]] = {}
        self.script: list[Callable[[], object]] = []
        self.waits = 0

    def region(self, name: str) -> tuple[Region, RegionHealth] | None:
        found = self.regions.get(name)
        if found is None:
            return None
        return found, RegionHealth(state=self.state.get(name, RegionState.LIVE), since=0.0, cause="test")

    def service(self, key: ServiceKey) -> Service | None:
        return self.services.get(key)

    def replicas(self, key: ServiceKey) -> Sequence[Replica]:
        return self.running.get(key, [])

    async def changed(self, timeout_s: float) -> None:
        self.waits += 1
        self.clock.advance(timeout_s)
        if self.script:
            self.script.pop(0)()

    def add(self, made: Service) -> None:
        self.services[made.key] = made
        self.running[made.key] = [
            replica(made.key, f"{made.key.name}-{n}", made.revision) for n in range(made.desired_replicas)
        ]


class FakeBackend:
    """A backend as it has to be: asks ``verify`` first, then changes the world at once (or as told)."""

    def __init__(self, world: FakeWorld, verify: Callable[[Permit, Plan], None]) -> None:
        self.world, self.verify = world, verify
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.instantly = True
        self.region = "local"

    def _change(self, name: str, permit: Permit, plan: Plan, call: str, **fields: object) -> Reply:
        self.verify(permit, plan)
        self.calls.append(f"{call} {name}")
        if self.error is not None:
            raise self.error
        key = ServiceKey(self.region, name)
        was = self.world.services[key]
        now = msgspec.structs.replace(was, generation=was.generation + 1, **fields)
        if self.instantly:
            now = msgspec.structs.replace(now, observed_generation=now.generation)
            self.world.add(now)
            if now.stopped:
                self.world.running[key] = []
        else:
            self.world.services[key] = now
        return Reply(id=1, ok=True, generation=now.generation, uid=now.uid)

    async def apply(
        self, name: str, uid: str, generation: int, *, spec: ServiceSpec | None = None, replicas: int | None = None,
        port: int | None = None, permit: Permit, plan: Plan,
    ) -> Reply:  # fmt: skip
        if uid == "":
            self.verify(permit, plan)
            self.calls.append(f"create {name}")
            if self.error is not None:
                raise self.error
            made = msgspec.structs.replace(
                service(ServiceKey(self.region, name), replicas or 1, 1, 1), uid="u2"
            )
            self.world.add(made)
            return Reply(id=1, ok=True, generation=1, uid="u2")
        fields: dict[str, object] = {}
        if replicas is not None:
            fields["desired_replicas"] = replicas
        if spec is not None:
            was = self.world.services[ServiceKey(self.region, name)]
            fresh = Revision(number=was.revision + 1, created_at=2.0, created_by=permit.actor, spec=spec)
            fields |= {"revision": fresh.number, "revisions": (*was.revisions, fresh)}
        return self._change(name, permit, plan, "apply", **fields)

    async def restart(self, name: str, uid: str, generation: int, *, permit: Permit, plan: Plan) -> Reply:
        return self._change(name, permit, plan, "restart")

    async def rollback(
        self, name: str, uid: str, generation: int, revision: int, *, permit: Permit, plan: Plan
    ) -> Reply:
        was = self.world.services[ServiceKey(self.region, name)]
        old = next(item for item in was.revisions if item.number == revision)
        fresh = msgspec.structs.replace(old, number=was.revision + 1)
        fields = {"revision": fresh.number, "revisions": (*was.revisions, fresh)}
        return self._change(name, permit, plan, "rollback", **fields)

    async def set_stopped(
        self, name: str, uid: str, generation: int, stopped: bool, *, permit: Permit, plan: Plan
    ) -> Reply:
        return self._change(name, permit, plan, "stop" if stopped else "start", stopped=stopped)

    async def delete(self, name: str, uid: str, generation: int, *, permit: Permit, plan: Plan) -> Reply:
        self.verify(permit, plan)
        self.calls.append(f"delete {name}")
        if self.error is not None:
            raise self.error
        key = ServiceKey(self.region, name)
        del self.world.services[key]
        self.world.running[key] = []
        return Reply(id=1, ok=True, generation=8, uid=uid)


class Bench:
    """A gate, a desk, a world and a backend on one clock and one private trail."""

    def __init__(self, folder: Path, policy: GatePolicy | None = None, *regions: Region) -> None:
        self.clock = ManualClock()
        self.places = AuditPlaces(folder / "audit", folder / "key", folder / "anchor.json")
        self.audit = AuditLog(self.places, self.clock)
        self.journal = Journal(self.audit, self.clock)
        local = make_region("local", RegionKind.EMBEDDED, "unix:test")
        self.world = FakeWorld(self.clock, local, *regions)
        self.gate = Gate(policy or GatePolicy(), self._region, self.journal, self.clock, "ops@host")
        self.backend = FakeBackend(self.world, self.gate.verify)
        self.controller = LocalController(lambda _: self.backend)
        self.desk = ActionDesk(self.gate, {RegionKind.EMBEDDED: self.controller}, self.world, self.clock)

    def _region(self, name: str) -> Region | None:
        return self.world.regions.get(name)

    def kinds(self) -> list[str]:
        return [str(record["type"]) for record in self.audit.records()]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def plan(bench: Bench, verb: Verb, *keys: ServiceKey, **fields: Any) -> Plan:
    made = run(bench.desk.plan(ActionRequest(verb=verb, targets=keys or (KEY,), **fields)))
    assert isinstance(made, Plan)
    return made


def fact(made: Plan, label: str) -> str:
    return " | ".join(text for name, text in made.facts if name == label)


def model(tmp_path: Path, content: bytes = b"model") -> ServiceSpec:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    return ServiceSpec(model_path=str(path))


# -- plans -----------------------------------------------------------------------------
