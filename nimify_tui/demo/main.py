"""`nimify-tui demo`: a real fleet on this machine, then the console on it; what it started ends with it."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nimify_tui.base.errors import ClusterError, InternalError, NimifyError, ValidationError
from nimify_tui.base.process import importable, python_command
from nimify_tui.base.text import clean_line
from nimify_tui.cli import EXIT_INTERRUPTED, EXIT_USAGE, build_parser
from nimify_tui.demo import kernel, places, scenarios
from nimify_tui.demo.cast import REGIONS, parts
from nimify_tui.demo.places import Places, Status

#: Until the regions have told of themselves, at most; the console shows them from its first frame then.
REGIONS_S = 4.0
LIVE_S = 60.0
#: Longer than the warden takes at its slowest.
END_S = 12.0
_LOOK_S = 0.03
EXIT_TERMINATED = 143
#: A slow revision of a service of several regions, for the README.
PICTURE_SEED = 36


@dataclass(frozen=True)
class Fleet:
    """A running demo."""

    places: Places
    warden: subprocess.Popen[bytes]
    lock: int
    regions: int

    @property
    def status(self) -> Status:
        """How far it is. Raises ClusterError when it cannot go on."""
        status = self.places.read_status()
        if status.error:
            raise ClusterError(f"the demo cannot go on: {status.error}", f"see the logs in {self.places.root}")
        if self.warden.poll() is not None:
            raise ClusterError("the demo has ended by itself")
        return status

    def wait(self, condition: Callable[[], bool], deadline_s: float) -> bool:
        """Wait until ``condition()``; False when time ran out. Raises ClusterError when it never will."""
        end_s = time.monotonic() + deadline_s
        while not condition():
            _ = self.status
            if time.monotonic() > end_s:
                return False
            time.sleep(_LOOK_S)  # no loop runs yet, and what is waited for (sockets, files) tells nobody
        return True

    def announced(self) -> bool:
        """Whether every region's supervisor listens."""
        return all(places.listens(self.places, region) for region in REGIONS[: self.regions])

    def end(self) -> None:
        """End everything and wait for it. Raises InternalError when the warden does not end."""
        with contextlib.suppress(ProcessLookupError):
            self.warden.send_signal(signal.SIGCONT)
            self.warden.terminate()
        try:
            self.warden.wait(END_S)
        except subprocess.TimeoutExpired as error:
            self.warden.kill()
            self.warden.wait()
            raise InternalError("the demo's warden did not end in time and was killed") from error
        finally:
            # The warden has done all this; unless somebody killed it.
            kernel.kill(kernel.marked(self.places.demo))
            if self.places.root.exists():
                self.places.remove()
                places.give_up(self.lock)
            else:
                os.close(self.lock)


