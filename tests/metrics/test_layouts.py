"""What is remembered of a region's labels changes nothing in what is told, and stays small."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.backends.prometheus.answers import Series, decode_any, decode_rows, decode_told
from nimify_tui.backends.prometheus.errors import BadAnswer
from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct, Got, Pairs
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.demands import Demand
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.plans import Permit, Plan
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import Sampled, Update
from nimify_tui.sources.metrics.exposition import Labels
from nimify_tui.sources.metrics.layouts import Answer, Layouts
from nimify_tui.sources.metrics.pages import told_by
from nimify_tui.sources.metrics.prometheus import RegionScrapes
from nimify_tui.sources.metrics.selectors import POD_LABELS, Spot

PODS, OTHER = POD_LABELS[1], POD_LABELS[2]
SERVER = PrometheusServer(Direct(ServerPlace("http://127.0.0.1:1")), SystemClock())
#: Everything of every target, as it can be compared.
Whole = dict[ReplicaKey, list[tuple[tuple[str, ...], list[float], list[dict[str, list[tuple[Labels, str]]]]]]]


def spot(service: str, pod: str) -> Spot:
    return Spot(ReplicaKey(ServiceKey("eu", service, "ai"), pod), "ai", (pod,))


def series(*rows: tuple[Mapping[str, object], Sequence[tuple[float, str]]]) -> list[Series]:
    """As they come out of a body."""
    result = [{"metric": metric, "values": values} for metric, values in rows]
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})
    return decode_told(body.encode()).data.result


def whole(layouts: Layouts, spots: Sequence[Spot], answers: Sequence[Answer]) -> Whole:
    found: Whole = {}
    for key, told in layouts.told("own", spots, answers, SERVER).items():
        for target in told_by(told.parts, told.texts, told.read, 1e6, 15.0):
            pages = [
                {name: [(labels, repr(value)) for labels, value in each] for name, each in target.page(when).items()}
                for when in target.times
            ]
            found.setdefault(key, []).append((target.labels, target.times, pages))
    return found


NAMES = st.sampled_from(["a_bucket", "a_sum", "b_total"])
#: Labels of targets and of runtimes, one that a server renamed, and one that a hostile one could take for the end of a
#: series.
LABELS = st.dictionaries(
    st.sampled_from(["job", "instance", "le", "code", "model", "exported_model", "weird", "kubernetes_pod_name"]),
    st.sampled_from(["x", "y", "p-0", '"}{"', ""]), max_size=4,
)  # fmt: skip
POINTS = st.lists(
    st.tuples(st.sampled_from([10.0, 25.0, 40.0]), st.sampled_from(["0", "1.5", "NaN", "Inf", "7"])),
    min_size=1, max_size=3, unique_by=lambda pair: pair[0],
).map(sorted)  # fmt: skip
ROW = st.tuples(NAMES, st.sampled_from(["p-0", "p-1", "p-2"]), LABELS, POINTS, st.booleans())
Drawn = tuple[str, str, dict[str, str], list[tuple[float, str]], bool]
#: A turn: what is told, in how many answers, whose pods these are, and what of the turn before it keeps.
TURN = st.tuples(st.lists(ROW, max_size=8), st.booleans(), st.sampled_from(["svc", "other"]), st.booleans())


@given(turns=st.lists(TURN, min_size=2, max_size=6))
@settings(max_examples=200, deadline=None)
def test_what_is_remembered_reads_as_what_is_read_anew(turns: list[tuple[list[Drawn], bool, str, bool]]) -> None:
    """Seen failing with a digest of the number of series alone, with one without the labels of the answer, and with
    questions known without their replicas.
    """
    layouts, before = Layouts(), list[Drawn]()
    for rows, split, service, again in turns:
        layouts.begin()
        rows = before if again else rows  # the same series, and of other numbers below
        before = rows
        made = []
        for at, (name, pod, labels, points, first) in enumerate(rows):
            told = {"namespace": "ai", "pod": pod, **labels}
            metric = {"__name__": name, **told} if first else {**told, "__name__": name}
            made.append((metric, [(when, str(at)) for when, _ in points] if again else points))
        found = series(*made)
        cut = len(found) // 2 if split else len(found)
        one_way, other = (OTHER, PODS) if again else (PODS, OTHER)  # found by other labels: of other replicas
        answers = [Answer(one_way, found[:cut]), Answer(other, found[cut:])]
        spots = [spot(service, f"p-{n}") for n in range(3)]
        assert whole(layouts, spots, answers) == whole(Layouts(0), spots, answers)


class Counting(PrometheusServer):
    """Counts how often labels are read."""

    read = 0

    def labels(self, series: Sequence[Series]) -> list[dict[str, str]]:
        """See :class:`PrometheusServer`."""
        self.read += 1
        return super().labels(series)


def one(pod: str, *values: tuple[float, str], **labels: object) -> tuple[Mapping[str, object], list[tuple[float, str]]]:
    return {"__name__": "b_total", "namespace": "ai", "pod": pod, **labels}, list(values)


def test_only_new_labels_are_read_and_what_is_not_asked_for_any_more_is_forgotten() -> None:
    server, layouts = Counting(Direct(ServerPlace("http://127.0.0.1:1")), SystemClock()), Layouts()

    def turn(*asked: tuple[list[Spot], list[Series]]) -> None:
        layouts.begin()
        for spots, found in asked:
            layouts.told("own", spots, [Answer(PODS, found)], server)

    first, second = [spot("svc", "p-0")], [spot("svc", "p-1")]
    turn((first, series(one("p-0", (1.0, "1")))), (second, series(one("p-1", (1.0, "1")))))
    both = layouts.weight
    assert server.read == 2
    turn((first, series(one("p-0", (2.0, "5")))), (second, series(one("p-1", (2.0, "NaN")))))
    assert (server.read, layouts.weight) == (2, both), "numbers alone: nothing is read, and no more is kept"
    turn((first, series(one("p-0", (3.0, "5"), code="200"))))
    assert server.read == 3
    layouts.begin()
    assert 0 < layouts.weight < both, "of the second replica nothing is kept"
    layouts.begin()
    assert layouts.weight == 0


def test_what_is_more_than_may_be_kept_is_read_each_time_and_is_as_right() -> None:
    """Labels of a hostile server are as long as it likes. Seen failing without the limit: the text was kept."""
    server = Counting(Direct(ServerPlace("http://127.0.0.1:1")), SystemClock())
    layouts, spots = Layouts(10_000), [spot("svc", "p-0")]
    for turn in range(3):
        layouts.begin()
        found = series(one("p-0", (1.0, str(turn)), model="x" * 20_000))
        (told,) = layouts.told("own", spots, [Answer(PODS, found)], server).values()
        ((page,),) = ([each.page(1.0) for each in told_by(told.parts, told.texts, told.read, 1e6, 15.0)],)
        assert page["b_total"][0].value == float(turn)
    assert (server.read, layouts.weight) == (3, 0)


def test_what_is_kept_is_no_more_than_it_is_said_to_be() -> None:
    """By what Python itself counts. Seen failing with the labels' texts left out of the sum."""
    layouts, spots = Layouts(), [spot("svc", f"p-{n}") for n in range(20)]
    rows = [
        one(f"p-{at % 20}", (1.0, "1"), __name__=f"n_{at % 97}", model=f"m-{at % 20}", le=f"{at}")
        for at in range(4000)
    ]
    answers = [Answer(PODS, series(*rows))]
    tracemalloc.start()
    try:
        layouts.begin()
        layouts.told("own", spots, answers, SERVER)
        gc.collect()
        with_all = tracemalloc.get_traced_memory()[0]
        layouts._known.clear()
        gc.collect()
        kept = with_all - tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.4 * layouts.weight < kept <= layouts.weight


