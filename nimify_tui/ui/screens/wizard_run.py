"""The proof at the wizard's end: the new service answers an inference in every region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nimify_tui.base.text import clean_line
from nimify_tui.domain.names import ServiceKey
from nimify_tui.ui import format as fmt

if TYPE_CHECKING:
    from nimify_tui.ui.console import ConsoleApp

#: How long a new service may take until its first answer, seconds.
DEADLINE_S = 60.0
Spans = tuple[tuple[str, str], ...]


async def first_answers(app: ConsoleApp, targets: Sequence[ServiceKey]) -> list[Spans]:
    """One line for each region: what it answered, and how fast."""
    lines: list[Spans] = []
    for key in targets:
        answer = await app.acting.answer(
            app.context.first_answer(key, DEADLINE_S), f"first inference of {key.row_id}"
        )
        name = f"{clean_line(key.region, 40):<16}"
        if answer is None:
            lines.append(
                ((name, ""), ("runs, but did not answer the first inference; l on its row shows the logs", "warn"))
            )
            continue
        good = 200 <= answer.status < 300
        took = f"first inference answered in {fmt.latency(answer.elapsed_s)}: " if good else ""
        said = took + clean_line(answer.summary, 200)
        lines.append(((name, ""), (f"{answer.status} ", "ok" if good else "bad"), (said, "")))
    return lines
