"""`nimify-tui serve MODEL`: from arguments to an exit code."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence

from nimify_tui.base.errors import NimifyError
from nimify_tui.serving.logs import JsonLog, LibraryLog
from nimify_tui.serving.options import parse_options

EXIT_FAILED = 1
EXIT_USAGE = 64


def main(argv: Sequence[str]) -> int:
    """Serve until told to end. 0: drained; 1: could not start; 64: wrong usage.

    The last line of the log says in plain words why it ended.
    """
    try:
        options = parse_options(argv)
    except SystemExit as end:
        return EXIT_USAGE if end.code else 0
    log = JsonLog(service=options.service, region=options.region, revision=options.revision)
    logging.getLogger().addHandler(LibraryLog(log))
    try:
        from nimify_tui.serving.listeners import open_listeners
        from nimify_tui.serving.runtime import run

        return run(options, log, open_listeners(options))
    except NimifyError as error:
        log.write("failed", str(error), "error", category=error.category.value)
    except Exception as error:  # noqa: BLE001  # the process ends here; its last words must say why
        trace = " < ".join(line.strip().replace("\n", " ") for line in traceback.format_tb(error.__traceback__)[-3:])
        log.write("failed", f"an internal error: {type(error).__name__}: {error}", "error", where=trace)
    return EXIT_FAILED


def run_as_program() -> None:
    """Serve and end this process. A model that is still running in its thread must not hold up the end."""
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
