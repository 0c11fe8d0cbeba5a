"""Pure functions on history: what explains what, what to do."""
