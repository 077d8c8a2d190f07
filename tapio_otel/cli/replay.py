"""`tapio replay`: recorded events through processors again; prints what they conclude."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from tapio_otel.cli.options import config_options, load_or_exit, show_problems, show_start_error
from tapio_otel.cli.terminal import fail
from tapio_otel.component import Processor
from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.event_json import to_json
from tapio_otel.exporting.event_text import inert_json
from tapio_otel.otlp.members import without_members
from tapio_otel.registry import Registry
from tapio_otel.service.graph import StartError

BATCH = 512


@click.command("replay")
@click.option(
    "--events", "recorded", required=True, multiple=True, metavar="FILE", help="Events as JSON lines; .gz, - is stdin."
)
@config_options
@click.option("--pipeline", metavar="NAME", help="The pipeline whose processors are used, where there are several.")
@click.option("--speed", type=click.FloatRange(min=0), default=0.0, help="Times real time, such as 10; as fast as can be if 0.")
@click.option("--updates", is_flag=True, help="Print every revision of a finding as it comes; else the last one of each.")
def command(
    recorded: tuple[str, ...],
    files: tuple[str, ...],
    overrides: tuple[str, ...],
    pipeline: str | None,
    speed: float,
    updates: bool,
) -> None:
    """Run recorded events through processors again and print the findings, one JSON object for each.

    Without --config that is `correlate` with its defaults. With it, the processors of a pipeline: receivers and exporters are
    not used, nothing is connected to, and time is that of the events, so that the same events give the same findings.
    Findings among the recorded events are left out.
    """
    from tapio_otel.timeline.stored import StoredEventError

    processors = _configured(files, overrides, pipeline) if files or overrides else _correlate_alone()
    try:
        events = _recorded(recorded)
        findings = run(processors, _paced(events, speed))
        _print(findings if updates else _last(findings))
    except StoredEventError as error:
        fail(error)
    except OSError as error:
        if error.errno == errno.EPIPE:  # who reads has seen enough, which is no error
            raise
        fail(f"output failed: {error.strerror or error}")


def run(processors: Sequence[Processor[Any]], batches: Iterable[list[UnifiedEvent]]) -> Iterator[UnifiedEvent]:
    """Yield the findings that processors make of batches, and at last of what they hold."""
    for serial, batch in enumerate(batches, 1):
        yield from _through(processors, batch, serial)
    for place, processor in enumerate(processors):
        yield from _through(processors[place + 1 :], processor.flush(True), 0)
        while processor.is_behind:
            yield from _through(processors[place + 1 :], processor.flush(True), 0)


def _through(processors: Sequence[Processor[Any]], events: list[UnifiedEvent], serial: int) -> list[UnifiedEvent]:
    for processor in processors:
        if not events:
            break
        processor.serial = serial or processor.serial + 1
        events = list(processor.process(events))
    return [event for event in events if event.type == EventType.CORRELATION]


def _recorded(files: Sequence[str]) -> Iterator[UnifiedEvent]:
    from tapio_otel.timeline.stored import read_events

    for file in files:
        yield from (event for event in read_events(file) if event.type != EventType.CORRELATION)


def _paced(events: Iterable[UnifiedEvent], speed: float) -> Iterator[list[UnifiedEvent]]:
    """Yield batches; where there is a speed, each event when it is due after the first one."""
    batch: list[UnifiedEvent] = []
    begun, first = time.monotonic(), 0
    for event in events:
        if not speed:
            batch.append(event)
            if len(batch) >= BATCH:
                yield batch
                batch = []
            continue
        first = first or event.timestamp
        due = begun + (event.timestamp - first) / 1e9 / speed
        time.sleep(max(due - time.monotonic(), 0))
        yield [event]
    if batch:
        yield batch


def _last(findings: Iterable[UnifiedEvent]) -> list[UnifiedEvent]:
    from tapio_otel.correlation.examples import last_revisions

    return last_revisions(list(findings))


def _print(findings: Iterable[UnifiedEvent]) -> None:
    for finding in findings:
        click.echo(inert_json(to_json(without_members(finding)).decode()))


def _correlate_alone() -> list[Processor[Any]]:
    """Return the processor that makes findings, as a configuration without options would create it."""
    import logging
    from pathlib import Path

    from tapio_otel.component import ComponentContext, ComponentId, Kind
    from tapio_otel.config.problem import ConfigError

    registry = Registry.load()
    kind = Kind.PROCESSOR
    log = logging.getLogger("tapio_otel.processors/correlate")
    context = ComponentContext(ComponentId("correlate"), kind, _NoCounters(), Path(), log, provided=registry.provided)
    component: type[Processor[Any]] = registry.find(kind, "correlate")  # type: ignore[assignment]
    try:
        return [component(context, component.Config())]
    except ConfigError as error:
        show_problems(error.problems, "the rules")
        sys.exit(1)


class _NoCounters:
    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Count nothing."""

    def gauge(self, name: str, read: Any) -> None:
        """Show nothing."""


def _configured(files: tuple[str, ...], overrides: tuple[str, ...], wanted: str | None) -> list[Processor[Any]]:
    """Return the processors of one pipeline of a configuration, none of them started; exits with 1 where there is none."""
    from tapio_otel.service.runner import Service

    registry = Registry.load()
    configuration = load_or_exit(files, overrides, registry)
    try:
        service = Service(configuration, registry)
    except StartError as error:
        show_start_error(error, configuration)
        sys.exit(1)
    pipelines = {str(one.id): one.processors for one in service.graph.pipelines}
    if wanted is not None and wanted not in pipelines:
        fail(f"--pipeline {wanted!r}: there is no such pipeline; use one of {', '.join(pipelines)}")
    chosen = [name for name in pipelines if name == wanted] or [name for name, found in pipelines.items() if _correlates(found)]
    if len(chosen) == 1:
        return pipelines[chosen[0]]
    if chosen:
        fail(f"several pipelines have `correlate`: choose one by --pipeline: {', '.join(chosen)}")
    fail("no pipeline has the processor `correlate`: add it to one, or leave out --config")


def _correlates(processors: Sequence[Processor[Any]]) -> bool:
    return any(processor.type == "correlate" for processor in processors)
