"""The commands of the chart's own screen: a part of the one table in :mod:`nimify_tui.ui.commands`."""

from __future__ import annotations

from nimify_tui.ui.command import Command, Scope
from nimify_tui.ui.present.timerange import RANGES

_C = Scope.CHART


def promql(scope: Scope, what: str, keys: tuple[str, ...] = ("y",), footer: int = 0) -> Command:
    """A panel as PromQL: the same command on each screen that has one."""
    return Command(f"{scope.name.lower()}.promql", keys, ("promql", "query"), "PromQL",
                   f"{what} as PromQL (of what is scraped from here: metrics and window) to the terminal's clipboard, "
                   "and to read; with FILE into a file", scope, argument="[FILE]", footer=footer)  # fmt: skip


CHART: tuple[Command, ...] = (
    Command("chart.in", ("plus", "equals_sign"), (), "zoom in",
            "The next shorter range, around the cursor", _C, footer=1),
    Command("chart.out", ("minus",), (), "out",
            "The next longer range, around the cursor", _C, footer=2),
    *(
        Command(f"chart.range-{name}", (str(number),), (), name, f"A range of {name}", _C)
        for number, name in enumerate(RANGES, 1)
    ),
    Command("chart.range", (), ("range",), "range",
            "A range: " + ", ".join(RANGES), _C, argument="RANGE"),
    Command("chart.left", ("left", "h"), (), "read",
            "The cursor a column to the left: what was then, and what happened about then", _C, footer=3),
    Command("chart.right", ("right", "l"), (), "cursor right",
            "The cursor a column to the right", _C),
    Command("chart.far-left", ("H",), (), "cursor far left",
            "The cursor ten columns to the left", _C),
    Command("chart.far-right", ("L",), (), "cursor far right",
            "The cursor ten columns to the right", _C),
    Command("chart.earlier", ("pageup", "b"), (), "earlier",
            "Half a range into the past", _C, footer=6),
    Command("chart.later", ("pagedown", "f"), (), "later",
            "Half a range towards now", _C),
    Command("chart.live", ("G", "end"), ("live", "now"), "now",
            "Back to now, without a cursor", _C, footer=8),
    Command("chart.metric", ("m",), ("metric",), "metric",
            "Latency, requests, errors", _C, argument="[METRIC]", footer=5),
    Command("chart.compare", ("o",), ("compare",), "compare",
            "Its regions over each other; before and after the last deploy on one time axis; or nothing",
            _C, argument="[regions|revisions|nothing]", footer=4),
    promql(_C, "The panel", footer=7),
)  # fmt: skip
