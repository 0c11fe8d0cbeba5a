"""A shared cache, asked itself and by its exporter: Debian's Redis 7.0 and redis_exporter 1.45, and hostile answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.backends.prometheus.errors import BadAnswer
from nimify_tui.backends.prometheus.place import Secret, ServerPlace
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct
from nimify_tui.backends.redis import server as module
from nimify_tui.backends.redis.place import RedisPlace
from nimify_tui.backends.redis.resp import MAX_LINE, ErrorReply, answer, command, fields, number
from nimify_tui.backends.redis.server import Look, RedisServer, looked_at
from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.caches import CacheKey, CacheTold
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.updates import CacheFailed, CacheSeen, RegionSeen, Update
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.caches.edge import EdgeProbe
from nimify_tui.sources.caches.exporter import ExportedRedis
from nimify_tui.sources.caches.redis import RedisWatch
from tests.caches.stand import PASSWORD, Redis, exporter, port, redis
from tests.kube.pki import own
from tests.metrics.prom import Prometheus, prometheus


class Stand:
    """All of it."""

    def __init__(self, redis: Redis, prometheus: Prometheus, ca: Path) -> None:
        self.redis, self.prometheus, self.ca = redis, prometheus, ca


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("redis")
    pair = own(folder, "redis")
    with (
        redis(folder, pair.certificate, pair.key) as made,
        exporter(folder, made) as at,
        prometheus(folder, [(f"127.0.0.1:{at}", {})], least=2) as server,
    ):
        yield Stand(made, server, pair.certificate)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("REDIS_SECRET", PASSWORD)
    return Secret(env="REDIS_SECRET")


def look(place: RedisPlace) -> Look:
    return asyncio.run(looked_at(place, SystemClock()))


def refusal(place: RedisPlace) -> str:
    with pytest.raises(NimifyError) as caught:
        look(place)
    assert PASSWORD not in str(caught.value)
    return f"{caught.value.message}: {caught.value.remedy}"


def test_what_it_says_is_what_was_done_and_it_is_only_ever_asked(stand: Stand, secret: Secret) -> None:
    made = stand.redis
    place = RedisPlace(f"redis://127.0.0.1:{made.port}", "watcher", secret)
    before = look(place)
    made.ask("SET", "k", "v")
    for key in ("k", "k", "k", "none"):
        made.ask("GET", key)
    made.ask("CONFIG", "RESETSTAT")
    made.ask("GET", "k")
    made.ask("GET", "none")
    now = look(place)
    assert (now.hits, now.misses, now.limit_bytes) == (1.0, 1.0, 2.0 * 2**20)
    assert now.used_bytes is not None
    assert now.used_bytes > 500_000
    assert before.uptime_s is not None
    assert 0.0 < now.ping_s < module.LOOK_S
    # Its user may do nothing else, and nothing else can be sent.
    assert {each.value for each in module.Command} == {"AUTH", "PING", "INFO"}

    for other in (
        RedisPlace(f"rediss://127.0.0.1:{made.tls_port}", "", secret, ca_file=str(stand.ca)),
        RedisPlace(f"unix://{made.socket}", "", secret),
    ):
        assert look(other).hits == 1.0


def test_trouble_is_one_sentence_with_what_helps_and_without_the_secret(
    stand: Stand, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stand.redis
    url = f"redis://127.0.0.1:{made.port}"
    assert refusal(RedisPlace(url)).endswith("wants a login: add password (and username) by reference")
    monkeypatch.setenv("WRONG", "wrong")
    assert "does not accept the login: check username" in refusal(RedisPlace(url, "", Secret(env="WRONG")))
    assert "no right to ask how it does: give its user +info" in refusal(RedisPlace(url, "nobody", secret))
    assert "the variable NONE is not set" in refusal(RedisPlace(url, "", Secret(env="NONE")))
    assert "its certificate is not accepted" in refusal(RedisPlace(f"rediss://127.0.0.1:{made.tls_port}", "", secret))
    assert "connection refused: is it running?" in refusal(RedisPlace(f"redis://127.0.0.1:{port()}"))
    assert "is no Redis" in refusal(RedisPlace(stand.prometheus.url.replace("http", "redis")))


def told(updates: Sequence[Update]) -> CacheTold:
    (one,) = [each.told for each in updates if isinstance(each, CacheSeen)]
    return one


def test_its_exporter_tells_the_same_through_prometheus(stand: Stand, secret: Secret) -> None:
    """And a region that has none of it says so."""
    clock = SystemClock()

    def server() -> PrometheusServer:
        return PrometheusServer(Direct(ServerPlace(stand.prometheus.url)), clock)

    async def go(instance: str = "") -> list[Update]:
        one = ExportedRedis("here", server(), clock, instance)
        try:
            return await one.look()
        finally:
            one._server.close()

    by_exporter = told(asyncio.run(go()))
    direct = look(RedisPlace(f"redis://127.0.0.1:{stand.redis.port}", "watcher", secret))
    assert by_exporter.limit_bytes == direct.limit_bytes
    assert by_exporter.size_bytes is not None
    assert direct.used_bytes is not None
    assert by_exporter.size_bytes == pytest.approx(direct.used_bytes, rel=0.2)
    assert by_exporter.hits is not None
    assert by_exporter.misses is not None
    assert by_exporter.began > 1e9
    assert by_exporter.source.endswith("redis_exporter")
    with pytest.raises(NimifyError, match="has no series of redis_exporter"):
        asyncio.run(go("other:9121"))


def test_the_panel_shows_it_and_says_when_it_is_gone(
    stand: Stand, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real one over two looks. Seen failing with a counter of before taken for lookups: a ratio came at once."""
    monkeypatch.setattr("nimify_tui.sources.caches.redis.EVERY_S", 0.2)
    clock, fleet = SystemClock(), Fleet()
    region = Region(name="here", kind=RegionKind.EMBEDDED, address="test", short="here")
    fleet.apply(RegionSeen(clock.now(), region, RegionHealth(state=RegionState.LIVE, since=clock.now())))
    place = RedisPlace(f"redis://127.0.0.1:{stand.redis.port}", "watcher", secret)
    stand.redis.ask("SET", "shown", "1")
    stand.redis.ask("GET", "shown")
    seen: list[Update] = []

    async def go() -> None:
        came = asyncio.Event()

        def sink(updates: Sequence[Update]) -> None:
            seen.extend(updates)
            fleet.apply_many(updates)
            came.set()

        work = asyncio.create_task(RedisWatch("here", RedisServer(place, clock), clock).run(sink))
        async with asyncio.timeout(30):
            await came.wait()
            first = {each.tier: each for each in fleet.publish(clock.now()).caches}["redis L2"]
            assert first.hit_ratio.reason == "no lookups in 40 s"
            assert first.size.value
            for key in ("shown", "shown", "shown", "none"):
                await asyncio.to_thread(stand.redis.ask, "GET", key)
            looks = len(seen)
            while len(seen) < looks + 2:
                came.clear()
                await came.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(go())
    shown = {each.tier: each for each in fleet.publish(clock.now() + 1.0).caches}["redis L2"]
    assert shown.hit_ratio.value == pytest.approx(0.75)
    assert shown.limit is not None
    assert shown.limit.value == 2.0 * 2**20
    assert shown.evictions is not None
    assert shown.evictions.value == 0.0
    assert shown.latency is not None
    assert shown.latency.value
    key = seen[0].told.key if isinstance(seen[0], CacheSeen) else CacheKey("", "", "")
    fleet.apply(CacheFailed(clock.now(), key, "Redis x: connection refused: is it running?"))
    lost = {each.tier: each for each in fleet.publish(clock.now() + 600.0).caches}["redis L2"]
    assert lost.hit_ratio.value is None
    assert lost.note == "Redis x: connection refused: is it running?"


