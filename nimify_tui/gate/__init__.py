"""Decides every change of the world; mints the only permits."""
