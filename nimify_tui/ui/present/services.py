"""The service table: columns by width, rows from facts, order by what the operator asked for.

Rows are presented only when they are drawn and again only when they changed, so that ten thousand
services cost what is in view.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nimify_tui.base.text import clean_line
from nimify_tui.domain.names import short_region
from nimify_tui.domain.services import STATE_RANK, ServiceState
from nimify_tui.domain.slos import ANNOTATION, Burning
from nimify_tui.fleet.frames import Frame, ModelRow, ServiceRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.glyphs import STATE_STYLES
from nimify_tui.ui.present.models import Models, model_row
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.table import Row

#: Where there is no other reason, and as what it is shown.
_BURNS = {Burning.FAST: ("error budget burns fast", "bad"), Burning.SLOW: ("error budget burns slowly", "warn")}
#: Width of the column READY.
READY_CELLS = 5
_UNWELL = (ServiceState.DOWN, ServiceState.DEGRADED, ServiceState.UNKNOWN)


def columns_for(width: int, mute: frozenset[str] = frozenset()) -> tuple[Column, ...]:
    """Columns at a width; the least important disappear by themselves on still narrower screens.

    ``mute``: columns that tell nothing in this fleet (:func:`mute_columns`); the reason gets their room.
    """
    wide, narrow = width >= 160, width < 100
    return (
        Column("service", "SERVICE", 13 if width >= 60 else 10, 28, flex=1 if wide else 0, shorten="middle"),
        Column("where", "WHERE", 16 if wide else 7 if narrow else 14, priority=3, tree=True),
        Column("family", "FAMILY", 6, priority=9, shown="family" not in mute),
        Column("ready", "READY", READY_CELLS, align="right"),
        Column("rps", "RPS", 5, align="right", priority=5),
        Column("p50", "P50", 5, align="right", priority=8),
        Column("p95", "P95", 5, align="right", priority=2),
        Column("p99", "P99", 5, align="right", priority=7),
        Column("err", "ERR", 5, align="right", priority=4),
        Column("burn", "BURN", 6, align="right", priority=6, shown="burn" not in mute),
        Column("rev", "REV", 7, align="right", priority=10, shown=wide),
        Column("since", "SINCE", 5, align="right", priority=3),
        Column("reason", "REASON", 20 if width >= 72 else 12, flex=3),
    )


def mute_columns(rows: Iterable[ServiceRow]) -> frozenset[str]:
    """Columns that say the same in each row: BURN where no service has an SLO, FAMILY where there is one."""
    families: set[str] = set()
    slo = False
    for row in rows:
        families.add(row.family)
        slo = slo or row.slo is not None
        if slo and len(families) > 1:
            return frozenset()
    if not families:
        return frozenset()
    return frozenset(({"family"} if len(families) == 1 else set()) | (set() if slo else {"burn"}))


@dataclass(frozen=True, slots=True)
class View:
    """How the operator looks at the table: what is filtered, sorted, unfolded."""

    filter_text: str = ""
    sort: str = ""
    reverse: bool = False
    opened: frozenset[str] = frozenset()


#: Sort column -> (key of a row, biggest first).
_SORTS: dict[str, tuple[Callable[[ServiceRow], float | str], bool]] = {
    "name": (lambda row: row.name, False),
    "where": (lambda row: row.reason_region if row.region_count > 1 else row.region_states[0][0], False),
    "rps": (lambda row: _number(row.rps.value), True),
    "p50": (lambda row: _number(row.p50.value), True),
    "p95": (lambda row: _number(row.p95.value), True),
    "p99": (lambda row: _number(row.p99.value), True),
    "err": (lambda row: _number(row.error_ratio.value), True),
    "burn": (lambda row: _number(row.burn.value), True),
    "ready": (lambda row: -1.0 if row.ready is None else row.ready - row.desired + row.desired / 1e6, False),
    "since": (lambda row: _number(row.since), True),
}
SORTS: tuple[str, ...] = tuple(_SORTS)


def _number(value: float | None) -> float:
    return float("-inf") if value is None else value


def parse_filter(text: str) -> tuple[Callable[[ServiceRow], bool] | None, str]:
    """A test for rows, and what is wrong with the pattern ("" if nothing).

    k9s' grammar: a regular expression without regard to case over what the row says, ``!`` in front
    turns it round. A pattern that is no regular expression is looked for as it stands.
    """
    text = text.strip()
    inverse = text.startswith("!")
    pattern = text[1:].strip() if inverse else text
    if not pattern:
        return None, ""
    trouble = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # "[[" may mean more one day: no news for a screen
            find = re.compile(pattern, re.IGNORECASE).search
    except re.error as error:
        trouble = f"not a regular expression ({error}); looked for as plain text"
        find = re.compile(re.escape(pattern), re.IGNORECASE).search
    return (lambda row: (find(haystack(row)) is None) is inverse), trouble


def haystack(row: ServiceRow) -> str:
    """What a filter sees of a row."""
    regions = " ".join(f"{name} {short_region(name)}" for name, _ in row.region_states)
    return f"{row.name} {regions} {row.family} {row.state} {row.reason} {' '.join(row.models)}"


class Ordering:
    """The order of visible rows for a view; remembers per row what the filter said of it."""

    def __init__(self) -> None:
        self._filter_text = ""
        self._test: Callable[[ServiceRow], bool] | None = None
        self._verdicts: dict[str, tuple[ServiceRow, bool]] = {}
        self.trouble = ""

    def order(self, frame: Frame, view: View) -> tuple[str, ...]:
        """Ids in the order of the screen, unfolded rows under their fold."""
        if view.filter_text != self._filter_text:
            self._filter_text = view.filter_text
            self._test, self.trouble = parse_filter(view.filter_text)
            self._verdicts.clear()
        ids: Sequence[str] = frame.order
        sorting = _SORTS.get(view.sort)
        if self._test is not None:
            ids = [each for each in ids if self._passes(frame, each)]
        if sorting is not None:
            key, biggest_first = sorting
            rows = frame.rows
            # Two passes keep the worst-first order among equals, whichever way round the column is sorted.
            ids = sorted(ids, key=lambda each: key(rows[each]), reverse=biggest_first != view.reverse)
        if not view.opened:
            return tuple(ids)
        shown: list[str] = []
        for each in ids:
            shown.append(each)
            if each in view.opened:
                shown.extend(_models_of(frame, each, view))
                for child in frame.children.get(each, ()):
                    shown.append(child)
                    if child in view.opened:
                        shown.extend(_models_of(frame, child, view))
        return tuple(shown)

    def _passes(self, frame: Frame, row_id: str) -> bool:
        row = frame.rows[row_id]
        known = self._verdicts.get(row_id)
        if known is not None and known[0] is row:
            return known[1]
        test = self._test
        verdict = test is None or test(row)
        self._verdicts[row_id] = (row, verdict)
        return verdict


#: Sort column -> (key of a model, biggest first); by other columns models stay as they are, the unwell first.
_MODEL_SORTS: dict[str, tuple[Callable[[ModelRow], float | str], bool]] = {
    "name": (lambda row: row.name, False),
    "where": (lambda row: str(row.kind), False),
    "rps": (lambda row: _number(row.rps.value), True),
    "p50": (lambda row: _number(row.p50.value), True),
    "p95": (lambda row: _number(row.p95.value), True),
    "p99": (lambda row: _number(row.p99.value), True),
    "err": (lambda row: _number(row.error_ratio.value), True),
}


def _models_of(frame: Frame, row_id: str, view: View) -> list[str]:
    """Ids of the models below a row, in the order of the view."""
    models: Sequence[ModelRow] = frame.models.get(row_id, ())
    sorting = _MODEL_SORTS.get(view.sort)
    if sorting is not None:
        key, biggest_first = sorting
        models = sorted(models, key=key, reverse=biggest_first != view.reverse)
    return [each.id for each in models]


class Rows(Mapping[str, Row]):
    """Presented rows of a frame, made when asked for and kept while their facts stay the same."""

    def __init__(self) -> None:
        self._frame: Frame | None = None
        self._opened: frozenset[str] = frozenset()
        self._now = 0.0
        self._short = False
        self._names: dict[str, str] = {}
        self._name_width = 0
        self._made: dict[str, tuple[ServiceRow, str, str, Row]] = {}
        self.models = Models()

    def use(self, frame: Frame, opened: frozenset[str], now: float, name_width: int, short: bool) -> None:
        """Present ``frame`` from now on; ``now`` in whole seconds is enough."""
        self._frame, self._opened, self._now = frame, opened, now
        self.models.use(frame)
        if name_width != self._name_width or short != self._short:
            self._name_width, self._short = name_width, short
            self._made.clear()
            self._names = {}
            self.models.forget_names()
        if any(frame.rows[each].name not in self._names for each in frame.order):
            names = (frame.rows[each].name for each in frame.order)
            before, self._names = self._names, fmt.shorten_names(names, name_width)
            if any(self._names.get(name) != short_name for name, short_name in before.items()):
                self._made.clear()

    def __getitem__(self, key: str) -> Row:
        if self._frame is None:
            raise KeyError(key)
        if (model := self.models.find(key)) is not None:
            return self._model(key, model)
        row = self._frame.rows[key]
        since = since_text(row, self._now)
        expander = ("open" if key in self._opened else "closed") if row.expandable else ""
        made = self._made.get(key)
        if made is not None and made[0] is row and made[1] == since and made[2] == expander and not row.stale:
            return made[3]
        new = service_row(row, self._now, self._names.get(row.name, row.name), self._short, expander)
        if made is not None and made[3] == new:
            new = made[3]  # the same picture: the widget need not look again
        self._made[key] = (row, since, expander, new)
        if len(self._made) > 4096:
            self._made.clear()
        return new

    def _model(self, key: str, model: ModelRow) -> Row:
        above = self.models.above(key)
        depth = 1 if self._frame is None or not self._frame.rows[above].depth else 2
        name = self.models.short_name(key, max(6, self._name_width - 2 * depth))
        return model_row(model, name, depth)

    def __contains__(self, key: object) -> bool:
        if self._frame is None:
            return False
        return key in self._frame.rows or (isinstance(key, str) and self.models.find(key) is not None)

    def __iter__(self) -> Iterator[str]:
        return iter(() if self._frame is None else self._frame.rows)

    def __len__(self) -> int:
        return 0 if self._frame is None else len(self._frame.rows)


def since_text(row: ServiceRow, now: float) -> str:
    """How long an unwell service has been so; empty for a healthy one."""
    if row.since is None or row.state is ServiceState.OK:
        return ""
    return fmt.span(now - row.since)


def service_row(row: ServiceRow, now: float, name: str, short: bool, expander: str) -> Row:
    """One row of the table as cells, in the order of :func:`columns_for`."""
    state_style = STATE_STYLES.get(row.state.lower(), "") if row.state is not ServiceState.OK else ""
    stopped = row.state is ServiceState.STOPPED
    faded = "dim" if stopped or row.state is ServiceState.UNKNOWN else ""  # what is shown is not what is so now
    numbers = [row.rps, row.p50, row.p95, row.p99, row.error_ratio]
    cells = [Cell("") if stopped else Cell(fmt.measure(each), fmt.style_of(each)) for each in numbers]
    if not stopped:
        cells[2] = _against_slo(row, cells[2])
    missing = row.ready is not None and row.ready < row.desired
    ready = Cell(ready_text(row.ready, row.desired), state_style if missing else "")
    indent = "  " if row.depth else ""
    revisions = " ".join(f"r{each}" for each in row.revisions[-2:])
    return Row(
        cells=(
            Cell(indent + name, "dim" if row.depth else faded),
            Cell(where_text(row, short), faded),
            Cell(clean_line(row.family, 12), "dim"),
            ready,
            *cells,
            _burn(row, stopped),
            Cell(revisions, "dim" if len(row.revisions) < 2 else "warn"),
            Cell(since_text(row, now), state_style),
            # The short name of the region always: the reason needs the room.
            Cell(reason_text(row, now, True), _reason_style(row, state_style)),
        ),
        state=row.state.lower(),
        # Where it is narrow the expander stands where the indent would: the region's name needs the room.
        indent=0 if short and expander else row.depth,
        expander=expander,
    )


def _reason_style(row: ServiceRow, state_style: str) -> str:
    if row.stale and row.state in (ServiceState.OK, ServiceState.STOPPED):
        return "stale"
    if state_style or row.progress or row.burning not in _BURNS:
        return state_style or ("start" if row.progress else "dim")
    return _BURNS[row.burning][1]


def where_text(row: ServiceRow, short: bool) -> str:
    """The region, or how many."""
    if row.region_count == 1 or row.depth:
        name = row.region_states[0][0]
        return short_region(name) if short else clean_line(name, 40)
    return str(row.region_count) if short else f"{row.region_count} regions"


def ready_text(ready: int | None, desired: int) -> str:
    """``5/6``; what is too wide for the column as the count when all are ready, else as whole percents of it."""
    text = f"{'?' if ready is None else ready}/{desired}"
    if len(text) <= READY_CELLS or not desired:
        return text
    if ready is None:
        return "?"
    return str(desired) if ready == desired else f"{100 * ready // desired}%"


def reason_text(row: ServiceRow, now: float, short: bool) -> str:
    """Why, in plain words, and in which region when there are several; then how old the numbers are."""
    drift = f"versions differ: {row.drift}" if row.drift else ""
    burns = _BURNS[row.burning][0] if row.burning in _BURNS and row.state is ServiceState.OK else ""
    text = clean_line(row.reason or row.progress or burns or drift, 300)
    if text and row.region_count > 1 and row.reason_region and row.depth == 0 and row.state in _UNWELL:
        region = short_region(row.reason_region) if short else clean_line(row.reason_region, 40)
        text = f"{region}: {text}"
    if row.stale:
        oldest = min((each.at for each in (row.rps, row.p95) if each.at is not None), default=None)
        if oldest is not None:
            old = f"numbers {fmt.age(now - oldest)} old"
            text = f"{text}; {old}" if text else old
    return text


def _against_slo(row: ServiceRow, cell: Cell) -> Cell:
    slo, p95 = row.slo, row.p95.value
    if slo is None or slo.latency_ms is None or p95 is None or cell.style:
        return cell
    return Cell(cell.text, "warn") if slo.quantile == 0.95 and p95 * 1000 > slo.latency_ms else cell


def _burn(row: ServiceRow, stopped: bool) -> Cell:
    if stopped:
        return Cell("")
    if row.slo is None:
        return Cell("SLO?", "warn") if row.burn.reason.startswith(ANNOTATION) else Cell("no SLO", "dim")
    value = row.burn.value
    if value is None:
        return Cell(fmt.UNKNOWN, "dim")
    style = _BURNS[row.burning][1] if row.burning in _BURNS else "warn" if value >= 1 else fmt.style_of(row.burn)
    more = row.burn.sign
    return Cell(f"{more}{value:.0f}" if value >= 99.95 else f"{more}{value:.1f}", style)


def counts_text(frame: Frame, shown: int, view: View) -> str:
    """The table rule's facts: order, how many of how many, what is filtered."""
    total = len(frame.order)
    order = "worst first" if not view.sort else f"by {view.sort}{' reversed' if view.reverse else ''}"
    parts = [order]
    if view.filter_text:
        parts.append(f"filter {clean_line(view.filter_text, 24)}")
    parts.append(f"{shown} of {total}")
    return " · ".join(parts)


def unwell_first(frame: Frame) -> str | None:
    """Id of the worst row, None when all is well: where a newcomer's cursor should stand."""
    for each in frame.order:
        if STATE_RANK[frame.rows[each].state] < STATE_RANK[ServiceState.OK]:
            return each
        break
    return None
