"""The demo ends everything it started, in whatever way it ends; a real demo of one region each time."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from nimify_tui.demo.kernel import MARK
from tests.demo.support import Demo, check_nothing_left, leftovers, running_demo
from tests.support import PYTHON, Home, alive, freeze, processes_naming, run_cli, wait_for
from tests.tui import PtyRun

pytestmark = pytest.mark.e2e


@contextlib.contextmanager
def serving_demo(home: Home, *arguments: str) -> Iterator[Demo]:
    """A demo of one region with a replica that answers."""
    with running_demo(home, "--regions", "1", *arguments) as demo:
        demo.wait_replicas()
        yield demo


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_every_signal_ends_everything_also_a_stopped_replica(home: Home, number: signal.Signals) -> None:
    with serving_demo(home) as demo:
        freeze(demo.serving()[0])
        identity = demo.places.demo
        demo.process.send_signal(number)
        code = demo.process.wait(15)
        assert code == (-9 if number is signal.SIGKILL else 128 + number)
        check_nothing_left(home, identity)


@pytest.mark.parametrize("how", ["q", "ctrl+c", "SIGTERM", "SIGHUP", "SIGKILL", "hang up", "--for"])
def test_however_the_console_ends_everything_ends(home: Home, how: str) -> None:
    argv = [PYTHON, "-m", "nimify_tui", "demo", "--regions", "1", "--scenario", "none"]
    argv += ["--for", "12"] if how == "--for" else []
    with PtyRun(argv, width=80, height=24, env=home.env) as tty:
        tty.wait(lambda text: "READY" in text and text.count("ms") >= 2, 60, "live numbers")
        (status,) = (home.runtime / "nimify-tui" / "demo").glob("*/status.json")
        identity = status.parent.name
        replica = next(pid for pid in processes_naming(f"{MARK}={identity}") if is_replica(pid))
        freeze(replica)
        if how == "q":
            tty.send(":q\r")
        elif how == "ctrl+c":
            tty.press("ctrl+c")
        elif how == "hang up":
            tty.hang_up()
        elif how != "--for":
            tty.signal(signal.Signals[how])
        code = tty.wait_exit(25)
        expected = {"q": 0, "ctrl+c": 0, "--for": 0, "SIGTERM": 143, "SIGHUP": 129, "hang up": 129, "SIGKILL": -9}
        assert code == expected[how]
        if how not in ("SIGKILL", "hang up"):
            assert tty.restored()
    check_nothing_left(home, identity)


def is_replica(pid: int) -> bool:
    """Whether a process is a model server."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"nimify_tui.serving" in file.read().split(b"\0")


def test_a_stopped_supervisor_ends_too(home: Home) -> None:
    with serving_demo(home) as demo:
        freeze(demo.of_module("nimify_tui.supervisor")[0])
        identity = demo.places.demo
        demo.process.kill()
        check_nothing_left(home, identity)


def test_it_ends_by_itself_after_its_time(home: Home) -> None:
    with running_demo(home, "--regions", "1", "--for", "4") as demo:
        identity = demo.places.demo
        assert demo.process.wait(20) == 0
        check_nothing_left(home, identity)


def test_sabotage_without_the_warden_the_console_leaves_everything(home: Home) -> None:
    """The same check, while the warden is stopped and so cannot act: it has to find what is left."""
    with serving_demo(home) as demo:
        warden = demo.of_module("nimify_tui.demo.warden")[0]
        freeze(warden)
        identity = demo.places.demo
        demo.process.kill()
        demo.process.wait(10)
        with pytest.raises(AssertionError, match="an end without leftovers"):
            check_nothing_left(home, identity, deadline_s=2.0)
        assert any("regions/us-east-1.json" in each for each in leftovers(home, identity))
        os.kill(warden, signal.SIGCONT)
        check_nothing_left(home, identity)


def test_a_killed_warden_takes_all_processes_with_it(home: Home) -> None:
    with serving_demo(home) as demo:
        freeze(demo.serving()[0])
        identity = demo.places.demo
        pids = demo.pids()
        os.kill(demo.of_module("nimify_tui.demo.warden")[0], signal.SIGKILL)
        assert demo.process.wait(15) == 1
        assert not any(alive(pid) for pid in pids)
        check_nothing_left(home, identity)


def test_a_demo_that_was_cut_short_is_tidied_up_by_the_next(home: Home) -> None:
    """Console and warden killed in one moment: no process is left, and the next demo removes the folder."""
    with serving_demo(home) as demo:
        first = demo.places
        os.kill(demo.process.pid, signal.SIGSTOP)
        os.kill(demo.of_module("nimify_tui.demo.warden")[0], signal.SIGKILL)
        demo.process.kill()
        wait_for(lambda: not demo.pids(), 8, why="the end of every process")
        assert first.root.exists()
    with running_demo(home, "--regions", "1") as second:
        identity = second.places.demo
        assert not first.root.exists()
        second.process.terminate()
        second.process.wait(15)
        check_nothing_left(home, identity)


@pytest.mark.parametrize(
    "arguments",
    [("--regions", "7"), ("--scenario", "no-such"), ("--for", "x"), ("--no-such-flag",), ("snapshot",)],
)
def test_wrong_usage_is_64_and_starts_nothing(home: Home, arguments: tuple[str, ...]) -> None:
    done = run_cli("demo", "--headless", *arguments, env=home.env)
    assert done.returncode == 64, done.stderr
    assert done.stderr
    assert not (home.runtime / "nimify-tui" / "demo").exists()


def test_without_a_terminal_it_says_how_to_do_without(home: Home) -> None:
    done = run_cli("demo", env=home.env)
    assert done.returncode == 64
    assert "--headless" in done.stderr
