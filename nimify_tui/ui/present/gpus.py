"""GPUs as lines: how busy, how full, how hot; with room also how much work that was, what slows and what broke."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from nimify_tui.base.text import clean_line
from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.measures import Measure
from nimify_tui.ui import format as fmt
from nimify_tui.ui.glyphs import Glyphs
from nimify_tui.ui.present import gpu_words as words
from nimify_tui.ui.present.panels import Spans

#: So hot (degrees Celsius) is too hot where the card does not tell its limit.
HOT_CELSIUS = 87.0
#: With so many columns, and this many lines for each GPU, everything that is known is shown.
WHOLE_COLS, WHOLE_LINES = 90, 3
#: Of more than so many a panel is no place: they have a screen of their own.
MOST = 100


def gpu_facts(panels: Sequence[GpuPanel], now: float) -> str:
    """``8 × H100, 3 nodes · age <5 s``: all cards; a slice is none."""
    gpus = [each for panel in panels for each in panel.gpus if not each.instance]
    if not gpus:
        return ""
    names = sorted({clean_line(each.name, 24) for each in gpus})
    nodes = len({(each.region, each.node) for each in gpus})
    oldest = min((panel.at for panel in panels if panel.at is not None and panel.gpus), default=None)
    kind = names[0] if len(names) == 1 else f"{len(names)} kinds"
    where = f", {fmt.plural(nodes, 'node')}" if nodes > 1 else ""
    return f"{len(gpus)} × {kind}{where} · age {fmt.age(None if oldest is None else now - oldest)}"


def gpu_lines(
    panels: Sequence[GpuPanel], width: int, glyphs: Glyphs, height: int = 0, now: float = 0.0
) -> list[Spans]:
    """One line for each GPU, or all that is known where ``height`` has room; what is free last.

    Where not all have a line, what they are together comes first. Without a GPU the reason.
    """
    gpus = [each for panel in panels for each in panel.gpus]
    trouble = [((each, "warn"),) for each in _troubles(panels)]
    if not gpus:
        reasons = [clean_line(f"{f'{each.region}: ' if each.region else ''}{each.reason}", 200)
                   for each in panels if each.reason]  # fmt: skip
        found: list[Spans] = [((each, "dim"),) for each in dict.fromkeys(reasons)]
        return [*(found or [(("no GPU known: no region reported one", "dim"),)]), *trouble]
    several = words.several_regions(panels)
    foot: list[Spans] = [((each, "dim"),) for each in _foot(panels, gpus, width)]
    beyond, gpus = len(gpus) - MOST, gpus[:MOST]
    names = fmt.shorten_names((words.label(each, several=several) for each in gpus), 12 if width < 60 else 20)
    pad = max(len(each) for each in names.values())
    whole = width >= WHOLE_COLS and height >= WHOLE_LINES * len(gpus) + 1
    spare = height - WHOLE_LINES * len(gpus) - 2
    lines: list[Spans] = []
    for each in gpus:
        line = _gpu_line(each, names[words.label(each, several=several)].ljust(pad), glyphs, whole=width >= WHOLE_COLS)
        held = clean_line(", ".join(each.holders), 200) if width >= WHOLE_COLS else ""
        lines.append((*line, (f"  {held}", "dim")) if held else line)
        if whole:
            more = [*whole_lines(each), *fault_lines(each, max(0, spare // len(gpus)), now)]
            lines += [((" " * (pad + 1), ""), *line) for line in more]
    silent = [clean_line(panel.reason, 200) for panel in panels if panel.reason and not panel.gpus]
    foot += [((each, "dim"),) for each in silent]
    if beyond > 0:
        lines.append(((f"{beyond} more, all of them in :gpus", "dim"),))
    if 0 < height < len(lines) + len(foot):
        return [*foot[:1], *trouble, *foot[1:], *lines]
    tell: list[Spans] = [((words.telling(panel, now), "dim"),) for panel in panels if panel.region and panel.gpus]
    if len(lines) + len(trouble) + len(foot) + len(tell) > height:  # where it comes from is on a screen of its own
        tell = []
    return [*lines, *trouble, *foot, *tell]


def _troubles(panels: Sequence[GpuPanel]) -> list[str]:
    """What was not read, nodes whose GPUs are not all there, and pods that wait for one."""
    found = []
    for panel in panels:
        found += [f"{panel.region}: {panel.partial}"] if panel.partial and panel.gpus else []
        bad = [room for room in words.rooms_of(panel) if room.missing]
        found += [f"{each.node}: {words.room_trouble(each)}" for each in bad]
        waiting = words.waiting_lines(panel.places) if panel.places is not None else []
        if waiting:
            found.append(waiting[0] + (f"; {len(waiting) - 1} more wait" if len(waiting) > 1 else ""))
    return found


def _foot(panels: Sequence[GpuPanel], gpus: Sequence[Gpu], width: int) -> list[str]:
    """What is free, what all are together, and how much work they did, where that is known."""
    all_of = words.totals(panels)
    work = []
    for name, field in (("tensor", "tensor_active"), ("dram", "dram_active")):
        known = [value for each in gpus if (value := getattr(each, field).value) is not None]
        if known:
            of = "" if len(known) == len(gpus) else f" of {len(known)}"
            work.append(f"{name} {sum(known) / len(known):.0f}%{of}")
    foot = [words.free_words(all_of), *(["   ".join(work)] if work else [])]
    if len("   ".join(foot)) <= width:
        foot = ["   ".join(foot)]
    if all_of.cards > 1:
        foot.insert(1, words.use_words(all_of))
    return foot


def _gpu_line(gpu: Gpu, name: str, glyphs: Glyphs, *, whole: bool = False) -> Spans:
    """One GPU in a line. ``whole``: there is room for the power beside a note."""
    note, idle, cut = clean_line(gpu.note, 120), words.reserved(gpu), words.cut(gpu)
    if gpu.utilisation.value is None and not cut and not (gpu.instance and gpu.memory_used.value is not None):
        why = note or clean_line(gpu.utilisation.reason, 120)
        return ((f"{name} ", ""), (f"{fmt.UNKNOWN:>4}  ", "dim"), (why, "warn"))
    style = fmt.style_of(gpu.utilisation)
    spans = [(f"{name} ", ""), (f"{fmt.measure(gpu.utilisation):>4} ", style)]
    if gpu.utilisation.value is not None:
        spans.append((bar(gpu.utilisation.value / 100, 8, glyphs), style))
    else:
        spans.append((f" {cut}" if cut else f"{gpu.instance.partition(' ')[0]:<8}", "dim"))
    style = "stale" if fmt.is_old(gpu.utilisation) else ""
    used, total = gpu.memory_used.value, gpu.memory_total.value
    if used is not None and total is not None:
        full = used / total > 0.95 if total else False
        spans.append((f" {used / 2**30:.0f}/{total / 2**30:.0f}G", "warn" if full else style))
    if gpu.temperature.value is not None and not gpu.instance:
        hot = gpu.temperature.value >= (gpu.temperature_limit.value or HOT_CELSIUS)
        spans.append((f"  {fmt.measure(gpu.temperature)}", "warn" if hot else style))
    if gpu.power.value is not None and not gpu.instance and (whole or not (note or idle)):
        spans.append((f" {fmt.measure(gpu.power)}", style))
    if gpu.slowed_by_fault:
        spans.append((f" slowed: {clean_line(', '.join(gpu.slowed), 60)}", "warn"))
    if note:
        spans.append((f" {note}", "warn"))
    if idle is not None:
        spans.append((f" {idle.words}", "warn" if idle.long else "dim"))
    if shared := words.sharing(gpu):
        spans.append((f" {shared}", "dim"))
    return tuple(spans)


def whole_lines(gpu: Gpu, *, why: bool = True) -> list[Spans]:
    """How much work it was and what limits it; then what is wrong with memory and links, if anything is.

    ``why``: what is not known with its reason.
    """
    named = partial(_named, why=why)
    slowed = _slowed(gpu, why=why)
    work = [
        *named("tensor ", gpu.tensor_active), *named("  dram ", gpu.dram_active),
        *named("  clock ", gpu.clock), *named(" of ", gpu.clock_limit), (slowed, "dim"),
        *named("  limits ", gpu.temperature_limit), *named(" ", gpu.power_limit),
    ]  # fmt: skip
    broken = bool(gpu.ecc_uncorrected.value)
    links = [
        *named("ECC ", gpu.ecc_uncorrected, "warn" if broken else ""),
        *((" uncorrected", "warn" if broken else "dim"),) * (gpu.ecc_uncorrected.value is not None),
        *named(", ", gpu.ecc_corrected), *((" corrected", "dim"),) * (gpu.ecc_corrected.value is not None),
        ("  PCIe ", "dim"), (clean_line(gpu.pcie, 40) or fmt.UNKNOWN, "warn" if gpu.link_narrow else ""),
        *named(", in ", gpu.pcie_received), *named(", out ", gpu.pcie_sent),
        *named(", replays ", gpu.pcie_replays, "warn" if gpu.pcie_replays.value else ""),
        *named("  NVLink in ", gpu.nvlink_received), *named(", out ", gpu.nvlink_sent),
    ]  # fmt: skip
    return [tuple(each for each in line if each[0]) for line in (work, links)]


def _slowed(gpu: Gpu, *, why: bool) -> str:
    """Why its clocks are not higher, that nothing is told of that, or that nothing slows them."""
    if gpu.slowed_by_fault or gpu.clock.value is None:
        return ""
    if gpu.slowed_unknown and not gpu.slowed:
        reason = f" ({clean_line(gpu.slowed_unknown, 60)})" if why else ""
        return f" slowed {fmt.UNKNOWN}{reason}"
    return f" ({clean_line(', '.join(gpu.slowed), 60) or 'not slowed'})"


def _named(name: str, value: Measure, style: str = "", *, why: bool) -> list[tuple[str, str]]:
    """A number with its name; one that is not known with its reason."""
    if value.value is None:
        return [(name, "dim"), (f"{fmt.UNKNOWN} ({clean_line(value.reason, 60)})" if why else fmt.UNKNOWN, "dim")]
    return [(name, "dim"), (fmt.measure(value), style or fmt.style_of(value))]


def fault_lines(gpu: Gpu, most: int, now: float) -> list[Spans]:
    """What the driver reported, newest first."""
    lines: list[Spans] = []
    for each in gpu.faults[:most]:
        words = f"XID {each.xid} {each.text}: {each.remedy}"
        lines.append(((f"{fmt.date_clock(each.at, now)}  ", "dim"), (words, "warn" if each.hardware else "")))
    return lines


def bar(ratio: float, cells: int, glyphs: Glyphs) -> str:
    """A horizontal bar of ``cells`` cells."""
    full, empty = (glyphs.bars[-2], glyphs.bars[1]) if glyphs.name == "unicode" else ("#", ".")
    filled = min(cells, max(0, round(ratio * cells)))
    return full * filled + empty * (cells - filled)
