"""filter: drops events by conditions in CEL.

`drop` lists conditions of which one suffices to drop an event; `keep` lists conditions of which one must be met for an event
to go on. What `drop` names is dropped whatever `keep` says. A condition that cannot be decided for an event (a missing
attribute, an operation that does not fit the value) is not met: under `drop` the event stays, under `keep` it goes.

Guarantees: the order stays, and events that go on are unchanged. Each event dropped is counted once as `dropped` with
`reason: filter` and the `condition` that decided: `drop[0]`, the first that was met, or `keep` where none was. Conditions that
fail, other than by a missing attribute, are counted as `condition_errors`, and logged at most once a minute.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field, model_validator

from tapio_otel.component import ComponentConfig, ComponentContext, Processor, Stability
from tapio_otel.conditions import Condition, ConditionErrors, ConditionText, refuse_foreign
from tapio_otel.event import UnifiedEvent

_EXAMPLE: Final = "drop: ['severity_number < WARNING']"
_OF_THE_COLLECTOR: Final = frozenset(
    ("error_mode", "logs", "log_conditions", "metrics", "metric_conditions", "spans", "traces", "trace_conditions", "profiles")
)


class FilterConfig(ComponentConfig):
    """Be the options of `filter`. At least one condition must be given."""

    drop: list[ConditionText] = Field(
        default_factory=list, description="Conditions in CEL. An event of which any is true is dropped; goes before `keep`."
    )
    keep: list[ConditionText] = Field(
        default_factory=list,
        description="Conditions in CEL. When there are some, an event is dropped unless one of them is true of it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _is_our_own(cls, options: Any) -> Any:
        instead = f"the collector's language OTTL is not supported; write conditions in CEL, as in {_EXAMPLE}"
        return refuse_foreign(options, _OF_THE_COLLECTOR, instead)

    @model_validator(mode="after")
    def _filters_something(self) -> FilterConfig:
        if not (self.drop or self.keep):
            raise ValueError(f"there is no condition: write one under drop or keep, as in {_EXAMPLE}")
        return self


class FilterProcessor(Processor[FilterConfig]):
    """Drop the events that a condition names."""

    type = "filter"
    Config = FilterConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: FilterConfig) -> None:
        super().__init__(context, config)
        self._drop = [(f"drop[{place}]", Condition.compile(text)) for place, text in enumerate(config.drop)]
        self._keep = [(f"keep[{place}]", Condition.compile(text)) for place, text in enumerate(config.keep)]
        self._errors = ConditionErrors(context, dict((*self._drop, *self._keep)))

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Return the events that no condition drops, in their order."""
        for label, condition in self._drop:
            matches = condition.matches
            passed = [event for event in events if not matches(event)]
            self._count(label, len(events) - len(passed))
            events = passed
        if self._keep:
            passed = [event for event in events if self._is_kept(event)]
            self._count("keep", len(events) - len(passed))
            events = passed
        self._errors.tell()
        return events

    def _is_kept(self, event: UnifiedEvent) -> bool:
        return any(condition.matches(event) for _, condition in self._keep)

    def _count(self, label: str, dropped: int) -> None:
        if dropped:
            self.context.counters.add("dropped", dropped, reason="filter", condition=label)
