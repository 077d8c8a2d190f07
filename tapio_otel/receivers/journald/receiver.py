"""The receiver: takes the journal a chunk at a time, makes events of it, and waits for more without polling."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from typing import Any, ClassVar

from tapio_otel.component import ComponentContext, Output, Receiver, SourceUnavailable, Stability
from tapio_otel.event import UnifiedEvent
from tapio_otel.receivers.journald.availability import missing, reading_rights
from tapio_otel.receivers.journald.child_feed import ChildFeed
from tapio_otel.receivers.journald.chunk import Chunk
from tapio_otel.receivers.journald.config import JournaldConfig
from tapio_otel.receivers.journald.entry import EntryParser
from tapio_otel.receivers.journald.feed import DirectFeed, Feed
from tapio_otel.receivers.journald.fields import FieldSelection
from tapio_otel.receivers.journald.gap_event import gap_event
from tapio_otel.receivers.journald.gaps import Gap
from tapio_otel.receivers.journald.matches import unit_filter
from tapio_otel.receivers.journald.process import OwnEntries, ProcessStarts

CHECKPOINT_INTERVAL = 1.0
"""Seconds between two checkpoints of entries that are all left out."""
NOTICE_INTERVAL = 10.0
"""Seconds between two messages about damaged entries."""


class JournaldReceiver(Receiver[JournaldConfig]):
    """Read the systemd journal.

    Every entry is delivered at least once, and once only after a clean stop. Entries deleted before they could be read are
    reported by an event of type `journal_gap` with their number, and counted as dropped (reason `vacuumed`).
    """

    type = "journald"
    Config = JournaldConfig
    stability: ClassVar[Stability] = Stability.BETA

    def __init__(self, context: ComponentContext, config: JournaldConfig) -> None:
        super().__init__(context, config)
        self._told: set[str] = set()
        self._damaged = 0
        self._next_notice = 0.0
        self.heartbeat = config.reader_options().sign_of_life

    @staticmethod
    def missing(config: JournaldConfig) -> SourceUnavailable | None:
        """Tell why there is no journal to read here, and what would enable it; None when there is one."""
        return missing(config)

    @property
    def finite(self) -> bool:
        """Tell whether reading ends with the last entry there is."""
        return not self.config.follow

    async def run(self, output: Output) -> None:
        """Emit the journal's entries from the checkpoint on; raises `SourceUnavailable` where there is no journal."""
        unavailable = missing(self.config)
        if unavailable is not None:
            raise unavailable
        feed = self._feed(output)
        try:
            problem = await feed.open(output.checkpoint)
            if problem:
                self.context.log.error("%s. Reading starts at the %s of the journal", problem, self.config.begin)
            self._tell_passed_over(feed.passed_over)
            self.context.report(None)
            saved = None if problem else output.checkpoint
            await self._read(feed, output, Pending(output, self.config.batch_size, saved, feed.checkpoint))
        finally:
            self._tell_damaged(now=True)
            await feed.close()

    def _feed(self, output: Output) -> Feed:
        options = self.config.reader_options()
        return DirectFeed(options) if self.config.isolation == "none" else ChildFeed(options, self.context, output.alive)

    def _tell_passed_over(self, files: dict[str, str]) -> None:
        """Name each file that libsystemd does not read, once."""
        for file, problem in files.items():
            if file not in self._told:
                remedy = reading_rights() if problem == os.strerror(errno.EACCES) else "The journal's other files are read"
                self.context.log.warning("%s is passed over: %s. %s", file, problem, remedy)
        self._told = set(files)

    async def _read(self, feed: Feed, output: Output, pending: Pending) -> None:
        parser, done = self._parser(), 0
        await pending.begin()
        while True:
            chunk = await feed.next(pending.due)
            if chunk is None:
                await pending.settle()
                continue
            if feed.passed_over.keys() != self._told:
                self._tell_passed_over(feed.passed_over)
            done += len(chunk.entries) + chunk.unreadable
            await pending.add(self._events(parser, chunk), chunk)
            ends = self.finite and chunk.at_end
            if self.finite:
                output.progress(done, feed.estimate)
            else:
                output.alive()
            self._tell_damaged(now=ends)
            if ends:
                await pending.settle()
                return
            await asyncio.sleep(0)

    def _parser(self) -> EntryParser:
        own = OwnEntries.of_this_process() if self.config.exclude_self else None
        wanted = unit_filter(self.config.reader_options())
        return EntryParser(
            FieldSelection(self.config.fields, frozenset(("MESSAGE_ID",) if wanted else ())),
            self.config.max_message_size,
            lambda record: bool(own and own.wrote(record)) or bool(wanted and not wanted(record)),
            ProcessStarts().find,
        )

    def _events(self, parser: EntryParser, chunk: Chunk) -> list[UnifiedEvent]:
        """Return the events of a chunk, those about gaps in their places."""
        observed, cut = time.time_ns(), parser.truncated
        if chunk.unreadable:
            self.context.counters.add("refused", chunk.unreadable, reason="damaged")
            self._damaged += chunk.unreadable
        events: list[UnifiedEvent] = []
        begin = 0
        for index, gap in chunk.gaps:
            events += parser.parse_batch(chunk.entries[begin:index], observed)
            events.append(gap_event(gap, chunk.entries[index][0] if index < len(chunk.entries) else {}, observed))
            self._report(gap)
            begin = index
        events += parser.parse_batch(chunk.entries[begin:] if begin else chunk.entries, observed)
        if parser.truncated > cut:
            self.context.counters.add("truncated", parser.truncated - cut)
        return events

    def _tell_damaged(self, now: bool) -> None:
        if self._damaged and (now or time.monotonic() >= self._next_notice):
            entries = "journal entry is" if self._damaged == 1 else "journal entries are"
            self.context.log.warning(
                "%d %s damaged and cannot be read; the others are. See which file it is with journalctl --verify",
                self._damaged,
                entries,
            )
            self._damaged, self._next_notice = 0, time.monotonic() + NOTICE_INTERVAL

    def _report(self, gap: Gap) -> None:
        self.context.log.warning("%s", gap.describe())
        self.context.counters.add("dropped", gap.missing or 0, reason="vacuumed")


