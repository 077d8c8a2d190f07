"""Timelines: what happened to one entity, in order."""
