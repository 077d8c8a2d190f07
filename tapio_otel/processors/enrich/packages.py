"""Packages: which of them brought a unit file, by what dpkg and rpm keep on disk. No program is run.

dpkg lists the files of each package as text; rpm has them indexed in an SQLite database (rpm 4.16 and later; the older formats
are not read). All units are looked up at once, in a thread, as that takes up to some tenths of a second.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

_DPKG_FILES: Final = "var/lib/dpkg/info"
_DPKG_STATUS: Final = "var/lib/dpkg/status"
_RPM: Final = ("usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite")
_DIRECTORY: Final = b"/systemd/system/"
_DIRECTORIES: Final = ("/usr/lib/systemd/system/", "/lib/systemd/system/", "/etc/systemd/system/")
_RPM_QUERY: Final = (
    "SELECT DISTINCT file.key, package.key FROM Dirnames AS directory "
    "JOIN Basenames AS file ON file.hnum = directory.hnum JOIN Name AS package ON package.hnum = directory.hnum "
    "WHERE directory.key IN (?, ?, ?)"
)
_TYPES: Final = (".service", ".socket", ".timer", ".mount", ".path", ".target", ".slice", ".automount", ".swap", ".scope")


class Package(NamedTuple):
    """Name a package; `version` is empty where it is not told."""

    name: str
    version: str = ""


def units_by_package(root: Path) -> dict[str, Package]:
    """Return the packages of all unit files below a root, by the names of the units; templates as `name@.service`."""
    found = _of_rpm(root)
    brought = dict(_of_dpkg(root / _DPKG_FILES))
    versions = _dpkg_versions(root / _DPKG_STATUS, set(brought.values())) if brought else {}
    found.update({unit: Package(name, versions.get(name, "")) for unit, name in brought.items()})
    return found


def changed_at(root: Path) -> tuple[float, ...]:
    """Return what differs as soon as packages were installed or removed."""
    times = []
    for name in (_DPKG_FILES, _DPKG_STATUS, *_RPM, *[f"{name}-wal" for name in _RPM]):
        try:
            times.append((root / name).stat().st_mtime)
        except OSError:
            times.append(0.0)
    return tuple(times)


def _of_dpkg(directory: Path) -> Iterator[tuple[str, str]]:
    try:
        lists = [entry for entry in os.scandir(directory) if entry.name.endswith(".list")]
    except OSError:
        return
    for entry in lists:
        try:
            content = Path(entry.path).read_bytes()
        except OSError:
            continue
        if _DIRECTORY not in content:
            continue
        package = entry.name.removesuffix(".list").partition(":")[0]
        for line in content.split(b"\n"):
            directory_name, found, unit = line.rpartition(_DIRECTORY)
            if found and directory_name in {b"/lib", b"/usr/lib", b"/etc"} and b"/" not in unit:
                name = unit.decode("utf-8", "replace")
                if name.endswith(_TYPES):
                    yield name, package


def _dpkg_versions(status: Path, wanted: set[str]) -> dict[str, str]:
    """Return the versions of installed packages out of dpkg's status, a file of paragraphs."""
    versions: dict[str, str] = {}
    name = ""
    try:
        with status.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("Package: "):
                    name = line[9:].strip()
                elif line.startswith("Version: ") and name in wanted:
                    versions[name] = line[9:].strip()
    except OSError:
        return {}
    return versions


def _of_rpm(root: Path) -> dict[str, Package]:
    for name in _RPM:
        path = root / name
        if not path.exists():
            continue
        # Opened as unchanging, so that nothing is locked or written beside it, be the mount read-only or not.
        try:
            with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as database:
                rows = database.execute(_RPM_QUERY, _DIRECTORIES).fetchall()
        except sqlite3.Error:
            continue
        return {str(unit): Package(str(package)) for unit, package in rows if str(unit).endswith(_TYPES)}
    return {}
