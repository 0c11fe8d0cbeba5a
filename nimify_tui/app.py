"""The console: one session on one terminal."""

from __future__ import annotations

import argparse
import gc
import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nimify_tui.base.files import private_dir, state_home
from nimify_tui.base.heap import keep_large_blocks_apart
from nimify_tui.config import Config
from nimify_tui.session import Needs, Session
from nimify_tui.ui.terminal import TerminalProfile, probe
from nimify_tui.wanted import check_regions, read_config, wanted_clusters

if TYPE_CHECKING:
    from nimify_tui.ui.console import ConsoleApp

#: Garbage collection for a store of some 100,000 objects that live long: by Python's own thresholds a full
#: collection stopped every key for 100 ms several times a minute under load. Young garbage still goes.
GC_THRESHOLDS = (5_000, 50, 1_000)
#: For how long the engine's thread keeps the interpreter when the screen's wants it, seconds: with Python's own 5 ms
#: each system call on a key's way to the screen cost as much under load (key echo p95 60 to 90 ms, with this 43).
SWITCH_S = 0.001
#: The console's own log (errors of ours); one older part is kept.
LOG_BYTES = 1024 * 1024


def console(options: argparse.Namespace) -> int:
    """`nimify-tui`: the console on the configured regions and on those announced on this machine."""
    # A demo's own regions come after its console.
    if options.region:
        check_regions(read_config(options), options.region, wanted_clusters(options))
    return run_console(options)


def run_console(options: argparse.Namespace, hint: str = "") -> int:
    """The console until it is left; the exit code (143, 129 after SIGTERM, SIGHUP or a lost terminal).

    ``hint`` is one line for newcomers. Raises NimifyError before the terminal is touched.
    """
    config = read_config(options)
    profile = _profile(options, config)
    os.environ.update(profile.textual_env())
    _log_to_file()
    session = Session(
        config,
        Needs(keep=True, numbers=True, remember=True),
        tuple(options.region or ()),
        hint,
        wanted_clusters(options),
    )
    sys.setswitchinterval(SWITCH_S)
    session.engine.start_ahead()
    try:
        app = _shown(session, profile, options)
    finally:
        session.engine.stop()
    for line in app.farewell:
        sys.stdout.write(f"{line}\n")
    return app.return_code or 0


def _shown(session: Session, profile: TerminalProfile, options: argparse.Namespace) -> ConsoleApp:
    """The session on the screen until it is left: the app as it ended."""
    from textual.events import Event, Key

    from nimify_tui.ui.console import ConsoleApp

    class Console(ConsoleApp):
        """Starts all of the engine when the first frame is out: nothing may delay that. A key goes before all news."""

        async def on_event(self, event: Event) -> None:
            """Let the engine stand aside until what the key does is drawn."""
            if not isinstance(event, Key) or event.is_forwarded:
                await super().on_event(event)
                return
            session.engine.stand_aside()
            try:
                await super().on_event(event)
            finally:
                self.call_after_refresh(session.engine.go_on)

        def on_ready(self) -> None:
            """The first frame is on its way."""
            gc.freeze()  # what was imported stays for good: no collection needs to look at it
            gc.set_threshold(*GC_THRESHOLDS)
            gc.enable()
            keep_large_blocks_apart()
            self.call_after_refresh(session.engine.start)

    where = str(Path(options.config).absolute()) if options.config else ""
    app = Console(session, profile, open_service=options.open_service, config_path=where)
    app.run(mouse=profile.mouse)
    return app


def _profile(options: argparse.Namespace, config: Config) -> TerminalProfile:
    color = options.color if options.color != "auto" else config.ui.color
    mouse = options.mouse if options.mouse is not None else config.ui.mouse
    return probe(color=color, ascii_only=options.ascii or config.ui.ascii, mouse=mouse)


def _log_to_file() -> None:
    """Errors of ours go to a file: the terminal is the screen's alone."""
    try:
        path = private_dir(state_home()) / "console.log"
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=LOG_BYTES, backupCount=1
        )
        path.chmod(0o600)
    except OSError:
        handler = logging.NullHandler()  # a read-only home: the console works without its log
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
