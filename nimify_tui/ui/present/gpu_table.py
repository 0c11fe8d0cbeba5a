"""GPUs, and the nodes that have them, as rows of tables; one of them in all that is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.domain.gpus import Gpu, GpuPanel, GpuRoom
from nimify_tui.domain.measures import Measure
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present import gpu_words as words
from nimify_tui.ui.present.gpus import HOT_CELSIUS, fault_lines, whole_lines
from nimify_tui.ui.present.panels import Spans
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.table import Row

#: How a reason begins that names the field which would tell it (sources.metrics.dcgm).
_NOT_EXPORTED = "not exported: "


def gpu_id(gpu: Gpu) -> str:
    """The same for the same card or slice, wherever it is listed."""
    return f"{gpu.region} {gpu.node} {gpu.uuid or gpu.index} {gpu.instance}"


def room_id(region: str, room: GpuRoom) -> str:
    """The same for the same resource of the same node."""
    return f"{region} {room.node} {room.resource}"


def gpu_rows(panels: Sequence[GpuPanel]) -> Iterable[tuple[str, Row]]:
    """A row of each card, its slices below it."""
    several = words.several_regions(panels)
    for panel in panels:
        for gpu in panel.gpus:
            yield gpu_id(gpu), _gpu_row(gpu, several=several)


def _gpu_row(gpu: Gpu, *, several: bool) -> Row:
    used, total = gpu.memory_used.value, gpu.memory_total.value
    memory = fmt.UNKNOWN if used is None or total is None else f"{used / 2**30:.0f}/{total / 2**30:.0f}G"
    full = used is not None and bool(total) and used / (total or 1.0) > 0.95
    hot = gpu.temperature.value is not None and (
        gpu.temperature.value >= (gpu.temperature_limit.value or HOT_CELSIUS)
    )
    bad = bool(gpu.note) or gpu.slowed_by_fault
    idle = words.reserved(gpu)
    own = not gpu.instance  # heat and power are the card's, and stand in its row
    cells = (
        Cell(f"{'  ' if gpu.instance else ''}{words.label(gpu, several=several)}", "warn" if bad else ""),
        _number(gpu.utilisation), _number(gpu.tensor_active), _number(gpu.dram_active),
        Cell(memory, "warn" if full else "dim" if memory == fmt.UNKNOWN else ""),
        Cell(fmt.measure(gpu.temperature) if own else "", "warn" if hot else _style(gpu.temperature)),
        _number(gpu.power) if own else Cell(""),
        Cell(clean_line(", ".join(gpu.holders), 200)),
        Cell(_remarks(gpu), "warn" if bad or (idle is not None and idle.long) else "dim"),
    )  # fmt: skip
    return Row(cells)


def _remarks(gpu: Gpu) -> str:
    """What is wrong, then what it is."""
    idle = words.reserved(gpu)
    slowed = f"slowed: {', '.join(gpu.slowed)}" if gpu.slowed_by_fault else ""
    kind = "" if gpu.instance else gpu.name
    parts = (gpu.note, slowed, idle.words if idle else "", words.sharing(gpu), words.cut(gpu),
             gpu.instance.partition(" ")[0], kind)  # fmt: skip
    return clean_line(", ".join(filter(None, parts)), 240)


def _number(value: Measure) -> Cell:
    return Cell(fmt.measure(value), _style(value))


def _style(value: Measure) -> str:
    return fmt.style_of(value)


def room_rows(panels: Sequence[GpuPanel]) -> Iterable[tuple[str, Row]]:
    """A row of each resource of each node."""
    several = len({panel.region for panel in panels if panel.places is not None}) > 1
    for panel in panels:
        lost: dict[str, list[Gpu]] = {}
        for gpu in panel.gpus:
            if any(one.xid == 79 for one in gpu.faults[:1]):
                lost.setdefault(gpu.node, []).append(gpu)
        for room in words.rooms_of(panel):
            yield room_id(panel.region, room), _room_row(panel, room, lost.get(room.node, ()), several=several)


def _room_row(panel: GpuPanel, room: GpuRoom, lost: Sequence[Gpu], *, several: bool) -> Row:
    trouble = words.room_trouble(room)
    if lost and room.missing:
        trouble += f" ({', '.join(f'GPU {each.index} fell off the bus' for each in lost)})"
    shares = "shares, no wall between them" if words.in_parts(room) and "mig" not in room.resource else ""
    remarks = ", ".join(filter(None, (trouble, shares, room.product)))
    where = f"{panel.region}:{room.node}" if several else room.node
    held = ", ".join(name if count == 1 else f"{name} ({count})" for name, count in room.held)
    has = f"{room.allocatable}" if not room.missing else f"{room.allocatable}/{room.capacity}"
    unsure = panel.places is not None and panel.places.partial
    cells = (
        Cell(clean_line(where, 120), "warn" if trouble else ""), Cell(words.noun(room.resource)),
        Cell(has, "warn" if room.missing else ""), Cell(f"{'≥' if unsure else ''}{room.taken}"),
        Cell(f"{'≤' if unsure else ''}{room.free}"), Cell(clean_line(held, 300)),
        Cell(clean_line(remarks, 200), "warn" if trouble else "dim"),
    )  # fmt: skip
    return Row(cells)


def gpu_detail(gpu: Gpu, now: float, most: int) -> list[Spans]:
    """All that is known of one, in at most ``most`` lines; what it reported last, at the end."""
    where = f"{gpu.region}, node {gpu.node}" if gpu.region else gpu.node
    part = f", slice {gpu.instance}" if gpu.instance else ""
    source = gpu.utilisation.source or gpu.memory_used.source
    lines: list[Spans] = [((f"{gpu.name} {gpu.uuid}{part}", "bold"), (f"  {where}  {source}", "dim"))]
    if gpu.pods:
        shared = f"  {words.sharing(gpu)}: the numbers are the card's" if gpu.shared > 1 else ""
        lines.append((("pods ", "dim"), (clean_line(", ".join(gpu.pods), 300), ""), (shared, "dim")))
    lines += whole_lines(gpu, why=False)
    unknown = _unknown(gpu)
    room = max(1, most - len(lines) - bool(unknown))
    lines += fault_lines(gpu, room, now) if gpu.faults else [(("no XID since it is looked at", "dim"),)]
    return [*lines, ((unknown, "dim"),)] if unknown else lines


def _unknown(gpu: Gpu) -> str:
    """Why numbers are not known: each reason once, and the fields that nobody exports together."""
    measures = (gpu.utilisation, gpu.memory_used, gpu.temperature, gpu.power, gpu.tensor_active, gpu.dram_active,
                gpu.temperature_limit, gpu.power_limit, gpu.clock, gpu.clock_limit, gpu.ecc_uncorrected,
                gpu.ecc_corrected, gpu.pcie_replays, gpu.pcie_received, gpu.pcie_sent, gpu.nvlink_received,
                gpu.nvlink_sent)  # fmt: skip
    told_by = [each.reason for each in measures if each.value is None]
    reasons = dict.fromkeys(filter(None, [*told_by, "" if gpu.slowed else gpu.slowed_unknown]))
    fields = [each.removeprefix(_NOT_EXPORTED) for each in reasons if each.startswith(_NOT_EXPORTED)]
    told = [each for each in reasons if not each.startswith(_NOT_EXPORTED)]
    if fields:
        told.append(f"{_NOT_EXPORTED}{', '.join(fields)}")
    return clean_line(f"{fmt.UNKNOWN} {'; '.join(told)}", 500) if told else ""
