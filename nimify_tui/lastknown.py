"""What a console knew last, for the first frame of the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from nimify_tui.base.errors import NimifyError
from nimify_tui.base.files import private_dir, state_home, write_atomic
from nimify_tui.fleet.store import Fleet

log = logging.getLogger(__name__)
#: Larger files are not ours.
MAX_BYTES = 64 * 1024 * 1024
#: How often it is written while a console runs, seconds.
KEEP_S = 600.0


class LastKnown:
    """One file for each region in ``$XDG_STATE_HOME/nimify-tui/last-known/``.

    It is a convenience: a file that cannot be read or written is logged, and the console goes on. Only
    ``regions`` are kept: a demo's are not.
    """

    def __init__(self, regions: frozenset[str]) -> None:
        self._regions = regions
        self._folder = state_home() / "last-known"

    def read(self, fleet: Fleet) -> None:
        """Fill the fleet's first frame."""
        for name in sorted(self._regions):
            path = self._folder / f"{name}.json"
            try:
                with path.open("rb") as file:
                    data = file.read(MAX_BYTES)
                fleet.restore(name, data)
            except FileNotFoundError:
                continue
            except (OSError, NimifyError) as error:
                log.warning("the last-known rows of %s are not used: %s", name, error)

    def write(self, fleet: Fleet) -> None:
        """Keep what the fleet knows."""
        self._store(fleet.last_known())

    async def keep(self, fleet: Fleet, _sink: object) -> None:
        """The same now and then, for ever: a console that is killed loses no more of the error budgets than that."""
        while True:
            await asyncio.sleep(KEEP_S)
            await asyncio.to_thread(self._store, fleet.last_known())

    def _store(self, known: Mapping[str, bytes]) -> None:
        try:
            private_dir(self._folder)
            for name, data in known.items():
                if name in self._regions:
                    write_atomic(self._folder / f"{name}.json", data)
        except OSError as error:
            log.warning("the last-known rows are not kept: %s", error)