def test_a_value_may_be_infinite_as_a_server_writes_it() -> None:
    """Prometheus writes ``+Inf`` (strconv.FormatFloat). Seen failing without it: the answer was no samples."""
    values = [(1.0, "+Inf"), (2.0, "-Inf"), (3.0, "NaN"), (4.0, "5")]
    text = ',"+Inf"]'
    body = json.dumps(
        {
            "status": "success",
            "data": {
                "resultType": "matrix",
                "result": [{"metric": {"le": "+Inf", "code": text}, "values": values}],
            },
        },
        separators=(",", ":"),
    ).encode()  # fmt: skip
    (told,) = decode_told(body).data.result
    columns = SERVER.columns([told.values])
    assert repr([columns.at(when) for when in (1.0, 2.0, 3.0, 4.0)]) == "[[inf], [-inf], [None], [5.0]]"
    assert SERVER.labels([told]) == [{"le": "+Inf", "code": text}]
    (row,) = decode_any(decode_rows, body).data.result
    assert repr(row.values) == "[(1.0, inf), (2.0, -inf), (3.0, nan), (4.0, 5.0)]"
    with pytest.raises(msgspec.ValidationError):
        decode_any(decode_rows, body.replace(b"-Inf", b"-Ynf"))
    with pytest.raises(BadAnswer, match="something else than samples"):
        SERVER.columns([msgspec.Raw(bytes(told.values).replace(b"-Inf", b"-Ynf"))])


