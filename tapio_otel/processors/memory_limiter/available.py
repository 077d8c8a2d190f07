"""How much memory there is for this process: the lowest limit of its cgroup and those above, or the machine's memory.

Version 2 of cgroups has `memory.max` (killed beyond) and `memory.high` (slowed down beyond), version 1
`memory.limit_in_bytes`, and in `memory.stat` the lowest of those above, some of which a container cannot see. A container often
sees its own cgroup as the root of the hierarchy: what /proc/self/cgroup tells is then looked up from there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_V2: Final = ("memory.max", "memory.high")
_V1: Final = ("memory.limit_in_bytes",)
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Available:
    """Say how many bytes there are, and what sets them."""

    size: int
    whose: str


def available(proc: Path = Path("/proc/self"), machine: int | None = None) -> Available:
    """Return the memory this process may use; `machine` is the machine's in bytes, by default as the system tells it."""
    whole = machine if machine is not None else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    least = Available(whole, "the machine")
    for file, size in _limits_found(proc):
        if 0 < size < least.size:
            least = Available(size, f"the cgroup ({file})")
    return least


def _limits_found(proc: Path) -> Iterator[tuple[Path, int]]:
    for mount, directory, is_v2 in _cgroups(proc):
        for place in (directory, *directory.parents):
            for name in _V2 if is_v2 else _V1:
                size = _number(_content(place / name))
                if size is not None:
                    yield place / name, size
            if place == mount:
                break
        if not is_v2:
            told = re.search(r"^hierarchical_memory_limit (\d+)$", _content(directory / "memory.stat"), re.MULTILINE)
            if told:
                yield directory / "memory.stat", int(told[1])


def _cgroups(proc: Path) -> Iterator[tuple[Path, Path, bool]]:
    """Yield mount point, this process' directory below it and the version, for each hierarchy that may limit memory."""
    paths = _paths(_content(proc / "cgroup"))
    for line in _content(proc / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in {"cgroup", "cgroup2"}:
            continue
        is_v2 = kind[0] == "cgroup2"
        if not is_v2 and "memory" not in kind[2].split(","):
            continue
        path = paths.get("" if is_v2 else "memory")
        if path is not None:
            mount = Path(_unescaped(fields[4]))
            yield mount, _below(mount, _unescaped(fields[3]), path), is_v2


def _paths(text: str) -> dict[str, str]:
    """Return the path of /proc/PID/cgroup for each controller of version 1, and under "" for version 2."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, separator, path = rest.partition(":")
        if separator and (controllers or number == "0"):
            found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _below(mount: Path, root: str, path: str) -> Path:
    """Return where a path of the hierarchy is, of which `root` is mounted; for what is outside of that, the mount point."""
    inside = path.removeprefix(root.rstrip("/")) if f"{path}/".startswith(f"{root.rstrip('/')}/") else ""
    parts = [part for part in inside.split("/") if part]
    directory = mount.joinpath(*parts)
    return directory if ".." not in parts and directory.is_dir() else mount


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def _number(text: str) -> int | None:
    """Return a limit; None for `max` and what is no number."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _content(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""
