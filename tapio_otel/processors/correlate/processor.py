"""The processor: the engine between a pipeline's batches."""

from __future__ import annotations

import time
from collections.abc import Callable

from tapio_otel.component import ComponentContext, Processor, Stability
from tapio_otel.config.problem import Problem
from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.library import load_rules
from tapio_otel.event import UnifiedEvent
from tapio_otel.processors.correlate.clock import EventClock
from tapio_otel.processors.correlate.config import CorrelateConfig

_SECOND = 1_000_000_000


class CorrelateProcessor(Processor[CorrelateConfig]):
    """Pass events on, and add what the rules conclude from them.

    Raises `ConfigError` with everything that is wrong with the rule files, and names that do not exist.
    """

    type = "correlate"
    Config = CorrelateConfig
    stability = Stability.ALPHA
    flush_interval = 1.0

    def __init__(
        self,
        context: ComponentContext,
        config: CorrelateConfig,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(context, config)
        rules = load_rules(config.rules, config.disabled_rules, context.provided("rules"))
        self.engine = Engine(
            rules,
            allowed_lateness_ns=round(config.allowed_lateness * _SECOND),
            order_tolerance_ns=round(config.order_tolerance * _SECOND),
            max_facts=config.max_facts,
            max_open=config.max_open,
            update_interval_ns=round(config.update_interval * _SECOND),
            counters=context.counters,
        )
        self._clock = EventClock(monotonic, wall_ns)
        context.counters.gauge("correlation_open_groups", lambda: self.engine.open_groups)
        context.counters.gauge("correlation_facts", lambda: self.engine.fact_count)
        context.counters.gauge("correlation_waiting_events", lambda: self.engine.waiting_count)

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Return the events, and the findings that are due behind them."""
        engine = self.engine
        engine.add(events)
        self._clock.arrived(engine.latest_ns)
        findings = engine.advance(0)
        return events + findings if findings else events

    def flush(self, final: bool) -> list[UnifiedEvent]:
        """Return the findings that are due by now; all when `final`."""
        return self.engine.advance(self._clock.now_ns(), final)

    def check(self) -> list[Problem]:
        """Return what is wrong with the examples of the rules: each is run with its rule alone."""
        from tapio_otel.correlation.examples import run_examples

        return [
            Problem(rule.file, rule.line, f"rules.{rule.name}.examples", f"{one.example}: {one.problem}")
            for rule in self.engine.rules
            for one in run_examples(rule)
            if one.problem
        ]
