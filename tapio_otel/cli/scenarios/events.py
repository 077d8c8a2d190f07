"""From a scenario's steps to events: made by the receivers' code, completed by the processors that stand before `correlate`."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from tapio_otel.cli.scenarios.cluster import ClusterState
from tapio_otel.cli.scenarios.form import HOST, Label, Scenario, Step
from tapio_otel.cli.scenarios.machine import NOWHERE, Machine
from tapio_otel.cli.scenarios.noise import noise
from tapio_otel.component import ComponentContext, ComponentId, Kind
from tapio_otel.correlation.examples import BEGINNING, example_events
from tapio_otel.entities import EntityMapper
from tapio_otel.event import UnifiedEvent
from tapio_otel.processors.enrich import EnrichConfig, EnrichProcessor
from tapio_otel.processors.enrich.connection import connection_for
from tapio_otel.processors.normalize import NormalizeConfig, NormalizeProcessor
from tapio_otel.processors.trace_context import TraceContextConfig, TraceContextProcessor
from tapio_otel.registry import Registry

_SECOND: Final = 1_000_000_000
_ON_THE_WAY: Final = 50_000_000
"""Nanoseconds from when something happens until the agent has read it."""
_ENRICHERS: Final = ["pod", "container", "node", "namespace", "services", "addresses"]
_ELECTED: Final = HOST
"""The machine whose agent asks the cluster."""


@dataclass(frozen=True, slots=True)
class ScenarioEvents:
    """Hold events in the order in which they arrive, each with its moment, and the ids that each label stands for."""

    arriving: Sequence[tuple[int, UnifiedEvent]]
    ids: Mapping[Label, frozenset[str]]


def events_of(scenario: Scenario) -> ScenarioEvents:
    """Return the events of a scenario; raises ValueError, with the step's number, for what cannot be made."""
    return asyncio.run(_Play(scenario).run())


