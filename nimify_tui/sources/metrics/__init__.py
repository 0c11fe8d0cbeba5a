"""Scraped metrics: the exposition parser and one adapter for each runtime family."""
