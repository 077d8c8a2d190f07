"""Processors: what happens to events on their way."""
