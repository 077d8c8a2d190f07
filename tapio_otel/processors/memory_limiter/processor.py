"""The processor: measures at the entrance of a pipeline, and lets receivers wait or chooses of what cannot wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from tapio_otel.component import ComponentContext, ComponentError, GateProcessor, Stability
from tapio_otel.event import UnifiedEvent
from tapio_otel.processors.memory_limiter.available import available
from tapio_otel.processors.memory_limiter.config import MIB, Limits, MemoryLimiterConfig, limits
from tapio_otel.processors.memory_limiter.relief import OFTEN, RARELY, Relief
from tapio_otel.processors.memory_limiter.resident import ResidentMemory
from tapio_otel.processors.memory_limiter.sampling import Sampler

MEASURE_EVERY: Final = 512
"""Events after which memory is measured, however soon: what they take up is far less than any spike."""
LOOK_AGAIN: Final = 0.05
"""Most seconds between two measurements while a receiver waits."""
FLUSH_INTERVAL: Final = 1.0
"""Least seconds between two measurements while no events come."""
_UNLIMITED: Final = Limits(1 << 62, 1 << 62)


class MemoryLimiterProcessor(GateProcessor[MemoryLimiterConfig]):
    """Let receivers wait while the agent's memory is above the soft limit, and drop of those that cannot, counted."""

    type = "memory_limiter"
    Config = MemoryLimiterConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: MemoryLimiterConfig) -> None:
        super().__init__(context, config)
        self.limits = _UNLIMITED
        self.used = 0
        """Bytes in use when it was measured last."""
        self.flush_interval = max(config.check_interval, FLUSH_INTERVAL)
        self._memory = ResidentMemory(config.check_interval)
        self._relief = Relief()
        self._sampler = Sampler(context.provided("normalizers"))
        self._since = 0
        self._next = 0.0
        self._is_told = False
        context.counters.gauge("memory_usage", lambda: self.used)
        context.counters.gauge("memory_limit", lambda: self.limits.hard if self.limits is not _UNLIMITED else 0)

    async def start(self) -> None:
        """Find out how much memory there is, and measure for the first time; raises `ComponentError`."""
        try:
            self._memory.open()
        except OSError as error:
            raise ComponentError(f"memory cannot be measured: {error}. Take memory_limiter out of the pipeline") from error
        self._relief.open()
        there = available()
        self.limits = limits(self.config, there)
        if self.limits.problem:
            self.context.log.warning("%s", self.limits.problem)
        self.context.log.info("%s, of the %d MiB of %s", self._words(), there.size // MIB, there.whose)
        self._measure()

    async def shutdown(self) -> None:
        """Let everything in from now on."""
        self.limits, self.used = _UNLIMITED, 0
        self._memory.close()

    async def admit(self, events: list[UnifiedEvent], can_wait: bool, is_idle: Callable[[], bool]) -> list[UnifiedEvent]:
        """Return the events once memory is below the soft limit or, of a receiver that cannot wait, those that are chosen."""
        self._since += len(events)
        if self._since >= MEASURE_EVERY or self.used >= self.limits.soft or time.monotonic() >= self._next:
            self._measure()
        if self.used < self.limits.soft:
            return events
        return await self._wait(events, is_idle) if can_wait else self._choose(events)

    def flush(self, final: bool) -> list[UnifiedEvent]:
        """Measure also while no events come, so that memory is given back and health is as it is; there are no events."""
        if not final and time.monotonic() >= self._next:
            self._measure()
        return []

    async def _wait(self, events: list[UnifiedEvent], is_idle: Callable[[], bool]) -> list[UnifiedEvent]:
        pause = min(self.config.check_interval, LOOK_AGAIN)
        while self.used >= self.limits.soft:
            if is_idle():  # nothing that would be freed by waiting
                self.context.warn(f"the limit is too small: nothing is on its way, and {self._state()}; one batch at a time")
                break
            await asyncio.sleep(pause)
            self._measure()
        return events

    def _choose(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        hard, soft = self.limits.hard, self.limits.soft
        chosen = self._sampler.choose(events, (self.used - soft) / (hard - soft))
        if len(chosen) < len(events):
            self.context.counters.add("dropped", len(events) - len(chosen), reason="memory_limit")
        return chosen

    def _measure(self) -> None:
        """Measure, and give back what was freed where it is too much."""
        self._since = 0
        self.used = self._memory.measure()
        if self.used >= self.limits.soft:
            if self.used >= self.limits.hard:
                freed = self._relief.give_back(OFTEN, self.config.min_gc_interval_when_hard_limited)
            else:
                freed = self._relief.give_back(RARELY, self.config.min_gc_interval_when_soft_limited)
            if freed:
                self.used = self._memory.measure()
        self._next = time.monotonic() + self.config.check_interval
        self._tell()

    def _tell(self) -> None:
        """Report to health when memory comes above the soft limit, and when it is below again."""
        if self.used >= self.limits.soft:
            if not self._is_told:
                self.context.warn(f"{self._state()}: receivers wait, and of those that cannot a part is dropped")
            self._is_told = True
        elif self._is_told:
            self._is_told = False
            self.context.report(None)

    def _state(self) -> str:
        return f"the agent uses {self.used // MIB} MiB of memory; {self._words()}"

    def _words(self) -> str:
        return f"the soft limit is {self.limits.soft // MIB} MiB, the hard limit {self.limits.hard // MIB} MiB"
