"""`file_storage`: keeps the sending queues of exporters on disk, so that they outlive crashes, power cuts and outages.

An exporter names it in `sending_queue.storage` and gets a SQLite file of its own in the directory, which is one agent's alone.
What an exporter put into its queue is there after SIGKILL and, with `fsync`, after a power cut. A damaged file is salvaged as
far as it can be read, set aside under another name and reported; a full disk makes the pipelines wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import sqlite3
import string
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, field_validator

from tapio_otel.component import ComponentConfig, ComponentContext, ComponentError, ComponentId, Extension, Kind, Stability
from tapio_otel.config.types import ByteSize, Duration
from tapio_otel.storage import RequestStore
from tapio_otel.storage.lock import DirectoryLock
from tapio_otel.storage.queue_file import connect
from tapio_otel.storage.store import Report

UNCLAIMED_SECONDS: Final = 30.0
"""Time after the start at which queues are named that no exporter has asked for."""
LONGEST_NAME: Final = 150
_PLAIN: Final = frozenset(string.ascii_letters + string.digits + "-_")
NO_EFFECT: Final = "Accepted from collector configurations; has no effect here"


def _some_path(value: Any) -> Any:
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise ValueError("expected the path of a directory")
    return value


class CompactionOptions(ComponentConfig):
    """Name the collector's options for compaction, which happens here by itself."""

    on_start: bool = Field(False, description=f"{NO_EFFECT}: a file with much free space is made smaller by itself.")
    on_rebound: bool = Field(False, description=f"{NO_EFFECT}: see on_start.")
    directory: str = Field("", description=f"{NO_EFFECT}: no directory is needed for it.")
    rebound_needed_threshold_mib: int = Field(100, ge=0, description=f"{NO_EFFECT}: 64 MiB of free space make it happen.")
    rebound_trigger_threshold_mib: int = Field(10, ge=0, description=f"{NO_EFFECT}: it happens with 8 MiB or less in use.")
    max_transaction_size: int = Field(65536, ge=0, description=f"{NO_EFFECT}.")
    check_interval: Duration = Field(5.0, ge=0, description=f"{NO_EFFECT}.")
    cleanup_on_start: bool = Field(False, description=f"{NO_EFFECT}: nothing is left over.")


class FileStorageConfig(ComponentConfig):
    """Hold the options of `file_storage`."""

    directory: Annotated[Path | None, BeforeValidator(_some_path)] = Field(
        None, description="Directory of the queues' files, used by this agent only. Default: queues in service.state_dir."
    )
    create_directory: bool = Field(True, description="Make the directory if it is missing (the collector's default is false).")
    directory_permissions: str = Field("0750", description="Octal mode of a directory that is made. Files have mode 0600.")
    timeout: Duration = Field(1.0, ge=0, description="Time to wait for another agent to let go of the directory.")
    fsync: bool = Field(
        True,
        description="Put every request on the disk before its batch counts as delivered, so that a power cut loses nothing "
        "(the collector's default is false). If false a power cut may lose the last moments; a crash of the agent does not.",
    )
    max_bytes: ByteSize = Field(
        1024**3,
        ge=1024 * 1024,
        description="Most bytes of requests in each exporter's queue. Its files take up to some tens of MiB more.",
    )
    recreate: bool = Field(False, description=f"{NO_EFFECT}: a damaged file is always salvaged and set aside.")
    compaction: CompactionOptions = Field(CompactionOptions(), description="Compaction happens by itself.")

    @field_validator("compaction", mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("directory_permissions")
    @classmethod
    def _octal(cls, text: str) -> str:
        try:
            mode = int(text, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777:
            raise ValueError("expected an octal mode such as 0750")
        return text


class FileStorageExtension(Extension[FileStorageConfig]):
    """Keep sending queues in files."""

    type = "file_storage"
    Config = FileStorageConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: FileStorageConfig) -> None:
        super().__init__(context, config)
        self.directory = config.directory or context.state_dir / "queues"
        self._lock: DirectoryLock | None = None
        self._open: set[str] = set()
        self._claimed: set[str] = set()
        self._later: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Make and lock the directory; raises ComponentError."""
        lock = DirectoryLock(self.directory)
        try:
            if self.config.create_directory:
                self.directory.mkdir(int(self.config.directory_permissions, 8), parents=True, exist_ok=True)
            await lock.acquire(self.config.timeout)
        except OSError as error:
            lock.release()
            raise ComponentError(
                f"directory: cannot use {str(self.directory)!r}: {error.strerror}. "
                "Set directory to one that this user may write, or correct its rights (or set create_directory)"
            ) from error
        self._lock = lock
        self._later = asyncio.get_running_loop().call_later(UNCLAIMED_SECONDS, self._name_unclaimed)

    def request_store(self, kind: Kind, id: ComponentId, log: logging.Logger, report: Report) -> RequestStore:
        """Return the store of one component, not yet open, and its alone until it is closed; raises ComponentError."""
        if self._lock is None:
            raise ComponentError(f"extension {self.context.id} was asked for a queue before it was started")
        name = file_name(kind, id)
        if name in self._open:
            raise ComponentError(f"sending_queue.storage: the queue {name!r} is still in use")
        store = RequestStore(self.directory / name, self.config.max_bytes, self.config.fsync, log, report)
        self._open.add(name)
        self._claimed.add(name)
        store.closed = lambda: self._open.discard(name)
        return store

    async def shutdown(self) -> None:
        """Let go of the directory."""
        if self._later is not None:
            self._later.cancel()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _name_unclaimed(self) -> None:
        """Tell of queues that hold events and belong to no exporter: renamed in the configuration, or removed from it."""
        for path in sorted(self.directory.glob("exporters.*.db")):
            if path.name not in self._claimed and _has_content(path):
                self.context.log.warning(
                    "%s belongs to no exporter of this configuration and may hold events that were never sent: "
                    "give an exporter that name again, or remove the file",
                    path,
                )


def file_name(kind: Kind, id: ComponentId) -> str:
    """Return the name of a component's file: never that of another one. Types have no dots, so the first one ends the type."""
    name = "".join(letter if letter in _PLAIN else f"~{ord(letter):04X}" for letter in id.name)
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}~~{hashlib.sha256(id.name.encode()).hexdigest()[:32]}"
    return f"{kind.value}.{id.type}.{name}.db" if name else f"{kind.value}.{id.type}.db"


def _has_content(path: Path) -> bool:
    """Tell whether a queue's file holds anything; one that cannot be read may."""
    try:
        with contextlib.closing(connect(path)) as database:
            return database.execute("SELECT 1 FROM request LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return True
