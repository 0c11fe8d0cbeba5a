"""Log streams as lines: cut anywhere, sent again, too long, without a stamp."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.sources.kubernetes.loglines import LINE_BYTES, WINDOW_LINES, Cutter, Overlap

BASE_NS = 1_795_000_000_000_000_000


def stamp(at_ns: int) -> bytes:
    """As a node writes it."""
    import datetime

    seconds, nanos = divmod(at_ns, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z ".encode()


@given(lines=st.lists(st.binary(max_size=60).filter(lambda line: b"\n" not in line)), cuts=st.data())
def test_lines_are_the_same_wherever_the_pieces_are_cut(lines: list[bytes], cuts: st.DataObject) -> None:
    data = b"".join(line + b"\n" for line in lines)
    places = sorted(cuts.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    cutter, found = Cutter(), []
    for begin, end in zip([0, *places], [*places, len(data)], strict=True):
        found += cutter.feed(data[begin:end])
    assert found == lines


@pytest.mark.parametrize("piece", [1_000, 60_000, 10_000_000])
def test_a_line_that_is_too_long_is_the_same_beginning_wherever_it_was_cut(piece: int) -> None:
    data = b"a" * 10_000_000 + b"\nnext\n"
    cutter, found, held = Cutter(), [], 0
    for begin in range(0, len(data), piece):
        found += cutter.feed(data[begin : begin + piece])
        held = max(held, len(cutter._rest))
    assert found == [b"a" * LINE_BYTES, b"next"]
    assert held <= LINE_BYTES


@given(count=st.integers(0, 30), passed=st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_lines_that_are_passed_over_are_counted(count: int, passed: list[int]) -> None:
    data = b"".join(b"line %d\n" % number for number in range(count))
    cutter, total, at = Cutter(), 0, 0
    for number, size in enumerate([*passed, len(data)]):
        piece, at = data[at : at + size], at + size
        if number % 2:
            total += len(cutter.feed(piece))
        else:
            total += cutter.pass_over(piece)[0]
    assert total == count


@pytest.mark.parametrize(
    ("line", "at_ns", "text"),
    [
        (b"2026-11-23T10:00:00.123456789Z hello", 1_795_428_000_123_456_789, b"hello"),
        (b"2026-11-23T10:00:00Z  two blanks", 1_795_428_000_000_000_000, b" two blanks"),
        (b"2026-11-23T11:00:00.5+01:00 ", 1_795_428_000_500_000_000, b""),
        (b"failed to watch file: too many open files", None, b"failed to watch file: too many open files"),
        (b"2026-13-99T10:00:00Z x", None, b"2026-13-99T10:00:00Z x"),
        (b"", None, b""),
        (b"\xff\xfe", None, b"\xff\xfe"),
    ],
)
def test_stamps(line: bytes, at_ns: int | None, text: bytes) -> None:
    cutter = Cutter()
    for _ in range(2):  # the second time its second is known
        assert cutter.stamped(line) == (at_ns, text)


def served(log: list[tuple[int, bytes]], since: str, tail: int) -> list[tuple[int, bytes]]:
    """What a node sends: by whole seconds, else the end."""
    if not since:
        return log[-tail:]
    cutter = Cutter()
    since_ns = cutter.stamped(since.encode() + b" ").at_ns
    assert since_ns is not None
    assert since_ns % 1_000_000_000 == 0
    return [each for each in log if each[0] >= since_ns]


@pytest.mark.parametrize("seed", range(40))
def test_breaks_lose_and_double_nothing(seed: int) -> None:
    """The two outputs of a container are up to 50 ms out of order, and lines repeat, stamp and all.

    Sabotages seen failing: asking again from the last stamp on, and dropping by the stamp alone.
    """
    rng = random.Random(seed)
    log: list[tuple[int, bytes]] = []
    overlap, got = Overlap(), []
    now_ns = BASE_NS
    for _ in range(60):
        for _ in range(rng.randrange(12)):
            now_ns += rng.choice([0, 1, 1_000_000, 80_000_000, 900_000_000])
            at_ns = now_ns - rng.choice([0, 0, 0, 50_000_000])
            log.append((at_ns, stamp(at_ns) + rng.choice([b"a", b"b", b"the same"])))
        # A new request each time; it breaks off somewhere.
        sent = served(log, overlap.resume(), 1_000_000)
        for at_ns, line in sent[: rng.randrange(len(sent) + 1)]:
            if overlap.new(at_ns, line):
                got.append(line)
    for at_ns, line in served(log, overlap.resume(), 1_000_000):
        if overlap.new(at_ns, line):
            got.append(line)
    assert sorted(got) == sorted(line for _, line in log)


def test_what_is_remembered_is_bounded_also_within_one_second() -> None:
    overlap = Overlap()
    lines = [(BASE_NS + number, stamp(BASE_NS + number) + b"x") for number in range(50_000)]
    for at_ns, line in lines:
        assert overlap.new(at_ns, line)
    assert len(overlap._seen) <= WINDOW_LINES
    again = served(lines, overlap.resume(), 0)
    assert len(again) == 50_000
    assert not any(overlap.new(at_ns, line) for at_ns, line in again)
    assert overlap.new(BASE_NS + 50_000, b"new")


def test_lines_that_were_left_out_are_not_sent_again() -> None:
    overlap = Overlap()
    lines = [(BASE_NS + number, stamp(BASE_NS + number) + b"x") for number in range(100)]
    assert overlap.new(*lines[0])
    overlap.passed_over(lines[60][0])
    again = served(lines, overlap.resume(), 0)
    assert [at_ns - BASE_NS for at_ns, line in again if overlap.new(at_ns, line)] == list(range(61, 100))
