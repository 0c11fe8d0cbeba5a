"""Programs that a benchmark starts in a pty of their own and drives from outside."""
