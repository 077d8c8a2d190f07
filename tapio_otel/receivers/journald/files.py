"""Which files a journal consists of, and whether they are still the same."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tapio_otel.receivers.journald.header import journal_files
from tapio_otel.receivers.journald.options import ReaderOptions
from tapio_otel.receivers.journald.process import machine_id

STANDARD_DIRECTORIES: Final = (Path("/var/log/journal"), Path("/run/log/journal"))


def places(options: ReaderOptions) -> list[Path]:
    """Return the directories in which the configured journal is looked for."""
    if options.directory is not None:
        return [options.directory]
    name = machine_id() + (f".{options.namespace}" if options.namespace else "")
    return [directory / name for directory in STANDARD_DIRECTORIES]


def expand(files: Iterable[Path]) -> list[Path]:
    """Return the files that paths and shell patterns name; a path without a match stays as it is."""
    found: list[Path] = []
    for path in files:
        matching = glob.glob(str(path))  # noqa: PTH207 - Path.glob takes no absolute pattern
        found += map(Path, sorted(matching) or [str(path)])
    return found


def selected_files(options: ReaderOptions) -> list[Path]:
    """Return the journal files that the configuration reads, as far as they can be seen."""
    if options.files:
        return expand(options.files)
    return [file for directory in places(options) for file in journal_files(directory)]


def identities(options: ReaderOptions) -> frozenset[tuple[str, int, int]]:
    """Return what tells whether the named files, or the directory, are still the same: libsystemd watches no other."""
    return frozenset(_identities(expand(options.files) if options.files else filter(None, [options.directory])))


def _identities(paths: Iterable[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        yield str(path), status.st_dev, status.st_ino


def renamed(before: frozenset[tuple[str, int, int]], now: frozenset[tuple[str, int, int]]) -> list[Path]:
    """Return where named files are that have been put aside under another name, as journald does when it rotates them."""
    known = {(device, inode) for _path, device, inode in now}
    gone = {(device, inode) for _path, device, inode in before} - known
    beside = {file for path, _device, _inode in before for file in journal_files(Path(path).parent)}
    return [Path(path) for path, *identity in _identities(beside) if tuple(identity) in gone]


def sees_all(options: ReaderOptions, files: Iterable[Path]) -> bool:
    """Tell whether every file that shares the journal's numbers can be read: else numbers are left out as a rule.

    One that has just been deleted hides nothing.
    """
    return not options.files and all(os.access(file, os.R_OK) or not os.path.lexists(file) for file in files)
