"""Alertmanagers: read, merged, silenced."""
