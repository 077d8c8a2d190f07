"""Correlation: which event was the cause, and which were its consequences. See docs/correlation.md."""

from __future__ import annotations

from tapio_otel.correlation.rule import Conclusion, CorrelationFunction, FactSelector, Rule

__all__ = ["Conclusion", "CorrelationFunction", "FactSelector", "Rule"]
