"""What dcgm-exporter tells of GPUs, understood in one place: off its own page, or out of a Prometheus that read it.

Names and units of the fields: dcgm_fields.h (NVIDIA/DCGM) and etc/default-counters.csv (NVIDIA/dcgm-exporter). Most
are off by default, so what is not told is not known and says which field would tell it; it is never zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import msgspec

from nimify_tui.backends.nvml_card import ROW_LOST, ROW_WAITS, SLOWED
from nimify_tui.base.text import clean_line
from nimify_tui.domain.asked import both, matching
from nimify_tui.domain.gpus import Gpu
from nimify_tui.domain.measures import Measure, absent
from nimify_tui.sources.metrics.exposition import Page

_DEV, _PROF = "DCGM_FI_DEV_", "DCGM_FI_PROF_"
_MIB = 2.0**20
#: Of each fact: its unit, what a value is multiplied by, and the fields that tell it, best first.
_FACTS: dict[str, tuple[str, float, tuple[str, ...]]] = {
    "utilisation": ("percent", 1.0, (f"{_DEV}GPU_UTIL",)),
    "temperature": ("celsius", 1.0, (f"{_DEV}GPU_TEMP",)),
    "power": ("watt", 1.0, (f"{_DEV}POWER_USAGE",)),
    "memory_used": ("bytes", _MIB, (f"{_DEV}FB_USED",)),
    "memory_total": ("bytes", _MIB, (f"{_DEV}FB_TOTAL",)),
    "tensor_active": ("percent", 100.0, (f"{_PROF}PIPE_TENSOR_ACTIVE",)),
    "dram_active": ("percent", 100.0, (f"{_PROF}DRAM_ACTIVE",)),
    "temperature_limit": ("celsius", 1.0, (f"{_DEV}SLOWDOWN_TEMP", f"{_DEV}GPU_MAX_OP_TEMP")),
    "power_limit": ("watt", 1.0, (f"{_DEV}ENFORCED_POWER_LIMIT", f"{_DEV}BOARD_POWER_LIMIT_ENFORCED_WATTS",
                                  f"{_DEV}POWER_MGMT_LIMIT")),
    "clock": ("megahertz", 1.0, (f"{_DEV}SM_CLOCK",)),
    "clock_limit": ("megahertz", 1.0, (f"{_DEV}MAX_SM_CLOCK",)),
    "ecc_corrected": ("count", 1.0, (f"{_DEV}ECC_SBE_VOL_TOTAL",)),
    "ecc_uncorrected": ("count", 1.0, (f"{_DEV}ECC_DBE_VOL_TOTAL",)),
    "pcie_replays": ("count", 1.0, (f"{_DEV}PCIE_REPLAY_COUNTER",)),
    "pcie_received": ("bytes_per_second", 1.0, (f"{_PROF}PCIE_RX_BYTES",)),
    "pcie_sent": ("bytes_per_second", 1.0, (f"{_PROF}PCIE_TX_BYTES",)),
    "nvlink_received": ("bytes_per_second", 1.0, (f"{_PROF}NVLINK_RX_BYTES",)),
    "nvlink_sent": ("bytes_per_second", 1.0, (f"{_PROF}NVLINK_TX_BYTES",)),
}  # fmt: skip
_ENGINE = f"{_PROF}GR_ENGINE_ACTIVE"
_FREE, _RESERVED = f"{_DEV}FB_FREE", f"{_DEV}FB_RESERVED"
#: Why the clocks are not higher, as bits: the newer name and the older one.
_REASONS = (f"{_DEV}CLOCKS_EVENT_REASONS", f"{_DEV}CLOCK_THROTTLE_REASONS")
#: The same as events that were counted (label clock_event), with their bits.
_EVENTS = "DCGM_EXP_CLOCK_EVENTS_COUNT"
_EVENT_BITS = {
    "power_cap": 0x4, "hw_slowdown": 0x8, "sync_boost": 0x10, "sw_thermal": 0x20, "hw_thermal": 0x40,
    "hw_power_brake": 0x80,
}  # fmt: skip
_LINK = (f"{_DEV}PCIE_LINK_GEN", f"{_DEV}PCIE_LINK_WIDTH", f"{_DEV}PCIE_MAX_LINK_WIDTH")
_ROW_LOST, _ROW_WAITS = f"{_DEV}ROW_REMAP_FAILURE", f"{_DEV}ROW_REMAP_PENDING"
#: The number of the last XID, which stays until the exporter starts anew; and how often each (label xid) came within a
#: window (label window_size_in_ms).
_LAST_XID, _XIDS = f"{_DEV}XID_ERRORS", "DCGM_EXP_XID_ERRORS_COUNT"
#: What most is seen by, for a server where everything is too much.
FEW = (
    f"{_DEV}GPU_UTIL", _ENGINE, f"{_DEV}FB_USED", _FREE, f"{_DEV}GPU_TEMP", f"{_DEV}POWER_USAGE", _LAST_XID, _XIDS,
)  # fmt: skip
WANTED = (
    *(name for _, _, names in _FACTS.values() for name in names), _ENGINE, _FREE, _RESERVED, *_REASONS, _EVENTS,
    *_LINK, _ROW_LOST, _ROW_WAITS, _LAST_XID, _XIDS,
)  # fmt: skip
#: DCGM's blanks: values from these on are no numbers (dcgm_structs.h: 0x7ffffff0; of floating point 2^47).
_BLANK, _BLANK_RATE = float(0x7FFFFFF0), 2.0**47
#: Names of the pods that tell, and of their containers: a server puts them where it has nothing better to say.
_EXPORTER = "dcgm-exporter"
_EXPORTER_CONTAINERS = frozenset({"exporter", "dcgm-exporter", "nvidia-dcgm-exporter"})
#: (namespace, pod) as labels of a series: told by an exporter and renamed by a server that keeps its own; as they are
#: told; as they were told before.
_POD_LABELS = (("exported_namespace", "exported_pod"), ("namespace", "pod"), ("pod_namespace", "pod_name"))
_DEFAULT_WINDOW_S = 300.0


class Said(NamedTuple):
    """One series of an exporter: its name, its labels, and its value at ``at`` (unix seconds)."""

    name: str
    labels: Mapping[str, str]
    value: float
    at: float


class Card(NamedTuple):
    """A card with its MIG slices, as told at ``at``.

    ``counts``: how often each XID came in the last ``window_s`` (None: not told).
    """

    gpu: Gpu
    slices: tuple[Gpu, ...]
    last_xid: int | None
    counts: Mapping[int, int] | None
    window_s: float
    at: float


def said_by(page: Page, at: float) -> list[Said]:
    """The series of an exporter's own page."""
    return [Said(name, dict(each.labels), each.value, at) for name, found in page.series.items() for each in found]


