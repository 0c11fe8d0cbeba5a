"""Plain typed facts that all rooms share. No I/O, no clock, no Textual."""
