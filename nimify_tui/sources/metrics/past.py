"""The past of a service out of its region's Prometheus, while somebody looks at its chart: one bounded question each.

Steps are whole multiples of themselves, the same for all who look, so that caches in front of a server help. Apart from
the rows' questions (:mod:`nimify_tui.sources.metrics.prometheus`): neither waits for the other.
https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeGuard

from nimify_tui.backends.prometheus.answers import Row
from nimify_tui.backends.prometheus.errors import QueryRefused, ServerSilent
from nimify_tui.backends.prometheus.server import PrometheusServer, Samples
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, NimifyError
from nimify_tui.domain.asked import both
from nimify_tui.domain.demands import Demand, HistoryDemand, Looks
from nimify_tui.domain.history import ChartMetric, History, Step
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.promql import FAMILIES, QUANTILES, Family, Panel, family_of
from nimify_tui.domain.services import Replica, Service
from nimify_tui.domain.updates import HistoryRead
from nimify_tui.sources.answering import Lookout, Sink
from nimify_tui.sources.metrics.selectors import INSTANCE, POD_LABELS, instances, matching, pods

log = logging.getLogger(__name__)
#: Answers that are kept: the same question is not asked twice. An answer of a server in trouble is asked for again
#: after so many seconds.
KEPT, AGAIN_S = 32, 15.0
#: A step is looked into in so many pieces for what is highest and lowest in it.
PIECES = 12
#: A rate needs so many scrapes, to be one although one of them is missing; scraped as often as Prometheus' default
#: where that cannot be found out, seconds.
SCRAPES, USUAL_SCRAPE_S = 4.0, 60.0
#: How often it is scraped is found out in so much time, seconds.
_COUNTED_S = 600
_MAX_BUCKETS = 128
#: Replicas that are asked for one by one, where no pattern says whose they are: each is named several times in a query.
MOST_NAMES = 60
#: A workload's pods of all revisions, by its kind (generated names: k8s.io/apiserver storage/names/generate.go).
_PODS_OF = {"Deployment": "-[a-z0-9]{1,10}-[a-z0-9]{5}", "StatefulSet": "-[0-9]+", "DaemonSet": "-[a-z0-9]{5}"}
_NAME = re.compile(r"[a-z0-9.-]{1,253}\Z")
_NAMES = sorted({name for family in FAMILIES for name in family.names})


class Known(Looks, Protocol):
    """Who knows the services and what is looked at; the fleet is one."""

    def metered(self, of_region: str = "") -> list[tuple[Service, list[Replica]]]:
        """The services of clusters ("" for all) that tell numbers."""
        ...

    def targets(self) -> list[Replica]:
        """All replicas."""
        ...


class _Found(NamedTuple):
    """How a service is found on a server: the labels of its replicas, its runtime, and how often it is scraped."""

    labels: tuple[str, str]
    family: Family
    scrape_s: float


class PrometheusPast:
    """Answers the HistoryDemands of the regions that have a server. ``has_pods``: whether replicas are pods there."""

    def __init__(
        self, known: Known, servers: Mapping[str, PrometheusServer], has_pods: Callable[[str], bool], clock: Clock
    ) -> None:
        self._known, self._servers, self._has_pods, self._clock = known, servers, has_pods, clock
        self._turns = {name: asyncio.Lock() for name in servers}
        self._found: dict[tuple[ServiceKey, str], _Found] = {}
        self._kept: dict[HistoryDemand, History] = {}

    async def run(self, sink: Sink) -> None:
        """Answer until cancelled."""
        await Lookout(self._known, self._is_ours, self._answer).run(sink)

    def _is_ours(self, demand: Demand) -> TypeGuard[HistoryDemand]:
        return isinstance(demand, HistoryDemand) and demand.key.region in self._servers

    async def _answer(self, demand: HistoryDemand, sink: Sink) -> None:
        """Answer once; while that fails, again and again."""
        while True:
            answer = self._kept.get(demand)
            if answer is None:
                async with self._turns[demand.key.region]:
                    answer = await self._tried(demand)
            sink([HistoryRead(self._clock.now(), demand, answer)])
            if not answer.error:
                self._kept.pop(demand, None)
                self._kept[demand] = answer
                for old in list(self._kept)[:-KEPT]:
                    del self._kept[old]
                return
            await asyncio.sleep(AGAIN_S)

    async def _tried(self, demand: HistoryDemand) -> History:
        server = self._servers[demand.key.region]
        try:
            return await self.read(demand, server)
        except NimifyError as error:
            self._found.pop((demand.key, demand.metric), None)
            return History(at=self._clock.now(), source=server.who, error=error.message, remedy=error.remedy)
        except Exception:  # whatever an answer makes of it: it is logged whole, and asked again
            log.exception("the past that a Prometheus answers could not be understood")
            said = f"what {server.who} answers could not be understood"
            return History(at=self._clock.now(), source=server.who, error=said, remedy="please report this")

    async def read(self, demand: HistoryDemand, server: PrometheusServer) -> History:
        """Ask. Raises the errors of the server."""
        panel, scrape_s = await self._find(demand, server)
        window_s = math.ceil(max(demand.step_s, SCRAPES * scrape_s))
        pieces = _pieces(demand.step_s, SCRAPES * scrape_s)
        note = ""
        try:
            samples = await self._ask(demand, server, panel, window_s, pieces)
        except (QueryRefused, ServerSilent) as error:
            if not pieces:
                raise
            # What is highest in a step costs some times as much as what a step is as a whole.
            pieces, note = 0, f"without peaks: {error.message}"
            samples = await self._ask(demand, server, panel, window_s, 0)
        if samples.warning:
            note = "; ".join(filter(None, (note, f"{server.who} warns: {samples.warning}")))
        bounds, steps = _steps(samples.rows, panel.family.unit_s)
        return History(
            at=self._clock.now(), source=server.who, runtime=panel.family.runtime, step_s=float(demand.step_s),
            piece_s=demand.step_s / pieces if pieces else 0.0, bounds=bounds, steps=steps,
            queries=tuple(panel.lines(demand.metric, window_s)), note=note,
        )  # fmt: skip

    async def _ask(
        self, demand: HistoryDemand, server: PrometheusServer, panel: Panel, window_s: float, pieces: int
    ) -> Samples:
        question = " or ".join(
            f'label_replace({text}, "line", "{line}", "", "")'
            for line, text in _parts(panel, demand.metric, window_s, demand.step_s, pieces)
        )
        return await server.past(question, demand.begin + demand.step_s, demand.end, demand.step_s)

    # -- whose series --------------------------------------------------------------------

    async def _find(self, demand: HistoryDemand, server: PrometheusServer) -> tuple[Panel, float]:
        """Its panel, by the replicas that it has now, and how often it is scraped."""
        # By metric, too: another panel's metrics may be there without this one's.
        known = self._found.get((demand.key, demand.metric))
        for labels, own in self._selectors(demand.key, near=server.near):
            matchers = both(own, server.match)
            if known is not None and known.labels == labels:
                return _panel(known.family, labels, matchers), known.scrape_s
            if known is not None:
                continue
            selector = f'{{__name__=~"{"|".join(_NAMES)}",{matchers}}}'
            family = family_of(await server.names(selector, demand.begin, demand.end))
            if family is None:
                continue
            panel = _panel(family, labels, matchers)
            if demand.metric is ChartMetric.ERRORS and not family.errors:
                raise ClusterError("this runtime does not tell which requests failed", "look at its latency")
            found = _Found(labels, family, await self._scrape_s(panel, demand, server))
            self._found[demand.key, demand.metric] = found
            for old in list(self._found)[:-KEPT]:
                del self._found[old]
            return panel, found.scrape_s
        raise ClusterError(f"{server.part} has no series of it in this time", "is it scraped, and by these labels?")

    def _selectors(self, key: ServiceKey, *, near: bool) -> Iterable[tuple[tuple[str, str], str]]:
        """(labels that tell replicas, matchers) that may find the series of a service, the surest first."""
        if not self._has_pods(key.region):
            replicas = [each for each in self._known.targets() if each.key.service == key]
            for spots in instances(replicas, near=near):
                yield INSTANCE, matching(INSTANCE, "", _few([name for spot in spots for name in spot.names]))
            return
        for service, replicas in self._known.metered(key.region):
            if service.key != key:
                continue
            names = [name for spots in pods([(service, replicas)]) for spot in spots for name in spot.names]
            tail = _PODS_OF.get(service.labels.get("kind", ""))
            # What ran before has other pods: by the names that its kind gives them.
            pattern = key.name.replace(".", "[.]") + tail if tail and _NAME.match(key.name) else ""
            if pattern:
                of_kind = re.compile(f"(?:{pattern})\\Z")
                names = [name for name in names if not of_kind.match(name)]
            for labels in POD_LABELS if names or pattern else ():
                yield labels, matching(labels, key.namespace, _few(names), pattern)

    async def _scrape_s(self, panel: Panel, demand: HistoryDemand, server: PrometheusServer) -> float:
        """How often its replicas are scraped."""
        names = [name for name in panel.family.signs if name in panel.family.names]
        counted = " or ".join(f"count_over_time({name}{{{panel.matchers}}}[{_COUNTED_S}s])" for name in names)
        found = await server.instant(f"{_COUNTED_S} / max({counted})", demand.end)
        values = [value for _, value in found.values if math.isfinite(value)]
        return min(300.0, max(1.0, values[0])) if values else USUAL_SCRAPE_S


def _panel(family: Family, labels: tuple[str, str], matchers: str) -> Panel:
    return Panel(family, matchers, tuple(filter(None, labels)))


def _few(names: list[str]) -> list[str]:
    """The names as they are. Raises ClusterError where they are too many for a question: a part would be no answer."""
    if len(names) > MOST_NAMES:
        raise ClusterError(
            f"its {len(names)} replicas are more than the {MOST_NAMES} that one question can name", "look at one region"
        )
    return names


def _pieces(step_s: int, least_s: float) -> int:
    """Into how many equal pieces of whole seconds, none shorter than ``least_s``, a step is cut; 0: none are needed."""
    return next((n for n in range(PIECES, 1, -1) if step_s % n == 0 and step_s / n >= least_s), 0)


def _parts(
    panel: Panel, metric: ChartMetric, window_s: float, step_s: int, pieces: int
) -> list[tuple[str, str]]:
    """(line, PromQL) of one question."""
    parts: list[tuple[str, str]] = []
    lines: list[str] = []
    piece_s = step_s // pieces if pieces else 0
    match metric:
        case ChartMetric.LATENCY:
            parts = [("counts", panel.buckets(window_s))]
            lines = [panel.quantile(q, piece_s) for q in QUANTILES]
        case ChartMetric.REQUESTS:
            parts = [("total", panel.total(window_s))]
            lines = [panel.total(piece_s)]
        case ChartMetric.ERRORS:
            parts = [("total", panel.total(window_s)), ("errors", panel.errors(window_s))]
            lines = [panel.ratio(piece_s)]
    if pieces:
        # A second less: the piece that ends where the step begins belongs to the step before.
        over = f"[{step_s - 1}s:{piece_s}s]"
        parts += [(f"high{number}", f"max_over_time(({line}){over})") for number, line in enumerate(lines)]
        if metric is ChartMetric.REQUESTS:
            parts.append(("low0", f"min_over_time(({lines[0]}){over})"))
    return parts


def _steps(rows: Sequence[Row], unit_s: float) -> tuple[tuple[float, ...], tuple[Step, ...]]:
    """The steps of an answer; whatever makes no sense is not there."""
    buckets: dict[float, dict[float, float]] = {}
    lines: dict[str, dict[float, float]] = {}
    for row in rows:
        line = row.metric.get("line", "")
        values = {at: value for at, value in row.values if math.isfinite(at) and math.isfinite(value) and value >= 0.0}
        if line != "counts":
            lines[line] = values
        elif (bound := _bound(row.metric.get("le", ""))) is not None and len(buckets) < _MAX_BUCKETS:
            buckets[bound] = values
    bounds = sorted(buckets) if math.inf in buckets else []
    times = sorted({when for values in (*buckets.values(), *lines.values()) for when in values})
    steps = tuple(
        Step(
            at=when,
            counts=_cumulative([buckets[bound].get(when) for bound in bounds]),
            total=lines.get("total", {}).get(when),
            errors=lines.get("errors", {}).get(when),
            low=_extremes(lines, "low", when, 1.0),
            high=_extremes(lines, "high", when, unit_s if bounds else 1.0),
        )
        for when in times
    )
    return tuple(bound * unit_s for bound in bounds[:-1]), steps


def _bound(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return None if math.isnan(found) else found


def _cumulative(counts: Collection[float | None]) -> tuple[float, ...]:
    """Cumulative counts; () where one is missing. Rates of buckets may be out of order by rounding alone."""
    made: list[float] = []
    for each in counts:
        if each is None:
            return ()
        made.append(max(each, made[-1] if made else 0.0))
    return tuple(made)


def _extremes(lines: Mapping[str, Mapping[float, float]], which: str, when: float, unit: float) -> tuple[float, ...]:
    found = [lines.get(f"{which}{number}", {}).get(when) for number in range(len(QUANTILES))]
    told = [each * unit for each in found if each is not None]
    return tuple(told) if len(told) == sum(f"{which}{number}" in lines for number in range(len(QUANTILES))) else ()