class Way(NamedTuple):
    """How cards were read: ``source`` in words, how often (seconds), and where they are for sure ("": as labels say).

    ``match``: the matchers of all that a Prometheus was asked for, None where none was.
    """

    source: str
    every_s: float
    node: str = ""
    match: str | None = None


def cards(said: Iterable[Said], way: Way) -> list[Card]:
    """The cards, by node and number."""
    by_card: dict[tuple[str, str], dict[str, list[Said]]] = {}
    for each in said:
        host = way.node or each.labels.get(_node(each.labels), "")
        who = each.labels.get("UUID") or each.labels.get("uuid") or f"#{each.labels.get('gpu', '')}"
        by_card.setdefault((host, who), {}).setdefault(each.labels.get("GPU_I_ID", ""), []).append(each)
    found = [_card(host, parts, way) for (host, _), parts in by_card.items()]
    return sorted(found, key=lambda card: (card.gpu.node, card.gpu.index, card.gpu.uuid))


def _card(host: str, parts: Mapping[str, Sequence[Said]], way: Way) -> Card:
    ids = sorted((each for each in parts if each), key=lambda each: (len(each), each))
    slices = tuple(_one(host, parts[each], way, each) for each in ids)
    whole = [*parts.get("", ()), *(each for part in ids for each in parts[part] if not _of_slice(each.name))]
    gpu = _one(host, whole, way, "")
    if slices:
        reason = "not measurable: MIG"
        used = ("utilisation", "memory_used", "memory_total", "tensor_active", "dram_active")
        told = {name: absent(_FACTS[name][0], reason, way.source) for name in used}
        formulas = tuple(each for each in gpu.formulas if each[0] not in used)
        gpu = msgspec.structs.replace(gpu, slices=len(slices), pods=(), shared=0, formulas=formulas, **told)
    last: int | None = None
    counts: dict[int, int] | None = None
    window_s = _DEFAULT_WINDOW_S
    for each in (each for some in parts.values() for each in some):
        if each.name == _LAST_XID and _good(each.value, _BLANK):
            last = max(last or 0, int(each.value))
        elif each.name == _XIDS and _good(each.value, _BLANK):
            counts = {} if counts is None else counts
            xid = _whole(each.labels.get("xid", ""))
            if xid and each.value > 0:
                counts[xid] = max(counts.get(xid, 0), int(each.value))
            window_s = (_whole(each.labels.get("window_size_in_ms", "")) or _DEFAULT_WINDOW_S * 1000) / 1000
    at = max(each.at for some in parts.values() for each in some)
    return Card(gpu, slices, last, counts, window_s, at)


