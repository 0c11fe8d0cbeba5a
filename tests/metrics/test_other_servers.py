"""What a Cortex (Mimir's parent) and a VictoriaMetrics said, in their own bytes: causes, and no number too many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.alerting import Alertmanagers, server_of
from nimify_tui.backends.alertmanager.server import Status
from nimify_tui.backends.prometheus.errors import (
    LoginRefused,
    QueryRefused,
    ServerSilent,
    ServerTrouble,
    Throttled,
    from_status,
)
from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct, no_changes
from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import NimifyError
from nimify_tui.config import load
from nimify_tui.controllers.silencing import SilenceController, _Look, _Seen
from nimify_tui.domain.updates import Sampled, SampleFailed, Update
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.metrics import prometheus as source
from nimify_tui.sources.metrics.prometheus import RegionScrapes
from tests.metrics.prom import Prometheus, serving
from tests.metrics.test_prometheus import Scene

CORTEX, VICTORIA = "cortex-1.21.1", "victoriametrics-1.151.0"


@cache
def answers(who: str) -> Any:
    """What one of them said, by the occasion."""
    file = Path(__file__).with_name("samples") / f"{who}.json"
    return json.loads(file.read_text(encoding="utf-8"))["answers"]


def asked(port: int) -> NimifyError:
    """What a question is refused with."""

    async def go() -> None:
        server = PrometheusServer(Direct(ServerPlace(f"http://127.0.0.1:{port}")), SystemClock())
        try:
            await server.samples("up[1m]", 1_795_889_457.0)
        finally:
            server.close()

    return refusal(go)


def alerts_asked(port: int) -> NimifyError:
    """What the question for alerts is refused with."""

    async def go() -> None:
        place = ServerPlace(f"http://127.0.0.1:{port}/alertmanager", what="Alertmanager")
        made = server_of(place, lambda: None, no_changes)
        try:
            await made.alerts()
        finally:
            made.close()

    return refusal(go)


def test_an_alert_that_is_silenced_and_not_marked_so_yet_is_told() -> None:
    """Seen failing where only what is marked was counted: "no alert held back" by a silence that holds."""

    def handle(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        said = answers(CORTEX)["silences" if "/silences" in request.path else "alerts, just silenced"]
        return said["status"], said["body"].encode()

    async def go(port: int) -> str:
        place = ServerPlace(f"http://127.0.0.1:{port}/alertmanager", what="Alertmanager")
        made = server_of(place, lambda: None, no_changes)
        try:
            silences = await made.silences()
            look = _Look((("am",),), {"am": _Seen(made, Status("", 0.0, "", frozenset()), silences)}, {})
            none = Alertmanagers(load([], {}), (), lambda _: None, no_changes, SystemClock())
            return await SilenceController(none, SystemClock())._done(silences[0], look)
        finally:
            made.close()

    with serving(handle) as port:
        said = asyncio.run(go(port))
    assert said.startswith("silenced until 2026-11-28 19:30Z, no alert held back, 1 of it not marked so yet (Cortex")


def refusal(go: Callable[[], Coroutine[Any, Any, None]]) -> NimifyError:
    """The error of what fails."""
    with pytest.raises(NimifyError) as caught:
        asyncio.run(go())
    return caught.value


REFUSALS = [
    (CORTEX, "no tenant", LoginRefused, "does not accept the tenant (401: no org id): set the right tenant"),
    (CORTEX, "no such tenant name", LoginRefused, "(400: tenant ID 'a/b' contains unsupported character '/'): set"),
    (CORTEX, "no prefix", QueryRefused, "has no query API there (404): add its path to the url (Mimir: /prometheus)"),
    (CORTEX, "series", None, "the query hit the max number of series limit (limit: 10 series): raise the server's"),
    (CORTEX, "chunks", None, "the query hit the max number of chunks limit (limit: 3 chunks): raise the server's"),
    (CORTEX, "length", None, "exceeds the limit (query length: 1m13s, limit: 30s): raise the server's query limits"),
    (CORTEX, "size", None, "the query response size exceeds limit (limit: 500 bytes): raise the server's query limits"),
    (CORTEX, "rejected", QueryRefused, "This query does not perform well and has been rejected by the service"),
    (CORTEX, "too many", Throttled, "asks for fewer queries (429: too many outstanding requests): raise its limit"),
    (CORTEX, "alerts, no tenant", LoginRefused, "does not accept the tenant (401: no org id): set the right tenant"),
    (CORTEX, "alerts, unknown tenant", ServerTrouble, "Failed to initialize the Alertmanager: look at its log"),
    (CORTEX, "alerts, two tenants", LoginRefused, "does not accept the tenant (401: multiple org IDs present): set"),
    (VICTORIA, "no path", QueryRefused, 'unsupported path requested: "/nope/api/v1/query": check the path of its url'),
    (VICTORIA, "samples", None, "is more than its -search.maxSamplesPerQuery=3 allows: raise the server's query"),
    (VICTORIA, "memory", None, "is more than its -search.maxMemoryPerQuery=1000 allows: raise the server's query"),
    (VICTORIA, "labels", None, "is more than its -search.maxUniqueTimeseries allows: raise the server's query limits"),
    (VICTORIA, "length", None, "is more than its -search.maxQueryLen=20 allows: raise the server's query limits"),
    (VICTORIA, "busy", Throttled, "asks for fewer queries (429: couldn't start executing the request in 0.001 seconds"),
]  # fmt: skip


def test_each_refusal_is_told_with_its_cause_and_with_what_helps() -> None:
    """None: a smaller question may be answered.

    Seen failing on the code before: a wrong login for a tenant that is missing, "answers 400" for what is said in plain
    text, a limit of VictoriaMetrics as any refusal, whose flag was in the middle that is left out.
    """
    now: dict[str, Any] = {}

    def handle(_: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        return now["status"], now["body"].encode()

    with serving(handle) as port:
        for who, occasion, kind, words in REFUSALS:
            now.update(answers(who)[occasion])
            found = (alerts_asked if occasion.startswith("alerts") else asked)(port)
            assert words in str(found), (who, occasion)
            assert type(found) is (kind or QueryRefused), (who, occasion)
            assert getattr(found, "too_much", False) is (kind is None), (who, occasion)


def test_a_query_that_took_too_long_is_no_limit_of_its_size() -> None:
    """As VictoriaMetrics words it (app/vmselect/netstorage): the flag of the time is none of the size."""
    words = b'{"error":"timeout exceeded during query execution: 5.000 seconds; the timeout can be adjusted with'
    assert isinstance(from_status(422, words + b' `-search.maxQueryDuration` command-line flag"}', "it"), ServerSilent)


def scene(folder: Path) -> Scene:
    return Scene(Prometheus(folder, 0), "", "")


def test_the_end_of_a_series_is_no_newest_scrape_without_numbers(tmp_path: Path) -> None:
    """VictoriaMetrics answers with the mark of the end as a sample that is no number.

    Seen failing with those taken as they came: a scrape of 5 s later in which nothing had been told.
    """
    said = answers(VICTORIA)["stale"]["body"]
    rows = json.loads(said)["data"]["result"]
    ends = {each["values"][-1][0] for each in rows}
    assert (len(ends), {each["values"][-1][1] for each in rows}) == (1, {"NaN"})

    def handle(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        if "/label" not in request.path:
            return 200, said.encode()
        names = {each["metric"]["__name__"] for each in rows}
        labels = {label for each in rows for label in each["metric"]}
        told = sorted(names if "/values" in request.path else labels)
        return 200, json.dumps({"status": "success", "data": told}).encode()

    async def go(port: int) -> list[Update]:
        server = PrometheusServer(Direct(ServerPlace(f"http://127.0.0.1:{port}")), SystemClock())
        found: list[Update] = []
        one = RegionScrapes("cluster", scene(tmp_path).fleet(), server, SystemClock(), pods=True)
        await one.turn(max(ends) + 8.0, found.extend)
        server.close()
        return found + one._updates

    with serving(handle) as port:
        found = asyncio.run(go(port))
    assert not any(isinstance(each, SampleFailed) for each in found)
    newest = [each for each in found if isinstance(each, Sampled)][-1]
    assert newest.at == sorted({at for each in rows for at, _ in each["values"]})[-2]
    assert newest.sample.duration is not None
    assert newest.sample.duration.counts[-1] > 0.0


def test_a_part_of_a_clusters_storage_that_did_not_answer_is_a_warning() -> None:
    """From documentation: https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/"""
    said = b'{"status":"success","isPartial":true,"data":{"resultType":"%b","result":[]}}'

    def handle(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        return 200, said % (b"vector" if "instant" in request.path else b"matrix")

    async def go(port: int) -> set[str]:
        server = PrometheusServer(Direct(ServerPlace(f"http://127.0.0.1:{port}")), SystemClock())
        found = {(await server.instant("instant", 0.0)).warning, (await server.series("up[1m]", 0.0)).warning}
        server.close()
        return found

    with serving(handle) as port:
        assert asyncio.run(go(port)) == {"some of its storage did not answer"}


def test_a_server_is_asked_as_soon_as_somebody_is_there_to_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen failing where that waited for the next whole step (here of a day): a snapshot was over before."""
    monkeypatch.setattr(source, "STEPS_S", (86_400,))
    came = asyncio.Event()
    fleet = Fleet()

    class Later:
        """A fleet that learns of its replicas after it was asked for them."""

        looks = 0

        def metered(self, of_region: str = "") -> Any:
            self.looks += 1
            return (fleet if self.looks == 1 else scene(tmp_path).fleet()).metered(of_region)

        def targets(self) -> Any:
            return []

        def demands(self) -> Any:
            return ()

    def sink(updates: Sequence[Update]) -> None:
        assert any("has none of the metrics" in each.reason for each in updates if isinstance(each, SampleFailed))
        came.set()

    async def go(port: int) -> None:
        server = PrometheusServer(Direct(ServerPlace(f"http://127.0.0.1:{port}")), SystemClock())
        work = asyncio.create_task(RegionScrapes("cluster", Later(), server, SystemClock(), pods=True).run(sink))
        try:
            async with asyncio.timeout(30):
                await came.wait()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            server.close()

    with serving(lambda _: (200, b'{"status":"success","data":[]}')) as port:
        asyncio.run(go(port))
