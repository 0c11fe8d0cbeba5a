"""Why, GPU, caches and the chart: what proves the table's row."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.cells import cell_len

from nimify_tui.base.text import clean_line
from nimify_tui.domain.changes import Change, Clue, Why
from nimify_tui.domain.names import short_region
from nimify_tui.fleet.frames import CacheStat, LatencyHistory, ServiceDetail, ServiceRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.glyphs import Glyphs
from nimify_tui.ui.widgets.chart import ChartData, ChartSeries
from nimify_tui.ui.widgets.scale import Point
from nimify_tui.ui.widgets.timeaxis import ChartMark

Span = tuple[str, str]
Spans = tuple[Span, ...]
#: How far back the chart looks, by the width it has: never less than a column for each four seconds.
CHART_WINDOW_S = 3600.0


# -- why -------------------------------------------------------------------------------------
def why_title(row: ServiceRow | None, detail: ServiceDetail | None) -> str:
    """``why: llama-chat @ eu-west-1``."""
    if row is None:
        return "why"
    region = detail.why.region if detail is not None and detail.why.region else row.reason_region
    where = f" @ {clean_line(region, 40)}" if region else ""
    return f"why: {clean_line(row.name, 60)}{where}"


def why_facts(detail: ServiceDetail | None, now: float) -> str:
    """The rule's right side: since when."""
    if detail is None or detail.why.onset_at is None:
        return ""
    onset = detail.why.onset_at
    return f"since {fmt.date_clock(onset, now)}, {fmt.span_words(now - onset)}"


def why_lines(why: Why | None, width: int, height: int, reason: str = "") -> tuple[list[Spans], list[Spans]]:
    """(left, right) spans for each line; the most telling clue first, the verdict and the comparison last.

    ``reason``: what the table had to cut, said whole first. The first clue takes a second line where one
    is free, so that its evidence can be read; ``width`` is what a line has.
    """
    if why is not None and why.clues and why.clues[0].change.text[:12] in reason:
        reason = ""  # the first clue says it already, with its evidence
    lead: list[Spans] = [_spans_of(each) for each in wrapped(reason, width)[: max(0, height - 1)]]
    height -= len(lead)
    if why is None:
        return [*lead, (("looking it up", "dim"),)], []
    if not why.clues:
        text = clean_line(why.verdict, 300) or ("nothing known changed" if why.onset_at else "nothing to explain")
        lines: list[Spans] = [((text, "dim" if why.onset_at is None else ""),)]
        if why.elsewhere:
            lines.append(((clean_line(why.elsewhere, 300), ""),))
        return [*lead, *lines[:height]], []
    left: list[Spans] = []
    right: list[Spans] = []
    room = max(1, height - (1 if why.elsewhere and height > 1 else 0))
    for clue in why.clues[:room]:
        spans: Spans = clue_spans(clue)
        more: Spans = ()
        offset = fmt.offset(clue.offset_s)
        # A second line where it pushes nothing out: the best clue before all others.
        if len(left) + 1 + (len(why.clues[:room]) - len(right)) <= room or (not left and room >= 2):
            spans, more = _on_two_lines(clue, width - len(offset) - 1, width)
        left.append(spans)
        right.append(((offset, "dim"),))
        if more:
            left.append(more)
            right.append(())
        if len(left) >= room:
            break
    if why.elsewhere and len(left) < height:
        left.append((("elsewhere  ", "dim"), (clean_line(why.elsewhere, 300), "")))
    return [*lead, *left], [*(() for _ in lead), *right]


