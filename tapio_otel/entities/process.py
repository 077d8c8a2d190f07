"""Facts about one process, read at once from /proc: who it is, and which cgroups it is in.

The process's directory is opened first and everything read through it, so that all facts are of the same process: once that
has ended, its directory answers nothing, even when the pid has gone to another.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_NANOSECONDS: Final = 1_000_000_000
_OPEN_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_FILE: Final = os.O_RDONLY | os.O_CLOEXEC
_CHUNK: Final = 8192
_START: Final = 19
"""Where field 22 of proc_pid_stat(5) stands, counted from field 3: the first after the command, which may hold anything."""
_SYSTEMD: Final = (b"", b"name=systemd")
"""The controllers, in proc_pid_cgroup, of the hierarchies that systemd names after units: unified, and its own of v1."""
_DELETED: Final = b" (deleted)"


class ProcessFacts(NamedTuple):
    """Describe a process: `uid` is the effective one, `cgroup_paths` are distinct, those of systemd's hierarchies first."""

    pid: int
    start_ticks: int
    comm: str
    uid: int
    cgroup_paths: tuple[str, ...]


def read_process(pid: int, proc: str = "/proc") -> ProcessFacts | None:
    """Return the facts about a process, or None when there is none, it has ended meanwhile, or it may not be looked at."""
    try:
        directory = os.open(f"{proc}/{pid}", _OPEN_DIRECTORY)
    except OSError:
        return None
    try:
        uid = os.fstat(directory).st_uid
        comm, start = _identity(_read("stat", directory))
        return ProcessFacts(pid, start, comm, uid, _cgroup_paths(_read("cgroup", directory)))
    except (OSError, ValueError):  # it has ended, or is no process's directory
        return None
    finally:
        os.close(directory)


def start_ticks(start_boottime_ns: int) -> int:
    """Return a start in nanoseconds since boot (`task_struct.start_boottime`) in the clock ticks that /proc shows."""
    return start_boottime_ns * _CLOCK_TICKS // _NANOSECONDS


def _read(name: str, directory: int) -> bytes:
    descriptor = os.open(name, _OPEN_FILE, dir_fd=directory)
    try:
        content = chunk = os.read(descriptor, _CHUNK)
        while chunk and len(content) >= _CHUNK:
            chunk = os.read(descriptor, _CHUNK)
            content += chunk
        return content
    finally:
        os.close(descriptor)


def _identity(stat: bytes) -> tuple[str, int]:
    """Return command and start; raises ValueError when that is no process's stat."""
    comm, end, rest = stat.partition(b" (")[2].rpartition(b") ")
    fields = rest.split(None, _START + 1)
    if not end or len(fields) <= _START:
        raise ValueError(f"{stat[:80]!r} is no proc_pid_stat")
    return comm.decode("utf-8", "replace"), int(fields[_START])


def _cgroup_paths(content: bytes) -> tuple[str, ...]:
    """Return the distinct paths of `<number>:<controllers>:<path>` lines, those of systemd's hierarchies first."""
    first: dict[bytes, None] = {}
    others: dict[bytes, None] = {}
    for line in content.split(b"\n"):
        _number, _, rest = line.partition(b":")
        controllers, found, path = rest.partition(b":")
        if found:
            (first if controllers in _SYSTEMD else others)[path.removesuffix(_DELETED)] = None
    return tuple([path.decode("utf-8", "replace") for path in {**first, **others}])
