"""Our own widgets on ``render_line``: generic, fed with plain data, cheap for the line."""