def _of_slice(name: str) -> bool:
    """Whether a field of a slice is about that slice alone; heat, power, clocks and links are those of its card."""
    return name.startswith(_PROF) or "_FB_" in name or name in (_LAST_XID, _XIDS)


def _one(host: str, said: Sequence[Said], way: Way, part: str) -> Gpu:
    source = way.source
    values: dict[str, Said] = {}
    for each in said:
        if (known := values.get(each.name)) is None or each.at > known.at:
            values[each.name] = each
    labels = said[0].labels if said else {}
    asked = way.match is not None
    pods = tuple(sorted({pod for each in said if (pod := _pod(each.labels))}))
    measures = {name: _measure(name, values, source) for name in _FACTS}
    measures["memory_total"] = _total(values, measures["memory_total"], source)
    if part:
        engine = _first(values, (_ENGINE,), _BLANK)
        if engine is not None:
            measures["utilisation"] = Measure(engine.value * 100.0, "percent", engine.at, f"{source}, engine")
        else:
            measures["utilisation"] = absent("percent", f"not exported: {_ENGINE}", source)
    bits, unknown = _bits(said, values)
    link, narrow = _link(values)
    notes = [
        words for name, words in ((_ROW_LOST, ROW_LOST), (_ROW_WAITS, ROW_WAITS))
        if name in values and values[name].value > 0
    ]  # fmt: skip
    profile = clean_line(labels.get("GPU_I_PROFILE", ""), 24)
    gpu = Gpu(
        node=clean_line(host, 80) or "unnamed host", index=_whole(labels.get("gpu", "")),
        uuid=clean_line(labels.get("UUID") or labels.get("uuid") or "", 80),
        name=clean_line(labels.get("modelName", "").removeprefix("NVIDIA "), 80) or "GPU",
        slowed=tuple(words for bit, words, _ in SLOWED if bits & bit),
        slowed_by_fault=any(fault for bit, _, fault in SLOWED if bits & bit), slowed_unknown=unknown,
        pcie=link, link_narrow=narrow,
        note=", ".join(notes), instance=f"{profile} #{clean_line(part, 8)}" if part else "", pods=pods,
        shared=len(pods) if len(pods) > 1 else 0, every_s=way.every_s,
        series=both(_who(labels, part), way.match or "") if asked else "",
        formulas=_formulas(values, part) if asked else (), utilisation=measures["utilisation"],
        memory_used=measures["memory_used"], memory_total=measures["memory_total"],
        temperature=measures["temperature"], power=measures["power"],
    )  # fmt: skip
    return msgspec.structs.replace(gpu, **measures)


def _measure(fact: str, values: Mapping[str, Said], source: str) -> Measure:
    unit, factor, names = _FACTS[fact]
    blank = _BLANK_RATE if unit == "bytes_per_second" else _BLANK
    told = _first(values, names, blank)
    if told is None:
        why = "DCGM has no value for it" if any(name in values for name in names) else f"not exported: {names[0]}"
        return absent(unit, why, source)
    return Measure(told.value * factor, unit, told.at, source)


