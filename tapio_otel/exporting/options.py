"""Option groups that the network exporters share, by the collector's names, so that a pasted block is valid.

Every option of the collector's `otlp` and `otlphttp` exporters is accepted. One that cannot be honoured here is refused with
the reason, unless ignoring it does no harm (a buffer size): then its description says so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tapio_otel.component import ComponentConfig, ComponentId, ExporterConfig
from tapio_otel.config.types import ByteSize, Duration, Secret
from tapio_otel.exporting.tls_options import TlsOptions

NO_EFFECT = "Accepted from collector configurations; has no effect here"
GRPC_MESSAGE_LIMIT = 4 * 1024 * 1024


class Sizer(StrEnum):
    """Name what a size is counted in."""

    REQUESTS = "requests"
    ITEMS = "items"
    BYTES = "bytes"


class Compression(StrEnum):
    """Name how requests are compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"
    NONE = "none"


def _parse_compression(value: Any) -> Any:
    if value == "":
        return Compression.NONE
    if value in ("snappy", "x-snappy-framed", "zlib", "deflate", "lz4"):
        raise ValueError(f"compression {value} is not supported: write gzip, zstd (over HTTP) or none")
    return value


def _texts(value: Any) -> Any:
    """Return headers as the collector reads them: a mapping, or a list of `name`/`value` pairs; numbers become text."""
    if isinstance(value, list) and all(isinstance(item, dict) and set(item) == {"name", "value"} for item in value):
        value = {item["name"]: item["value"] for item in value}
    if not isinstance(value, dict):
        return value
    return {
        name: str(text) if isinstance(text, int | float) and not isinstance(text, bool) else text
        for name, text in value.items()
    }


OptionalCompression = Annotated[Compression | None, BeforeValidator(_parse_compression)]
Headers = Annotated[dict[str, Secret], BeforeValidator(_texts)]


class DeadLetterOptions(ComponentConfig):
    """Say where requests are kept that are given up."""

    path: str = Field(
        description="File that gets each request that was refused for good or given up, as a line of OTLP/JSON with the "
        "reason. No other exporter may write it."
    )
    max_bytes: ByteSize = Field(
        64 * 1024 * 1024, ge=64 * 1024, description="Size after which the file is put aside, under a name with the time in it."
    )
    max_backups: int = Field(3, ge=1, le=1000, description="Most files put aside that are kept; the oldest are removed.")

    @field_validator("path")
    @classmethod
    def _not_empty(cls, path: str) -> str:
        if not path or "\0" in path:
            raise ValueError("expected the path of a file")
        return path


class RetryOptions(ComponentConfig):
    """Say how a request that failed for now is tried again: exponential back-off with jitter."""

    enabled: bool = Field(True, description="Try again; if false a request that fails once is dropped and counted as failed.")
    initial_interval: Duration = Field(5.0, gt=0, description="Time to wait after the first failure.")
    randomization_factor: float = Field(
        0.5, ge=0, le=1, description="Jitter: an interval is multiplied by a random factor within 1 ± this."
    )
    multiplier: float = Field(1.5, ge=1, le=100, description="Factor by which the interval grows with every failure.")
    max_interval: Duration = Field(
        30.0, gt=0, description="Longest interval before jitter is applied; initial_interval if that is longer."
    )
    max_elapsed_time: Duration = Field(
        300.0,
        ge=0,
        description="Time after which a request is dropped and counted as failed; 0 tries for ever, which is the default for a "
        "queue on disk (sending_queue.storage).",
    )
    dead_letter: DeadLetterOptions | None = Field(
        None, description="Where to keep what is given up; it is only counted when this is left out."
    )


class PartitionOptions(ComponentConfig):
    """Say how the collector partitions batches; there is no client metadata here to partition by."""

    metadata_keys: list[str] = Field([], description="Not supported: events carry no client metadata; leave it empty.")

    @field_validator("metadata_keys")
    @classmethod
    def _refuse_keys(cls, keys: list[str]) -> list[str]:
        if keys:
            raise ValueError("events carry no client metadata to partition by: remove metadata_keys")
        return keys


