"""The engine: what starts when, and how long a first row waits for its frame. Takes 1 s."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from nimify_tui import engine as engine_module
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import Region, RegionKind
from nimify_tui.domain.updates import ServiceSeen, Update
from nimify_tui.engine import Engine, Rooms, Sink
from nimify_tui.fleet.store import Fleet
from tests.fleet.town import service_fact
from tests.support import wait_for

FAR = Region(name="far", kind=RegionKind.KUBERNETES, address="context far", short="far")
HERE = Region(name="here", kind=RegionKind.EMBEDDED, address="this machine", short="here")


class Works:
    """Notes what was started, and tells a row of a region when a test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.tell = asyncio.Event()

    async def region(self, region: Region, sink: Sink) -> None:
        self.begun.append(region.name)
        await self.tell.wait()
        key = ServiceKey(region.name, "chat")
        sink([ServiceSeen(1.0, service_fact(key))])

    async def beside(self, fleet: Fleet, sink: Sink) -> None:
        del fleet, sink
        self.begun.append("beside")


@pytest.fixture
def works() -> Works:
    return Works()


@pytest.fixture
def engine(works: Works) -> Iterator[Engine]:
    made = Engine(
        Rooms(
            regions=(HERE, FAR), discover=lambda: (), region_work=works.region, fleet_work=(works.beside,),
            ahead=frozenset({RegionKind.KUBERNETES}),
        )
    )  # fmt: skip
    yield made
    made.stop()


def test_what_waits_for_others_starts_ahead_and_the_rest_when_it_is_told(engine: Engine, works: Works) -> None:
    engine.start_ahead()
    wait_for(lambda: works.begun == ["far"], 10, why="the far region")
    engine.submit(asyncio.sleep(0)).result(10)  # the loop has gone round: whatever else were started is
    assert works.begun == ["far"]
    engine.start()
    wait_for(lambda: sorted(works.begun) == ["beside", "far", "here"], 10, why="the rest")


def test_sabotage_without_a_wait_all_starts_at_once(engine: Engine, works: Works) -> None:
    engine.start()
    wait_for(lambda: sorted(works.begun) == ["beside", "far", "here"], 10, why="all")


def test_first_rows_are_in_a_frame_at_once(
    engine: Engine, works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pace of frames is an hour here: fails when a first row waits for it."""
    monkeypatch.setattr(engine_module, "PUBLISH_S", 3600.0)
    engine.start()
    wait_for(lambda: len(works.begun) == 3, 10, why="all")
    engine.submit(asyncio.sleep(0)).result(10)

    async def tell() -> None:
        works.tell.set()

    engine.submit(tell()).result(10)
    wait_for(lambda: "chat" in engine.frame.rows, 10, why="a row")


def seen(name: str) -> ServiceSeen:
    """A service of the far region."""
    return ServiceSeen(1.0, service_fact(ServiceKey("far", name)))


def told(engine: Engine, updates: Sequence[Update]) -> None:
    """Tell them in the engine's loop, as a region does."""

    async def tell() -> None:
        engine._sink(updates)

    engine.submit(tell()).result(10)


@pytest.mark.parametrize("many", [1, engine_module.PROMPT_UPDATES + 1])
def test_what_happens_is_in_a_frame_soon_unless_much_happens(
    engine: Engine, works: Works, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """The pace of frames is an hour here, and the first rows are told. The second case is the first one's sabotage."""
    monkeypatch.setattr(engine_module, "PUBLISH_S", 3600.0)
    engine.start()
    wait_for(lambda: len(works.begun) == 3, 10, why="all")
    told(engine, [seen("chat")])
    wait_for(lambda: "chat" in engine.frame.rows, 10, why="the first row")
    told(engine, [seen(f"more-{number}") for number in range(many)])
    if many == 1:
        wait_for(lambda: "more-0" in engine.frame.rows, 10, why="its row")
        return
    told(engine, [seen("last")])
    assert not engine.wait(lambda frame: "last" in frame.rows, 4 * engine_module.PROMPT_S)


def test_news_wait_for_a_key_that_is_on_its_way(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is drawn, or for as long as a key may take.

    Seen failing without the way given in the sink, and where nobody says that it is drawn.
    """
    monkeypatch.setattr(engine_module, "ASIDE_S", 3600.0)
    engine.start()
    engine.submit(asyncio.sleep(0)).result(10)
    before = engine.fleet.frame.applied
    told: list[str] = []

    async def news() -> None:
        engine._sink([seen("new")])
        told.append("told")

    engine.stand_aside()
    coming = engine.submit(news())
    with pytest.raises(TimeoutError):
        coming.result(0.3)
    assert told == []
    engine.go_on()
    coming.result(10)
    wait_for(lambda: engine.frame.applied > before and "new" in engine.frame.rows, 10, why="the row")


def test_a_key_that_is_never_drawn_stops_nothing(engine: Engine) -> None:
    engine.start()
    engine.stand_aside()

    async def news() -> None:
        engine._sink([seen("new")])

    engine.submit(news()).result(10)
    wait_for(lambda: "new" in engine.frame.rows, 10, why="the row")