def _total(values: Mapping[str, Said], told: Measure, source: str) -> Measure:
    """All of the memory: by its own field, or what is used, free and kept by the driver together."""
    used, free = (_first(values, (name,), _BLANK) for name in (f"{_DEV}FB_USED", _FREE))
    if told.value is not None or used is None or free is None:
        return told
    kept = _first(values, (_RESERVED,), _BLANK)
    return Measure((used.value + free.value + (kept.value if kept else 0.0)) * _MIB, "bytes", used.at, source)


def _first(values: Mapping[str, Said], names: Iterable[str], blank: float) -> Said | None:
    return next((values[name] for name in names if name in values and _good(values[name].value, blank)), None)


def _good(value: float, blank: float) -> bool:
    return math.isfinite(value) and 0.0 <= value < blank


def _bits(said: Iterable[Said], values: Mapping[str, Said]) -> tuple[int, str]:
    """The reasons, and why they are not known: an exporter of the usual fields tells none of them."""
    told = _first(values, _REASONS, _BLANK)
    bits = int(told.value) if told is not None else 0
    for each in said:
        if each.name == _EVENTS and each.value > 0:
            bits |= _EVENT_BITS.get(each.labels.get("clock_event", ""), 0)
    known = told is not None or _EVENTS in values
    return bits, "" if known else f"not exported: {_REASONS[0]}"


def _link(values: Mapping[str, Said]) -> tuple[str, bool]:
    """The PCIe link in words, and whether it has fewer lanes than it could."""
    generation, width, widest = (_first(values, (name,), _BLANK) for name in _LINK)
    if generation is None or width is None:
        return "", False
    narrow = widest is not None and width.value < widest.value
    of = f" of x{widest.value:.0f}" if narrow and widest is not None else ""
    return f"gen{generation.value:.0f} x{width.value:.0f}{of}", narrow


def _formulas(values: Mapping[str, Said], part: str) -> tuple[tuple[str, str], ...]:
    """Of each number that is known PromQL with the names that have told it; one that is told twice counts once."""
    found = {}
    for fact, (unit, factor, names) in _FACTS.items():
        used = (_ENGINE,) if part and fact == "utilisation" else names
        told = _first(values, used, _BLANK_RATE if unit == "bytes_per_second" else _BLANK)
        if told is not None:
            found[fact] = _formula((told.name,), 100.0 if told.name == _ENGINE else factor)
    if "memory_total" not in found and all(_first(values, (each,), _BLANK) for each in (f"{_DEV}FB_USED", _FREE)):
        kept = (_RESERVED,) if _first(values, (_RESERVED,), _BLANK) else ()
        found["memory_total"] = _formula((f"{_DEV}FB_USED", _FREE, *kept), _MIB)
    return tuple(found.items())


@cache
def _formula(names: tuple[str, ...], factor: float) -> str:
    added = " + ".join(f"max({name}{{}})" for name in names)
    if factor == 1.0:
        return added
    return f"{factor:.0f} * {f'({added})' if len(names) > 1 else added}"


def _who(labels: Mapping[str, str], part: str) -> str:
    """The matchers of a card, or of a slice of it, by the labels that it was told with."""
    card = next((each for each in ("UUID", "uuid", "gpu") if labels.get(each)), "")
    names = dict.fromkeys(filter(None, (card, "GPU_I_ID" if part else "", _node(labels))))
    return both(*(matching(name, (labels[name],)) for name in names))


def _node(labels: Mapping[str, str]) -> str:
    """The label that says where a card is: an exporter that was not told its node's name tells its own pod's."""
    own = next((each for each in ("Hostname", "hostname") if labels.get(each)), "")
    if own and _EXPORTER not in labels[own]:
        return own
    return next((each for each in ("node", "kubernetes_node", own, "instance") if labels.get(each)), "")


def _pod(labels: Mapping[str, str]) -> str:
    """Who has it, "" for nobody; never the exporter itself, whose name a server may have put in that place."""
    for space, pod in _POD_LABELS:
        if name := labels.get(pod):
            if (space, pod) == _POD_LABELS[1] and (
                _EXPORTER in name or labels.get("container") in _EXPORTER_CONTAINERS
            ):
                continue
            return clean_line(f"{labels.get(space, '')}/{name}", 320)
    return ""


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
