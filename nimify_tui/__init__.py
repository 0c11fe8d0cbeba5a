"""nimify-tui: a terminal console that watches, deploys and repairs AI model-serving services."""

__version__ = "0.1.0"
"""The one place where the version stands: the package's metadata and the user agent are read from here."""
