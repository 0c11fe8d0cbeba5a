"""LogView and Feed: bounded, honest about what is gone, cheap per frame."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from nimify_tui.ui.logquery import parse
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.feed import Feed
from nimify_tui.ui.widgets.logbuffer import LogBuffer
from nimify_tui.ui.widgets.logview import LogView
from nimify_tui.ui.widgets.table import Row
from tests.tui import run_app, screen_lines, screen_styles, screen_text, until
from tests.widgets.support import HostApp


def test_an_hour_of_5000_lines_a_second_leaves_memory_where_it_was_after_ten_seconds() -> None:
    buffer = LogBuffer()
    buffer.set_filter(parse("error").test)
    batch = [f"18:42:07 INFO request {n} took 12 ms{' error' if n % 50 == 0 else ''}" for n in range(5000)]
    held = set()
    for second in range(3600):
        buffer.append(batch)
        if second >= 10:
            held.add(buffer.bytes_held)
    assert len(held) == 1, "an hour holds what ten seconds hold"
    assert max(held) <= buffer.max_bytes
    assert len(buffer) == 50_000
    assert buffer.end == 18_000_000
    assert buffer.first == 18_000_000 - 50_000
    assert buffer.selected == 1000
    assert len(buffer._lines) <= 2 * 50_000 + 5000 + 4096
    assert len(buffer._newer) <= 2 * 1000 + 4096 + 100
    assert "error" in buffer.line(buffer.number_at(0))


def test_long_lines_are_bounded_by_bytes() -> None:
    buffer = LogBuffer(max_lines=1000, max_bytes=100_000)
    buffer.append("x" * 10_000_000 for _ in range(100))
    assert buffer.bytes_held <= 100_000
    assert len(buffer.line(buffer.first)) == 4096
    assert buffer.line(buffer.first).endswith("…")


@pytest.mark.parametrize("seed", range(5))
def test_a_filter_that_saw_each_line_once_selects_what_a_fresh_look_selects(seed: int) -> None:
    rng = random.Random(seed)
    buffer = LogBuffer(max_lines=200, max_bytes=50_000)
    wanted = re.compile("a.*b")
    for _ in range(60):
        buffer.append("".join(rng.choice("abc ") for _ in range(rng.randrange(12))) for _ in range(rng.randrange(40)))
        if rng.random() < 0.2:
            buffer.set_filter(parse("/a.*b/").test)
        if rng.random() < 0.5:
            buffer.scan(rng.randrange(1, 80))
    buffer.set_filter(parse("/a.*b/").test)
    buffer.append(["axb", "no", "ab"])
    while not buffer.scan(37):
        pass
    numbers = [buffer.number_at(index) for index in range(buffer.selected)]
    assert numbers == [n for n in range(buffer.first, buffer.end) if wanted.search(buffer.line(n))]


def with_log(script: Any, size: tuple[int, int] = (60, 8), **options: Any) -> None:
    async def run(app: Any, pilot: Any) -> None:
        log = app.query_one(LogView)
        log.focus()
        await script(app, pilot, log)

    run_app(lambda: HostApp(lambda: [LogView(**options)]), run, size=size)


def test_it_follows_until_scrolled_up_then_stands_still_and_counts() -> None:
    async def script(app: Any, pilot: Any, log: LogView) -> None:
        log.append(f"line {n}" for n in range(100))
        await pilot.pause()
        assert screen_lines(app)[-1] == "line 99"
        await pilot.press("up", "up")
        top = screen_lines(app)[0]
        log.append(f"line {n}" for n in range(100, 130))
        await until(pilot, lambda: "30 new lines" in screen_text(app))
        assert screen_lines(app)[0] == top
        assert log.facts == "130 lines · stopped, 30 new"
        await pilot.press("G")
        await pilot.pause()
        assert screen_lines(app)[-1] == "line 129"
        assert log.facts == "130 lines · following"

    with_log(script)


def test_it_stands_still_on_its_line_while_older_ones_are_dropped_and_says_so() -> None:
    async def script(app: Any, pilot: Any, log: LogView) -> None:
        log.append(f"line {n}" for n in range(100))
        await pilot.press("up", "up")
        await pilot.pause()
        top = screen_lines(app)[0]
        log.append(f"line {n}" for n in range(100, 120))
        log._repaint()
        await pilot.pause()
        assert screen_lines(app)[0] == top
        log.append((f"line {n}" for n in range(120, 1324)), dropped=3)
        await pilot.press("g")
        await pilot.pause()
        assert screen_lines(app)[0] == " 1,227 older lines dropped"
        assert screen_lines(app)[1] == "line 1224"
        assert "1,227 older lines dropped" in log.facts

    with_log(script, max_lines=100)


def test_a_flood_repaints_a_bounded_number_of_times() -> None:
    async def script(app: Any, pilot: Any, log: LogView) -> None:
        log.append(f"line {n}" for n in range(100))
        await pilot.pause()
        before = log.lines_drawn
        for turn in range(200):
            log.append(f"line {turn}-{n}" for n in range(50))
        assert log.lines_drawn - before <= 2 * 8

    with_log(script)


def test_filter_search_and_what_they_say() -> None:
    async def script(app: Any, pilot: Any, log: LogView) -> None:
        words = {3: "WARN slow", 7: "ERROR boom"}
        log.append(f"{n} {words.get(n % 10, 'fine')}" for n in range(30_000))
        log.set_filter(parse("boom"))
        await until(pilot, lambda: not log.buffer.scanning)
        assert log.facts == "30,000 lines · filter boom: 3,000 · following"
        assert screen_lines(app)[-1] == "29997 ERROR boom"
        log.set_filter(None)
        assert log.search("20003")
        await pilot.pause()
        assert "20003 WARN slow" in screen_text(app)
        assert any("reverse" in style for _, style in screen_styles(app, log._index_of(20003) - log.top))
        assert not log.search("no such text")
        log.search("slow")
        numbers = []
        for key in ("n", "n", "N"):
            await pilot.press(key)
            numbers.append(log._number(log.top))
        assert numbers[1] == numbers[0] + 10
        assert numbers[2] == numbers[0]
        log.set_filter(parse('"nothing has this"'))
        await until(pilot, lambda: "no line matches" in screen_text(app))

    with_log(script)


def test_long_lines_can_be_read_sideways() -> None:
    async def script(app: Any, pilot: Any, log: LogView) -> None:
        log.append(["0123456789" * 20])
        await pilot.press("right")
        await pilot.pause()
        assert len(screen_lines(app)[0]) == 60
        await pilot.press("right", *["right"] * 6)
        await pilot.pause()
        assert len(screen_lines(app)[0]) == 40

    with_log(script)


FEED_COLUMNS = (Column("at", "AT", 8), Column("what", "WHAT", 10, flex=1))


def events(*numbers: int) -> list[tuple[int, Row]]:
    return [(n, Row(("18:40:00", f"event {n}"))) for n in numbers]


def test_the_feed_is_newest_first_bounded_and_counts_what_is_gone() -> None:
    async def script(app: Any, pilot: Any) -> None:
        feed = app.query_one(Feed)
        feed.focus()
        await pilot.pause()
        assert screen_lines(app)[0].strip() == "all calm"
        feed.push(events(2, 1))
        feed.push(events(5, 4, 3), dropped=1200)
        await pilot.pause()
        assert [line.split()[-1] for line in screen_lines(app)[:4]] == ["5", "4", "3", "2"]
        assert feed.dropped == 1201
        assert feed.cursor_key == 5
        assert "1,201 older events dropped" in screen_text(app)
        await pilot.press("j")
        feed.push(events(7, 6))
        assert feed.cursor_key == 4, "away from the top the cursor follows its event"
        feed.push(events(4))
        assert feed.facts == "4 events · 1,203 dropped"
        feed.set_events(events(9, 8), dropped=2)
        assert (feed.order, feed.dropped) == ((9, 8), 2)

    run_app(lambda: HostApp(lambda: [Feed(FEED_COLUMNS, max_rows=4, empty="all calm")]), script, size=(40, 8))
