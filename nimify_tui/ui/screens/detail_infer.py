"""The try tab: ask the service something and see what it answers."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nimify_tui.base.text import clean_block, clean_line
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.services import ServiceState
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.widgets.panel import TextPanel

if TYPE_CHECKING:
    from nimify_tui.controllers.infer import InferAnswer
    from nimify_tui.ui.screens.detail import DetailScreen

Spans = tuple[tuple[str, str], ...]
_MAX_LINES = 400


class InferPane:
    """Sends one request at a time and keeps the last answer."""

    def __init__(self, screen: DetailScreen) -> None:
        self._screen = screen
        self.panel = TextPanel(id="try", indent=2)
        self._answer: InferAnswer | None = None
        self._key: ServiceKey | None = None
        self._busy = False

    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """By the part of a command's id after the dot."""
        return {"send": lambda _: self.send(""), "edit": lambda _: self._edit()}

    def _edit(self) -> None:
        before = self._answer.request if self._answer is not None else ""
        self._screen.ask(
            "request ", self.send, value=before[:250], hint='{"inputs": [...]}; empty: an example that fits'
        )

    def send(self, payload: str) -> None:
        """Ask; "" asks with an example made from what the model says of its inputs."""
        row = self._screen.row()
        if row is None or not row.keys or self._busy:
            return
        self._busy = True
        self._key = self._best_key(row)
        self.show()
        self._screen.run_worker(self._send(self._key, payload), name="infer", group="infer", exit_on_error=False)

    async def _send(self, key: ServiceKey, payload: str) -> None:
        app = self._screen.console_app
        try:
            answer = await app.acting.answer(app.context.infer(key, payload), "the request failed")
            if answer is not None:
                self._answer = answer
        finally:
            self._busy = False
            self.show()

    @staticmethod
    def _best_key(row: ServiceRow) -> ServiceKey:
        """A region where it is well, if there is one."""
        states = dict(row.region_states)
        return next((key for key in row.keys if states.get(key.region) is ServiceState.OK), row.keys[0])

    def show(self) -> None:
        """Draw what is known."""
        width = max(20, self._screen.app.size.width - 4)
        self.panel.set_lines([piece for line in self.lines() for piece in _folded(line, width)])

    def lines(self) -> list[Spans]:
        """The last answer, or what to press."""
        if self._busy:
            return [(("asking ...", "start"),)]
        answer = self._answer
        if answer is None or self._key is None:
            return [
                (("enter sends an example that fits the model's inputs; e writes the request yourself", ""),),
                (("Open Inference Protocol v2, through the service's own address like any client", "dim"),),
            ]
        good = 200 <= answer.status < 300
        replica = f", replica {clean_line(answer.replica, 40)}" if answer.replica else ""
        lines: list[Spans] = [
            (
                (f"{answer.status}", "ok" if good else "bad"),
                (
                    f" in {fmt.latency(answer.elapsed_s)} from {clean_line(self._key.row_id, 120)}{replica}",
                    "",
                ),
            ),
            ((clean_line(answer.summary, 400), ""),),
            (),
            (("request", "bold"),),
        ]
        lines += [((each, "dim"),) for each in clean_block(answer.request, 40)]
        lines += [(), (("answer", "bold"),)]
        return lines + [((each, ""),) for each in clean_block(answer.body, _MAX_LINES)]


def _folded(line: Spans, width: int) -> list[Spans]:
    """A line of one span over as many lines as it needs, JSON being one long line; at most ``_MAX_LINES``."""
    if len(line) != 1:
        return [line]
    text, style = line[0]
    pieces = textwrap.wrap(text, width, break_on_hyphens=False) or [text]
    folded: list[Spans] = [((piece, style),) for piece in pieces[:_MAX_LINES]]
    if len(pieces) > _MAX_LINES:
        folded.append(((f"and {len(pieces) - _MAX_LINES} more lines", "dim"),))
    return folded
