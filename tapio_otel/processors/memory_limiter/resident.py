"""How much memory the agent uses, measured for some microseconds: its own and that of the processes it has started.

Counted is what is resident, but of what is mapped from files only so much as the program itself takes: beyond that it is
journal files, whose pages the kernel takes back as soon as it needs them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
OWN_FILES: Final = (64 << 20) // PAGE
"""Most pages mapped from files that count for the agent itself."""
CHILD_FILES: Final = (16 << 20) // PAGE
"""The same for a process that it has started."""
_SHARE: Final = 200
"""Looking through all processes may cost at most one part in so many of the time."""

Clock = Callable[[], float]


class ResidentMemory:
    """Measure the agent's memory. `open` before use; without it 0 is measured."""

    def __init__(self, interval: float, clock: Clock = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._descriptor: int | None = None
        self._children = 0
        self._next_look = 0.0

    def open(self) -> None:
        """Open what is read each time; raises OSError."""
        self._descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Measure nothing any more; safe to call twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def measure(self) -> int:
        """Return the bytes in use; those of other processes are up to `interval` seconds old."""
        if self._descriptor is None:
            return 0
        begun = self._clock()
        if begun >= self._next_look:
            self._children = sum(map(_of_child, children()))
            ended = self._clock()
            self._next_look = ended + max(self._interval, _SHARE * (ended - begun))
        return _counted(os.pread(self._descriptor, 128, 0), OWN_FILES) + self._children


def children() -> list[int]:
    """Return the ids of the processes that this one has started."""
    found: list[str] = []
    for task in _listed(Path("/proc/self/task")):
        try:
            found += (task / "children").read_text().split()
        except FileNotFoundError:
            if task.exists():  # the kernel does not tell
                return _by_parent(os.getpid())
        except OSError:
            continue
    return [int(pid) for pid in found]


def _by_parent(parent: int) -> list[int]:
    """Look through all processes for those of one parent."""
    return [
        int(directory.name) for directory in _listed(Path("/proc")) if directory.name.isdigit() and _parent(directory) == parent
    ]


def _parent(directory: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        return int((directory / "stat").read_bytes().rpartition(b")")[2].split()[1])  # the name in front may hold anything
    return None


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _of_child(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):  # it may have ended
        return _counted(Path(f"/proc/{pid}/statm").read_bytes(), CHILD_FILES)
    return 0


def _counted(statm: bytes, most_files: int) -> int:
    """Return the bytes that count, of /proc/PID/statm: size, resident, resident from files, …, in pages; see proc(5)."""
    fields = statm.split()
    resident, files = int(fields[1]), int(fields[2])
    return (resident - max(files - most_files, 0)) * PAGE
