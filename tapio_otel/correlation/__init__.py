"""Correlation: which event was the cause, and which were its consequences."""
