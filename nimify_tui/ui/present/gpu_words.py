"""GPUs in words: how each is called, who has it, whether it is idle; what all of them are together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nimify_tui.base.text import clean_line
from nimify_tui.domain.gpus import IDLE_FOR_S, IDLE_PERCENT, Gpu, GpuMap, GpuPanel, GpuRoom
from nimify_tui.ui import format as fmt

#: What stands for whole cards; other resources are slices and shares of them.
_WHOLE = "nvidia.com/gpu"


def label(gpu: Gpu, *, several: bool) -> str:
    """``node-1/0``, a slice ``node-1/0#3``; with ``several`` regions the region before it."""
    part = f"#{gpu.instance.rpartition('#')[2]}" if gpu.instance else ""
    region = f"{gpu.region}:" if several and gpu.region else ""
    return f"{region}{gpu.node}/{gpu.index}{part}"


def several_regions(panels: Iterable[GpuPanel]) -> bool:
    """Whether a GPU's name needs its region."""
    return len({panel.region for panel in panels if panel.gpus}) > 1


class Reserved(NamedTuple):
    """Words about a GPU that somebody has and that does nothing; ``long`` enough to be told as a waste."""

    words: str
    long: bool


def reserved(gpu: Gpu) -> Reserved | None:
    """None for one that is busy, that nobody has, or of which it is not known."""
    value = gpu.utilisation.value
    if not gpu.pods or value is None or value >= IDLE_PERCENT or gpu.idle_s is None or gpu.watched_s is None:
        return None
    if gpu.idle_s >= IDLE_FOR_S:
        return Reserved(f"reserved, idle {fmt.span(gpu.idle_s)}", True)
    if gpu.watched_s < IDLE_FOR_S and gpu.idle_s >= gpu.watched_s:
        return Reserved(f"reserved, idle: have {fmt.span(gpu.watched_s)} of {fmt.span(IDLE_FOR_S)}", False)
    return Reserved(f"reserved, idle for {fmt.span(gpu.idle_s)}", False)


def sharing(gpu: Gpu) -> str:
    """``shared by 3 pods``, "" for one that is not."""
    return f"shared by {gpu.shared} pods" if gpu.shared > 1 else ""


def cut(gpu: Gpu) -> str:
    """Of a card in slices that it is not measurable."""
    return f"not measurable: MIG, {fmt.plural(gpu.slices, 'slice')}" if gpu.slices else ""


def below(value: float | None, limit: float) -> bool:
    """Whether a number is known and below a limit."""
    return value is not None and value < limit


def memory_ratio(gpu: Gpu) -> float | None:
    """How full it is, None where that is not known."""
    used, total = gpu.memory_used.value, gpu.memory_total.value
    return None if used is None or not total else used / total


class Totals(NamedTuple):
    """All cards together; ``unknown`` are those of which it is not known whether they work (slices among them).

    ``free`` is what a new pod could have of whole cards, and of a host without a cluster what does nothing and holds
    no memory. ``of`` is how many there are for that; ``parts_free`` and ``parts`` are the same of slices and shares.
    ``wasted``: reserved and idle for long; ``holding``: idle, with memory held. ``memory`` (used, total) and ``power``
    are of those that tell.
    """

    cards: int
    busy: int
    idle: int
    unknown: int
    free: int
    of: int
    parts_free: int
    parts: int
    wasted: int
    holding: int
    memory: tuple[float, float]
    power: float
    mapped: bool