@pytest.mark.parametrize("labels", [["a"], {"__name__": 1}, None, "text"])
def test_labels_that_are_none_are_told_as_no_samples_each_time(labels: object) -> None:
    layouts, spots = Layouts(), [spot("svc", "p-0")]
    for _ in range(2):
        found = series((labels, [(1.0, "1")]))  # type: ignore[arg-type]  # what a server must not send
        with pytest.raises(BadAnswer, match="answers with something else than samples"):
            layouts.told("own", spots, [Answer(PODS, found)], SERVER)
    assert layouts.weight == 0


# -- a whole region -------------------------------------------------------------------------


class Pod(NamedTuple):
    """One pod of the town that the server below scrapes."""

    service: str
    name: str
    instance: str
    codes: tuple[str, ...]
    since: float
    model: str = "m"


class Town:
    """A server's way: it answers of pods that come, go, restart, are renamed and get new labels, each by chance."""

    place = ServerPlace("http://127.0.0.1:1")

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.now, self._counts, self._turned = 1e6, 0.0, False
        self.pods = [Pod(f"svc-{n}", f"p-{n}", f"10.0.0.{n}:8000", ("200",), 1e6) for n in range(4)]

    def change(self) -> None:
        """Another turn: 5 s later, and mostly something is different."""
        self.now += 5.0
        rng, at = self._rng, self._rng.randrange(len(self.pods))
        pod = self.pods[at]
        match rng.randrange(9):
            case 0:
                self.pods[at] = pod._replace(codes=tuple(sorted({*pod.codes, rng.choice(["422", "500", "503"])})))
            case 1:
                self.pods[at] = pod._replace(since=self.now, codes=("200",))  # restarted: counts begin again
            case 2:
                self.pods[at] = pod._replace(instance=f"10.0.1.{rng.randrange(9)}:8000")  # scraped elsewhere
            case 3:
                self.pods[at] = pod._replace(service=rng.choice(["svc-0", "svc-1", "svc-9"]))  # of another owner
            case 4:
                self.pods[at] = pod._replace(model=rng.choice(["m", "n"]))
            case 5:
                self._turned = not self._turned  # its labels in another order
            case 6 if len(self.pods) > 2:
                del self.pods[at]
            case 7:
                name = f"q-{rng.randrange(50)}"
                if all(each.name != name for each in self.pods):
                    self.pods.append(pod._replace(name=name, since=self.now))

    async def send(
        self, method: str, path: str, body: bytes, *, permit: Permit, plan: Plan, timeout_s: float
    ) -> bytes:
        """See :class:`nimify_tui.backends.prometheus.ways.Way`."""
        raise AssertionError("nothing is changed")

    async def ask(self, path: str, query: Pairs, *, timeout_s: float, limit_bytes: int) -> Got:
        """See :class:`nimify_tui.backends.prometheus.ways.Way`."""
        data: object = self._matrix()
        if path == "/api/v1/labels":
            data = ["__name__", "namespace", "pod", "instance", "job"]
        elif "__name__" in path:
            data = ["nimify_inference_requests_in_flight", "nimify_inference_requests_total"]
        return Got(json.dumps({"status": "success", "data": data}).encode(), None, self.now)

    def close(self) -> None:
        """See :class:`nimify_tui.backends.prometheus.ways.Way`."""

    def _matrix(self) -> object:
        rows = []
        name = "nimify_inference_request"
        for pod in self.pods:
            told = {"namespace": "ai", "pod": pod.name, "instance": pod.instance, "job": "j", "model": pod.model}
            own = [({"__name__": f"{name}s_total", "code": code}, n + 1.0) for n, code in enumerate(pod.codes)]
            for le, share in (("0.1", 0.5), ("+Inf", 1.0)):
                own.append(({"__name__": f"{name}_duration_seconds_bucket", "le": le}, share))
            own.append(({"__name__": f"{name}s_in_flight"}, 0.0))
            for labels, per_s in own:
                times = [at for at in (self.now - 6.0, self.now - 1.0) if at >= pod.since]
                metric = {**told, **labels} if self._turned else {**labels, **told}
                if times:
                    rows.append({"metric": metric, "values": [(at, str(per_s * (at - pod.since))) for at in times]})
        return {"resultType": "matrix", "result": sorted(rows, key=lambda row: str(row["metric"]))}


