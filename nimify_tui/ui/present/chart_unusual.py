"""What is unlike the rest of a long range of the chart: marks of it, with how far such marks can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nimify_tui.domain.history import ChartMetric, History
from nimify_tui.fleet.past import merged
from nimify_tui.fleet.unusual import Mark, unusual
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present.chart_words import Told
from nimify_tui.ui.present.charts import MAIN, Compare, Drawn, Scene, format_of
from nimify_tui.ui.widgets.timeaxis import ChartMark

#: In shorter ranges (seconds) what is strange is found as it happens, against what came just before.
LEAST_S = 6 * 3600.0


class Strange(NamedTuple):
    """Marks, oldest first, and what is said of them; "" where none are looked for."""

    told: tuple[Told, ...] = ()
    words: str = ""


class Strangeness:
    """What is strange, found anew only when a server has answered anew."""

    def __init__(self) -> None:
        self._about: tuple[object, ...] = ()
        self._held: Sequence[History] = ()
        self._found = Strange()

    def of(self, scene: Scene, drawings: Sequence[Drawn], now: float) -> Strange:
        """About the main line of one chart; regions over each other show their own oddities."""
        if scene.compare is not Compare.NOTHING or scene.window_s < LEAST_S or scene.metric is ChartMetric.ERRORS:
            return Strange()
        answers = [answer for each in drawings for _, answer in each.answers if answer is not None and answer.steps]
        about = (scene.metric, scene.step_s, *map(id, answers))
        if about != self._about:
            # The answers are held, so that no other one gets the identity of one that is gone.
            self._held, self._about = answers, about
            self._found = _found(scene, answers, now) if answers else Strange()
        return self._found


def _found(scene: Scene, answers: Sequence[History], now: float) -> Strange:
    number, step_s = MAIN[scene.metric], float(scene.step_s)
    values = {
        round(each.at / step_s): extent.value
        for each in merged(answers, scene.metric)
        if len(each.lines) > number and (extent := each.lines[number]) is not None
    }
    if not values:
        return Strange()
    first, last = min(values), max(values)
    line = [values.get(step) for step in range(first, last + 1)]
    found = unusual(line, step_s, first * step_s)
    text, unit, told = format_of(scene.metric), "/s" if scene.metric is ChartMetric.REQUESTS else "", []
    for run in _runs(found.marks):
        # A step ends at its time.
        begin, end = ((first + each.step) * step_s for each in (run[0], run[-1]))
        begin -= step_s
        worst = max(run, key=lambda each: abs((line[each.step] or 0.0) - each.usual))
        value = line[worst.step] or 0.0
        words = f"{fmt.date_clock(begin, now)} unusual: {text(value)}{unit}, usually {text(worst.usual)}{unit}"
        told.append(Told(ChartMark(begin, f"{text(value)}{unit}", "unusual"), words, end))
    return Strange(tuple(told), f"? unusual, {found.words}" if found.ratio is not None else found.words)


def _runs(marks: Sequence[Mark]) -> list[list[Mark]]:
    """Steps that follow each other belong together."""
    runs: list[list[Mark]] = []
    for each in marks:
        if runs and each.step == runs[-1][-1].step + 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    return runs
