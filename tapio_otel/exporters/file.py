"""`file`: writes events to a file, one OTLP-JSON `ExportLogsServiceRequest` a line, as the collector's file exporter does.

With `format: events` it writes one event a line in the event JSON form, which `tapio replay` and `tapio timeline` read.

Events keep their order. A batch is settled once the operating system has it. A full disk makes the pipeline wait, and no
torn entry is left behind: neither by a write that failed half-way nor by an earlier run that was killed in the middle of one.
A file has one writer: an exporter whose path another exporter or agent writes refuses to start. Programs that rotate logs may
move, remove or empty the file at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tapio_otel.component import Batch, ComponentConfig, ComponentContext, ComponentError, Exporter, ExporterConfig, Stability
from tapio_otel.config.types import Duration, parse_duration
from tapio_otel.exporting.background_writer import BackgroundWriter
from tapio_otel.exporting.batcher import Builder
from tapio_otel.exporting.compression import Compress, compressor
from tapio_otel.exporting.file_sink import LENGTH_BYTES, MEGABYTE, Abandoned, FileSink, RotationLimits
from tapio_otel.exporting.options import Compression

# A line is parsed as a whole by whoever reads it.
LARGEST_ENTRY = 16 * MEGABYTE

Encode = Callable[[Batch], list[bytes]]


def _seconds(value: Any) -> float:
    """Return seconds for a bare number, as the collector's own examples write this option, or for a duration."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else parse_duration(value)


