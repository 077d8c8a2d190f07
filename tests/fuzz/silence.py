"""Surroundings for components that run without an agent."""

from __future__ import annotations

from collections.abc import Callable


class NotCounted:
    """Be the counters that nobody reads."""

    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Count nothing."""

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Show nothing."""
