"""Generators: what is made for other systems."""
