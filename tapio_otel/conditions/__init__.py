"""Conditions in CEL over events, for every component that lets its user choose events. See docs/conditions.md."""

from __future__ import annotations

from tapio_otel.conditions.condition import Condition, ConditionText
from tapio_otel.conditions.foreign import refuse_foreign
from tapio_otel.conditions.report import ConditionErrors
from tapio_otel.conditions.syntax import ConditionError

__all__ = ["Condition", "ConditionError", "ConditionErrors", "ConditionText", "refuse_foreign"]
