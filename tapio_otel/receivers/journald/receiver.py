"""The receiver: reads the journal a slice at a time, makes events of it, and waits for more without polling."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from tapio_otel.component import Output, Receiver, SourceUnavailable, Stability
from tapio_otel.event import UnifiedEvent
from tapio_otel.receivers.journald.availability import missing
from tapio_otel.receivers.journald.config import JournaldConfig
from tapio_otel.receivers.journald.entry import EntryParser
from tapio_otel.receivers.journald.fields import FieldSelection
from tapio_otel.receivers.journald.gaps import Gap
from tapio_otel.receivers.journald.matches import unit_filter
from tapio_otel.receivers.journald.process import OwnEntries, ProcessStarts
from tapio_otel.receivers.journald.reader import Chunk, JournalReader

CHUNK = 64
"""Entries read before they are parsed: as many as stay in the processor's cache, which makes parsing a quarter cheaper."""


class JournaldReceiver(Receiver[JournaldConfig]):
    """Read the systemd journal.

    Every entry is delivered at least once, and once only after a clean stop. Entries deleted before they could be read are
    reported by an event of type `journal_gap` with their number, and counted as dropped (reason `vacuumed`).
    """

    type = "journald"
    Config = JournaldConfig
    stability: ClassVar[Stability] = Stability.BETA

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
                self.context.log.error("%s. Reading starts at the %s of the journal", problem, self._start())
            self.context.report(None)
            await self._read(reader, output)
        finally:
            reader.close()

    def _start(self) -> str:
        return self.config.start_at if self.config.follow else "beginning"

    async def _read(self, reader: JournalReader, output: Output) -> None:
        parser = self._parser()
        if output.checkpoint is None and reader.position is not None:
            await output.emit([], reader.checkpoint())  # a restart before the first entry must not skip what came between
        done = 0
        batch: list[UnifiedEvent] = []
        while True:
            limit = min(CHUNK, self.config.batch_size - len(batch))
            chunk = reader.read(limit)
            done += len(chunk.entries)
            batch += self._events(parser, chunk)
            if batch and (len(chunk.entries) < limit or len(batch) >= self.config.batch_size):
                await output.emit(batch, reader.checkpoint())
                batch = []
            if self.finite:
                output.progress(done, reader.estimate)
            if not reader.at_end:
                await asyncio.sleep(0)
            elif self.finite:
                return
            else:
                await self._wait(reader)

    def _parser(self) -> EntryParser:
        own = OwnEntries.of_this_process() if self.config.exclude_self else None
        wanted = unit_filter(self.config)
        return EntryParser(
            FieldSelection(self.config.fields),
            self.config.max_message_size,
            lambda record: bool(own and own.wrote(record)) or bool(wanted and not wanted(record)),
            ProcessStarts().find,
        )

    def _events(self, parser: EntryParser, chunk: Chunk) -> list[UnifiedEvent]:
        """Return the events of a chunk, those about gaps in their places."""
        observed, cut = time.time_ns(), parser.truncated
        if chunk.unreadable:
            self.context.counters.add("refused", chunk.unreadable, reason="damaged")
        events: list[UnifiedEvent] = []
        begin = 0
        for index, gap in chunk.gaps:
            events += parser.parse_batch(chunk.entries[begin:index], observed)
            events.append(gap.event(chunk.entries[index][0] if chunk.entries else {}, observed))
            self._report(gap)
            begin = index
        events += parser.parse_batch(chunk.entries[begin:] if begin else chunk.entries, observed)
        if parser.truncated > cut:
            self.context.counters.add("truncated", parser.truncated - cut)
        return events

    def _report(self, gap: Gap) -> None:
        self.context.log.warning("%s", gap.describe())
        self.context.counters.add("dropped", gap.missing or 0, reason="vacuumed")

    async def _wait(self, reader: JournalReader) -> None:
        """Wait until the journal changes, and not less than `read_interval`, so that entries come in batches."""
        loop = asyncio.get_running_loop()
        earliest = loop.time() + self.config.read_interval
        limits = [limit for limit in (reader.timeout(), self.config.poll_interval) if limit is not None]
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
