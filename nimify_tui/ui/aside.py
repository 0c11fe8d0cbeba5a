"""The screen steps aside: the terminal belongs to another program for a while (a login), then to the console again."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from nimify_tui.base.errors import NimifyError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.regions import RegionKind, RegionState

if TYPE_CHECKING:
    from nimify_tui.ui.console import ConsoleApp


#: Asking a region again only wakes its source up: longer than this it never takes, seconds.
_ASK_S = 2.0


@contextlib.contextmanager
def aside(app: ConsoleApp, title: str) -> Iterator[None]:
    """Inside the block the terminal is as a shell leaves it; ``title`` is printed first.

    A ctrl+c in there is meant for the other program: ours outlives it. Raises SuspendNotSupported without a terminal.
    """
    raised: Exception | None = None
    with app.suspend(), _deaf():
        sys.stdout.write(f"{clean_line(title, 200)}\n")
        sys.stdout.flush()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - Textual takes the terminal back only at a good end
            raised = error
    if raised is not None:
        raise raised


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """ctrl+c is not for us; what else would end us is kept until the block is left."""
    came: list[int] = []
    # Handlers and not SIG_IGN, which the other program would inherit. The loop hears of signals by its wake-up pipe.
    pipe = signal.set_wakeup_fd(-1)
    before = {signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, lambda signum, _: came.append(signum))
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
        for late in came:
            signal.raise_signal(late)


def login(app: ConsoleApp, region: str) -> None:
    """Run the login of ``region`` ("": of the one that waits for it) in the terminal; the others go on meanwhile."""
    region = region.strip() or _waiting(app)
    if not region:
        app.say("no region waits for a login; :login REGION names one", "warn")
        return
    try:
        with aside(app, f"nimify-tui: login of {region}; ctrl+c gives up and goes back to the console"):
            _finish(app.context.login(region))
    except SuspendNotSupported:
        app.say("there is no terminal here that could be lent to a login", "warn")
    except NimifyError as error:
        remedy = f"; {error.remedy}" if error.remedy else ""
        app.say(f"{region}: {error.message}{remedy}", "bad")
    else:
        app.say(f"{region}: logged in, connecting again", "ok")


def reconnect(app: ConsoleApp, region: str) -> None:
    """Ask ``region`` ("": every cluster) again now; the screen stays."""
    clusters = [each.region.name for each in app.context.frame.regions if each.region.kind is RegionKind.KUBERNETES]
    wanted = [region.strip()] if region.strip() else clusters
    if not wanted:
        app.say("there is no Kubernetes region here", "warn")
        return
    try:
        for each in wanted:
            app.context.reconnect(each).result(_ASK_S)
    except NimifyError as error:
        app.say(f"{error.message}{f'; {error.remedy}' if error.remedy else ''}", "bad")
    else:
        app.say(f"{', '.join(wanted)}: asked again", "ok")


def _finish(work: Future[None]) -> None:
    """Wait in the UI's own thread: while the terminal is another one's there is nothing to draw."""
    work.result()


def _waiting(app: ConsoleApp) -> str:
    """The region that wants a login, when there is just one."""
    found = [
        each.region.name
        for each in app.context.frame.regions
        if each.region.kind is RegionKind.KUBERNETES and each.health.state is RegionState.AUTH
    ]
    return found[0] if len(found) == 1 else ""
