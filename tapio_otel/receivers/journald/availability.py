"""Where this machine's journal is, and what is missing when there is none to read."""

from __future__ import annotations

import getpass
import glob
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

from tapio_otel.component import SourceUnavailable
from tapio_otel.receivers.journald.config import JournaldConfig
from tapio_otel.receivers.journald.header import journal_files
from tapio_otel.receivers.journald.process import machine_id

STANDARD_DIRECTORIES: Final = (Path("/var/log/journal"), Path("/run/log/journal"))
_INSTALL: Final = "Install the package systemd and see that systemd-journald runs (systemctl status systemd-journald)"
_GROUPS: Final = "Add the user to the group systemd-journal or adm (usermod -aG systemd-journal {user}), or run as root"


def missing(config: JournaldConfig) -> SourceUnavailable | None:
    """Tell why there is no journal to read here, and what would enable it; None when there is one. Opens no journal."""
    return missing_module() or _missing_files(config)


def missing_module() -> SourceUnavailable | None:
    """Tell what keeps systemd-python from being imported."""
    try:
        import_module("systemd._reader")
    except ImportError as error:
        return SourceUnavailable(
            f"the journal cannot be read: the Python module systemd does not load ({error})",
            "Install libsystemd0, then systemd-python (pip builds it with gcc, pkg-config and libsystemd-dev)",
        )
    return None


def places(config: JournaldConfig) -> list[Path]:
    """Return the directories in which the configured journal is looked for."""
    if config.directory is not None:
        return [config.directory]
    name = machine_id() + (f".{config.namespace}" if config.namespace else "")
    return [directory / name for directory in STANDARD_DIRECTORIES]


def expand(files: Iterable[Path]) -> list[Path]:
    """Return the files that paths and shell patterns name; a path without a match stays as it is."""
    found: list[Path] = []
    for path in files:
        matching = glob.glob(str(path))  # noqa: PTH207 - Path.glob takes no absolute pattern
        found += map(Path, sorted(matching) or [str(path)])
    return found


def selected_files(config: JournaldConfig) -> list[Path]:
    """Return the journal files that the configuration reads, as far as they can be seen."""
    if config.files:
        return expand(config.files)
    return [file for directory in places(config) for file in journal_files(directory)]


def identities(config: JournaldConfig) -> frozenset[tuple[str, int, int]]:
    """Return what tells whether the named files, or the directory, are still the same: libsystemd watches no other."""
    return frozenset(_identities(expand(config.files) if config.files else filter(None, [config.directory])))


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


def sees_all(config: JournaldConfig, files: Iterable[Path]) -> bool:
    """Tell whether every file that shares the journal's numbers can be read: else numbers are left out as a rule."""
    return not config.files and all(os.access(file, os.R_OK) for file in files)


def _missing_files(config: JournaldConfig) -> SourceUnavailable | None:
    if config.files:
        return _unreadable(selected_files(config), config.files, wanted_all=True)
    looked = places(config)
    closed = [place for place in looked if _is_closed(place)]
    if closed:
        return _denied(closed)
    if config.directory is not None and not config.directory.is_dir():
        found = "is no directory" if config.directory.exists() else "does not exist"
        return SourceUnavailable(f"directory: {str(config.directory)!r} {found}", "Name a directory that holds journal files")
    files = selected_files(config)
    return _unreadable(files, looked, wanted_all=False) if files else _nothing(config, looked)


def _is_closed(place: Path) -> bool:
    try:
        return place.is_dir() and not os.access(place, os.R_OK | os.X_OK)
    except OSError:
        return True


def _unreadable(files: list[Path], looked: Iterable[Path], wanted_all: bool) -> SourceUnavailable | None:
    """Tell of files that do not exist or may not be read; where not all are wanted, one that can be read is enough."""
    absent = [file for file in files if not file.exists()]
    if absent:
        return SourceUnavailable(f"files: {_list(absent)} not found", "Correct the paths of the journal files")
    denied = [file for file in files if not os.access(file, os.R_OK)]
    if denied and (wanted_all or len(denied) == len(files)):
        return _denied(denied if wanted_all else looked)
    return None


def _denied(paths: Iterable[Path]) -> SourceUnavailable:
    user = _user()
    return SourceUnavailable(f"the user {user} may not read the journal in {_list(paths)}", _GROUPS.format(user=user))


def _nothing(config: JournaldConfig, looked: list[Path]) -> SourceUnavailable:
    if config.directory is not None:
        return SourceUnavailable(f"directory: no journal files in {_list(looked)}", "Name a directory that holds journal files")
    others = [d for d in STANDARD_DIRECTORIES if journal_files(d)]
    if config.namespace:
        return SourceUnavailable(
            f"namespace: no journal of the namespace {config.namespace!r} in {_list(looked)}",
            "Check the name: it is what LogNamespace= of the units says",
        )
    if others:
        return SourceUnavailable(
            f"no journal of this machine in {_list(looked)}, but journals of others in {_list(others)}",
            f"To read those set directory: {others[0]}",
        )
    return SourceUnavailable(f"no journal found, looked in {_list(STANDARD_DIRECTORIES)}", _INSTALL)


def _list(paths: Iterable[Path]) -> str:
    names = [str(path) for path in paths]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def reading_rights() -> str:
    """Return what to do where a file may not be read."""
    return _GROUPS.format(user=_user())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "USER"  # the name is not known here either