# -- hostile answers -------------------------------------------------------------------------


def read(data: bytes) -> bytes:
    async def go() -> bytes:
        reader = asyncio.StreamReader(limit=MAX_LINE)
        reader.feed_data(data)
        reader.feed_eof()
        return await answer(reader)

    return asyncio.run(go())


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=80)
    | st.sampled_from(
        [
            b"$999999999\r\nx", b"$-1\r\n", b"*2\r\n$1\r\na\r\n", b"$3\r\nabcd\r\n", b"+" + b"a" * 9000,
            b"$99999999999\r\n",
        ]
    )
)
def test_no_answer_is_anything_but_a_text_or_a_typed_error(data: bytes) -> None:
    try:
        found = read(data)
    except (BadAnswer, ErrorReply, ConnectionResetError):
        return
    assert len(found) <= max(MAX_LINE, len(data))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_a_command_is_its_words_whatever_they_hold(words: list[str]) -> None:
    """A password with a line break in it is no second command."""
    data = command(words)
    count, _, rest = data.partition(b"\r\n")
    found = []
    for _ in range(int(count[1:])):
        size, _, rest = rest.partition(b"\r\n")
        found.append(rest[: int(size[1:])].decode())
        rest = rest[int(size[1:]) + 2 :]
    assert (found, rest) == (words, b"")


