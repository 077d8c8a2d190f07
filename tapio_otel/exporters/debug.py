"""`debug`: writes events to the terminal for people to read.

A batch is settled once it is written. A terminal or pipe that does not read makes the pipeline wait; one that is closed
ends the writing, which is reported, and from then on events are dropped and counted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from tapio_otel.component import Batch, ComponentContext, ComponentError, Exporter, ExporterConfig, Stability
from tapio_otel.event import UnifiedEvent
from tapio_otel.exporting.background_writer import BackgroundWriter
from tapio_otel.exporting.event_text import LineWriter, details, summary


class Verbosity(StrEnum):
    """Name how much is written."""

    BASIC = "basic"
    NORMAL = "normal"
    DETAILED = "detailed"


class DebugConfig(ExporterConfig):
    """Hold the options of `debug`."""

    verbosity: Verbosity = Field(
        Verbosity.BASIC, description="basic: a line for each batch; normal: a line for each event; detailed: everything."
    )
    sampling_initial: int = Field(2, ge=0, description="Events written each second before sampling begins.")
    sampling_thereafter: int = Field(1, ge=0, description="After these, only every Nth is written; 1 writes all, 0 none.")
    use_internal_logger: bool = Field(True, description="Accepted from collector configurations; has no effect.")
    output_paths: list[str] = Field(["stdout"], description="Where to write to: stdout or stderr.")

    @field_validator("output_paths")
    @classmethod
    def _one_stream(cls, paths: list[str]) -> list[str]:
        if paths not in (["stdout"], ["stderr"]):
            raise ValueError("expected [stdout] or [stderr]: to write to files use the file exporter")
        return paths


class DebugExporter(Exporter[DebugConfig]):
    """Write events to standard output or standard error."""

    type = "debug"
    Config = DebugConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: DebugConfig) -> None:
        super().__init__(context, config)
        self.descriptor = 2 if config.output_paths == ["stderr"] else 1
        self._writer: BackgroundWriter | None = None
        self._lines = LineWriter()
        self._resource: Mapping[str, Any] = {}
        self._sample = _sampler(config.sampling_initial, config.sampling_thereafter)
        self._is_closed = False

    async def start(self) -> None:
        """Get ready to write; raises ComponentError."""
        self._refuse_closed()
        if self.config.verbosity is Verbosity.DETAILED:
            from tapio_otel.otlp.mapping import host_resource

            self._resource = host_resource()
        self._lines = LineWriter(colour=wants_colour(self.descriptor))
        self._writer = BackgroundWriter(f"debug {self.context.id}", self._write, lambda: None)
        self._writer.start()

    async def consume(self, batch: Batch) -> None:
        """Take a batch; waits while the terminal does not read."""
        writer, count = self._writer, len(batch.events)
        if writer is None:
            raise ComponentError(f"exporter {self.context.id} was given events before it was started")
        events = self._sample(batch.events)
        if len(events) < count:
            self.context.counters.add("dropped", count - len(events), reason="sampled")
        if self._is_closed or not events:
            return self._settle(batch, len(events), None)
        text = self._text(events, batch).encode("utf-8", "backslashreplace")
        await writer.put([text], lambda problem: self._settle(batch, len(events), problem))
        return None

    async def shutdown(self) -> None:
        """Write what is there, as long as the caller waits."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            await writer.drain()
        finally:
            await writer.stop(patience=0.2)

    def _refuse_closed(self) -> None:
        """Refuse a stream that was closed before the process began: its number belongs to some other file by now."""
        if {1: sys.__stdout__, 2: sys.__stderr__}.get(self.descriptor, self) is None:
            raise ComponentError(f"{self.config.output_paths[0]} is closed: redirect it, for example to /dev/null")

    def _text(self, events: list[UnifiedEvent], batch: Batch) -> str:
        if self.config.verbosity is Verbosity.NORMAL:
            return self._lines.text(events)
        if self.config.verbosity is Verbosity.BASIC:
            return summary(events, batch.scope.name)
        from tapio_otel.otlp.mapping import map_origin

        return "".join(details(event, map_origin(event.view(), event.source, self._resource).resource) for event in events)

    def _settle(self, batch: Batch, count: int, problem: Exception | None) -> None:
        if problem is not None and not self._is_closed:
            self._is_closed = True
            name = self.config.output_paths[0]
            self.context.report(f"cannot write to {name}: {problem}")
            self.context.log.warning("cannot write to %s (%s): events are no longer written there", name, problem)
        if count:
            if self._is_closed:
                self.context.counters.add("dropped", count, reason="output_closed")
            else:
                self.context.counters.add("sent", count)
        batch.delivery.done()

    def _write(self, texts: list[bytes]) -> None:
        """Write; runs in the writer's thread."""
        rest = memoryview(b"".join(texts))
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:  # someone made the terminal non-blocking
                time.sleep(0.02)


def wants_colour(descriptor: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether to write colours: on a terminal that has them, unless NO_COLOR says otherwise (no-color.org)."""
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _sampler(initial: int, thereafter: int) -> Callable[[list[UnifiedEvent]], list[UnifiedEvent]]:
    """Return a function that picks `initial` events a second, then every `thereafter`th."""
    if thereafter == 1:
        return lambda events: events
    second, seen = -1, 0

    def pick(events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        nonlocal second, seen
        now = int(time.monotonic())
        if now != second:
            second, seen = now, 0
        start, seen = seen, seen + len(events)
        return [
            event
            for number, event in enumerate(events, start)
            if number < initial or (thereafter and (number - initial + 1) % thereafter == 0)
        ]

    return pick