class BatchOptions(ComponentConfig):
    """Say when the events gathered so far are cut into a request: whichever limit is reached first."""

    flush_timeout: Duration = Field(0.2, gt=0, description="Longest time an event waits for others to share its request.")
    sizer: Sizer | None = Field(
        None, description="What min_size and max_size count: items or bytes (before compression). The queue's, or items."
    )
    min_size: int | None = Field(
        None, ge=0, description="Size at which a request is sent without waiting: 8192 items, or 1 MiB when sizer is bytes."
    )
    max_size: int = Field(0, ge=0, description="Largest request; larger batches are split. 0 sets no limit besides max_bytes.")
    max_bytes: ByteSize = Field(
        3 * 1024 * 1024,
        ge=1024,
        description="Largest request in bytes before compression, whatever the sizer. gRPC servers take 4 MiB by default. "
        "One event that is larger travels alone.",
    )
    partition: PartitionOptions = Field(PartitionOptions(), description="Not supported; accepted while empty.")

    @field_validator("sizer")
    @classmethod
    def _refuse_requests(cls, sizer: Sizer | None) -> Sizer | None:
        if sizer is Sizer.REQUESTS:
            raise ValueError("a batch is measured in items or bytes: write one of these")
        return sizer

    @model_validator(mode="after")
    def _sizes_are_ordered(self) -> Self:
        if self.min_size is not None and 0 < self.max_size < self.min_size:
            raise ValueError(f"max_size ({self.max_size}) must not be below min_size ({self.min_size}): raise it, or write 0")
        return self


