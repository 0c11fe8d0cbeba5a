"""Panels as PromQL to copy: each number under its name; of what no Prometheus has told who did, in so many words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.domain import promql_caches as caches
from nimify_tui.domain.asked import Asked
from nimify_tui.domain.caches import PREFIX
from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.history import ChartMetric
from nimify_tui.domain.measures import Measure
from nimify_tui.domain.promql import Panel, family_of, own_words
from nimify_tui.domain.slos import Slo
from nimify_tui.fleet.budgets import PAIRS
from nimify_tui.fleet.cachestats import NAMES
from nimify_tui.fleet.frames import CacheStat, Frame, MetricLine, ServiceDetail, ServiceRow
from nimify_tui.fleet.numbers import WINDOW_S
from nimify_tui.ui.present import gpu_words

#: (what it is, expression), as it is copied; without an expression the words alone.
Query = tuple[str, str]
#: A rate needs so many scrapes, to be one although one of them is missing.
_SCRAPES = 4.0
#: A longer one is nothing to paste (clean_line scans no more).
_CHARS = 16_000
_NOT_ONE = "made by this console of what the server told; it has no expression for it"
#: The percentiles and ratios of a panel, by their names in a service's metrics.
_NAMES = {"p50": "latency p50", "p95": "latency p95", "p99": "latency p99", "requests/s": "requests",
          "error ratio": "error ratio (5xx, failed runs)"}  # fmt: skip


def told_once(said: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """(who, lines) of several, the same lines of several of them once."""
    by_lines: dict[tuple[str, ...], dict[str, None]] = {}
    for who, lines in said:
        by_lines.setdefault(tuple(lines), {})[who] = None
    return [line for lines, who in by_lines.items() for line in (f"# {', '.join(who)}", *lines)]


def query_lines(queries: Iterable[Query]) -> list[str]:
    """Each expression below its name."""
    lines = []
    for name, text in queries:
        beyond = len(text) > _CHARS
        lines.append(clean_line(f"# {name}{': too many replicas for one expression' if beyond else ''}", 300))
        lines += [clean_line(text, _CHARS)] if text and not beyond else []
    return lines


def no_prometheus(who: str) -> list[str]:
    """What is said of numbers that nobody else has."""
    return [f"# no Prometheus: {clean_line(who, 300)}", "# measured by this console"]


# -- GPUs ------------------------------------------------------------------------------------
def gpu_query_lines(gpus: Iterable[Gpu], *, several: bool, fields: Sequence[str] = ()) -> list[str]:
    """What is known of each; ``several`` regions, ``fields``: those alone."""
    said = []
    for gpu in gpus:
        source = gpu.temperature.source or gpu.utilisation.source or gpu.memory_used.source
        name = clean_line(f"{gpu_words.label(gpu, several=several)} ({source})", 200)
        if not gpu.queries:
            said.append((name, no_prometheus(source or "this host")))
            continue
        found = []
        for field, text in gpu.queries:
            if not fields or field in fields:
                unit = getattr(gpu, field).unit.replace("_", " ")
                found.append((f"{field.replace('_', ' ')}, {unit}", text))
        said.append((name, query_lines(found)))
    return told_once(said)


def gpu_panel_lines(panels: Sequence[GpuPanel]) -> list[str]:
    """The numbers that the panel has of each card."""
    every = [gpu for panel in panels for gpu in panel.gpus]
    if not every:
        return ["# no GPU is known"]
    fields = ("utilisation", "memory_used", "memory_total", "temperature", "power")
    return gpu_query_lines(every, several=gpu_words.several_regions(panels), fields=fields)


# -- a service -------------------------------------------------------------------------------
def service_queries(asked: Asked) -> list[Query]:
    """The row's numbers by their names in the detail, over as long as it is measured, or the scrapes that it takes."""
    panel = _panel(asked)
    if panel is None:
        return [(_NOT_ONE, "")]
    window_s = max(WINDOW_S, _SCRAPES * asked.every_s)
    found = [line for metric in ChartMetric for line in panel.lines(metric, window_s)]
    named = [(_NAMES.get(name.partition(" in ")[0], name), name, text) for name, text in found]
    return [(f"{known}{' in ms' if name.endswith(' in ms') else ''}", text) for known, name, text in named]


def burn_queries(asked: Asked, slo: Slo | None) -> list[Query]:
    """How fast the budget goes, by the first pair of windows."""
    panel = _panel(asked)
    if slo is None or panel is None:
        return []
    pair = PAIRS[0]
    name = f"burn {pair.name} (limit {pair.limit:g})"
    if slo.ttft_ms is not None or not panel.ratio(pair.short_s):
        return [(f"{name}: {_NOT_ONE}", "")]

    def bad(window_s: float) -> str:
        ratio = panel.ratio(window_s)
        if slo.latency_ms is None:
            return ratio
        return f"clamp_max({ratio} + ({panel.slower(slo.latency_ms / 1000, window_s)}), 1)"

    rates = " or ".join(
        f'label_replace({bad(each)}, "over", "{each:.0f}s", "", "")' for each in (pair.long_s, pair.short_s)
    )
    bound = "" if slo.latency_ms is None else f", where {slo.latency_ms:g} ms is a bound of its buckets"
    return [(f"{name}{bound}", f"min({rates}) / {round(1.0 - slo.objective, 9):g}")]


def _panel(asked: Asked) -> Panel | None:
    family = family_of(frozenset({asked.sign}))
    return Panel(family, asked.matchers, asked.by) if family is not None else None