class Pending:
    """Gather the events of chunks into batches, and see that the checkpoint follows what is left out as well."""

    def __init__(self, output: Output, size: int, saved: Any | None, checkpoint: dict[str, Any] | None) -> None:
        self._output = output
        self._size = size
        self._fresh = saved is None
        self._saved = self._checkpoint = checkpoint
        self._events: list[UnifiedEvent] = []
        self._when = 0.0

    @property
    def due(self) -> float | None:
        """Return when the checkpoint is to be saved, by `time.monotonic`; None where there is nothing to save."""
        return self._when if self._has_moved else None

    @property
    def _has_moved(self) -> bool:
        return self._checkpoint is not None and self._cursor(self._checkpoint) != self._cursor(self._saved)

    async def begin(self) -> None:
        """Save where a first run begins: a restart before the first entry must not skip what came between."""
        if self._fresh and self._checkpoint is not None:
            await self._output.emit([], self._checkpoint)

    async def add(self, events: list[UnifiedEvent], chunk: Chunk) -> None:
        """Take a chunk and its events; emits when a batch is full, or nothing more came."""
        if self._events and len(self._events) + len(events) > self._size:
            await self._emit()
        self._events += events
        self._checkpoint = chunk.checkpoint
        if self._events and (not chunk.is_full or len(self._events) >= self._size):
            await self._emit()
        elif not self._events and self._has_moved and time.monotonic() >= self._when:
            await self.settle()

    async def settle(self) -> None:
        """Save the checkpoint of what was left out: it need not be read again."""
        if self._events or self._has_moved:
            await self._emit()
            self._when = time.monotonic() + CHECKPOINT_INTERVAL

    async def _emit(self) -> None:
        await self._output.emit(self._events, self._checkpoint)
        self._events, self._saved = [], self._checkpoint

    @staticmethod
    def _cursor(checkpoint: dict[str, Any] | None) -> Any:
        return checkpoint and checkpoint["cursor"]
