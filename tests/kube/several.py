"""Several real clusters at once, ways to them that can be troubled, and one session on all of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nimify_tui.base.clock import Clock
from nimify_tui.clusters import Wanted
from nimify_tui.config import load
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Verb
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.session import Needs, Session
from tests.kube import pki
from tests.kube.acting import workload
from tests.kube.cluster import Cluster
from tests.kube.faults import FaultProxy, answer
from tests.kube.lines import Line
from tests.kube.reach import OtherLoop
from tests.support import wait_for

NAMES = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1")
#: The namespace that is watched, and the one service in it.
SPACE, SERVICE = "fleet", "web"
#: What a server that is asked for too much answers to everything but its health.
PATIENCE = answer("429 Too Many Requests", headers="Retry-After: 2\r\n")


@contextlib.contextmanager
def started(assets: Path, *names: str, nodes: int = 1) -> Iterator[list[Cluster]]:
    """So many control planes of their own; they end with the block."""
    root = Path(tempfile.mkdtemp(prefix="nk-", dir="/tmp"))
    made: list[Cluster] = []
    try:
        for name in names:
            made.append(Cluster(root / name, assets, name))
            made[-1].up(nodes=nodes)
        yield made
    finally:
        for each in made:
            each.down()
        shutil.rmtree(root, ignore_errors=True)


def settled(*clusters: Cluster, space: str = SPACE) -> None:
    """The namespace with its service of two pods, in each; as it was if it was there."""
    for each in clusters:
        each.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        each.apply(workload(SERVICE, space))


@dataclass(frozen=True)
class Trouble:
    """What can be done to the way to one cluster, and what the console has to say of it."""

    cluster: Cluster
    hurt: Callable[[], object]
    heal: Callable[[], object]
    state: RegionState
    #: One of these is in the cause.
    words: tuple[str, ...]
    #: A server that starts anew knows no version of before (410): each kind is listed once.
    forgets: bool = False


@dataclass
class Ways:
    """How each region is reached; by default straight."""

    clusters: Sequence[Cluster]
    folder: Path
    loop: OtherLoop
    _servers: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def line(self, cluster: Cluster) -> Line:
        """Put a line that can be cut in front of it."""
        line = self.loop.enter(Line(cluster.port))
        self._servers[cluster.name] = (line.address, cluster.ca_pem)
        return line

    def proxy(self, cluster: Cluster) -> FaultProxy:
        """Put a fault proxy in front of it."""
        proxy = self.loop.enter(FaultProxy(cluster.port, pki.own(self.folder, f"proxy-{cluster.name}")))
        self._servers[cluster.name] = (proxy.address, proxy.pair.pem())
        return proxy

    def kubeconfig(self) -> Path:
        """One file with a context for each region."""
        merged = self.clusters[0].kubeconfig()
        for key in ("clusters", "contexts"):
            merged[key] = [each.kubeconfig()[key][0] for each in self.clusters]
        for each in merged["clusters"]:
            if each["name"] in self._servers:
                address, pem = self._servers[each["name"]]
                file = self.folder / f"{each['name']}.crt"
                file.write_bytes(pem)
                each["cluster"] = {"server": address, "certificate-authority": str(file)}
        file = self.folder / "kubeconfig"
        file.write_text(json.dumps(merged), encoding="utf-8")
        return file


def stopped(cluster: Cluster) -> Trouble:
    """The API server is killed, and started again."""
    words = ("connection refused", "broke off")
    return Trouble(cluster, cluster.stop, cluster.start, RegionState.DOWN, words, forgets=True)


def frozen(cluster: Cluster) -> Trouble:
    """The API server gets SIGSTOP: its connections stay open."""
    words = ("no answer to a heartbeat", "does not answer")
    return Trouble(cluster, cluster.freeze, cluster.thaw, RegionState.DOWN, words)


def hung(cluster: Cluster, line: Line, loop: OtherLoop) -> Trouble:
    """What stands before it takes connections and passes nothing on."""
    words = ("no answer to a heartbeat", "does not answer")
    return Trouble(
        cluster, lambda: loop.run(line.freeze()), lambda: loop.run(line.mend()), RegionState.DOWN, words
    )


def cut_off(cluster: Cluster, line: Line, loop: OtherLoop) -> Trouble:
    """The line is dead without a word; the connections of before never speak again."""
    words = ("no answer to a heartbeat", "does not answer")
    return Trouble(
        cluster, lambda: loop.run(line.cut()), lambda: loop.run(line.mend()), RegionState.DOWN, words
    )


def throttled(cluster: Cluster, proxy: FaultProxy, loop: OtherLoop) -> Trouble:
    """The server asks for patience, by everything but its health."""

    def hurt() -> None:
        proxy.faults |= {"/api": PATIENCE}
        loop.run(proxy.sever())

    return Trouble(
        cluster, hurt, proxy.faults.clear, RegionState.THROTTLED, ("patience", "Too Many Requests", "429")
    )


def configured(ways: Ways, space: str = SPACE) -> Path:
    """The configuration of a console on all of them: open for changes, and no production."""
    regions = "".join(
        f'[[region]]\nname = "{each.name}"\nkind = "kubernetes"\ncontext = "{each.name}"\nnamespaces = ["{space}"]\n'
        "read_write = true\nproduction = false\n"
        for each in ways.clusters
    )
    file = ways.folder / "config.toml"
    file.write_text(f"version = 1\n[gate]\nmax_changes_per_minute = 0\n{regions}", encoding="utf-8")
    return file


@contextlib.contextmanager
def watched(ways: Ways, space: str = SPACE, clock: Clock | None = None) -> Iterator[Session]:
    """A session on all of them, once every region is LIVE and its service well."""
    config = load([configured(ways, space)], env={})
    session = Session(config, Needs(), wanted=Wanted(kubeconfig=str(ways.kubeconfig())), clock=clock)
    session.engine.start()
    try:
        for each in ways.clusters:
            until(session, each.name, RegionState.LIVE)
            wait_for(lambda at=each: well(session, key_of(at, space)), 60, why=f"{each.name}: ready")  # type: ignore[misc]  # a default in a lambda
        yield session
    finally:
        session.engine.stop(20.0)


def key_of(cluster: Cluster, space: str = SPACE) -> ServiceKey:
    """The service of one region."""
    return ServiceKey(cluster.name, SERVICE, space)


def health(session: Session, region: str) -> RegionHealth:
    """How a region is seen now."""
    return next(row.health for row in session.frame.regions if row.region.name == region)


def until(session: Session, region: str, state: RegionState, deadline_s: float = 90.0) -> RegionHealth:
    """How the region is seen once it is in this state."""
    wait_for(
        lambda: health(session, region).state is state, deadline_s, why=f"{region} {state}",
        detail=lambda: health(session, region),
    )  # fmt: skip
    return health(session, region)


def well(session: Session, key: ServiceKey) -> bool:
    """Whether a service has all its replicas and nothing is under way."""
    service = session.service(key)
    return (
        service is not None
        and not service.progress
        and len(session.replicas(key)) == service.desired_replicas
    )


def acted(session: Session, request: ActionRequest) -> ActionResult:
    """Plan, confirm and carry out, as the screen does."""
    plan = session.plan(request).result(60)
    return session.carry_out(plan, session.review(plan).expected).result(120)


def scaled(session: Session, key: ServiceKey) -> float:
    """Give a service one replica more or less; seconds until it was so, from the wish on."""
    service = session.service(key)
    assert service is not None
    begun_s = time.monotonic()
    wanted = 2 if service.desired_replicas == 3 else 3
    result = acted(session, ActionRequest(verb=Verb.SCALE, targets=(key,), replicas=wanted))
    assert result.state is ActionState.OK, result
    return time.monotonic() - begun_s


def restarted(session: Session, key: ServiceKey) -> float:
    """Restart a service; seconds until its new pods are ready."""
    begun_s = time.monotonic()
    result = acted(session, ActionRequest(verb=Verb.RESTART, targets=(key,)))
    assert result.state is ActionState.OK, result
    return time.monotonic() - begun_s


def cordoned(session: Session, cluster: Cluster) -> None:
    """Close a node and open it again: a change that needs no controller to become true."""
    request = ActionRequest(verb=Verb.CORDON, targets=(ServiceKey(cluster.name, "node-0"),), kind="Node")
    result = acted(session, request)
    assert result.state is ActionState.OK, result
    assert result.undo is not None
    assert acted(session, result.undo).state is ActionState.OK


class Witness:
    """Looks at every frame of a session, from a thread of its own: how old each region ever was, and its states."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._oldest_s: dict[str, float] = defaultdict(float)
        self._states: dict[str, set[RegionState]] = defaultdict(set)
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    def begin(self) -> None:
        """Forget what was before."""
        with self._lock:
            self._oldest_s.clear()
            self._states.clear()

    def undisturbed(self, region: str, fresh_s: float) -> float:
        """Its greatest age, seconds; AssertionError unless it was LIVE all the time and never older than that."""
        age_s, states = self.found()[region]
        assert states == {RegionState.LIVE}, (region, states)
        assert age_s < fresh_s, (region, age_s)
        return age_s

    def found(self) -> Mapping[str, tuple[float, frozenset[RegionState]]]:
        """By region: its greatest age, seconds, and the states it was in, since :meth:`begin`."""
        with self._lock:
            return {name: (self._oldest_s[name], frozenset(states)) for name, states in self._states.items()}

    def _look(self) -> None:
        while not self._end.wait(0.05):
            rows, now = self._session.frame.regions, time.time()
            with self._lock:
                for row in rows:
                    name, last_at = row.region.name, row.health.last_contact_at
                    self._states[name].add(row.health.state)
                    self._oldest_s[name] = max(self._oldest_s[name], now - (last_at or now))


def lists_since(cluster: Cluster, begin: int) -> Counter[str]:
    """How often our program listed each kind since line ``begin`` of the server's audit log."""
    return Counter(
        each["objectRef"]["resource"]
        for each in cluster.audited()[begin:]
        if each["verb"] == "list" and each.get("userAgent", "").startswith("nimify-tui/")
    )
