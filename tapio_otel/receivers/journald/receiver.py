"""The receiver: reads the journal a slice at a time, makes events of it, and waits for more without polling."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from typing import ClassVar

from tapio_otel.component import ComponentContext, Output, Receiver, SourceUnavailable, Stability
from tapio_otel.event import UnifiedEvent
from tapio_otel.receivers.journald.availability import missing, reading_rights
from tapio_otel.receivers.journald.config import JournaldConfig
from tapio_otel.receivers.journald.entry import EntryParser
from tapio_otel.receivers.journald.fields import FieldSelection
from tapio_otel.receivers.journald.gaps import Gap
from tapio_otel.receivers.journald.matches import unit_filter
from tapio_otel.receivers.journald.process import OwnEntries, ProcessStarts
from tapio_otel.receivers.journald.reader import Chunk, JournalReader, start

CHUNK = 64
"""Entries read before they are parsed: as many as stay in the processor's cache, which makes parsing a quarter cheaper."""


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
        reader = JournalReader(self.config)
        try:
            problem = reader.open(output.checkpoint)
            if problem:
                self.context.log.error("%s. Reading starts at the %s of the journal", problem, start(self.config))
            self._tell_passed_over(reader.passed_over)
            self.context.report(None)
            await self._read(reader, output, fresh=output.checkpoint is None or problem is not None)
        finally:
            self._tell_damaged(now=True)
            reader.close()

    def _tell_passed_over(self, files: dict[str, str]) -> None:
        """Name each file that libsystemd does not read, once."""
        for file, problem in files.items():
            if file not in self._told:
                remedy = reading_rights() if problem == os.strerror(errno.EACCES) else "The journal's other files are read"
                self.context.log.warning("%s is passed over: %s. %s", file, problem, remedy)
        self._told = set(files)

    async def _read(self, reader: JournalReader, output: Output, fresh: bool) -> None:
        parser = self._parser()
        saved, when = reader.position, 0.0
        if fresh and saved is not None:
            await output.emit([], reader.checkpoint())  # a restart before the first entry must not skip what came between
        done = 0
        batch: list[UnifiedEvent] = []
        while True:
            limit = min(CHUNK, self.config.batch_size - len(batch))
            chunk = reader.read(limit)
            done += len(chunk.entries) + chunk.unreadable
            batch += self._events(parser, chunk)
            ends = self.finite and reader.at_end
            if batch and (len(chunk.entries) < limit or len(batch) >= self.config.batch_size):
                await output.emit(batch, reader.checkpoint())
                batch, saved = [], reader.position
            elif not batch and reader.position != saved and (ends or time.monotonic() >= when):
                await output.emit([], reader.checkpoint())  # what was left out need not be read again
                saved, when = reader.position, time.monotonic() + CHECKPOINT_INTERVAL
            if self.finite:
                output.progress(done, reader.estimate)
            self._tell_damaged(now=ends)
            if not reader.at_end:
                await asyncio.sleep(0)
            elif self.finite:
                return
            else:
                await self._wait(reader, when if reader.position != saved else None)

    def _parser(self) -> EntryParser:
        own = OwnEntries.of_this_process() if self.config.exclude_self else None
        wanted = unit_filter(self.config)
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
            events.append(gap.event(chunk.entries[index][0] if index < len(chunk.entries) else {}, observed))
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

    async def _wait(self, reader: JournalReader, until: float | None) -> None:
        """Wait until the journal changes or a checkpoint is due, but at least `read_interval`: entries come in batches."""
        loop = asyncio.get_running_loop()
        earliest = loop.time() + self.config.read_interval
        due = None if until is None else max(0.0, until - time.monotonic())
        limits = [limit for limit in (reader.timeout(), due, self.config.poll_interval) if limit is not None]
        await _readable(loop, reader.fileno(), min(limits))
        await asyncio.sleep(earliest - loop.time())
        reader.process()


async def _readable(loop: asyncio.AbstractEventLoop, descriptor: int, timeout: float) -> None:  # noqa: ASYNC109
    changed = loop.create_future()

    def wake() -> None:
        loop.remove_reader(descriptor)  # it stays readable until the change is processed: once is enough
        if not changed.done():
            changed.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        async with asyncio.timeout(timeout):
            await changed
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(descriptor)
