"""`sqlite`: keeps the last events, findings and entities in a file on this machine, for the page, the API and `tapio timeline`.

An event that comes again is stored once; of a finding the last revision is kept. What was reported as written is there after a
crash of the agent (with `fsync` after a power cut). While the disk is full, events wait and, as the exporter is not required
by default, are then dropped and counted. A damaged file is set aside and a new one begun.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from tapio_otel.component import Batch, ComponentContext, ComponentError, Exporter, ExporterConfig, Stability
from tapio_otel.config.types import ByteSize, Duration
from tapio_otel.event import EventType, Severity, UnifiedEvent
from tapio_otel.event_store.record import Encoder, Record, size_of
from tapio_otel.event_store.retention import RetentionLimits
from tapio_otel.event_store.store import FILE
from tapio_otel.event_store.writing_thread import Listener, WritingThread
from tapio_otel.storage.lock import DirectoryLock

MOST_WAITING: Final = 40_000
"""Events that wait for the disk."""
MOST_WAITING_BYTES: Final = 64 * 1024**2
"""Bytes of their texts and attributes that wait, whichever is reached first."""
SLICE: Final = 500
"""Events that are prepared before others get their turn on the event loop."""
LOCK_SECONDS: Final = 2.0
_SECOND: Final = 1_000_000_000
_MODE: Final = 0o700


def _some_path(value: Any) -> Any:
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise ValueError("expected the path of a directory")
    return value


class Keyword(StrEnum):
    """Name severities as the option does."""

    DEBUG = "debug"
    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
    ALERT = "alert"
    EMERGENCY = "emergency"


class SqliteConfig(ExporterConfig):
    """Hold the options of `sqlite`."""

    directory: Annotated[Path | None, BeforeValidator(_some_path)] = Field(
        None, description="Directory of the store, used by this exporter only. Default: events in service.state_dir."
    )
    max_age: Duration = Field(168 * 3600.0, gt=0, description="Age at which events are removed; older ones are not taken.")
    max_size: ByteSize = Field(
        1024**3,
        ge=4 * 1024 * 1024,
        description="Size of the store's content from which on the oldest events are removed; a write-ahead log of some "
        "ten, at most some hundred MiB comes on top.",
    )
    max_events: int = Field(1_000_000, ge=1, description="Number of events from which on the oldest are removed.")
    min_severity: Keyword = Field(
        Keyword.WARNING,
        description="Least severity of ordinary log lines (type log) that are kept; debug keeps all. Events of other types are "
        "always kept.",
    )
    fsync: bool = Field(
        False,
        description="Put every transaction on the disk at once, so that a power cut loses nothing. If false it may lose the "
        "last moments; a crash of the agent does not.",
    )
    required: bool = Field(
        False,
        description="Let checkpoints and other exporters wait for this one. If false its events are dropped and counted once "
        "it falls behind, and what it had not written at a crash is not read again.",
    )

    def limits(self) -> RetentionLimits:
        """Return how much is kept."""
        return RetentionLimits(round(self.max_age * _SECOND), self.max_size, self.max_events)


class SqliteExporter(Exporter[SqliteConfig]):
    """Keep events in a file."""

    type = "sqlite"
    Config = SqliteConfig
    stability = Stability.ALPHA

    def __init__(self, context: ComponentContext, config: SqliteConfig) -> None:
        super().__init__(context, config)
        self.directory = config.directory or context.state_dir / "events"
        self._least = Severity.from_keyword(config.min_severity)
        self._encoder = Encoder()
        self._lock: DirectoryLock | None = None
        self._thread: WritingThread | None = None
        self._waiting = self._waiting_bytes = 0
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._stopping = False

    @property
    def path(self) -> Path:
        """Return the store's file."""
        return self.directory / FILE

    async def start(self) -> None:
        """Make and lock the directory and begin to open the file; raises ComponentError."""
        lock = DirectoryLock(self.directory)
        try:
            self.directory.mkdir(_MODE, parents=True, exist_ok=True)
            await lock.acquire(LOCK_SECONDS)
        except ComponentError:
            raise ComponentError(
                f"directory: {str(self.directory)!r} is in use by another sqlite exporter or agent. "
                "Stop it, or give this exporter a directory of its own"
            ) from None
        except OSError as error:
            lock.release()
            raise ComponentError(
                f"directory: cannot use {str(self.directory)!r}: {error.strerror}. "
                "Set directory to one that this user may write, or correct its rights"
            ) from error
        self._lock = lock
        listener = Listener(_on_loop(self._count), _on_loop(self._report), _on_loop(self._ended.set))
        self._thread = WritingThread(self.path, self.config.limits(), self.config.fsync, listener, self.context.log)
        self._thread.start()

    async def consume(self, batch: Batch) -> None:
        """Take a batch; waits while the disk cannot keep up. After shutdown began the batch is left undelivered."""
        if self._thread is None:
            if not self._stopping:
                raise ComponentError(f"exporter {self.context.id} was given events before it was started")
            return
        records = await self._records(self._kept(batch.events))
        while self._is_full and not self._stopping:
            self._changed.clear()
            await self._changed.wait()
        if self._stopping:
            return
        if not records:
            batch.delivery.done()
            return
        count, size = len(records), sum(map(size_of, records))
        self._waiting += count
        self._waiting_bytes += size
        self._thread.add(records, _on_loop(lambda: self._settle(batch, count, size)))

    @property
    def _is_full(self) -> bool:
        return self._waiting >= MOST_WAITING or self._waiting_bytes >= MOST_WAITING_BYTES

    def _kept(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Return what is to be written: what is severe enough, and not so old or so far ahead that it would go at once."""
        least, now, age = self._least, time.time_ns(), round(self.config.max_age * _SECOND)
        severe = [event for event in events if event.type != EventType.LOG or event.severity >= least]
        oldest, latest = now - age, now + age
        kept = [event for event in severe if oldest <= event.timestamp <= latest]
        for amount, reason in ((len(events) - len(severe), "min_severity"), (len(severe) - len(kept), "max_age")):
            if amount:
                self.context.counters.add("dropped", amount, reason=reason)
        return kept

    async def _records(self, events: list[UnifiedEvent]) -> list[Record]:
        found: list[Record] = []
        for start in range(0, len(events), SLICE):
            if start:
                await asyncio.sleep(0)
            records, refused = self._encoder.records(events[start : start + SLICE])
            found += records
            if refused:
                self.context.counters.add("failed", refused, reason="invalid")
        return found

    def _settle(self, batch: Batch, count: int, size: int) -> None:
        self._waiting -= count
        self._waiting_bytes -= size
        self._changed.set()
        batch.delivery.done()

    def _count(self, written: int, repeated: int, refused: int) -> None:
        for name, amount, reason in (("dropped", repeated, "repeated"), ("failed", refused, "invalid")):
            if amount:
                self.context.counters.add(name, amount, reason=reason)
        self.context.counters.add("sent", written)

    def _report(self, problem: str | None) -> None:
        self.context.report(problem)
        if problem is None:
            self.context.log.warning("writing to %s works again", self.path)
        else:
            self.context.log.warning("%s", problem)

    async def shutdown(self) -> None:
        """Write what is there, as long as the caller waits and the disk works."""
        self._stopping = True
        self._changed.set()
        thread, self._thread = self._thread, None
        lock, self._lock = self._lock, None
        try:
            if thread is not None:
                thread.stop()
                await self._ended.wait()
                if self._waiting:
                    self.context.log.warning("stopped with %d events not written to %s", self._waiting, self.path)
        finally:
            if lock is not None:
                lock.release()


def _on_loop(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function for other threads that calls another on this event loop."""
    loop = asyncio.get_running_loop()

    def call(*arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(function, *arguments)

    return call
