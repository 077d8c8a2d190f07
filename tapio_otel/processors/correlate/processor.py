"""The processor: propagation and the engine between a pipeline's batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tapio_otel.component import ComponentContext, Processor, Stability
from tapio_otel.config.entry_file import BUILTIN, PLUGINS
from tapio_otel.config.problem import Problem
from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.library import load_rules
from tapio_otel.correlation.listeners import Listeners
from tapio_otel.correlation.propagation import Propagation, subject_of
from tapio_otel.event import UnifiedEvent
from tapio_otel.processors.correlate.clock import EventClock
from tapio_otel.processors.correlate.config import CorrelateConfig
from tapio_otel.processors.correlate.waiting import Waiting

_SECOND: Final = 1_000_000_000
_LONGEST_INTERVAL: Final = 1.0  # seconds
_SHORTEST_INTERVAL: Final = 0.02
_STEPS: Final = 2_000
"""How much is concluded at once, besides as many events as have come: some 50 ms of work."""
_LOOK_INTERVAL: Final = 5.0
"""Seconds between two looks at who listens where on this machine."""


class CorrelateProcessor(Processor[CorrelateConfig]):
    """Pass events on, those that inherit a trace with it, and add what the rules conclude from them.

    Raises `ConfigError` with everything that is wrong with the rule files, and names that do not exist.
    """

    type = "correlate"
    Config = CorrelateConfig
    stability = Stability.ALPHA

    def __init__(
        self,
        context: ComponentContext,
        config: CorrelateConfig,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        listeners: Listeners | None = None,
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
            emit_traces=config.emit_traces,
        )
        self._monotonic = monotonic
        self._clock = EventClock(monotonic, wall_ns)
        self._propagation, self._waiting = _propagation(context, config, bool(rules))
        self._listeners = listeners or Listeners(context.entities)
        self._next_look = math.inf  # nobody is asked by a processor that was not started, as in a replay
        self.flush_interval = _flush_interval(config, bool(rules))
        gauge = context.counters.gauge
        gauge("correlation_open_groups", lambda: self.engine.open_groups)
        gauge("correlation_open_findings", lambda: self.engine.open_findings)
        gauge("correlation_facts", lambda: self.engine.fact_count)
        gauge("correlation_waiting_events", lambda: self.engine.waiting_count)
        gauge("trace_propagation_keys", lambda: self._propagation.key_count if self._propagation is not None else 0)
        gauge("trace_propagation_waiting_events", lambda: len(self._waiting) if self._waiting is not None else 0)

    @classmethod
    def files_read(cls, config: CorrelateConfig) -> list[Path]:
        """Return the user's rule files: directories with all that is in them, so that files which come or go count."""
        found: list[Path] = []
        for entry in config.rules:
            with suppress(OSError, RuntimeError, ValueError):  # the library tells what is wrong with a path
                place = Path(entry).expanduser()
                if entry not in {BUILTIN, PLUGINS} and place.exists():
                    found += [place, *(sorted(place.iterdir()) if place.is_dir() else ())]
        return found

    async def start(self) -> None:
        """Begin to look who listens where."""
        if self.engine.rules:
            self._look()

    @property
    def held_from(self) -> int | None:
        """Return the serial of the batch that the oldest event came in which waits for a trace."""
        return self._waiting.held_from if self._waiting is not None else None

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Return the events, but for those that wait for a trace, and the findings that are due behind them."""
        if self.engine.rules:
            self._tell_listeners(events)
        if self._propagation is not None:
            events = self._propagate(self._propagation, events)
        return self._correlated(events)

    def flush(self, final: bool) -> list[UnifiedEvent]:
        """Return the events that waited long enough, and the findings that are due by now; all when `final`."""
        if self._monotonic() >= self._next_look:
            self._look()
        now_ns = self._clock.now_ns()
        released = self._released(final, now_ns)
        self._add(released)
        return released + self._concluded(now_ns, final)

    def check(self) -> list[Problem]:
        """Return what is wrong with the examples of the rules: each is run with its rule alone."""
        from tapio_otel.correlation.examples import run_examples

        return [
            Problem(rule.file, rule.line, f"rules.{rule.name}.examples", f"{one.example}: {one.problem}")
            for rule in self.engine.rules
            for one in run_examples(rule)
            if one.problem
        ]

    # --- who listens ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Keep up with who listens where; where the kernel does not tell, addresses of this machine stay nobody's."""
        try:
            self._listeners.look()
        except (OSError, ValueError) as error:
            self.context.notices.warn("listeners", f"the kernel does not tell who listens on this machine: {error}")
        self._next_look = self._monotonic() + _LOOK_INTERVAL

    def _tell_listeners(self, events: list[UnifiedEvent]) -> None:
        """Put on events who listened where they could not reach; without that they go on all the same."""
        try:
            self._listeners.tell(events)
        except Exception as error:
            self._failed("listeners", error)

    # --- traces ---------------------------------------------------------------------------------------------------------

    def _propagate(self, propagation: Propagation, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Learn from all of a batch before any of it inherits; returns the very list where none waits."""
        asking = propagation.learn_all(events)
        waiting = self._waiting
        if waiting is None:
            if asking:
                propagation.inherit_all(asking)
            return events
        waiting.saw(events)
        asking = [event for event in asking if subject_of(event).ranks]
        if not asking and not waiting:
            return events
        staying = {id(event) for event in asking}
        waiting.hold(asking, self.serial, self._monotonic())  # nothing from here on may fail: it would be held twice
        return [*self._released(), *(event for event in events if id(event) not in staying)]

    def _released(self, final: bool = False, now_ns: int = 0) -> list[UnifiedEvent]:
        """Return the events that waited long enough, with the traces that they inherit."""
        waiting, propagation = self._waiting, self._propagation
        if not waiting or propagation is None:
            return []
        released = waiting.let_go(self._monotonic(), final, now_ns)
        propagation.inherit_all(released)
        if waiting.early:
            self.context.counters.add("trace_propagation_early", waiting.early)
            waiting.early = 0
        return released

    # --- rules ----------------------------------------------------------------------------------------------------------

    def _correlated(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        if not self.engine.rules:
            return events
        self._add(events)
        findings = self._concluded(0, most=len(events) + _STEPS)
        return events + findings if findings else events

    @property
    def is_behind(self) -> bool:  # type: ignore[override]
        """Tell whether findings are due that were not concluded yet: after a storm it would take long to do so at once."""
        return self.engine.is_behind

    def _concluded(self, now_ns: int, final: bool = False, most: int = _STEPS) -> list[UnifiedEvent]:
        """Return the findings that are due, or a part of them. Where the engine fails they come with the next ones."""
        try:
            return self.engine.advance(now_ns, final, most)
        except Exception as error:
            self._failed("conclusion", error)
            return []

    def _add(self, events: Sequence[UnifiedEvent]) -> None:
        """Give events to the engine. One that it fails on is left out and goes on: no event is lost to a conclusion."""
        if not events or not self.engine.rules:
            return
        try:
            self.engine.add(events)
        except Exception:
            for event in events:  # those that it has taken already change nothing
                try:
                    self.engine.add((event,))
                except Exception as error:
                    self._failed("event", error)
        self._clock.arrived(self.engine.latest_ns)

    def _failed(self, at: str, error: Exception) -> None:
        self.context.counters.add("correlation_errors", reason=at)
        self.context.warn(f"{type(error).__name__}: {error}; events go on, and the rules do without one of them")


def _propagation(
    context: ComponentContext, config: CorrelateConfig, has_rules: bool
) -> tuple[Propagation | None, Waiting | None]:
    """Return what propagates, and what lets events wait: for as long as a rule would not take them for late."""
    options = config.propagation
    if not options.enabled:
        return None, None
    window = round(options.window * _SECOND)
    limit = min(window, round(config.allowed_lateness * _SECOND)) if has_rules else window
    waiting = Waiting(options.wait, limit) if options.wait else None
    return Propagation(window, options.max_keys, context.counters), waiting


def _flush_interval(config: CorrelateConfig, has_rules: bool) -> float | None:
    """Return how often something may be due; None where nothing ever is."""
    wait = config.propagation.wait if config.propagation.enabled else 0
    if wait:
        return min(max(wait / 2, _SHORTEST_INTERVAL), _LONGEST_INTERVAL)
    return _LONGEST_INTERVAL if has_rules else None
