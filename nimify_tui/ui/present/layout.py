"""Where the panes of the fleet screen stand, by the size of the terminal alone: nothing jumps."""

from __future__ import annotations

from typing import NamedTuple

#: The panels under digits: key -> (pane, title).
PANELS: tuple[str, ...] = ("latency", "gpu", "cache", "security", "changes")


class Box(NamedTuple):
    """A pane's place in cells."""

    x: int
    y: int
    width: int
    height: int


class FleetLayout(NamedTuple):
    """Boxes by pane name; a pane that is not in it is not shown. ``tabs``: one panel at a time."""

    boxes: dict[str, Box]
    tabs: bool


def fleet_layout(width: int, height: int, strip_lines: int, zoom: str = "") -> FleetLayout:
    """Boxes of status, strip, table, why, panels and footer.

    ``zoom`` names the one panel that has the lower part; with "" a big screen shows all of them and a
    small one the latency. Each pane ``X`` has its rule ``X-rule`` in the line above.
    """
    boxes: dict[str, Box] = {"status": Box(0, 0, width, 1), "footer": Box(0, height - 1, width, 1)}
    strip_lines = max(0, min(strip_lines, height - 6))
    if strip_lines:
        boxes["strip"] = Box(0, 1, width, strip_lines)
    top = 1 + strip_lines
    room = height - 1 - top
    if room < 8:
        _pane(boxes, "table", Box(0, top, width, room))
        return FleetLayout(boxes, False)
    why = 3 if room < 18 else 4 if room < 40 else 6
    tabs = bool(zoom) or width < 100 or height < 32
    if tabs:
        panel = max(3, room * (30 if zoom else 22) // 100) + 1 if room >= 14 else 0
        table = room - why - panel
        y = _pane(boxes, "table", Box(0, top, width, table))
        y = _pane(boxes, "why", Box(0, y, width, why))
        if panel:
            boxes["tabs"] = Box(0, y, width, 1)
            boxes[zoom or PANELS[0]] = Box(0, y + 1, width, panel - 1)
        return FleetLayout(boxes, True)
    return FleetLayout(_all_panels(boxes, width, top, room, why), False)


def _all_panels(boxes: dict[str, Box], width: int, top: int, room: int, why: int) -> dict[str, Box]:
    wide = width >= 160
    middle = min(20, max(7, room * (23 if room < 46 else 30) // 100))
    lower = min(14, max(4, room * (17 if room < 46 else 20) // 100))
    cache = 0 if wide else 2
    table = room - why - middle - lower - cache
    y = _pane(boxes, "table", Box(0, top, width, table))
    y = _pane(boxes, "why", Box(0, y, width, why))
    if wide:
        gpu = min(56, width * 28 // 100)
        caches = min(50, width * 24 // 100)
        left = width - gpu - caches - 2
        _pane(boxes, "latency", Box(0, y, left, middle))
        _pane(boxes, "gpu", Box(left + 1, y, gpu, middle))
        y = _pane(boxes, "cache", Box(left + gpu + 2, y, caches, middle))
        half = width * 55 // 100
        _pane(boxes, "security", Box(0, y, half, lower))
        _pane(boxes, "changes", Box(half + 1, y, width - half - 1, lower))
        return boxes
    gpu = min(48, width * 40 // 100)
    _pane(boxes, "latency", Box(0, y, width - gpu - 1, middle))
    y = _pane(boxes, "gpu", Box(width - gpu, y, gpu, middle))
    y = _pane(boxes, "cache", Box(0, y, width, cache))
    _pane(boxes, "security", Box(0, y, width, lower))
    return boxes


def _pane(boxes: dict[str, Box], name: str, box: Box) -> int:
    """A rule and the pane below it; returns the line after it."""
    boxes[f"{name}-rule"] = Box(box.x, box.y, box.width, 1)
    boxes[name] = Box(box.x, box.y + 1, box.width, box.height - 1)
    return box.y + box.height