@contextlib.contextmanager
def running_fleet(options: argparse.Namespace) -> Iterator[Fleet]:
    """A fleet that lives as long as the block, or as this process. Raises ClusterError when one runs already."""
    lock = places.acquire()
    place = places.new_places()
    scenario = scenarios.NONE if options.screenshots else options.scenario  # pictures play theirs themselves
    directions = ["--regions", str(options.regions), "--scenario", scenario, "--seed", str(options.seed)]
    directions += ["--scenario-at", str(options.scenario_at), "--scenario-for", str(options.scenario_for)]
    if options.truth:
        directions += ["--truth", str(options.truth.absolute())]
    words = [str(place.root), str(lock), str(os.getpid()), str(options.regions), *directions]
    with open(place.root / "warden.log", "ab") as log:
        warden = subprocess.Popen(
            [*python_command("nimify_tui.demo.warden"), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            env={**importable(os.environ), kernel.MARK: place.demo},
        )
    fleet = Fleet(place, warden, lock, options.regions)
    try:
        yield fleet
    finally:
        fleet.end()


def _regions(text: str) -> int:
    value = int(text)
    if not 1 <= value <= len(REGIONS):
        raise argparse.ArgumentTypeError(f"must be 1 to {len(REGIONS)}")
    return value


def _seconds(text: str) -> float:
    value = float(text.removesuffix("s"))
    if not 0 <= value < 86400:
        raise argparse.ArgumentTypeError("must be between 0 and 86400 seconds")
    return value


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # exits, as the base class does
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The demo's flags; those of the console (``--ascii``, ``--color`` ...) may stand among them."""
    names = ", ".join([*scenarios.TABLE, scenarios.SURPRISE, scenarios.NONE])
    made = _Parser(
        prog="nimify-tui demo",
        description="A real fleet on this machine (models, servers, traffic, a fault), then the console on it.",
        epilog="The console's flags (see `nimify-tui --help`) are understood too.",
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--regions", type=_regions, default=len(REGIONS), metavar="N", help="the first N of the six regions")
    add("--scenario", default=scenarios.SURPRISE, metavar="NAME", help=f"one of {names} (default: surprise)")
    add("--seed", type=int, default=None, help="chooses what the scenario strikes (default: any)")
    add("--scenario-at", type=_seconds, default=25.0, metavar="SECONDS", help="after the fleet is live")
    add("--scenario-for", type=_seconds, default=300.0, metavar="SECONDS", help="then it heals")
    add("--for", dest="lasts_s", type=_seconds, default=None, metavar="SECONDS", help="end after this time")
    add("--headless", action="store_true", help="without the console; until a signal or --for ends it")
    add("--screenshots", type=Path, default=None, metavar="DIR", help="write pictures of the screens and end")
    add("--truth", type=Path, default=None, metavar="PATH", help="where the ground truth goes (for tests)")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the demo. 0: ended as asked; 1: could not start, or one runs; 64: wrong usage; 129 to 143: a signal."""
    try:
        options, rest = parser().parse_known_args(argv)
        console = build_parser().parse_args(rest)
    except SystemExit as end:
        return int(end.code or 0)
    if options.seed is None:
        options.seed = PICTURE_SEED if options.screenshots else random.randrange(10_000)
    console.region = [*(console.region or ()), *REGIONS[: options.regions]]
    console.open_service = ""
    try:
        _check(options, console)
        with running_fleet(options) as fleet:
            if options.headless:
                return _headless(fleet, options)
            if options.screenshots:
                from nimify_tui.demo.pictures import take_pictures

                return take_pictures(fleet, options.screenshots, options, console)
            return _on_screen(fleet, options, console)
    except NimifyError as error:
        _say(f"nimify-tui demo: {clean_line(error.message, 2000)}", error.remedy)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _check(options: argparse.Namespace, console: argparse.Namespace) -> None:
    if console.call is not None:
        raise ValidationError(f"the demo takes no call ({console.call})", "see `nimify-tui demo --help`")
    if options.scenario != scenarios.NONE:
        scenarios.choose(options.scenario, options.seed, parts(options.regions))
    if not (options.headless or options.screenshots or sys.stdout.isatty()):
        raise ValidationError("there is no terminal for the console", "use `nimify-tui demo --headless`")


def _say(*lines: str) -> None:
    for line in lines:
        if line:
            print(line, file=sys.stderr, flush=True)  # noqa: T201  the demo's own words, apart from the screen


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201  the data of a call without a screen


def _hint(options: argparse.Namespace) -> str:
    """What to press to see the scenario, without giving it away."""
    if options.scenario == scenarios.NONE:
        return "demo: a real fleet; enter opens a row, l its logs, ? all keys"
    return "demo: something breaks soon: it comes first; w says why, enter opens it, ? keys"


def _on_screen(fleet: Fleet, options: argparse.Namespace, console: argparse.Namespace) -> int:
    from nimify_tui.app import run_console

    hint = _hint(options)
    _say(f"{hint} (seed {options.seed})")
    fleet.wait(fleet.announced, REGIONS_S)
    over = threading.Event()
    if options.lasts_s is not None:
        timer = threading.Timer(options.lasts_s, _end_ourselves, [over])
        timer.daemon = True
        timer.start()
    code = run_console(console, hint)
    return 0 if over.is_set() and code == EXIT_TERMINATED else code


def _end_ourselves(over: threading.Event) -> None:
    over.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _headless(fleet: Fleet, options: argparse.Namespace) -> int:
    """Print how it goes until a signal or ``--for`` ends it."""
    ended = threading.Event()
    codes: list[int] = []

    def end(number: int, _frame: object) -> None:
        codes.append(128 + number)
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    end_s = time.monotonic() + options.lasts_s if options.lasts_s is not None else None
    _tell(f"folder {fleet.places.root}")
    _tell(f"truth {options.truth or fleet.places.truth}")
    _tell(f"seed {options.seed}")
    told = ""
    while not ended.is_set() and (end_s is None or time.monotonic() < end_s):
        status = fleet.status
        line = f"{status.phase} services {status.services} replicas {status.replicas}"
        if status.phase == "live":
            line += f" scenario {status.scenario or 'none'}"
        if line != told:
            _tell(line)
            told = line
        ended.wait(0.1)
    return codes[0] if codes else 0
