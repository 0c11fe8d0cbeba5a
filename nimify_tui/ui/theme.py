"""The four themes, by what a colour means and not by its name.

Style sheets use only these variables: ``$ok $warn $crit $stale $select`` (and ``$dimmed``, ``$start``, ``$rule``,
``$keys``, ``$select-text``). A healthy thing is plain foreground text; ``$ok`` exists for the few places
that must say "good" aloud. Warning and critical are orange and red on an axis that colour-blind
operators can tell apart by lightness; a symbol and a word always stand beside the colour.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.style import Style
    from textual.app import App
    from textual.theme import Theme

THEME_NAMES: Sequence[str] = ("nimify-dark", "nimify-light", "nimify-contrast", "nimify-ansi")

#: variable -> colour, for each theme; ``foreground`` and ``background`` included.
PALETTES: dict[str, dict[str, str]] = {
    "nimify-dark": {
        "background": "#121417",
        "foreground": "#d0d4da",
        "ok": "#8fc7a1",
        "warn": "#f0b050",
        "crit": "#ff7b72",
        "start": "#8ab4f0",
        "stale": "#a8aeb8",
        "dimmed": "#8d949f",
        "select": "#2a4b6e",
        "select-text": "#ffffff",
        "rule": "#7a828e",
        "keys": "#8ab4f0",
    },
    "nimify-light": {
        "background": "#fafafa",
        "foreground": "#202428",
        "ok": "#1a6b38",
        "warn": "#8a4b00",
        "crit": "#b3161b",
        "start": "#1f4fa8",
        "stale": "#565c66",
        "dimmed": "#5f6670",
        "select": "#c4dcf8",
        "select-text": "#000000",
        "rule": "#6a717b",
        "keys": "#1f4fa8",
    },
    "nimify-contrast": {
        "background": "#000000",
        "foreground": "#ffffff",
        "ok": "#87ffaf",
        "warn": "#ffd75f",
        "crit": "#ff8787",
        "start": "#87d7ff",
        "stale": "#d0d0d0",
        "dimmed": "#c6c6c6",
        "select": "#005f87",
        "select-text": "#ffffff",
        "rule": "#bcbcbc",
        "keys": "#87d7ff",
    },
    "nimify-ansi": {
        "background": "ansi_default",
        "foreground": "ansi_default",
        "ok": "ansi_green",
        "warn": "ansi_yellow",
        "crit": "ansi_red",
        "start": "ansi_cyan",
        "stale": "ansi_default",
        "dimmed": "ansi_default",
        "select": "ansi_blue",
        "select-text": "ansi_bright_white",
        "rule": "ansi_default",
        "keys": "ansi_cyan",
    },
}


#: What each style name of our widgets looks like: (foreground variable, background variable, attributes).
#: Not component classes in a style sheet: Textual resolves those for every widget that is mounted, which
#: took two thirds of the time to the first frame.
LOOKS: dict[str, tuple[str, str, str]] = {
    "ok": ("ok", "", ""),
    "warn": ("warn", "", ""),
    "bad": ("crit", "", "bold"),
    "start": ("start", "", ""),
    "stale": ("stale", "", "italic"),
    "dim": ("dimmed", "", ""),
    "bold": ("", "", "bold"),
    "title": ("", "", "bold"),
    "key": ("keys", "", "bold"),
    "rule": ("rule", "", ""),
    "header": ("dimmed", "", "bold"),
    "select": ("select-text", "select", ""),
    "blur": ("", "", "underline"),
    "mark": ("keys", "", "bold"),
    "reverse": ("", "", "reverse"),
    "match": ("", "", "reverse"),
    "p50": ("dimmed", "", ""),
    "p95": ("start", "", ""),
    "p99": ("warn", "", ""),
}


def look(name: str, variables: Mapping[str, str]) -> Style:
    """The partial Rich style of a style name under a theme's variables (``App.theme_variables``)."""
    from rich.style import Style
    from textual.color import Color

    foreground, background, attributes = LOOKS[name]
    style = Style.parse(attributes) if attributes else Style()
    if foreground and foreground in variables:
        style += Style(color=Color.parse(variables[foreground]).rich_color)
    if background and background in variables:
        style += Style(bgcolor=Color.parse(variables[background]).rich_color)
    return style


def themes() -> list[Theme]:
    """The themes for ``App.register_theme``, the default first."""
    from textual.theme import Theme

    made = []
    for name in THEME_NAMES:
        colours = PALETTES[name]
        variables = {k: v for k, v in colours.items() if k not in ("background", "foreground")}
        variables["block-cursor-text-style"] = "none"
        if name == "nimify-ansi":  # Textual's own style sheets want these of every 16-colour theme
            variables |= {"ansi-background": "ansi_default", "ansi-foreground": "ansi_default"}
        made.append(
            Theme(
                name=name,
                primary=colours["keys"],
                secondary=colours["start"],
                warning=colours["warn"],
                error=colours["crit"],
                success=colours["ok"],
                accent=colours["keys"],
                foreground=colours["foreground"],
                background=colours["background"],
                surface=colours["background"],
                panel=colours["background"],
                dark=name != "nimify-light",
                ansi=name == "nimify-ansi",
                variables=variables,
            )
        )
    return made


def default_variables() -> dict[str, str]:
    """Values of our variables under a theme that is not ours (``App.get_theme_variable_defaults``)."""
    dark = PALETTES["nimify-dark"]
    ours = {k: v for k, v in dark.items() if k not in ("background", "foreground")}
    return ours | {"ansi-background": "ansi_default", "ansi-foreground": "ansi_default"}


def register(app: App[object], name: str = "nimify-dark") -> None:
    """Register the four themes with ``app`` and switch to ``name``."""
    for theme in themes():
        app.register_theme(theme)
    app.theme = name


def style_path(file_name: str) -> Path:
    """Where a style sheet lies: inside the installed package, else beside it in the source tree.

    Raises FileNotFoundError naming both places.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "styles", package.parent / "styles"):
        if (path := folder / file_name).is_file():
            return path
    raise FileNotFoundError(f"style sheet {file_name} is neither in {package}/styles nor in {package.parent}/styles")