def service_lines(row: ServiceRow | None, detail: ServiceDetail | None) -> list[str]:
    """The latency panel and the row's numbers, by region."""
    if row is None or detail is None:
        return ["# no service under the cursor" if row is None else "# looking it up"]
    said = []
    for each in detail.asked:
        own = own_words(detail.history.runtime, ChartMetric.LATENCY) or each.sign
        said.append((where(each), query_lines(service_queries(each)) if each.who else no_prometheus(own)))
    return told_once(said) or ["# no metrics of it were read yet"]


def where(asked: Asked) -> str:
    """``eu-west-1 (Prometheus prom:9090)``."""
    return clean_line(asked.region + (f" ({asked.who})" if asked.who else ""), 160)


# -- caches ----------------------------------------------------------------------------------
def cache_lines(stats: Sequence[CacheStat], asked: Sequence[Asked]) -> list[str]:
    """The tiers of the cache panel; ``asked``: where the numbers of those in replicas came from."""
    return told_once(
        (at, query_lines((f"{tier}: {name}", text) for tier, name, text in found) or list(own))
        for at, own, found in _caches(stats, asked)
    ) or ["# no cache reported yet"]


def _caches(
    stats: Sequence[CacheStat], asked: Sequence[Asked]
) -> Iterable[tuple[str, list[str], list[tuple[str, str, str]]]]:
    """By server: its name, what is said where it is none, (tier, what, expression)."""
    names = {name: tier for tier, name in NAMES}
    inside = [each for each in stats if _in_replicas(each)]
    for at, mine in _by_server(asked).items():
        if not mine[0].who:
            yield at, no_prometheus(mine[0].sign), []
            continue
        found = []
        for each in inside:
            tier = names.get(each.tier, each.tier)
            if each.tier == "KV":
                found.append((each.tier, "use of the fullest, 0 to 1", caches.kv_use(mine)))
            else:
                found.append((each.tier, "hit ratio", caches.hit_ratio(mine, tier)))
                found.append((each.tier, "size, bytes", caches.size_bytes(mine, tier)))
        there = [each for each in found if each[2]]
        if there:
            yield at, [], there
    for stat in stats:
        for at, mine in _by_server(stat.asked).items():
            if not mine[0].who:
                yield at, no_prometheus(f"{stat.tier} by {mine[0].sign}"), []
            else:
                told = [(words, text) for name, words, text in caches.shared(mine) if _is_known(getattr(stat, name))]
                yield at, [], [(stat.tier, words, text) for words, text in told]


def _is_known(value: Measure | None) -> bool:
    return value is not None and value.value is not None


def _in_replicas(stat: CacheStat) -> bool:
    """Whether replicas have told it; what is only said to be missing has no source."""
    return not stat.asked and bool(stat.use is not None or stat.hit_ratio.source)


def _by_server(asked: Iterable[Asked]) -> dict[str, list[Asked]]:
    found: dict[str, list[Asked]] = {}
    for each in asked:
        found.setdefault(where(each), []).append(each)
    return found


# -- screens ---------------------------------------------------------------------------------
def panel_lines(frame: Frame, row: ServiceRow | None, shown: Iterable[str]) -> list[str]:
    """The panels below the fleet's table that are shown: latency of the row under the cursor, GPUs, caches."""
    detail = frame.details.get(row.id) if row is not None else None
    name = clean_line(f"latency {row.name}" if row is not None else "latency", 120)
    made: Mapping[str, tuple[str, list[str]]] = {
        "latency": (name, service_lines(row, detail)),
        "gpu": ("gpu", gpu_panel_lines(frame.gpus)),
        "cache": ("caches", cache_lines(frame.caches, frame.asked)),
    }
    lines = [line for each in shown if each in made for line in (f"# -- {made[each][0]}", *made[each][1])]
    return lines or ["# what this panel shows is not out of a Prometheus: events that this console has read itself"]


def detail_lines(row: ServiceRow | None, detail: ServiceDetail | None) -> list[str]:
    """All of a service that can be asked: its row, its caches, its budget (the longest, at the end)."""
    lines = service_lines(row, detail)
    if row is None or detail is None:
        return lines
    if any(each.asked or _in_replicas(each) for each in detail.caches):
        lines += ["# -- caches", *cache_lines(detail.caches, detail.asked)]
    burns = [(where(each), query_lines(found)) for each in detail.asked if (found := burn_queries(each, row.slo))]
    return [*lines, "# -- error budget", *told_once(burns)] if burns else lines


def metric_query_lines(row: ServiceRow | None, detail: ServiceDetail, line: MetricLine) -> list[str]:
    """One number of the metrics."""
    said = []
    for at, mine in _by_server(each for each in detail.asked if each.region == line.region).items():
        if not mine[0].who:
            said.append((at, no_prometheus(mine[0].sign)))
            continue
        slo = row.slo if row is not None else None
        queries = [query for each in mine for query in (*service_queries(each), *burn_queries(each, slo))]
        queries += [
            ("KV cache in use, fullest replica", caches.kv_use(mine)),
            ("KV cache in use, mean", caches.kv_use(mine, fullest=False)),
            ("prefix cache hits", caches.hit_ratio(mine, PREFIX)),
        ]
        found = [each for each in queries if each[1] and each[0].startswith(line.name)]
        said.append((at, query_lines(found or [(f"{line.name}: {_NOT_ONE}", "")])))
    return told_once(said) or ["# no metrics of it were read yet"]
