"""What is wrong with the way to an engine, on real engines that are missing, forbidden, killed or frozen.

About 45 s on two cores: an engine is given up after three heartbeats without an answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.config.schema import RegionConfig
from nimify_tui.domain.plans import ActionState, Verb
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import ServiceState
from nimify_tui.domain.updates import RegionSeen, Update
from nimify_tui.gate.policy import make_region
from nimify_tui.hosts import greeted
from nimify_tui.sources.docker.region import DockerSource, Link
from tests.docker.acting import Acting, acting, region_toml, write_config
from tests.docker.engine import Engine
from tests.docker.fixtures import started
from tests.docker.relay import Relay


@pytest.fixture
def own() -> Iterator[Engine]:
    """An engine that the test may break."""
    with started() as made:
        yield made


def first_verdict(url: str) -> RegionHealth:
    """What the region says when it has tried to connect for the first time."""

    async def look() -> RegionHealth:
        found: asyncio.Future[RegionHealth] = asyncio.get_running_loop().create_future()

        def sink(updates: Sequence[Update]) -> None:
            for each in updates:
                if (
                    isinstance(each, RegionSeen)
                    and each.health.state is not RegionState.CONNECTING
                    and not found.done()
                ):
                    found.set_result(each.health)

        async def connect() -> Link:
            return await greeted(RegionConfig(name="x", kind="docker", url=url))

        region: Region = make_region("x", RegionKind.DOCKER, url)
        running = asyncio.create_task(DockerSource(region, connect, SystemClock()).run(sink))
        try:
            return await asyncio.wait_for(found, 30)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    return asyncio.run(look())


def test_a_missing_engine_is_one_sentence_with_its_remedy(tmp_path: Path) -> None:
    health = first_verdict(f"unix://{tmp_path}/docker.sock")
    assert health.state is RegionState.DOWN
    assert (
        health.cause
        == f"no contact from this host (there is no engine at {tmp_path}/docker.sock (no such socket))"
    )
    assert health.remedy == "start it (`systemctl start docker`), or correct the region's url"
    assert health.next_try_at is not None


def test_what_is_no_engine_is_said_to_be_none(tmp_path: Path) -> None:
    async def run() -> RegionHealth:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/html\r\n\r\n<html>")
            await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(serve, tmp_path / "web.sock")
        async with server:
            return await asyncio.to_thread(first_verdict, f"unix://{tmp_path}/web.sock")

    health = asyncio.run(run())
    assert health.state is RegionState.DOWN
    assert "is not what a Docker engine answers" in health.cause


def test_a_socket_that_this_user_may_not_use_names_its_group(engine: Engine) -> None:
    """By the kernel's own refusal: the test gives up being root for the time of the connection."""
    os.chmod(engine.folder, 0o755)
    os.chown(engine.socket, 0, 4)  # adm, on every Debian
    os.chmod(engine.socket, 0o660)
    os.seteuid(65534)
    try:
        health = first_verdict(engine.url)
    finally:
        os.seteuid(0)
    assert health.state is RegionState.AUTH
    assert health.cause == f"permission denied on {engine.socket}"
    assert health.remedy.startswith("join the group adm (`sudo usermod -aG adm $USER`, then log in again)")
    assert first_verdict(engine.url).state is RegionState.LIVE, "sabotage: root may"


def test_an_engine_that_goes_away_and_comes_back(own: Engine, tmp_path: Path) -> None:
    config = write_config(tmp_path, region_toml("dock", url=own.url))
    own.run("--name", "survivor", "--restart", "always")
    own.run("--name", "removed-meanwhile")
    with acting(config, "dock") as desk:
        desk.until_row("survivor", state="OK")
        own.stop()
        desk.until_state(RegionState.DOWN)
        desk.until(lambda: "(no such socket)" in desk.health().cause, "why there is no contact")
        row = desk.row("survivor")
        assert row is not None
        assert row.state is ServiceState.UNKNOWN, "never down: nobody knows"
        assert row.reason.startswith("no contact")
        own.start()
        own.docker("rm", "--force", "removed-meanwhile")
        desk.until_state(RegionState.LIVE)
        desk.until_row("survivor", state="OK")
        desk.until(lambda: desk.row("removed-meanwhile") is None, "what was removed meanwhile is gone")
        told = desk.changes()
        assert any(text.startswith("no contact with dock") for text in told), told
        assert any(text.startswith("contact with dock is back") for text in told), told
        own.kill()
        desk.until_state(RegionState.DOWN)
        desk.until(lambda: "(connection refused)" in desk.health().cause, "why there is no contact")
        assert desk.health().remedy.startswith("start it (`systemctl start docker`)")


def test_a_frozen_engine_is_told_and_slows_nobody(own: Engine, engine: Engine, tmp_path: Path) -> None:
    config = write_config(tmp_path, region_toml("ice", url=own.url), region_toml("dock", url=engine.url))
    own.run("--name", "inside")
    with engine.swept(), acting(config, "ice") as desk:
        desk.until_row("inside", state="OK")
        other = Acting(desk.session, "dock")
        other.until_state(RegionState.LIVE)
        own.freeze()
        try:
            stale = desk.until_state(RegionState.STALE)
            assert "does not answer within 3 s" in stale.cause
            engine.run("--name", "beside")
            other.until_row("beside", state="OK")
            assert other.act(Verb.RESTART, "beside").state is ActionState.OK
            down = desk.until_state(RegionState.DOWN)
            assert down.remedy.startswith("is its process stopped or its host overloaded?")
            assert other.health().state is RegionState.LIVE
        finally:
            own.thaw()
        desk.until_state(RegionState.LIVE)
        desk.until_row("inside", state="OK")


def test_a_stream_that_went_deaf_without_a_word_is_made_up_for_by_the_list(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sabotage in the same test: before it is time for the list, nothing is heard of the new container."""
    monkeypatch.setattr("nimify_tui.sources.docker.region.BEAT_S", 0.2)
    between = Relay(engine, tmp_path / "s", swallowed=b"/events?")
    config = write_config(tmp_path, region_toml("dock", url=between.url))
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "unheard")
        pings = between.count(b"/_ping")
        desk.until(lambda: between.count(b"/_ping") > pings + 5, "a second of heartbeats")
        assert desk.row("unheard") is None
        monkeypatch.setattr("nimify_tui.sources.docker.region.LOOK_OVER_S", 0.5)
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "listed")
        desk.until_row("listed", state="OK")
        engine.docker("rm", "--force", "listed")
        desk.until(lambda: desk.row("listed") is None, "it goes as it came")
    between.close()
