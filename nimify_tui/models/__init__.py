"""What is in a model file: ``analyse`` in :mod:`nimify_tui.models.analysis`; nothing of the file ever runs."""
