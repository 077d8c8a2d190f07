"""Report the errors of a component's conditions: counted all, logged seldom."""

from __future__ import annotations

from collections.abc import Mapping

from tapio_otel.component import ComponentContext
from tapio_otel.conditions.condition import Condition


class ConditionErrors:
    """Count what conditions could not decide as `condition_errors`, by the option that each one is written in."""

    def __init__(self, context: ComponentContext, conditions: Mapping[str, Condition]) -> None:
        self._context = context
        self._conditions = [(option, condition) for option, condition in conditions.items()]
        self._told = dict.fromkeys(conditions, 0)

    def tell(self) -> None:
        """Count and log what has come since the last call; once a batch is enough."""
        for option, condition in self._conditions:
            if condition.errors != self._told[option]:
                self._tell(option, condition)

    def _tell(self, option: str, condition: Condition) -> None:
        self._context.counters.add("condition_errors", condition.errors - self._told[option], condition=option)
        self._told[option] = condition.errors
        said = f"{option} cannot be decided for some events, and is not met for them: {condition.last_error}"
        self._context.notices.warn(option, said)
