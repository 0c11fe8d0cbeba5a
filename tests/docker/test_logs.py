"""Live logs of a real engine's containers: followed over rotation and restarts, terminals, both streams.

About 25 s on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.backends.docker.errors import BadAnswer
from nimify_tui.backends.docker.logs import Frames, lines_of
from nimify_tui.domain.demands import LogDemand
from nimify_tui.domain.plans import Verb
from nimify_tui.sources.docker.logs import _Memory
from tests.docker.acting import Acting, acting, region_toml, write_config
from tests.docker.engine import Engine


@pytest.fixture
def desk(engine: Engine, tmp_path: Path) -> Iterator[Acting]:
    """A session that watches the engine of the tests."""
    with engine.swept(), acting(write_config(tmp_path, region_toml("dock", url=engine.url)), "dock") as made:
        yield made


def texts(desk: Acting, demand: LogDemand) -> list[str]:
    """The demanded lines so far, without our own marks."""
    _, lines, _ = desk.session.log_tail(demand).since(0)
    return [line.text for line in lines if not line.mark]


def test_lines_are_followed_over_rotation_each_once(engine: Engine, desk: Acting) -> None:
    count = 1000
    write = f"while [ ! -e /go ]; do usleep 50000; done; i=0; while [ $i -lt {count} ]; do echo line $i; i=$((i+1)); "
    engine.run(
        "--name", "chatty", "--log-opt", "max-size=16k", "--log-opt", "max-file=3",
        command=("sh", "-c", f"echo ready; {write} usleep 2000; done; exec sleep 1000000"),
    )  # fmt: skip
    desk.until_row("chatty", state="OK")
    demand = LogDemand(desk.key("chatty"))
    desk.session.demand(demand)
    desk.until(lambda: texts(desk, demand) == ["ready"], "the first line")
    engine.docker("exec", "chatty", "touch", "/go")
    desk.until(lambda: texts(desk, demand)[-1:] == [f"line {count - 1}"], "the last line")
    assert texts(desk, demand) == ["ready", *(f"line {number}" for number in range(count))]
    kept = engine.docker("logs", "chatty").splitlines()
    assert len(kept) < count, "sabotage: the engine itself has thrown lines away by now"


def test_a_restart_goes_on_in_the_same_log_and_both_streams_are_read(engine: Engine, desk: Acting) -> None:
    engine.run("--name", "again", command=("sh", "-c", "echo out; echo err >&2; exec sleep 1000000"))
    desk.until_row("again", state="OK")
    demand = LogDemand(desk.key("again"))
    desk.session.demand(demand)
    desk.until(lambda: sorted(texts(desk, demand)) == ["err", "out"], "both streams")
    desk.act(Verb.RESTART, "again")
    desk.until(
        lambda: sorted(texts(desk, demand)) == ["err", "err", "out", "out"],
        "the lines of the second run, once",
    )


def test_a_terminal_has_no_frames(engine: Engine, desk: Acting) -> None:
    engine.run("--name", "term", "--tty", command=("sh", "-c", "echo on a terminal; exec sleep 1000000"))
    desk.until_row("term", state="OK")
    demand = LogDemand(desk.key("term"))
    desk.session.demand(demand)
    desk.until(lambda: texts(desk, demand) == ["on a terminal"], "the line")


def test_the_replicas_of_a_service_are_merged_and_one_can_be_chosen(engine: Engine, desk: Acting) -> None:
    for name in ("left", "right"):
        engine.run("--name", name, "--label", "nimify.dev/service=duo",
                   command=("sh", "-c", f"echo I am {name}; exec sleep 1000000"))  # fmt: skip
    desk.until(lambda: (row := desk.row("duo")) and row.ready == 2, "both")
    merged, alone = LogDemand(desk.key("duo")), LogDemand(desk.key("duo"), "right")
    desk.session.demand(merged)
    desk.session.demand(alone)
    desk.until(lambda: sorted(texts(desk, merged)) == ["I am left", "I am right"], "both replicas")
    desk.until(lambda: texts(desk, alone) == ["I am right"], "the chosen one")


def test_frames_are_cut_anywhere_and_what_are_none_is_refused() -> None:
    data = b"\x01\0\0\0\0\0\0\x06one\ntw" + b"\x02\0\0\0\0\0\0\x04err\n" + b"\x01\0\0\0\0\0\0\x02o\n"
    for size in (1, 3, 7, 100):
        frames = Frames(tty=False)
        found = [line for at in range(0, len(data), size) for line in frames.feed(data[at : at + size])]
        assert found == [b"one", b"err", b"two"], size
    assert lines_of(data[:14], tty=False) == ["one", "tw"]
    with pytest.raises(BadAnswer):
        Frames(tty=False).feed(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(BadAnswer):
        Frames(tty=False).feed(b"\x01\0\0\0\xff\xff\xff\xff")


def test_the_same_words_within_a_second_are_as_many_lines_as_were_written_and_none_is_told_twice() -> None:
    """Podman's stamps have whole seconds. Seen failing with words and stamp alone: the second "begun" was lost."""
    memory, stamp = _Memory(), "2026-11-28T04:25:22Z"

    def told(*lines: str) -> list[str]:
        memory.begin()
        return [each for each in lines if not memory.known(stamp, each)]

    assert told("begun") == ["begun"]
    assert told("begun", "begun", "ended") == ["begun", "ended"], "taken up again from that second on"
    assert told("begun", "begun", "ended", "begun") == ["begun"]
    memory.begin()
    fine = "2026-11-28T04:25:22.000000001Z"
    assert [memory.known(fine, "begun") for _ in range(2)] == [False, True], "a rotated file tells it again"
