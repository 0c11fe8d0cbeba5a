"""What the command line and the configuration together ask for: settings, clusters, regions."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any

from nimify_tui import config as configuration
from nimify_tui.backends.announced import announced
from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import ValidationError
from nimify_tui.clusters import ANY, ClusterRegions, Wanted
from nimify_tui.config import Config


def read_config(options: argparse.Namespace) -> Config:
    """The configuration with the command line's say in it. Raises ConfigurationError."""
    overrides: dict[str, Any] = {}
    if options.read_only:
        overrides["gate.read_only"] = True
    if options.read_write:
        overrides["gate.open_regions"] = True
        overrides["gate.read_only"] = False
    return configuration.load([options.config] if options.config else None, overrides=overrides)


def wanted_clusters(options: argparse.Namespace) -> Wanted:
    """What the command line says of clusters."""
    return Wanted(options.kubeconfig or "", tuple(options.context or ()), options.namespace or "")


def check_regions(config: Config, wanted: Sequence[str], clusters: Wanted = ANY) -> None:
    """Whether every region of ``--region`` is configured, found in a kubeconfig or announced on this machine.

    Raises ValidationError (exit code 64) with the nearest known names: waiting would not bring it.
    """
    if not wanted:
        return
    found = ClusterRegions(config, SystemClock(), (), clusters).found
    known = sorted(
        {
            *(region.name for region in (*config.regions, *found)),
            *(one.name for one in announced() if one.demo),
        }
    )
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.5)
            like = f"did you mean {' or '.join(near)}? " if near else ""
            raise ValidationError(
                f"region {name!r} is not known here", f"{like}known: {', '.join(known) or 'none'}"
            )
