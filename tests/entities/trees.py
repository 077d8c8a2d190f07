"""Cgroup trees and processes for tests: fixtures in a directory used as root, and the machine's real ones."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

import pytest

from tests.requirements import require

MOUNT: Final = Path("/sys/fs/cgroup")
STAT: Final = "{pid} ({comm}) S 1 1 1 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 {start} 5000 100 18446744073709551615 1 1 0\n"


class Clock:
    """Stand still until told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_unified(root: Path) -> Path:
    """Make `root` look like a host with cgroup v2 only; returns the mount point."""
    mount = root / "sys/fs/cgroup"
    mount.mkdir(parents=True)
    (mount / "cgroup.controllers").write_text("cpu memory pids\n")
    return mount


def make_hybrid(root: Path) -> dict[str, Path]:
    """Make `root` look like a host with cgroup v1 beside an empty v2; returns the hierarchies, by directory name."""
    mount = root / "sys/fs/cgroup"
    found = {name: mount / name for name in ("cpu,cpuacct", "memory", "systemd", "unified")}
    for hierarchy in found.values():
        hierarchy.mkdir(parents=True)
        (hierarchy / "cgroup.procs").touch()
    (mount / "cpu").symlink_to("cpu,cpuacct")
    (mount / "unrelated").mkdir()
    return found


def make_process(root: Path, pid: int, cgroups: str, comm: str = "web", start: int = 4711) -> None:
    """Put a process into the fixture's /proc."""
    directory = root / f"proc/{pid}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "stat").write_text(STAT.format(pid=pid, comm=comm, start=start))
    (directory / "cgroup").write_text(cgroups)


def real_hierarchies() -> list[Path]:
    """Return the machine's hierarchies in which a test may make cgroups; requires root."""
    require("root", os.geteuid() == 0, "making cgroups takes root")
    if (MOUNT / "cgroup.controllers").exists():
        return [MOUNT]
    return [one for one in (MOUNT / "unified", MOUNT / "memory") if (one / "cgroup.procs").exists()]


class RealCgroups:
    """Make a path in real hierarchies, and remove all of it at the end together with the processes started there."""

    def __init__(self, hierarchies: list[Path], name: str) -> None:
        self.hierarchies = hierarchies
        self.name = name
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> RealCgroups:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
            process.wait(10)
        for hierarchy in self.hierarchies:
            top = hierarchy / self.name
            for path in sorted([top, *[one for one in top.rglob("*") if one.is_dir()]], reverse=True):
                _remove(path)

    def make(self, below: str = "") -> Mapping[Path, Path]:
        """Make a cgroup below the test's own in every hierarchy; returns its directories by hierarchy."""
        made = {hierarchy: hierarchy / self.name / below for hierarchy in self.hierarchies}
        for directory in made.values():
            directory.mkdir(parents=True, exist_ok=True)
        return made

    def start(self, below: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a process (by default one that sleeps) in the cgroup `below`."""
        waiting = ["sh", "-c", 'read _; exec "$@"', "sh", *(command or ("sleep", "60"))]
        process = subprocess.Popen(waiting, stdin=subprocess.PIPE)
        self._processes.append(process)
        for directory in self.make(below).values():
            (directory / "cgroup.procs").write_text(str(process.pid))
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        return process


def _remove(directory: Path) -> None:
    for _ in range(100):
        try:
            directory.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:  # the kernel has not seen the last process go
            time.sleep(0.02)


@pytest.fixture
def real_cgroups() -> Iterator[RealCgroups]:
    """Give a test cgroups of its own on this machine."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(RealCgroups(real_hierarchies(), f"tapio-test-{os.getpid()}"))
