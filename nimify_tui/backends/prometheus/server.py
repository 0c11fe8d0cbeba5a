"""Questions to one Prometheus-compatible server: what it has (discovery), one value now, and samples over some time.

Discovery and instant queries are prometheus-api-client's. It is imported in a thread when the first region wants it
(80 ms), runs there, and reaches the server through our own way (:class:`_Bridge`), so that deadlines, limits, logins,
TLS and API servers' proxies are the same for it. Samples over time we ask for and decode ourselves, in a tenth of the
time. The library drops what a server says beside the result (``warnings``: a partial response of Thanos or Mimir): an
instant query reads it from the answer that passed the bridge.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from nimify_tui.backends.kubernetes.errors import said_by
from nimify_tui.backends.prometheus.answers import (
    Answer,
    Names,
    Row,
    Series,
    Value,
    Warned,
    decode_any,
    decode_labels,
    decode_rows,
    decode_told,
)
from nimify_tui.backends.prometheus.columns import Columns
from nimify_tui.backends.prometheus.errors import AnswerTooLarge, BadAnswer, ClientMissing
from nimify_tui.backends.prometheus.ways import Got, Way
from nimify_tui.base.clock import Clock
from nimify_tui.domain.asked import both

if TYPE_CHECKING:
    import requests
    from prometheus_api_client import PrometheusConnect

T = TypeVar("T")
S = TypeVar("S", Row, Series)

#: One question, and one look at what there is, at most so long, seconds.
QUERY_S, DISCOVER_S = 5.0, 10.0
#: A vLLM's series of twenty replicas are some 2 MB.
MAX_BYTES, MAX_SERIES = 8 * 1024 * 1024, 20_000
#: Names and labels are asked for with a filter; a list that is longer is no answer to it.
_MAX_LIST_BYTES = 1024 * 1024
_MAX_WARNINGS = 3
#: The past: a server may need longer for it, and what comes is small (at most a point for each dot of a chart).
RANGE_S, MAX_RANGE_BYTES, MAX_RANGE_SERIES, MAX_POINTS = 15.0, 4 * 1024 * 1024, 300, 2000
#: Below this the clocks of two hosts are called the same: a Date has whole seconds, and an answer its way, seconds.
SAME_CLOCK_S = 2.0
#: How far apart two clocks are is the median of so many answers.
_ANSWERS = 5


class Samples(NamedTuple):
    """The rows of an answer, and in one line what the server warns of ("" for nothing)."""

    rows: list[Row]
    warning: str


class Told(NamedTuple):
    """The series of an answer, and in one line what the server warns of ("" for nothing)."""

    series: list[Series]
    warning: str


class Instant(NamedTuple):
    """The values of an instant query, each with its labels, and in one line what the server warns of ("": nothing)."""

    values: list[tuple[dict[str, str], float]]
    warning: str


class Found(NamedTuple):
    """What a server has of what was asked for: names of metrics, and the labels they bear."""

    names: frozenset[str]
    labels: frozenset[str]


class PrometheusServer:
    """One server. For one event loop."""

    def __init__(
        self, way: Way, clock: Clock, *, max_bytes: int = MAX_BYTES, max_series: int = MAX_SERIES
    ) -> None:
        self._way, self._clock = way, clock
        self._max_bytes, self._max_series = max_bytes, max_series
        #: How far its clock is ahead of ours, seconds; 0 while it is about the same.
        self.ahead_s = 0.0
        self._apart: deque[float] = deque(maxlen=_ANSWERS)

    @cached_property
    def who(self) -> str:
        """The server in words."""
        return self._way.place.who

    @property
    def match(self) -> str:
        """The matchers that every selector asked of it has; "" where all of it is the region's."""
        return self._way.place.match

    @property
    def part(self) -> str:
        """The server in words, and of what of it one asks."""
        return f"{self.who} ({self.match})" if self.match else self.who

    @property
    def near(self) -> bool:
        """Whether it is on this machine, so that its loopback is ours."""
        return self._way.place.near

    def close(self) -> None:
        """End its connections."""
        self._way.close()

    async def past(self, expression: str, begin: float, end: float, step_s: int) -> Samples:
        """What an expression was at each step from ``begin`` to ``end``, aligned to multiples of the step.

        Times are unix seconds of our clock. Raises the errors of this package.
        """
        if step_s < 1 or begin > end or (end - begin) / step_s > MAX_POINTS:
            raise AnswerTooLarge(f"more than {MAX_POINTS} points of {self.who}", "ask for longer steps")
        ahead_s = self.ahead_s
        first, last = (math.floor((at + ahead_s) / step_s) * step_s for at in (begin, end))
        query = [
            ("query", expression), ("start", str(first)), ("end", str(last)), ("step", str(step_s)),
            ("timeout", f"{RANGE_S:g}s"),
        ]  # fmt: skip
        return await self._rows(
            "/api/v1/query_range", query, RANGE_S, min(self._max_bytes, MAX_RANGE_BYTES),
            min(self._max_series, MAX_RANGE_SERIES),
        )  # fmt: skip

    async def names(self, selector: str, begin: float, end: float) -> frozenset[str]:
        """The names of metrics that the series of a selector had in a stretch of time (unix seconds of our clock).

        Raises the errors of this package.
        """
        query = [
            ("match[]", selector), ("start", f"{begin + self.ahead_s:.0f}"), ("end", f"{end + self.ahead_s:.0f}")
        ]  # fmt: skip
        path = "/api/v1/label/__name__/values"
        got = await self._way.ask(path, query, timeout_s=RANGE_S, limit_bytes=_MAX_LIST_BYTES)
        self._compare(got)
        try:
            answer = msgspec.json.decode(got.body, type=Names)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadAnswer(f"{self.who} answers with something else than names", "check the url") from error
        return frozenset(answer.data)

    async def samples(self, expression: str, at: float) -> Samples:
        """The samples that a range selector finds, as of ``at`` (unix seconds of our clock, as all times given back).

        Raises the errors of this package; AnswerTooLarge when it is more than is read, and then nothing is used.
        """
        return await self._rows("/api/v1/query", self._now(expression, at), QUERY_S, self._max_bytes, self._max_series)

    async def series(self, expression: str, at: float) -> Told:
        """As :meth:`samples`, for who asks often: labels and samples are only passed over."""
        query = self._now(expression, at)
        answer = await self._matrix(
            "/api/v1/query", query, QUERY_S, self._max_bytes, self._max_series, decode_told
        )
        return Told(answer.data.result, _said(answer))

    def labels(self, series: Sequence[Series]) -> list[dict[str, str]]:
        """The labels of each, with ``__name__``. Raises BadAnswer."""
        try:
            return [decode_labels(each.metric) for each in series]
        except (msgspec.MsgspecError, RecursionError) as error:
            raise self._bad() from error

    def columns(self, texts: Sequence[msgspec.Raw]) -> Columns:
        """The samples of some series (``Series.values``), at times of our clock. Raises BadAnswer."""
        try:
            return Columns(texts, self.ahead_s)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise self._bad() from error

    def _now(self, expression: str, at: float) -> list[tuple[str, str]]:
        return [("query", expression), ("time", f"{at + self.ahead_s:.3f}"), ("timeout", f"{QUERY_S:g}s")]

    def _bad(self) -> BadAnswer:
        return BadAnswer(f"{self.who} answers with something else than samples", "check the url")

    async def _rows(
        self, path: str, query: Sequence[tuple[str, str]], timeout_s: float, max_bytes: int, max_series: int
    ) -> Samples:
        answer = await self._matrix(path, query, timeout_s, max_bytes, max_series, decode_rows)
        rows, ahead_s = answer.data.result, self.ahead_s
        for row in rows:
            if ahead_s or any(math.isnan(value) for _, value in row.values):  # NaN: see columns
                row.values = [(when - ahead_s, value) for when, value in row.values if not math.isnan(value)]
        return Samples([row for row in rows if row.values], _said(answer))

    async def _matrix(
        self, path: str, query: Sequence[tuple[str, str]], timeout_s: float, max_bytes: int, max_series: int,
        decode: Callable[[bytes], Answer[S]],
    ) -> Answer[S]:  # fmt: skip
        """An answer with samples, whose times are those of its clock."""
        got = await self._way.ask(path, query, timeout_s=timeout_s, limit_bytes=max_bytes)
        self._compare(got)
        try:
            answer = decode_any(decode, got.body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise self._bad() from error
        if answer.status != "success" or answer.data.result_type != "matrix":
            raise self._bad()
        rows = answer.data.result
        if len(rows) > max_series:
            raise AnswerTooLarge(
                f"{self.who} answers with {len(rows)} series, more than {max_series}",
                "drop labels that nobody needs",
            )
        return answer

    async def instant(self, expression: str, at: float) -> Instant:
        """What an expression that gives numbers is ``at`` (unix seconds of our clock). For small answers.

        Raises the errors of this package, ClientMissing among them.
        """
        params = {"time": f"{at + self.ahead_s:.3f}", "timeout": f"{QUERY_S:g}s"}

        def ask(client: PrometheusConnect) -> object:
            return client.custom_query(expression, params)

        result, got = await self._by_library(ask)
        try:
            values = msgspec.convert(result, list[Value], strict=False)
            warned = msgspec.json.decode(got.body if got is not None else b"{}", type=Warned)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadAnswer(f"{self.who} answers with something else than a value", "check the url") from error
        return Instant([(each.metric, each.value[1]) for each in values], _said(warned))

    async def discover(self, names: Sequence[str], at: float, within_s: float) -> Found:
        """Which of these metrics it has had since ``within_s`` seconds before ``at``, and the labels they bear.

        Raises the errors of this package, ClientMissing among them.
        """
        known_s = self.ahead_s
        found = await self._discover(names, at, within_s)
        if abs(self.ahead_s - known_s) > SAME_CLOCK_S:  # that was asked about another time
            found = await self._discover(names, at, within_s)
        wanted = frozenset(names)
        return Found(frozenset(filter(wanted.__contains__, found[0])), frozenset(map(str, found[1])))

    async def _discover(self, names: Sequence[str], at: float, within_s: float) -> tuple[list[str], list[str]]:
        at += self.ahead_s
        params = {
            "match[]": "{" + both(f'__name__=~"{"|".join(names)}"', self.match) + "}",
            "start": f"{at - within_s:.0f}", "end": f"{at + 60.0:.0f}",
        }  # fmt: skip

        def ask(client: PrometheusConnect) -> tuple[list[str], list[str]]:
            return client.get_label_values("__name__", dict(params)), client.get_label_names(dict(params))

        lists, _ = await self._by_library(ask)
        for each in lists:
            if not isinstance(each, list):
                raise BadAnswer("what answers is no Prometheus", "check the url")
        return lists

    async def _by_library(self, ask: Callable[[PrometheusConnect], T]) -> tuple[T, Got | None]:
        """Let the library ask; with the last answer as it came.

        In a thread of its own: it waits for the loop, whose way needs one of the shared threads. Six regions that
        looked at once had taken all of them, and each waited for the others.
        """
        loop = asyncio.get_running_loop()
        bridge, thread = _Bridge(self._way, loop), concurrent.futures.ThreadPoolExecutor(1, "prometheus-client")
        url = f"http://{self._way.place.host or 'server'}"
        try:
            found = await loop.run_in_executor(thread, _connected, bridge, url, ask)
        finally:
            bridge.end()
            thread.shutdown(wait=False)
            if bridge.got is not None:
                self._compare(bridge.got)
        return found, bridge.got

    def _compare(self, got: Got) -> None:
        """How far apart the clocks are, by the latest answers: one that was long on its way is not believed alone."""
        if got.served_at is None:
            return
        ahead_s = got.served_at + 0.5 - got.head_at
        if self._apart and abs(ahead_s - _middle(self._apart)) > RANGE_S:  # no answer is so late: a clock was set
            self._apart.clear()
        self._apart.append(ahead_s)
        ahead_s = _middle(self._apart)
        # What is known to be apart stays so at the limit.
        limit_s = SAME_CLOCK_S / 2 if self.ahead_s else SAME_CLOCK_S
        self.ahead_s = ahead_s if abs(ahead_s) > limit_s else 0.0


def _middle(values: Collection[float]) -> float:
    """The median, of an even number the greater: being late makes a server seem behind, never ahead."""
    return sorted(values)[len(values) // 2]


def _said(answer: Answer[S] | Warned) -> str:
    """What it warns of. ``isPartial``: https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/"""
    said = (answer.warnings or [])[:_MAX_WARNINGS] + ["some of its storage did not answer"] * answer.partial
    return "; ".join(said_by(each, 120) for each in said)


def _connected(bridge: _Bridge, url: str, ask: Callable[[PrometheusConnect], T]) -> T:
    """What the library's own client answers. Blocks; for a thread."""
    try:
        import requests
        from prometheus_api_client import PrometheusConnect
    except ImportError as error:
        raise ClientMissing(
            "prometheus-api-client is not installed", "pip install 'nimify-tui[prometheus]'"
        ) from error

    with requests.Session() as session:
        session.trust_env = False
        client = PrometheusConnect(url, session=session)
        session.mount(url, bridge.adapter())
        try:
            return ask(client)
        except (ValueError, KeyError, TypeError) as error:
            raise BadAnswer("what answers is no Prometheus", "check the url") from error


class _Bridge:
    """Lets a library that blocks in a thread ask through a way that lives on a loop."""

    def __init__(self, way: Way, loop: asyncio.AbstractEventLoop) -> None:
        self._way, self._loop = way, loop
        self._asking: concurrent.futures.Future[Any] | None = None
        self._ended = False
        self.got: Got | None = None

    def end(self) -> None:
        """Nobody waits any more: the thread is let go at once."""
        self._ended = True
        if self._asking is not None:
            self._asking.cancel()

    def ask(self, url: str) -> bytes:
        """The body of a good answer, from any thread but the loop's. Raises the errors of this package."""
        parts = urlsplit(url)
        work = self._way.ask(
            parts.path, parse_qsl(parts.query), timeout_s=DISCOVER_S / 2, limit_bytes=_MAX_LIST_BYTES
        )
        if self._ended:
            work.close()
            raise concurrent.futures.CancelledError
        self._asking = asyncio.run_coroutine_threadsafe(work, self._loop)
        got = self._asking.result()
        self.got = got
        return bytes(got.body)

    def adapter(self) -> requests.adapters.BaseAdapter:
        """Ourselves as what the library sends its requests to."""
        import requests

        bridge = self

        class Adapter(requests.adapters.BaseAdapter):
            def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
                response = requests.Response()
                response.status_code, response.request, response.url = 200, request, request.url or ""
                response._content = bridge.ask(request.url or "")  # noqa: SLF001 - the one way to make an answer
                return response

            def close(self) -> None:
                pass

        return Adapter()
