"""The balance: what became of every event that a pipeline received, at any moment, from counters and what is under way.

received + made = dropped (by reason) + recombined + held back + passed on, and for each exporter:
offered = sent + failed + dropped + waiting in its queue or on its way.

A pipeline counts what goes into each processor and what comes out, so that one which drops without counting shows: more went
in than it can tell of, and the balance has a difference. More coming out than went in are events of its own (summaries).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tapio_otel.component import Component
from tapio_otel.outlet import Outlet
from tapio_otel.pipeline import Pipeline
from tapio_otel.service.telemetry import ComponentCounters
from tapio_otel.stage import Stage

_REMOVING: Final = ("dropped", "recombined")


@dataclass(frozen=True, slots=True)
class ProcessorBalance:
    """Say what one processor of a pipeline did to the number of events."""

    id: str
    entered: int
    left: int
    removed: dict[tuple[str, str], int]
    """Counted by the processor, by word and reason: dropped, recombined."""
    held: int = 0
    made: int = 0
    unexplained: int = 0
    """Went in and neither came out nor was counted."""


@dataclass(frozen=True, slots=True)
class OutletBalance:
    """Say what one exporter was offered by one pipeline."""

    id: str
    offered: int
    unsettled: int
    interrupted: int
    """Left in the middle by a receiver that was stopped, which reads it again: the exporter may have it or not."""


@dataclass(frozen=True, slots=True)
class PipelineBalance:
    """Say what became of what one pipeline received."""

    id: str
    received: int
    passed_on: int
    processors: tuple[ProcessorBalance, ...]
    outlets: tuple[OutletBalance, ...]

    @property
    def difference(self) -> int:
        """Return how many events are not accounted for; 0 when all are."""
        made = sum(one.made for one in self.processors)
        gone = sum(one.held + sum(one.removed.values()) for one in self.processors)
        return self.received + made - gone - self.passed_on

    def __str__(self) -> str:
        terms = [*self._removed(), *_named("held back", sum(one.held for one in self.processors))]
        terms.append(f"passed on {self.passed_on:,}")
        made = sum(one.made for one in self.processors)
        words = [f"received {self.received:,}" + (f" + made {made:,}" if made else "") + f" = {' + '.join(terms)}"]
        words += map(_outlet_words, self.outlets)
        words += _named("NOT ACCOUNTED FOR", self.difference)
        return f"pipeline {self.id}: {'; '.join(words)}"

    def _removed(self) -> list[str]:
        reasons: dict[str, Counter[str]] = {}
        for processor in self.processors:  # one that was exchanged at a reload counts with its successor
            for (word, reason), amount in processor.removed.items():
                reasons.setdefault(word, Counter())[f"{processor.id} {reason}".strip()] += amount
        return [
            f"{word} {found.total():,} ({', '.join(f'{why} {amount:,}' for why, amount in found.items())})"
            for word, found in reasons.items()
        ]


@dataclass(frozen=True, slots=True)
class ExporterBalance:
    """Say what became of what one exporter was offered, by all pipelines."""

    id: str
    offered: int
    counted: dict[str, int]
    """What it has counted: sent, failed, dropped."""
    waiting: tuple[int, int]
    """The least and the most that can be on its way: equal when it is at rest."""

    @property
    def in_flight(self) -> int:
        """Return how many events it has told nothing about yet."""
        return self.offered - sum(self.counted.values())

    restored: int = 0
    """Of those offered, what its durable queue had from an earlier run."""

    @property
    def difference(self) -> int:
        """Return how many events are not accounted for; below zero when more was counted than offered."""
        least, most = self.waiting
        return self.in_flight - min(max(self.in_flight, least), most)

    def __str__(self) -> str:
        given = f"offered {self.offered - self.restored:,}" + (f" + restored {self.restored:,}" if self.restored else "")
        terms = [f"{word} {amount:,}" for word, amount in sorted(self.counted.items()) if amount]
        terms += _named("queued or in flight", self.in_flight - self.difference)
        words = [f"{given} = {' + '.join(terms) or '0'}", *_named("NOT ACCOUNTED FOR", self.difference)]
        return f"exporter {self.id}: {'; '.join(words)}"


@dataclass(frozen=True, slots=True)
class Balance:
    """Hold the balance of all pipelines and exporters; `difference` is 0 when every event is accounted for."""

    pipelines: tuple[PipelineBalance, ...]
    exporters: tuple[ExporterBalance, ...]

    @property
    def difference(self) -> int:
        """Return how many events are not accounted for, wherever."""
        return sum(abs(one.difference) for one in self.pipelines) + sum(abs(one.difference) for one in self.exporters)

    def lines(self) -> list[str]:
        """Return a line for each pipeline, and one for each exporter."""
        return [*map(str, self.pipelines), *(str(one) for one in self.exporters if one.offered or one.difference)]


@dataclass(slots=True)
class _ExporterAccount:
    offered: int = 0
    unsettled: int = 0
    interrupted: int = 0
    queued: int | None = None
    counted: Counter[str] = field(default_factory=Counter)
    seen: set[int] = field(default_factory=set)

    @property
    def in_flight(self) -> int:
        """Return how many events nothing was told about yet, those among them that a queue had when it was opened."""
        return self.offered + 2 * self.counted["restored"] - sum(self.counted.values())


class Ledger:
    """Keep account across reloads: what left the pipelines is remembered by its figures alone."""

    def __init__(self) -> None:
        self._pipelines: dict[str, tuple[int, int]] = {}
        self._processors: dict[str, list[ProcessorBalance]] = {}
        self._outlets: dict[str, list[OutletBalance]] = {}
        self._exporters: dict[str, _ExporterAccount] = {}

    def close_stage(self, pipeline: Pipeline, stage: Stage) -> None:
        """Remember a processor that leaves a pipeline after its last flush."""
        self._processors.setdefault(str(pipeline.id), []).append(processor_balance(stage, gone=True))

    def close_outlet(self, pipeline: Pipeline, outlet: Outlet) -> None:
        """Remember the outlet of an exporter that leaves a pipeline, once what it owes is decided."""
        self._outlets.setdefault(str(pipeline.id), []).append(_outlet_balance(outlet))
        account = self._exporters.setdefault(str(outlet.exporter.context.id), _ExporterAccount())
        account.offered += outlet.offered
        account.interrupted += outlet.interrupted
        account.unsettled += outlet.unsettled

    def close_pipeline(self, pipeline: Pipeline) -> None:
        """Remember a pipeline that is no more."""
        for stage in pipeline.stages:
            self.close_stage(pipeline, stage)
        for outlet in pipeline.outlets:
            self.close_outlet(pipeline, outlet)
        received, passed_on = self._pipelines.get(str(pipeline.id), (0, 0))
        self._pipelines[str(pipeline.id)] = received + pipeline.received, passed_on + pipeline.passed_on

    def close_exporter(self, exporter: Component[Any]) -> None:
        """Remember what an exporter that was shut down has counted."""
        account = self._exporters.setdefault(str(exporter.context.id), _ExporterAccount())
        account.counted += _counted(exporter)
        queued = _queued(exporter)
        if queued is not None:  # what was given up is still in a queue in memory: it is told of already
            account.queued = min((account.queued or 0) + queued, max(account.in_flight, 0))

    def balance(self, pipelines: Sequence[Pipeline]) -> Balance:
        """Return the balance of these pipelines and of all that went before."""
        by_id = {str(pipeline.id): pipeline for pipeline in pipelines}
        names = dict.fromkeys([*by_id, *self._pipelines])
        return Balance(tuple(self._pipeline(name, by_id.get(name)) for name in names), tuple(self._all_exporters(pipelines)))

    def _pipeline(self, name: str, pipeline: Pipeline | None) -> PipelineBalance:
        received, passed_on = self._pipelines.get(name, (0, 0))
        processors, outlets = list(self._processors.get(name, [])), list(self._outlets.get(name, []))
        if pipeline is not None:
            received, passed_on = received + pipeline.received, passed_on + pipeline.passed_on
            processors += map(processor_balance, pipeline.stages)
            outlets += map(_outlet_balance, pipeline.outlets)
        return PipelineBalance(name, received, passed_on, tuple(processors), tuple(_joined(outlets)))

    def _all_exporters(self, pipelines: Iterable[Pipeline]) -> list[ExporterBalance]:
        accounts = {
            name: _ExporterAccount(one.offered, one.unsettled, one.interrupted, one.queued, Counter(one.counted))
            for name, one in self._exporters.items()
        }
        for outlet in (outlet for pipeline in pipelines for outlet in pipeline.outlets):
            _add(accounts.setdefault(str(outlet.exporter.context.id), _ExporterAccount()), outlet)
        return [_exporter_balance(name, account) for name, account in accounts.items()]


def processor_balance(stage: Stage, gone: bool = False) -> ProcessorBalance:
    """Return the balance of a processor; one that is gone holds nothing any more."""
    processor = stage.processor
    removed = {key: amount for key, amount in _tally(processor).items() if key[0] in _REMOVING}
    gap = stage.entered - stage.left - sum(removed.values())
    holds = gap > 0 and not gone and processor.held_from is not None
    return ProcessorBalance(
        str(processor.context.id),
        *(stage.entered, stage.left, removed),
        held=gap if holds else 0,
        made=max(-gap, 0),
        unexplained=0 if holds else max(gap, 0),
    )


def _outlet_balance(outlet: Outlet) -> OutletBalance:
    return OutletBalance(str(outlet.exporter.context.id), outlet.offered, outlet.unsettled, outlet.interrupted)


def _joined(outlets: Iterable[OutletBalance]) -> Iterable[OutletBalance]:
    """Return one balance for all outlets of an id: exporters of it that came one after the other."""
    by_id: dict[str, list[OutletBalance]] = {}
    for one in outlets:
        by_id.setdefault(one.id, []).append(one)
    for id, found in by_id.items():
        yield OutletBalance(
            id, sum(one.offered for one in found), sum(one.unsettled for one in found), sum(one.interrupted for one in found)
        )


def _add(account: _ExporterAccount, outlet: Outlet) -> None:
    account.offered += outlet.offered
    account.unsettled += outlet.unsettled
    account.interrupted += outlet.interrupted
    exporter = outlet.exporter
    if id(exporter) not in account.seen:
        account.seen.add(id(exporter))
        account.counted += _counted(exporter)
        queued = _queued(exporter)
        if queued is not None:
            account.queued = (account.queued or 0) + queued


def _exporter_balance(name: str, account: _ExporterAccount) -> ExporterBalance:
    found, waiting = account.counted.pop("restored", 0), account.queued or 0
    most = waiting + account.unsettled + account.interrupted
    return ExporterBalance(name, account.offered + found, dict(account.counted), (waiting, most), found)


def _tally(component: Component[Any]) -> Counter[tuple[str, str]]:
    counters = component.context.counters
    return counters.tally if isinstance(counters, ComponentCounters) else Counter()


def _counted(exporter: Component[Any]) -> Counter[str]:
    """Return what an exporter has counted; `restored` are events that its durable queue had when it was opened."""
    counted: Counter[str] = Counter()
    for (word, _), amount in _tally(exporter).items():
        if word in ("sent", "failed", "dropped", "restored"):
            counted[word] += amount
    return counted


def _queued(exporter: Component[Any]) -> int | None:
    counters = exporter.context.counters
    read = counters.gauges.get("queue_items") if isinstance(counters, ComponentCounters) else None
    return None if read is None else int(read())


def _outlet_words(outlet: OutletBalance) -> str:
    settled = outlet.offered - outlet.unsettled - outlet.interrupted
    more = [*_named("in flight", outlet.unsettled), *_named("interrupted", outlet.interrupted)]
    return ", ".join([f"{outlet.id} settled {settled:,}", *more])


def _named(word: str, amount: int) -> list[str]:
    return [f"{word} {amount:,}"] if amount else []
