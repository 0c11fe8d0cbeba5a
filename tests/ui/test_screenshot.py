"""The screenshot tool on a tiny app: what the SVG holds, and the PNG by pixels."""

from __future__ import annotations

import shutil
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Static

from nimify_tui.base.errors import InternalError, ValidationError
from nimify_tui.ui import screenshot
from tests.tui import run_app

HOSTILE = "    indented ⠊⠉⠒ ● ▲ <b>&amp; 8x22 [red]no markup[/red]"


class Tiny(App[None]):
    """One line with leading blanks, Braille, symbols and markup characters."""

    def compose(self) -> ComposeResult:
        yield Static(HOSTILE, markup=False)


def take(folder: Path, name: str = "tiny", size: tuple[int, int] = (60, 5)) -> screenshot.Saved:
    """A picture of the tiny app."""

    async def script(app: Any, pilot: Any) -> screenshot.Saved:
        return screenshot.save(app, folder, name)

    return run_app(Tiny, script, size=size)


def test_svg_is_portable_and_complete(tmp_path: Path) -> None:
    saved = take(tmp_path / "new" / "folder")
    text = saved.svg.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    drawn = "".join(root.itertext()).replace("\u00a0", " ")
    assert HOSTILE in drawn
    assert root.get("{http://www.w3.org/XML/1998/namespace}space") == "preserve"
    assert screenshot.FONT in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("https://www.textualize.io", "")
    assert "Fira" not in text


def test_braille_stands_in_its_cells(tmp_path: Path) -> None:
    """A viewer that knows no ``textLength`` draws a run of Braille as wide as its font is, over what follows."""
    root = ET.fromstring(take(tmp_path).svg.read_text(encoding="utf-8"))
    texts = [each for each in root.iter("{http://www.w3.org/2000/svg}text") if each.get("textLength")]
    at = {each.text: float(each.get("x", "")) for each in texts}
    first = HOSTILE.index("⠊")
    for number, cell in enumerate("⠊⠉⠒", first):
        assert at[cell] == pytest.approx(number * screenshot.CELL_PX, abs=0.1)
    behind = next(x for text, x in at.items() if text and text.strip("\u00a0").startswith("●"))
    assert behind == pytest.approx((first + 3) * screenshot.CELL_PX, abs=0.1)


def test_two_pictures_of_the_same_screen_are_the_same(tmp_path: Path) -> None:
    one, two = take(tmp_path, "one"), take(tmp_path, "two")
    assert one.svg.read_bytes() == two.svg.read_bytes()


def test_png_is_drawn(tmp_path: Path) -> None:
    if shutil.which("rsvg-convert") is None:
        pytest.skip("rsvg-convert is not installed")
    saved = take(tmp_path)
    assert saved.note == ""
    assert saved.png == tmp_path / "tiny.png"
    data = saved.png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width == 60 * screenshot.PNG_PIXELS_PER_COLUMN
    assert height > 60


def test_without_the_converter_the_note_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    saved = take(tmp_path)
    assert saved.svg.exists()
    assert saved.png is None
    assert "librsvg2-bin" in saved.note


def test_a_converter_that_fails_is_an_error_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "rsvg-convert"
    broken.write_text("#!/bin/sh\necho out of colours >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _name: str(broken))
    with pytest.raises(InternalError, match="out of colours"):
        take(tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x\x1b[2J", "a" * 100])
def test_a_name_is_a_plain_file_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        take(tmp_path, name)
    assert list(tmp_path.iterdir()) == []
