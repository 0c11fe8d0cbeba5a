"""A console on a made world for pty tests: ``python -m tests.ui.moving ROW_ID|- moving|still``.

``moving``: a new frame every 50 ms until SIGUSR1, then the still one for good. ROW_ID opens that detail.
Between a new size and the layout for it (8 ms in Textual) one more frame of the old layout always comes.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys

import msgspec

from nimify_tui.fleet.frames import Frame
from nimify_tui.ui.console import ConsoleApp
from nimify_tui.ui.terminal import probe
from tests.ui import frames
from tests.ui.world import World

PERIOD_S = 0.05


def shaken(frame: Frame, step: int) -> Frame:
    """The same fleet with other numbers in every row."""
    rows = {
        row_id: msgspec.structs.replace(row, rps=frames.num(float((step * 37 + index) % 900), "1/s"))
        for index, (row_id, row) in enumerate(frame.rows.items())
    }
    return msgspec.structs.replace(frame, rows=rows)


class Moving(ConsoleApp):
    """See the module's text."""

    def __init__(self, world: World, row_id: str, *, moving: bool) -> None:
        super().__init__(world, probe())
        self._world, self._still, self._row_id = world, world.frame, row_id
        self._moving = moving
        self._steps = itertools.count()

    def on_ready(self) -> None:
        """Open what is wanted and begin to move."""
        if self._row_id != "-":
            self.open_detail(self._row_id)
        if self._moving:
            self.set_interval(PERIOD_S, self._move)
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._rest)

    def _move(self) -> None:
        if self._moving:
            self._world.frame = shaken(self._still, next(self._steps))
            self.drain()

    def on_resize(self) -> None:
        """A frame between the new size and the new layout: by itself it comes only now and then."""
        self.call_next(self.redraw)

    def _rest(self) -> None:
        self._moving = False
        self._world.frame = self._still
        self.drain()


if __name__ == "__main__":
    made = World(frames.drawn())
    app = Moving(made, sys.argv[1], moving=sys.argv[2] == "moving")
    app.run(mouse=False)
    sys.exit(app.return_code)
