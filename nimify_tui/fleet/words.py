"""Numbers inside sentences that the fleet itself makes (reasons, derived changes)."""

from __future__ import annotations


def short(value: float) -> str:
    """At most three significant digits, no exponent: ``0.8``, ``12``, ``41.5``, ``1240``."""
    if value >= 100:
        return f"{value:.0f}"
    text = f"{value:.1f}" if value >= 10 else f"{value:.2g}"
    return text.removesuffix(".0")


def seconds(value: float) -> str:
    """A latency: ``3 ms``, ``1.9 s``."""
    return f"{short(value * 1000)} ms" if value < 1.0 else f"{short(value)} s"


def percent(ratio: float) -> str:
    """A ratio: ``0.4 %``, ``12 %``."""
    return f"{short(ratio * 100)} %"


def span(value: float) -> str:
    """How long: ``41 s``, ``6 min``, ``3 h``, ``2 d``."""
    if value < 99.5:
        return f"{value:.0f} s"
    if value < 5970:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h" if value < 172800 else f"{value / 86400:.0f} d"


def several(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and 3 more``."""
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]}, {names[1]} and {len(names) - 2} more"