def _spans_of(text: str) -> Spans:
    return ((text, "bold"),)


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells, broken between words where there are any."""
    return textwrap.wrap(text, max(8, width)) if text else []


def _on_two_lines(clue: Clue, first: int, width: int) -> tuple[Spans, Spans]:
    """The clue on one line when it fits in ``first`` cells, else what is cut goes on below it."""
    spans = clue_spans(clue)
    if sum(cell_len(text) for text, _ in spans) <= first:
        return spans, ()
    stamp, said = spans[0], spans[1]
    indent = " " * cell_len(stamp[0])
    if len(spans) > 2 and cell_len(stamp[0]) + cell_len(said[0]) <= first:
        return spans[:2], ((indent, ""), (spans[2][0].strip(), "dim"))
    lines = wrapped(" ".join(text.strip() for text, _ in spans[1:]), first - len(indent))
    return (stamp, (lines[0], "")), ((indent, ""), (" ".join(lines[1:]), "dim"))


def clue_spans(clue: Clue) -> Spans:
    """``18:35:41  rollout to revision 12 by ci, image :1.8.4 → :1.9.0``."""
    spans = [(f"{fmt.clock(clue.change.at)}  ", "dim"), (change_text(clue.change), "")]
    if clue.change.evidence:
        spans.append((f"  {clean_line(clue.change.evidence, 200)}", "dim"))
    return tuple(spans)


def change_text(change: Change) -> str:
    """The change in words, with who did it."""
    text = clean_line(change.text, 300)
    by = clean_line(change.by, 60)
    return f"{text} by {by}" if by and f"by {by}" not in text else text


# -- latency ---------------------------------------------------------------------------------
def chart_title(row: ServiceRow | None) -> tuple[Span, ...]:
    """``latency  llama-chat, 3 regions``."""
    if row is None:
        return (("latency", "title"),)
    where = f"{row.region_count} regions" if row.region_count > 1 and not row.depth else row.region_states[0][0]
    return (("latency", "title"), (f"  {clean_line(row.name, 60)}, {clean_line(where, 40)}", ""))


def chart_facts(history: LatencyHistory | None) -> str:
    """``age <5 s · metrics of 5 replicas``; the objective stands at its line."""
    if history is None:
        return ""
    return f"{_age(history)} · {clean_line(history.source, 60)}".rstrip(" ·")


def _age(history: LatencyHistory) -> str:
    return "no data yet" if history.age_s is None else f"age {fmt.age(history.age_s)}"


def slo_text(history: LatencyHistory) -> str:
    """The objective in words."""
    slo = history.slo
    if slo is None:
        return "no SLO"
    if slo.latency_ms is None:
        return f"SLO {fmt.percent(slo.objective, 2)} good"
    return f"SLO p{slo.quantile * 100:g} {fmt.latency(slo.latency_ms / 1000)}"


def chart_data(history: LatencyHistory | None, now: float, empty: str = "looking it up") -> ChartData:
    """The chart's data: p50, p95, p99 (the worst on top), marks of roll-outs and the like.

    ``empty`` is said while there is no history.
    """
    if history is None:
        return ChartData(series=(), now_at=now, empty=empty)
    columns = history.columns
    # A column's value belongs to its whole width; its middle is where it is drawn.
    half = history.column_s / 2
    p50: list[Point] = [(each.at + half, each.p50_s) for each in columns]
    p95: list[Point] = [(each.at + half, each.p95_s) for each in columns]
    p99: list[Point] = [(each.at + half, each.p99_s) for each in columns]
    end = columns[-1].at + history.column_s if columns else now
    covered = end - columns[0].at if columns else 0.0
    slo = history.slo
    return ChartData(
        series=(ChartSeries("p50", "p50", p50), ChartSeries("p95", "p95", p95), ChartSeries("p99", "p99", p99)),
        now_at=end,
        window_s=min(CHART_WINDOW_S, max(300.0, _round_window(covered))),
        slo=None if slo is None or slo.latency_ms is None else slo.latency_ms / 1000,
        slo_text="no SLO" if slo is None else f"SLO {slo.objective * 100:g}%",
        marks=chart_marks(history),
        format=fmt.latency,
        facts=f"{_age(history)} · {clean_line(history.source, 60)}".rstrip(" ·"),
        empty=clean_line(history.reason, 120) or "no requests measured yet",
    )


def _round_window(covered_s: float) -> float:
    """The next of a few windows, so that the chart changes its scale rarely."""
    return next((each for each in (300.0, 600.0, 900.0, 1800.0) if covered_s <= each), CHART_WINDOW_S)


def chart_marks(history: LatencyHistory) -> tuple[ChartMark, ...]:
    """What somebody did, and the alerts that fired."""
    fired = [ChartMark(each.fired_at, each.rule, "incident") for each in history.incidents]
    return (*map(change_mark, history.marks), *fired)


def change_mark(change: Change) -> ChartMark:
    """A change at the chart's foot."""
    return ChartMark(change.at, mark_label(change), "change" if change.revision is None else "deploy")


