"""A Redis-compatible server, asked how it does; nothing of its data is read, and nothing is ever written."""
