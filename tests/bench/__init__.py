"""Budgets: what the console may cost. ``python -m tests.bench`` measures and judges them all."""
