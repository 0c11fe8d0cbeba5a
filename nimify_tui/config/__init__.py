"""The configuration: file, environment and flags as one typed, checked whole that knows where each value came from."""

from nimify_tui.config.layers import Problem
from nimify_tui.config.reading import check, default_paths, load, schema
from nimify_tui.config.schema import Config, GateConfig, RegionConfig, SecretRef, SloConfig, UiConfig

__all__ = [
    "Config",
    "GateConfig",
    "Problem",
    "RegionConfig",
    "SecretRef",
    "SloConfig",
    "UiConfig",
    "check",
    "default_paths",
    "load",
    "schema",
]
