"""Pictures of the screen: an SVG always, a PNG beside it where ``rsvg-convert`` is installed.

For documentation and for hand-over. The pictures name no web font and fetch nothing when they are opened.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nimify_tui.base.errors import InternalError, ValidationError
from nimify_tui.base.text import clean_line

if TYPE_CHECKING:
    from textual.app import App

FONT = "DejaVu Sans Mono"
"""Has Braille, blocks and arrows in one width, and no ligatures that turn figures into other figures."""

PNG_REMEDY = "install librsvg2-bin (Debian and Ubuntu) and fonts-dejavu-core; the SVG is complete without it"
PNG_PIXELS_PER_COLUMN = 12
"""Width of the PNG: about what a terminal with a readable font has."""
CONVERT_TIMEOUT_S = 30.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_TEXT = re.compile(r'<text([^>]*) x="([\d.]+)"([^>]*) textLength="([\d.]+)"([^>]*)>([^<]*)</text>')
_BRAILLE = re.compile("[\u2800-\u28ff]")
_PIECES = re.compile("[\u2800-\u28ff]|[^\u2800-\u28ff]+")
#: Width of a cell in Rich's pictures, and of a letter of the font in its own size.
CELL_PX, ADVANCE_EM = 12.2, 0.602
_WIDE = re.compile(r"font-family: (?:Fira Code, monospace|arial);")


@dataclass(frozen=True)
class Saved:
    """What was written; ``note`` says why there is no PNG ("" when there is one)."""

    svg: Path
    png: Path | None
    note: str


def save(app: App[Any], directory: Path, name: str) -> Saved:
    """Write ``directory/name.svg`` (and ``.png``) of what ``app`` shows now, frame and title included.

    Blocks for some 0.2 s; for documentation runs, not for a key press. The folder is made when missing.
    Raises ValidationError when ``name`` is no plain file name, InternalError when rsvg-convert fails.
    """
    if not _NAME.fullmatch(name):
        raise ValidationError(f"{clean_line(name)!r} names no picture", "use letters, digits, dot, dash, underscore")
    directory.mkdir(parents=True, exist_ok=True)
    svg = directory / f"{name}.svg"
    svg.write_text(portable_svg(app.export_screenshot(title=clean_line(app.title), simplify=True)), encoding="utf-8")
    png, note = _save_png(svg, width_px=app.size.width * PNG_PIXELS_PER_COLUMN)
    return Saved(svg, png, note)


def portable_svg(svg: str) -> str:
    """Rich's SVG made to look the same everywhere.

    Keeps leading blanks (librsvg drops them without ``xml:space``), takes a font that most systems have,
    and drops the web fonts, which would be fetched from the network by whoever opens the picture. librsvg
    does not squeeze a text into its ``textLength``: so the letters get exactly the size of their cells, and
    Braille, which comes from another font, stands cell by cell.
    """
    svg = _FONT_FACE.sub("", svg)
    svg = svg.replace("font-size: 20px", f"font-size: {CELL_PX / ADVANCE_EM:.3f}px")
    svg = _TEXT.sub(_cell_by_cell, svg)
    svg = _WIDE.sub(f"font-family: '{FONT}', monospace;", svg)
    return svg.replace("<svg class", '<svg xml:space="preserve" class', 1)


def _cell_by_cell(match: re.Match[str]) -> str:
    """A text element with Braille as one element for each run that is no Braille and for each Braille cell."""
    start, x, middle, length, end, escaped = match.groups()
    text = html.unescape(escaped)
    if not _BRAILLE.search(text) or abs(len(text) * CELL_PX - float(length)) > 0.1:
        return match[0]
    parts = []
    for piece in _PIECES.finditer(text):
        at, wide = float(x) + piece.start() * CELL_PX, len(piece[0]) * CELL_PX
        said = html.escape(piece[0], quote=False).replace("\u00a0", "&#160;")
        parts.append(f'<text{start} x="{at:.5g}"{middle} textLength="{wide:.5g}"{end}>{said}</text>')
    return "".join(parts)


def _save_png(svg: Path, width_px: int) -> tuple[Path | None, str]:
    converter = shutil.which("rsvg-convert")
    if converter is None:
        return None, f"no PNG: rsvg-convert is not installed; {PNG_REMEDY}"
    png = svg.with_suffix(".png")
    command = [converter, "--width", str(width_px), "--output", str(png), str(svg)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CONVERT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise InternalError(f"rsvg-convert took longer than {CONVERT_TIMEOUT_S:.0f} s", PNG_REMEDY) from error
    if done.returncode != 0:
        raise InternalError(f"rsvg-convert failed: {clean_line(done.stderr)}", PNG_REMEDY)
    return png, ""