class _Play:
    """Let one scenario happen."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        steps = scenario.events
        names = {HOST, *(one.host for one in steps), *(one.node for one in scenario.cluster.pods if one.node)}
        names |= {one.cluster_node.name for one in steps if one.cluster_node is not None} | set(scenario.listeners)
        units: dict[str, dict[str, str]] = defaultdict(dict)
        for one in sorted(steps, key=_begins):
            if one.systemd is not None:
                units[one.host].setdefault(one.systemd.unit, one.systemd.before or "active/running")
        self._machines = {name: self._machine(name, units[name]) for name in sorted(names)}
        self._cluster = ClusterState(scenario.cluster, {name: one.id for name, one in self._machines.items()})
        self._enrich = {name: self._enrich_processor(one.entities) for name, one in self._machines.items()}

    def _machine(self, name: str, units: Mapping[str, str]) -> Machine:
        return Machine(name, units, self._cgroup_of, self._scenario.listeners.get(name))

    def _cgroup_of(self, container: str) -> str:
        return self._cluster.cgroup_of(container)

    def _enrich_processor(self, entities: EntityMapper) -> EnrichProcessor:
        context = _context("enrich", entities)
        config = EnrichConfig.model_validate({"kubernetes": {"enabled": False}, "enrichers": _ENRICHERS})
        processor = EnrichProcessor(context, config)
        cache = connection_for(context, config).cache
        entities.names = cache
        self._cluster.caches.append(cache)
        return processor

    async def run(self) -> ScenarioEvents:
        steps = self._scenario.events
        await self._cluster.begin(one.pod.name for one in steps if one.pod is not None and one.pod.created)
        arriving: list[tuple[int, UnifiedEvent]] = []
        ids: dict[Label, set[str]] = defaultdict(set)
        turns = sorted((at, number, step) for number, step in enumerate(steps) for at in _moments(step))
        for at, number, step in sorted(turns, key=lambda turn: turn[:2]):
            try:
                made = await self._make(step, number, at)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"events[{number}]: {error if isinstance(error, ValueError) else repr(error)}") from error
            for event in made:
                for label in (number, *step.called):
                    ids[label].add(event.id)
                moments = [event.observed + again * _SECOND for again in range(step.deliveries)]
                arriving += [(moment, event) for moment in moments]
        arriving.sort(key=lambda one: one[0])
        return ScenarioEvents(arriving, {label: frozenset(found) for label, found in ids.items()})

    async def _make(self, step: Step, number: int, at: int) -> list[UnifiedEvent]:
        observed = at + _ON_THE_WAY + round(step.late * _SECOND)
        made = await self._raw(step, number, at, observed)
        of_cluster = step.pod or step.cluster_node or step.cluster_event
        enrich = self._enrich[_ELECTED if of_cluster else step.host]
        if not _is_plain(step):
            made = enrich.process(_texts().process(made))
        if not of_cluster:
            self._machines[step.host].listeners.tell(made)
        for event in made:
            event.timestamp += self._skew(event.source, step.host)
        return made

    async def _raw(self, step: Step, number: int, at: int, observed: int) -> list[UnifiedEvent]:
        machine = self._machines[step.host]
        if step.journal is not None:
            return machine.journal(step.journal, at, observed)
        if step.kernel is not None:
            return machine.kernel(step.kernel, at, observed)
        if step.systemd is not None:
            return machine.systemd(step.systemd, at, observed)
        if step.pod is not None:
            return await self._cluster.pod(step.pod, at, observed)
        if step.cluster_node is not None:
            return await self._cluster.node(step.cluster_node, at, observed)
        if step.cluster_event is not None:
            return await self._cluster.event(step.cluster_event, at, observed)
        if step.noise is not None:
            return noise(step.noise, at, partial(Machine, units={}, cgroup_of=self._cgroup_of))
        plain = step.model_copy(update={"id": step.id or f"{number:04d}", "t": (at - BEGINNING) / _SECOND, "repeat": 1})
        [event], _ = example_events([plain])
        event.observed = observed
        return [event]

    def _skew(self, source: str, host: str) -> int:
        clocks = self._scenario.clocks
        return sum(_nanoseconds(clocks[name]) for name in (source, host) if name in clocks)


def _is_plain(step: Step) -> bool:
    """Tell whether a step is an event already."""
    return not any((step.journal, step.kernel, step.systemd, step.pod, step.cluster_node, step.cluster_event, step.noise))


def _begins(step: Step) -> int:
    return _nanoseconds(step.t)


def _moments(step: Step) -> list[int]:
    first = BEGINNING + _begins(step)
    return [first + round(step.every * _SECOND) * again for again in range(step.repeat)]


def _nanoseconds(time: float | str) -> int:
    from tapio_otel.config.types import parse_duration

    if isinstance(time, str):
        sign = -1 if time.startswith("-") else 1
        return sign * round(float(parse_duration(time.lstrip("-"))) * _SECOND)
    return round(time * _SECOND)


class _Texts:
    """Be the processors that read texts, made once: their library is the same for all scenarios."""

    def __init__(self) -> None:
        self._normalize = NormalizeProcessor(_context("normalize"), NormalizeConfig())
        self._trace_context = TraceContextProcessor(_context("trace_context"), TraceContextConfig())

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        return self._trace_context.process(self._normalize.process(events))


@lru_cache(maxsize=1)
def _texts() -> _Texts:
    return _Texts()


def _context(type: str, entities: EntityMapper | None = None) -> ComponentContext:
    log = logging.getLogger(f"tapio.scenarios.{type}")
    provided = _registry().provided
    context = ComponentContext(ComponentId(type), Kind.PROCESSOR, _NotCounted(), NOWHERE, log, provided)
    context.entities = entities or EntityMapper(NOWHERE)
    return context


@lru_cache(maxsize=1)
def _registry() -> Registry:
    return Registry.load()


class _NotCounted:
    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Count nothing."""

    def gauge(self, name: str, read: Any) -> None:
        """Show nothing."""