def _number_too(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [*schema["anyOf"], {"type": "number", "minimum": 0}]


class Format(StrEnum):
    """Name how entries are written."""

    JSON = "json"
    PROTO = "proto"
    EVENTS = "events"


class RotationOptions(ComponentConfig):
    """Say when the file is put aside, under a name with the time in it, and how many such files are kept."""

    max_megabytes: int = Field(100, ge=0, description="Size in MiB after which the file is put aside; 0 for no limit.")
    max_days: int = Field(
        0,
        ge=0,
        description="Days after which the file is put aside, counted from when it was made, and files put aside are removed; "
        "0 for no limit.",
    )
    max_backups: int = Field(100, ge=0, description="Most files put aside that are kept; 0 for no limit.")
    localtime: bool = Field(False, description="Use local time in file names rather than UTC.")


class GroupByOptions(ComponentConfig):
    """Name the collector's options for writing several files."""

    enabled: bool = Field(False, description="Not supported: leave it false.")
    resource_attribute: str = Field("fileexporter.path_segment", description="Not supported.")
    max_open_files: int = Field(100, description="Not supported.")

    @field_validator("enabled")
    @classmethod
    def _refuse(cls, enabled: bool) -> bool:
        if enabled:
            raise ValueError("writing one file for each resource is not supported: remove group_by")
        return enabled


class FileConfig(ExporterConfig):
    """Hold the options of `file`."""

    path: str = Field(description="File to write to; no other exporter or agent may write it too.")
    append: bool = Field(
        True, description="Go on with an existing file (the collector's default is false); if false it is emptied at the start."
    )
    format: Format = Field(
        Format.JSON,
        description="json: one OTLP request a line; proto: each preceded by its length in 4 bytes; events: one event a line in "
        "the form that `tapio schema --events` describes, for `tapio replay` and `tapio timeline`.",
    )
    compression: Compression | None = Field(
        None, description="zstd, or none. Each request is compressed alone and preceded by its length in 4 bytes."
    )
    rotation: RotationOptions | None = Field(None, description="When the file is put aside; never when left out.")
    flush_interval: Annotated[Duration, BeforeValidator(_seconds)] = Field(
        1.0,
        ge=0,
        description="Accepted from collector configurations; has no effect: every batch is handed to the system at once. "
        "A bare number counts seconds.",
        json_schema_extra=_number_too,
    )
    create_directory: bool = Field(False, description="Make the file's directory.")
    directory_permissions: str = Field("", description="Octal mode of a directory that is made; default 0755.")
    encoding: str | None = Field(None, description="Not supported: encoding extensions; leave it out.")
    group_by: GroupByOptions | None = Field(None, description="Not supported: leave it out.")

    @model_validator(mode="before")
    @classmethod
    def _empty_rotation_is_default(cls, options: Any) -> Any:
        if isinstance(options, dict) and "rotation" in options and options["rotation"] is None:
            return {**options, "rotation": {}}
        return options

    @field_validator("path")
    @classmethod
    def _not_empty(cls, path: str) -> str:
        if not path or "\0" in path:
            raise ValueError("expected the path of a file")
        return path

    @field_validator("compression")
    @classmethod
    def _zstd_only(cls, compression: Compression | None) -> Compression | None:
        if compression is Compression.GZIP:
            raise ValueError("files are compressed with zstd only: write zstd, or leave compression out")
        return compression

    @field_validator("encoding")
    @classmethod
    def _no_extension(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            raise ValueError("encoding extensions are not supported: remove encoding, and choose with format")
        return encoding

    @model_validator(mode="after")
    def _events_are_lines(self) -> Self:
        if self.format is Format.EVENTS and self.compression is Compression.ZSTD:
            raise ValueError("format: events cannot be compressed with zstd, as nothing reads that: leave compression out")
        return self

    @model_validator(mode="after")
    def _directory_mode_is_octal(self) -> Self:
        if self.directory_permissions and not self.create_directory:
            raise ValueError("directory_permissions needs create_directory: true")
        self.directory_mode()
        return self

    def directory_mode(self) -> int | None:
        """Return the mode for directories to make, or None when none shall be made; raises ValueError."""
        if not self.create_directory:
            return None
        try:
            mode = int(self.directory_permissions or "0755", 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777:
            raise ValueError(f"directory_permissions is {self.directory_permissions!r}: expected an octal mode such as 0755")
        return mode


class FileExporter(Exporter[FileConfig]):
    """Write events to a file."""

    type = "file"
    Config = FileConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: FileConfig) -> None:
        super().__init__(context, config)
        self._sink: FileSink | None = None
        self._writer: BackgroundWriter | None = None
        self._entries: Encode | None = None
        self._compress: Compress | None = None
        self._is_framed = config.format is Format.PROTO or config.compression is Compression.ZSTD
        self._stopping = False
        self._unsettled = 0
        self._obstacle: Abandoned | None = None

    async def start(self) -> None:
        """Open the file; raises ComponentError."""
        config, report = self.config, _from_thread(self._report)
        self._compress = compressor(config.compression) if config.compression else None
        self._entries = _encoder(config.format)
        sink = self._sink = FileSink(config.path, self._is_framed, config.append, _limits(config.rotation), report)
        sink.open(config.directory_mode())
        if sink.removed_bytes:
            self.context.log.warning("removed %d bytes of a torn entry at the end of %r", sink.removed_bytes, config.path)
        self._writer = BackgroundWriter(f"file {self.context.id}", self._write, sink.close)
        self._writer.start()

    async def consume(self, batch: Batch) -> None:
        """Take a batch; waits while the disk cannot keep up. After shutdown began the batch is left undelivered."""
        if self._writer is None or self._entries is None:
            raise ComponentError(f"exporter {self.context.id} was given events before it was started")
        if self._stopping:
            return None
        if not batch.events:
            return batch.delivery.done()
        entries = self._entries(batch)
        lost = len(batch.events) - len(entries) if self.config.format is Format.EVENTS else 0

        def written(problem: Exception | None) -> None:
            self._settle(batch, problem, lost)

        await self._writer.put(entries, written)
        self._unsettled += len(batch.events)
        return None

    async def shutdown(self) -> None:
        """Write what is there, as long as the caller waits."""
        self._stopping = True
        writer, sink, self._writer = self._writer, self._sink, None
        if writer is None or sink is None:
            return
        try:
            await writer.drain()
        finally:
            sink.abandon()
            await writer.stop()
            if self._unsettled:
                reason = f": {self._obstacle}" if self._obstacle else ""
                self.context.log.warning("stopped with %d events not written%s", self._unsettled, reason)

    def _settle(self, batch: Batch, problem: Exception | None, lost: int) -> None:
        if isinstance(problem, Abandoned):
            self._obstacle = problem
            return
        self._unsettled -= len(batch.events)
        if problem is not None:
            self.context.counters.add("failed", len(batch.events), reason="write_error")
            self.context.log.error("cannot write %d events: %s: %s", len(batch.events), type(problem).__name__, problem)
            batch.delivery.done()
        else:
            self.context.counters.add("sent", len(batch.events) - lost)
            if lost:
                self.context.counters.add("failed", lost, reason="unencodable")
                self.context.log.error("%d events were left out: JSON cannot hold them", lost)
            batch.delivery.done()

    def _report(self, problem: str | None) -> None:
        self.context.report(problem)
        if problem is None:
            self.context.log.warning("writing to %r works again", self.config.path)
        else:
            self.context.log.warning("%s", problem)

    def _write(self, entries: list[bytes]) -> None:
        """Frame and write; runs in the writer's thread."""
        assert self._sink is not None
        if self._compress is not None:
            entries = [self._compress(entry) for entry in entries]
        if self._is_framed:
            self._sink.write([len(entry).to_bytes(LENGTH_BYTES, "big") + entry for entry in entries])
        else:
            self._sink.write([entry + b"\n" for entry in entries])


def _limits(options: RotationOptions | None) -> RotationLimits | None:
    if options is None:
        return None
    return RotationLimits(options.max_megabytes * MEGABYTE, options.max_days, options.max_backups, options.localtime)


def _encoder(form: Format) -> Encode:
    """Return what makes entries of a batch: each is one line, or one framed message."""
    if form is Format.EVENTS:
        return _lines
    return partial(_requests, _builder(form))


def _builder(form: Format) -> Builder:
    if form is Format.JSON:
        from tapio_otel.otlp.json import JsonRequestBuilder

        return JsonRequestBuilder(ordered=True, max_bytes=LARGEST_ENTRY)
    from tapio_otel.otlp.wire import RequestBuilder

    return RequestBuilder(ordered=True, max_bytes=LARGEST_ENTRY)


def _lines(batch: Batch) -> list[bytes]:
    """Encode the events of a batch one by one, leaving out what JSON cannot hold (values nested without end)."""
    from tapio_otel.event_json import EventFormatError, to_json
    from tapio_otel.otlp.members import without_members

    lines: list[bytes] = []
    for event in batch.events:
        with suppress(EventFormatError):
            lines.append(to_json(without_members(event)))
    return lines


def _requests(builder: Builder, batch: Batch) -> list[bytes]:
    """Encode a batch as one request, or as several where it is very large."""
    entries: list[bytes] = []
    start = 0
    while start < len(batch.events):
        start = builder.add(batch.events, batch.scope, start)
        entries.append(builder.build())
    return entries


def _from_thread(report: Callable[[str | None], None]) -> Callable[[str | None], None]:
    """Return a function for other threads that calls `report` on this event loop."""
    loop = asyncio.get_running_loop()

    def call(problem: str | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(report, problem)

    return call