def mark_label(change: Change) -> str:
    """A short word at the chart's foot: ``r12``, ``scale``."""
    return f"r{change.revision}" if change.revision is not None else str(change.kind)


# -- caches ----------------------------------------------------------------------------------
def trend_text(trend: Sequence[float | None], glyphs: Glyphs, cells: int = 8) -> str:
    """The last values from 0 to 1 as steps; what is not known is a blank."""
    steps = len(glyphs.bars) - 1
    shown = trend[-cells:]
    return "".join(" " if each is None else glyphs.bars[min(steps, max(1, round(each * steps)))] for each in shown)


#: Cells of a note and of a trend in the line of caches: the longest for which all of them have room.
_CACHE_ROOM = (*((cells, 8) for cells in range(60, 8, -4)), (8, 4), (0, 4), (0, 0))


def cache_items(caches: Sequence[CacheStat], glyphs: Glyphs, width: int = 0, gap: int = 3) -> list[Spans]:
    """``response L1 71% ▆▆▅▆ 212M`` for each tier, ``gap`` cells apart; shorter where ``width`` has no room for all."""
    if not caches:
        return [(("no cache reported yet", "dim"),)]
    items: list[Spans] = []
    for note_cells, trend_cells in _CACHE_ROOM:
        items = [_cache_item(each, glyphs, note_cells, trend_cells) for each in caches]
        needed = 1 + gap * (len(items) - 1) + sum(cell_len(text) for item in items for text, _ in item)
        if not width or needed <= width:
            break
    return items


def _cache_item(stat: CacheStat, glyphs: Glyphs, note_cells: int, trend_cells: int) -> Spans:
    main = stat.use or stat.hit_ratio
    spans = [(f"{clean_line(stat.tier, 24)} ", ""), (fmt.measure(main, 0), fmt.style_of(main))]
    if stat.trend and trend_cells:
        spans.append((f" {trend_text(stat.trend, glyphs, trend_cells)}", "dim"))
    if stat.size.value is not None:
        spans.append((f" {fmt.measure(stat.size)}", fmt.style_of(stat.size)))
    note = clean_line(stat.note or ("" if main.value is not None else main.reason), note_cells) if note_cells else ""
    if note:
        spans.append((f" {note}", "dim"))
    return tuple(spans)


def cache_table(caches: Sequence[CacheStat], now: float, width: int, glyphs: Glyphs) -> list[Spans]:
    """One line for each tier with room: hit rate, size, trend, age and source."""
    if not caches:
        return [(("no cache reported yet: replicas that cache tell it in their metrics", "dim"),)]
    lines: list[Spans] = []
    for each in caches:
        main = each.use or each.hit_ratio
        known = main.value is not None and width >= 70
        why = clean_line(each.note or main.reason, max(80, width - 40))  # with room, what helps is read, too
        age = "" if main.at is None else f"age {fmt.age(now - main.at)}"
        source = clean_line(main.source, 40) if known else ""
        lines.append(
            (
                (f"{clean_line(each.tier, 20):<15}", ""),
                (f"{fmt.measure(main, 0):>4}  ", fmt.style_of(main)),
                (f"{fmt.measure(each.size):>6}  ", fmt.style_of(each.size)),
                (f"{trend_text(each.trend, glyphs, 24 if width >= 70 else 8)}  ", "dim"),
                (" · ".join(filter(None, [why, *cache_facts(each), age, source])), "dim"),
            )
        )
    return lines


def cache_facts(stat: CacheStat) -> list[str]:
    """``of 2.0G``, ``3.0 evicted/s``, ``answers in 0.4ms``: what is known of it."""
    found = []
    if stat.limit is not None and stat.limit.value is not None:
        found.append(f"of {fmt.measure(stat.limit)}")
    if stat.evictions is not None and stat.evictions.value is not None:
        found.append(f"{fmt.measure(stat.evictions)} evicted/s" if stat.evictions.value else "none evicted")
    if stat.latency is not None and stat.latency.value is not None:
        found.append(f"answers in {fmt.measure(stat.latency)}")
    return found


def region_label(name: str, short: bool) -> str:
    """A region's name for a column."""
    return short_region(name) if short else clean_line(name, 40)
