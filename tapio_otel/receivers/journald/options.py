"""What the reader of a journal needs to know, without the validation that brings it: the reading process stays small."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

Start = Literal["beginning", "end"]

SIGN_OF_LIFE: Final = 10.0
"""Seconds after which the reader shows at the latest that it is alive, unless an option makes it wait for longer."""


class ReadingFailed(Exception):
    """Report why the journal cannot be read, in the words that are shown; it is worth another try."""


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """Hold which journal is read and which of its entries; see `JournaldConfig` for the meaning of each."""

    directory: Path | None = None
    files: tuple[Path, ...] = ()
    namespace: str | None = None
    begin: Start = "beginning"
    """Where reading begins without a checkpoint."""
    follow: bool = False
    units: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    matches: tuple[dict[str, str | list[str]], ...] = ()
    priorities: tuple[int, ...] = ()
    """The values of PRIORITY that are let through; empty for all entries."""
    dmesg: bool = False
    current_boot_only: bool = False
    max_message_size: int = 1 << 20
    """Bytes."""
    batch_size: int = 1000
    """Entries."""
    read_interval: float = 0.02
    """Seconds."""
    poll_interval: float = 5.0
    """Seconds."""

    @property
    def sign_of_life(self) -> float:
        """Return the seconds after which the reader shows at the latest that it is alive, though nothing is new."""
        return max(SIGN_OF_LIFE, self.poll_interval, self.read_interval)

    def dump(self) -> dict[str, Any]:
        """Return a mapping of plain values."""
        directory = None if self.directory is None else str(self.directory)
        return asdict(self) | {"directory": directory, "files": tuple(map(str, self.files))}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> ReaderOptions:
        """Return what was dumped."""
        directory = None if dumped["directory"] is None else Path(dumped["directory"])
        return cls(**dumped | {"directory": directory, "files": tuple(map(Path, dumped["files"]))})
