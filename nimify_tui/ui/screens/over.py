"""The screens that stand over all others, each there once: what is seen everywhere and belongs to no row."""

from __future__ import annotations

from nimify_tui.ui.screens.base import ConsoleScreen


def screen_over(name: str) -> type[ConsoleScreen]:
    """``forwards``, ``alerts`` or ``gpus``; imported when it is asked for."""
    if name == "alerts":
        from nimify_tui.ui.screens.alerts import AlertsScreen

        return AlertsScreen
    if name == "gpus":
        from nimify_tui.ui.screens.gpus import GpusScreen

        return GpusScreen
    from nimify_tui.ui.screens.forwards import ForwardsScreen

    return ForwardsScreen
