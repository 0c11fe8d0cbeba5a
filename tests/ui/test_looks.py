"""Every style name that a widget may use has a look under every theme."""

from __future__ import annotations

import pytest

from nimify_tui.ui.theme import LOOKS, PALETTES, look
from nimify_tui.ui.widgets.cells import STYLE_NAMES


@pytest.mark.parametrize("theme", PALETTES)
def test_every_style_name_has_a_look(theme: str) -> None:
    assert set(STYLE_NAMES) == set(LOOKS)
    for name, (foreground, background, _) in LOOKS.items():
        style = look(name, PALETTES[theme])
        assert (style.color is not None) == bool(foreground)
        assert (style.bgcolor is not None) == bool(background)
        assert {foreground, background} - {""} <= set(PALETTES[theme])