def totals(panels: Sequence[GpuPanel]) -> Totals:
    """Of all panels."""
    rows = [gpu for panel in panels for gpu in panel.gpus]
    cards = [gpu for gpu in rows if not gpu.instance]
    idle = [gpu for gpu in cards if below(gpu.utilisation.value, IDLE_PERCENT)]
    unknown = [gpu for gpu in cards if gpu.utilisation.value is None]
    holding = [gpu for gpu in idle if (memory_ratio(gpu) or 0.0) > 0.1]
    every = [room for panel in panels for room in rooms_of(panel)]
    rooms, parts = [room for room in every if not in_parts(room)], [room for room in every if in_parts(room)]
    maps = {panel.region for panel in panels if panel.places is not None and panel.places.rooms}
    bare = [gpu for gpu in idle if gpu.region not in maps and gpu not in holding]
    known = [gpu for gpu in rows if gpu.memory_used.value is not None and gpu.memory_total.value]
    return Totals(
        cards=len(cards), busy=len(cards) - len(idle) - len(unknown), idle=len(idle), unknown=len(unknown),
        free=sum(room.free for room in rooms) + len(bare),
        of=sum(room.capacity for room in rooms) + sum(gpu.region not in maps for gpu in cards),
        parts_free=sum(room.free for room in parts), parts=sum(room.capacity for room in parts),
        wasted=sum(told.long for gpu in rows if (told := reserved(gpu)) is not None), holding=len(holding),
        memory=(sum(gpu.memory_used.value or 0.0 for gpu in known),
                sum(gpu.memory_total.value or 0.0 for gpu in known)),
        power=sum(gpu.power.value or 0.0 for gpu in cards), mapped=bool(maps),
    )  # fmt: skip


def free_words(all_of: Totals) -> str:
    """``free 3 of 16   reserved, idle 2``; without a cluster what idles and holds memory."""
    idle = f"reserved, idle {all_of.wasted}" if all_of.mapped else f"idle but holding memory {all_of.holding}"
    parts = f"   slices and shares free {all_of.parts_free} of {all_of.parts}" if all_of.parts else ""
    return f"free {all_of.free} of {all_of.of}   {idle}{parts}"


def in_parts(room: GpuRoom) -> bool:
    """Whether it is slices or shares of cards, and not whole ones."""
    return room.resource != _WHOLE or (room.cards is not None and room.capacity > room.cards)


def use_words(all_of: Totals) -> str:
    """``in use 5, idle 2, unknown 1   214/240G   1.3kW``."""
    parts = [(all_of.busy, "in use"), (all_of.idle, "idle"), (all_of.unknown, "unknown")]
    words = [", ".join(f"{name} {count}" for count, name in parts if count)]
    if all_of.memory[1]:
        words.append(f"{all_of.memory[0] / 2**30:.0f}/{all_of.memory[1] / 2**30:.0f}G")
    if all_of.power:
        words.append(f"{all_of.power / 1000:.1f}kW" if all_of.power >= 1000 else f"{all_of.power:.0f}W")
    return "   ".join(words)


def rooms_of(panel: GpuPanel) -> tuple[GpuRoom, ...]:
    """What the nodes of a panel's region have."""
    return panel.places.rooms if panel.places is not None else ()


def room_trouble(room: GpuRoom) -> str:
    """What is wrong with a node's GPUs, "" for nothing: gone from what it gives, or nothing new may go there."""
    words = [room.barred] if room.barred else []
    if room.missing:
        words.append(f"{room.missing} of {room.capacity} missing: not allocatable")
    return ", ".join(words)


def noun(resource: str) -> str:
    """``GPU``, ``mig-1g.10gb``, ``gpu.shared``."""
    return "GPU" if resource == _WHOLE else clean_line(resource.removeprefix("nvidia.com/"), 40)


def waiting_lines(places: GpuMap) -> list[str]:
    """``ml/big needs 9 GPUs, 0 free (most on one node: 7)``: pods that found no node."""
    lines = []
    for pod, resource, count in places.waiting:
        rooms = [room.free for room in places.rooms if room.resource == resource]
        what = noun(resource)
        most = f" (most on one node: {max(rooms)})" if rooms and count > 1 else ""
        there = f", {sum(rooms)} free{most}" if rooms else ", no node has any" if places.rooms else ""
        lines.append(f"{clean_line(pod, 80)} needs {fmt.plural(count, what)}{there}")
    return lines


def telling(panel: GpuPanel, now: float) -> str:
    """Who tells a panel, and how old that is: ``us-east-1: DCGM through Prometheus p:9090, age 14 s``."""
    where = f"{panel.region}: " if panel.region else ""
    old = f", age {fmt.age(now - panel.at)}" if panel.at is not None else ""
    partial = "; ".join(filter(None, (panel.partial, panel.places.partial if panel.places is not None else "")))
    more = f"; {partial}" if partial else ""
    return clean_line(f"{where}{panel.source or panel.reason or 'nobody tells numbers'}{old}{more}", 300)