class QueueOptions(ComponentConfig):
    """Say how many requests wait for the backend, and what happens when no more fit."""

    enabled: bool = Field(True, description="Queue requests; if false every batch is sent at once and its sender waits.")
    num_consumers: int = Field(10, ge=1, le=1000, description="Requests that are on their way at the same time.")
    queue_size: int = Field(
        1000, ge=1, description="Most that the queue holds, counted by sizer, requests on their way included."
    )
    sizer: Sizer = Field(Sizer.REQUESTS, description="What queue_size counts: requests, items (events) or bytes.")
    max_bytes: ByteSize = Field(
        64 * 1024 * 1024,
        ge=1024,
        description="Most memory the queued requests take, whatever queue_size says, so that a dead backend cannot exhaust it. "
        "With storage: most disk space, by default and at most the extension's max_bytes.",
    )
    block_on_overflow: bool = Field(
        True,
        description="When the queue is full let the pipeline wait, so that nothing is lost (the collector's default is false); "
        "if false drop the batch and count it.",
    )
    drop_oldest: bool = Field(
        False,
        description="When the queue is full drop and count its oldest requests, in place of waiting or dropping the newest.",
    )
    wait_for_result: bool = Field(False, description="Let the pipeline wait until its batch has been answered for.")
    storage: str | None = Field(
        None,
        description="Id of the extension that keeps the queue on disk, such as file_storage. The queue is then bounded by "
        "max_bytes alone, unless queue_size or sizer is set.",
    )
    batch: BatchOptions = Field(BatchOptions(), description="How events are gathered into requests.")

    @field_validator("batch", mode="before")
    @classmethod
    def _empty_batch_is_default(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("storage")
    @classmethod
    def _is_an_id(cls, storage: str | None) -> str | None:
        if storage is not None:
            ComponentId.parse(storage)
        return storage

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.storage is not None and not self.enabled:
            raise ValueError("storage needs the queue: remove enabled: false, or storage")
        if self.storage is not None and self.wait_for_result:
            raise ValueError("wait_for_result is not possible with storage: what is on disk is delivered; remove one of them")
        if self.drop_oldest and self.block_on_overflow and "block_on_overflow" in self.model_fields_set:
            raise ValueError("drop_oldest and block_on_overflow: true exclude each other: remove one of them")
        return self

    @model_validator(mode="after")
    def _a_request_fits(self) -> Self:
        same = (self.batch.sizer or Sizer.ITEMS) == self.sizer
        if same and (self.batch.min_size or 0) > self.queue_size:
            raise ValueError(f"batch.min_size ({self.batch.min_size}) must not be above queue_size ({self.queue_size})")
        return self

    def on_disk(self, max_bytes: int) -> QueueOptions:
        """Return the limits of a queue on disk: bytes alone, unless the user set a size."""
        own = self.max_bytes if "max_bytes" in self.model_fields_set else max_bytes
        changes: dict[str, Any] = {"max_bytes": min(own, max_bytes)}
        if not {"queue_size", "sizer"} & self.model_fields_set:
            changes |= {"sizer": Sizer.BYTES, "queue_size": changes["max_bytes"]}
        return self.model_copy(update=changes)


class CompressionParameters(ComponentConfig):
    """Tune the compression."""

    level: int = Field(
        -1, description="gzip 1 (fastest) to 9 (smallest), zstd 1 to 11; -1 or 0 chooses a fast one. Not with gRPC."
    )

    @field_validator("level")
    @classmethod
    def _in_range(cls, level: int) -> int:
        if not -1 <= level <= 11:
            raise ValueError("expected a level from 1 to 9 (gzip) or 1 to 11 (zstd), or -1 for the default")
        return level


class AuthOptions(ComponentConfig):
    """Name the collector's authenticator extension; there is none here."""

    authenticator: str = Field(description="Not supported; put the credentials into headers.")

    @field_validator("authenticator")
    @classmethod
    def _refuse(cls, authenticator: str) -> str:
        raise ValueError(
            f"authenticator extensions such as {authenticator!r} are not supported: "
            "remove auth and put the credentials into headers, for example Authorization: ${env:TOKEN}"
        )


class ExtensionReference(ComponentConfig):
    """Refer to an extension by its id."""

    id: str = Field(description="Id of the extension.")


def refuse_extensions(what: str, given: Any) -> None:
    """Raise ValueError if the configuration asks for a collector extension that cannot take part here."""
    if given:
        raise ValueError(f"{what} extensions are not supported: remove this option")


class NetworkExporterConfig(ExporterConfig):
    """Hold the options that both OTLP exporters have."""

    endpoint: str = Field("", description="Where to send to. Default: OTEL_EXPORTER_OTLP_ENDPOINT, then the local collector.")
    tls: TlsOptions = Field(TlsOptions(), description="Transport security.")
    headers: Headers = Field({}, description="Headers sent with every request; secret. Added to OTEL_EXPORTER_OTLP_HEADERS.")
    compression: OptionalCompression = Field(
        None, description="gzip, zstd or none. Default: OTEL_EXPORTER_OTLP_COMPRESSION, then gzip."
    )
    retry_on_failure: RetryOptions = Field(RetryOptions(), description="How requests are tried again.")
    sending_queue: QueueOptions = Field(QueueOptions(), description="Requests waiting for the backend, and their batching.")
    auth: AuthOptions | None = Field(None, description="Not supported: put the credentials into headers.")
    middlewares: list[ExtensionReference] = Field([], description="Not supported: leave it empty.")
    read_buffer_size: int = Field(0, ge=0, description=f"{NO_EFFECT}: the library chooses.")
    write_buffer_size: int = Field(0, ge=0, description=f"{NO_EFFECT}: the library chooses.")

    @field_validator("tls", "sending_queue", "retry_on_failure", "headers", mode="before")
    @classmethod
    def _empty_group_is_default(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("middlewares")
    @classmethod
    def _refuse_middlewares(cls, given: list[ExtensionReference]) -> list[ExtensionReference]:
        refuse_extensions("middleware", given)
        return given


def check_proxy_url(value: str) -> str:
    """Return the URL of an HTTP proxy; raises ValueError for other kinds."""
    if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
        raise ValueError("only HTTP proxies are supported: write http://host:port")
    return value
