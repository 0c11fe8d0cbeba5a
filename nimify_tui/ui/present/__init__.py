"""Facts to cells and spans: pure functions, no widget, no clock."""
