"""Kernel headers for BCC where those of the running kernel are not to be had: Debian's, of any version, merged into one tree.

Programs that read tracepoint arguments only do not mind the version; others would compile, and read wrong values.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

SOURCES = Path("/usr/src")


def installed() -> tuple[Path, Path] | None:
    """Return the two directories that a Debian kernel's headers come in (architecture, common), the newest; None without."""
    for common in sorted(SOURCES.glob("linux-headers-*-common"), reverse=True):
        version = common.name.removesuffix("-common")
        for architecture in sorted(SOURCES.glob(f"{version}-*"), reverse=True):
            if architecture != common and (architecture / "include" / "generated").is_dir():
                return architecture, common
    return None


def of_running_kernel() -> bool:
    """Tell whether BCC finds the running kernel's own headers."""
    modules = Path("/lib/modules") / os.uname().release
    own = any((modules / name / "include" / "linux").is_dir() for name in ("source", "build"))
    return own or Path("/sys/kernel/kheaders.tar.xz").exists()


def merge(trees: Iterable[Path], destination: Path) -> Path:
    """Make a tree of links in `destination` that shows several trees as one; of two files the first tree's is taken."""
    destination.mkdir(exist_ok=True)
    by_name: dict[str, list[Path]] = {}
    for tree in trees:
        for entry in tree.iterdir():
            by_name.setdefault(entry.name, []).append(entry)
    for name, entries in by_name.items():
        directories = [entry for entry in entries if entry.is_dir()]
        if len(directories) > 1:
            merge(directories, destination / name)
        else:
            (destination / name).symlink_to(entries[0])
    return destination