@given(st.binary(max_size=200))
def test_no_line_of_an_info_makes_a_number_that_is_none(text: bytes) -> None:
    for name in fields(text):
        value = number(fields(text), name)
        assert value is None or 0.0 <= value < float("inf")


def test_one_that_never_ends_its_answer_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.3)

    async def go(reply: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> str:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reply(writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        at = server.sockets[0].getsockname()[1]
        try:
            await looked_at(RedisPlace(f"redis://127.0.0.1:{at}"), SystemClock())
        except NimifyError as error:
            return error.message
        finally:
            server.close()
        return ""

    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(b"$20\r\nhalf")

    async def escapes(writer: asyncio.StreamWriter) -> None:
        writer.write(b"-\x1b[31mEVIL [bold]x\r\n")

    assert "does not answer within 0.3 s" in asyncio.run(go(silent))
    found = asyncio.run(go(escapes))
    assert "\x1b" not in found
    assert found.isprintable()


def kept_on(watch: RedisWatch | ExportedRedis | EdgeProbe, times: int) -> str:
    """The reason of the last of so many failures, after which it goes on."""
    reasons: list[str] = []

    async def go() -> None:
        came = asyncio.Event()

        def sink(updates: Sequence[Update]) -> None:
            reasons.extend(each.reason for each in updates if isinstance(each, CacheFailed))
            if len(reasons) >= times:
                came.set()

        work = asyncio.create_task(watch.run(sink))
        ended = asyncio.create_task(came.wait())
        await asyncio.wait([work, ended], timeout=30, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, ended):
            task.cancel()
        await asyncio.gather(work, ended, return_exceptions=True)

    asyncio.run(go())
    assert len(reasons) >= times
    return reasons[-1]


def test_what_nobody_thought_of_ends_no_watching(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A host that is no name, and answers that break the reading. Seen failing with NimifyError alone caught: the
    first one ended the watching of all caches.
    """
    for name in ("redis.EVERY_S", "redis.TROUBLE_S", "exporter.EVERY_S", "exporter.TROUBLE_S"):
        monkeypatch.setattr(f"nimify_tui.sources.caches.{name}", 0.01)
    clock = SystemClock()
    server = RedisServer(RedisPlace("redis://cache..prod:6379"), clock)
    assert kept_on(RedisWatch("here", server, clock), 2) == "Redis cache..prod:6379 cannot be asked: check its url"
    assert not caplog.records

    async def broken(*_: object) -> None:
        raise IndexError("no such field")

    for kind, method in ((RedisServer, "look"), (ExportedRedis, "look"), (EdgeProbe, "probe")):
        monkeypatch.setattr(kind, method, broken)
    exported = ExportedRedis("here", PrometheusServer(Direct(ServerPlace("http://h:9090")), clock), clock)
    for watch, times in (
        (RedisWatch("here", server, clock), 2), (exported, 2), (EdgeProbe("here", "http://h/", 10.0, clock), 1),
    ):  # fmt: skip
        assert kept_on(watch, times).endswith("could not be understood: look at the log")
    assert len(caplog.records) >= 5
    assert "no such field" in caplog.text
