"""What is missing when there is no journal to read, and what would enable it."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Final

from tapio_otel.component import SourceUnavailable
from tapio_otel.receivers.journald.config import JournaldConfig
from tapio_otel.receivers.journald.files import STANDARD_DIRECTORIES, places, selected_files
from tapio_otel.receivers.journald.header import journal_files
from tapio_otel.receivers.journald.options import ReaderOptions

_INSTALL: Final = "Install the package systemd and see that systemd-journald runs (systemctl status systemd-journald)"
_GROUPS: Final = "Add the user to the group systemd-journal or adm (usermod -aG systemd-journal {user}), or run as root"


def missing(config: JournaldConfig) -> SourceUnavailable | None:
    """Tell why there is no journal to read here, and what would enable it; None when there is one. Opens no journal."""
    return missing_module() or _missing_files(config.reader_options())


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


def _missing_files(options: ReaderOptions) -> SourceUnavailable | None:
    if options.files:
        return _unreadable(selected_files(options), options.files, wanted_all=True)
    looked = places(options)
    closed = [place for place in looked if _is_closed(place)]
    if closed:
        return _denied(closed)
    if options.directory is not None and not options.directory.is_dir():
        found = "is no directory" if options.directory.exists() else "does not exist"
        return SourceUnavailable(f"directory: {str(options.directory)!r} {found}", "Name a directory that holds journal files")
    files = selected_files(options)
    return _unreadable(files, looked, wanted_all=False) if files else _nothing(options, looked)


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


def _nothing(options: ReaderOptions, looked: list[Path]) -> SourceUnavailable:
    if options.directory is not None:
        return SourceUnavailable(f"directory: no journal files in {_list(looked)}", "Name a directory that holds journal files")
    others = [d for d in STANDARD_DIRECTORIES if journal_files(d)]
    if options.namespace:
        return SourceUnavailable(
            f"namespace: no journal of the namespace {options.namespace!r} in {_list(looked)}",
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
