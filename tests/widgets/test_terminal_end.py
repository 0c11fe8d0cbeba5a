"""Every end restores the terminal: signals, a closed terminal, a blocked one; and a pause brings it back."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from tests.tui import PtyRun
from tests.widgets.test_terminal_bytes import started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_restores_the_terminal_and_is_told_by_the_exit_code(number: signal.Signals) -> None:
    with started() as tty:
        assert not tty.restored()
        tty.signal(number)
        assert tty.wait_exit() == 128 + number
        assert tty.restored(), tty.modes


def test_sabotage_without_the_handlers_the_terminal_stays_broken() -> None:
    program = (
        "from tests.widgets.program import Program; from nimify_tui.ui.frugal import FrugalApp\n"
        "FrugalApp.on_load = lambda self: None\n"
        "Program(60).run(mouse=False)"
    )
    with PtyRun([sys.executable, "-c", program], width=120, height=40) as tty:
        tty.wait_text("svc-19", 20)
        tty.signal(signal.SIGTERM)
        tty.wait_exit()
        assert not tty.restored()


def test_a_closed_terminal_ends_the_program() -> None:
    with started() as tty:
        tty.hang_up()
        assert tty.wait_exit(8) == 128 + signal.SIGHUP


def test_a_closed_terminal_ends_the_program_even_when_nobody_says_so() -> None:
    program = (
        "import signal, sys; from tests.widgets.program import Program\n"
        "from nimify_tui.ui.frugal import FrugalApp\n"
        "FrugalApp.on_load = lambda self: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None\n"
        "app = Program(60); app.run(mouse=False); sys.exit(app.return_code)"
    )
    with PtyRun([sys.executable, "-c", program], width=120, height=40) as tty:
        tty.wait_text("svc-19", 20)
        tty.hang_up()
        assert tty.wait_exit(8) == 128 + signal.SIGHUP


def test_a_blocked_line_does_not_keep_the_program_alive() -> None:
    with started() as tty:
        tty.rate_bytes_s = 10.0
        tty.press("b")
        tty.bytes_during(1.0)
        tty.signal(signal.SIGTERM)
        assert tty.wait_exit(10) == 128 + signal.SIGTERM


def test_tidying_up_after_a_signal_may_take_its_time() -> None:
    program = (
        "import sys, threading; from tests.widgets.program import Program\n"
        "app = Program(60); app.run(mouse=False); threading.Event().wait(4)\n"
        "print('tidied up'); sys.exit(app.return_code)"
    )
    with PtyRun([sys.executable, "-c", program], width=120, height=40) as tty:
        tty.wait_text("svc-19", 20)
        tty.signal(signal.SIGTERM)
        tty.wait_text("tidied up", 10)
        assert tty.wait_exit() == 128 + signal.SIGTERM


def test_stopped_and_continued_it_shows_everything_again() -> None:
    with started() as tty:
        tty.signal(signal.SIGTSTP)
        end = time.monotonic() + 5
        while _state(tty.process.pid) != "T":
            assert time.monotonic() < end, _state(tty.process.pid)
            tty.bytes_during(0.02)
        tty.bytes_during(0.2)
        assert tty.modes.get("1049") is False, "the shell would be drawn into our screen"
        with tty._changed:
            tty.screen.reset()
        tty.signal(signal.SIGCONT)
        tty.wait_text("svc-19", 5)
        tty.wait_text("services", 5)
        assert tty.modes.get("1049") is True


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_the_program_refuses_what_is_no_terminal() -> None:
    with PtyRun([sys.executable, "-m", "tests.widgets.program", "3"], env={"TERM": "dumb"}) as tty:
        assert tty.wait_exit() == 1
        tty.wait_text("TERM=dumb cannot show a full screen")
        assert os.path.exists("/proc/self")


@pytest.mark.parametrize("end", ["signal", "closed terminal"])
def test_continued_without_having_been_stopped_it_still_ends_whole(end: str) -> None:
    """A closed terminal sends SIGCONT, too. Seen failing on Textual's own driver: it starts once more beside
    itself, takes the raw terminal for the shell's, and its first input thread never ends.
    """
    with started() as tty:
        for _ in range(3):
            tty.signal(signal.SIGCONT)
            tty.bytes_during(0.2)
        assert len(os.listdir(f"/proc/{tty.process.pid}/task")) <= _threads(tty)
        if end == "signal":
            tty.signal(signal.SIGTERM)
            assert tty.wait_exit(8) == 128 + signal.SIGTERM
            assert tty.restored(), tty.modes
        else:
            tty.hang_up()
            assert tty.wait_exit(8) == 128 + signal.SIGHUP


def _threads(tty: PtyRun) -> int:
    """As many as a program has that was never continued."""
    with started() as other:
        return len(os.listdir(f"/proc/{other.process.pid}/task"))
