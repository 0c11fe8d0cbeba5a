"""`nimify-tui config`: what holds, where each value comes from, what is wrong."""

from __future__ import annotations

import argparse
import sys

from nimify_tui import config
from nimify_tui.base.files import config_home
from nimify_tui.headless.output import emit, say, to_json


def show(options: argparse.Namespace) -> int:
    """Every value with its origin; secrets as their references."""
    from nimify_tui.wanted import read_config

    rows = [(key, value, origin) for key, value, origin in read_config(options).rows()]
    data = [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]
    cells = [[key, "" if value is None else str(value), origin] for key, value, origin in rows]
    emit(options.output, data, ("KEY", "VALUE", "ORIGIN"), cells, [key for key, _, _ in rows])
    return 0


def check(options: argparse.Namespace) -> int:
    """0 when the configuration is good, 78 with every problem when it is not."""
    problems = config.check([options.config] if options.config else None)
    data = [
        {"where": item.where, "key": item.key, "text": item.text, "remedy": item.remedy} for item in problems
    ]
    cells = [[item.where, item.key, item.text, item.remedy] for item in problems]
    if problems or options.output != "table":
        emit(
            options.output,
            data,
            ("WHERE", "KEY", "PROBLEM", "REMEDY"),
            cells,
            [item.key for item in problems],
        )
    say(f"{len(problems)} problems" if problems else "the configuration is good")
    return 78 if problems else 0


def schema(_options: argparse.Namespace) -> int:
    """JSON Schema of the file."""
    sys.stdout.write(to_json(config.schema()) + "\n")
    return 0


def path(options: argparse.Namespace) -> int:
    """Where the configuration is read from; without a file, where it would be."""
    found = [options.config] if options.config else [str(item) for item in config.default_paths()]
    names = found or [str(config_home() / "config.toml")]
    data = [{"path": name, "exists": bool(found)} for name in names]
    emit(
        options.output,
        data,
        ("PATH", "READ"),
        [[name, "yes" if found else "no such file"] for name in names],
        names,
    )
    return 0