class Knows:
    """Who knows the services of a town."""

    def __init__(self, town: Town) -> None:
        self._town = town

    def metered(self, _of_region: str = "") -> list[tuple[Service, list[Replica]]]:
        """See :class:`nimify_tui.sources.metrics.prometheus.Known`."""
        found: dict[str, list[Pod]] = {}
        for pod in self._town.pods:
            found.setdefault(pod.service, []).append(pod)
        return [
            (
                Service(
                    key=ServiceKey("eu", name, "ai"), uid=name, family="nimify", revision=1, desired_replicas=1,
                    generation=1, observed_generation=1, created_at=1.0, changed_at=1.0, metrics_at="8000/metrics",
                ),
                [
                    Replica(
                        key=ReplicaKey(ServiceKey("eu", name, "ai"), pod.name), state=ReplicaState.READY, since=1.0,
                        revision=1,
                    )
                    for pod in pods
                ],
            )
            for name, pods in found.items()
        ]  # fmt: skip

    def targets(self) -> list[Replica]:
        """Nobody is scraped by us."""
        return []

    def demands(self) -> frozenset[Demand]:
        """Nobody looks."""
        return frozenset()


class Ticking(SystemClock):
    """The clock of a town; its questions need no pause."""

    def __init__(self, town: Town) -> None:
        self._town = town

    def now(self) -> float:
        """Unix seconds."""
        return self._town.now

    def mono_s(self) -> float:
        """Seconds."""
        return self._town.now


@pytest.mark.parametrize("seed", range(8))
def test_a_region_tells_the_same_with_and_without_a_memory(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods restart, come and go, change their owner, their address, labels and order. Seen failing with a digest of the
    number of series alone.
    """
    monkeypatch.setattr("nimify_tui.sources.metrics.prometheus.CAP_RPS", 1e9)

    async def go(most_bytes: int) -> tuple[list[Update], int]:
        town = Town(seed)
        clock, told = Ticking(town), list[Update]()
        server = Counting(town, clock)
        region = RegionScrapes("eu", Knows(town), server, clock, pods=True)
        region._layouts = Layouts(most_bytes)
        for _ in range(40):
            town.change()
            await region.turn(town.now, told.extend)
        return told, server.read

    (kept, read), (fresh, every) = asyncio.run(go(1 << 20)), asyncio.run(go(0))
    assert kept == fresh
    assert sum(isinstance(each, Sampled) for each in kept) > 60
    assert read < every, "something was remembered"
