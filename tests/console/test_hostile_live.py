"""Foreign text through a real live service to a real terminal: model, file name, requests; screens and calls.

The bytes that the terminal gets are looked at, not the screen they make. Sabotaged (every process without
cleaning), each of these checks fails.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.console.hostile_service import INERT, disobedient, hostile, sabotage_path, send_all, write_model
from tests.support import REPO, Home, private_home, wait_for
from tests.tui import PtyRun

pytestmark = pytest.mark.e2e

NIMIFY = [sys.executable, "-m", "nimify_tui"]
MARKUP = INERT.replace("/", "_")


@dataclass(frozen=True)
class Live:
    """A home with a hostile service that runs, and one that cannot start."""

    home: Home
    model: Path
    env: dict[str, str]

    @contextlib.contextmanager
    def terminal(self, *arguments: str) -> Iterator[PtyRun]:
        """``nimify-tui ARGUMENTS`` in a wide terminal."""
        with PtyRun([*NIMIFY, *arguments], width=200, height=60, env=self.env) as tty:
            yield tty

    def call(self, *arguments: str) -> bytes:
        """What a call without a screen writes to a terminal until its end."""
        with self.terminal(*arguments) as tty:
            tty.wait_exit(40)
            return bytes(tty.raw)


@contextlib.contextmanager
def live(*, sabotage: bool) -> Iterator[Live]:
    """Deploy by the command line, in a terminal; then the attackers come."""
    with private_home() as home:
        env = dict(home.env)
        if sabotage:
            env["PYTHONPATH"] = sabotage_path(home.root / "site", REPO)
        name = f"evil{hostile('file')}.onnx".replace("/", "_")
        model = write_model(home.root / name)
        made = Live(home, model, env)
        common = ("--replicas", "1", "--yes")
        raw = made.call("deploy", str(model), "--name", "evil", *common, "--timeout", "30")
        assert b"first inference answered" in raw
        broken = made.call(
            "deploy", str(write_model(home.root / "b.onnx", loads=False)), *common, "--timeout", "8"
        )
        assert b"FAILED" in broken
        if not sabotage:
            assert disobedient(raw + broken, plain=True) == []
        endpoint = re.search(rb"http://127\.0\.0\.1:\d+", raw)
        assert endpoint is not None
        answers = send_all(endpoint[0].decode(), "evil")
        assert sum(answer.startswith(b"HTTP/1.1 4") for answer in answers) > 10
        yield made


@pytest.fixture(scope="module")
def service() -> Iterator[Live]:
    with live(sabotage=False) as made:
        yield made


@pytest.fixture(scope="module")
def unclean() -> Iterator[Live]:
    with live(sabotage=True) as made:
        yield made


#: Calls without a screen, and what of the foreign text stands in their answer.
CALLS: dict[str, tuple[Callable[[Live], tuple[str, ...]], str]] = {
    "snapshot table": (lambda _: ("snapshot", "-o", "table", "--settle", "2"), INERT),
    "snapshot json": (lambda _: ("snapshot", "-o", "json", "--settle", "2"), INERT),
    "snapshot yaml": (lambda _: ("snapshot", "-o", "yaml", "--settle", "2"), INERT),
    "logs": (lambda _: ("logs", "evil", "--timeout", "5"), INERT),
    "logs json": (lambda _: ("logs", "evil", "-o", "json", "--timeout", "5"), INERT),
    "logs of what does not start": (lambda _: ("logs", "b", "--timeout", "5"), INERT),
    "analyze": (lambda live: ("analyze", str(live.model)), "inname" + INERT),
    "analyze json": (lambda live: ("analyze", str(live.model), "-o", "json"), "inname" + INERT),
    "analyze yaml": (lambda live: ("analyze", str(live.model), "-o", "yaml"), "inname" + INERT),
    "analyze name": (lambda live: ("analyze", str(live.model), "-o", "name"), MARKUP),
    "no such service": (lambda _: ("logs", hostile("nothing"), "--timeout", "3"), INERT),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_in_a_terminal_shows_foreign_text_inert(service: Live, name: str) -> None:
    arguments, wanted = CALLS[name]
    raw = service.call(*arguments(service))
    assert disobedient(raw, plain=True) == []
    assert wanted in raw.decode()


#: Key and what must then stand on the screen.
TABS = {
    "1": "overview",
    "2": "logs",
    "3": "events",
    "4": "revisions",
    "5": "metrics",
    "6": "configuration",
    "7": "try",
}


def go_through(service: Live) -> tuple[str, bytes]:
    """Open fleet, security, changes, all tabs of both services, send an inference; the texts seen, the bytes sent."""
    seen = []
    with service.terminal() as tty:
        tty.wait(lambda text: "1/1" in text and "0/1" in text, 20, "both services")

        def look(*keys: str) -> None:
            for key in keys:
                before = tty.total_bytes
                tty.press(key)
                with contextlib.suppress(AssertionError):  # a key that changes nothing that is seen
                    wait_for(lambda before=before: tty.total_bytes > before, 2, why=key)  # type: ignore[misc]  # bound at once
                tty.wait_quiet(0.4, 5)
            seen.append(tty.text())

        look()
        look("4")
        look("5", "0")
        for name in ("evil", "b"):
            tty.send(f":open {name}\r")
            tty.wait_text(f"{name} @ local", 5)
            for tab in TABS:
                look(tab)
            look("enter")
            look("escape")
            look("escape")
        tty.press("ctrl+c")
        tty.wait_exit(10)
        return "\n".join(seen), bytes(tty.raw)


def test_every_screen_of_a_hostile_service_sends_nothing_that_a_terminal_obeys(service: Live) -> None:
    """Sabotage: :func:`test_sabotage_without_cleaning_the_same_bytes_are_found`."""
    text, raw = go_through(service)
    assert disobedient(raw) == []
    for word in ("node" + INERT, "inname" + INERT, "outname" + INERT, MARKUP):
        assert word in text, word


def _found(service: Live, name: str) -> list[str]:
    return disobedient(service.call(*CALLS[name][0](service)), plain=True)


def test_sabotage_without_cleaning_the_same_bytes_are_found(unclean: Live) -> None:
    """The cleaning is switched off in every process (console, calls, supervisor, replica)."""
    for name in ("snapshot table", "logs", "logs of what does not start", "analyze", "analyze name"):
        # The supervisor may have no last words yet of what does not start.
        wait_for(partial(_found, unclean, name), 30, why=name)
    _, raw = go_through(unclean)
    found = " ".join(disobedient(raw))
    for mark in (r"x1b]52;c;", r"owned\x07", r"x1b[66;66H", r"x1b[2J", r"x9b2J", r"\u202e", r"\u200b"):
        assert mark in found, mark
