"""What tests of fallbacks need of a machine: stand-ins for the host's files, and real cgroups that are removed again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from tests.requirements import require

T = TypeVar("T")


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files below a stand-in for the host's root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def unified(root: Path, controllers: str = "cpu memory") -> Path:
    """Make a stand-in for a host whose cgroups are all v2; return where they are."""
    write(root, {"sys/fs/cgroup/cgroup.controllers": f"{controllers}\n"})
    return root / "sys/fs/cgroup"


def require_v1(controller: str) -> Path:
    """Return where a v1 controller is mounted; skip the test where it is not, or without root."""
    require("root", os.geteuid() == 0, "making cgroups takes root")
    base = Path("/sys/fs/cgroup") / controller
    require("root", (base / "cgroup.procs").exists(), f"no cgroup v1 hierarchy at {base}")
    return base


@contextlib.contextmanager
def real_cgroup(base: Path) -> Iterator[Path]:
    """Make a cgroup of the test's own, and remove it with all below it; processes in it must have ended."""
    path = base / f"tapio-test-{uuid.uuid4().hex[:12]}"
    path.mkdir()
    try:
        yield path
    finally:
        for directory, _, _ in os.walk(path, topdown=False):
            remove_cgroup(Path(directory))


def remove_cgroup(path: Path) -> None:
    """Remove a cgroup, whose last process may just be going."""
    eventually(lambda: _try_to_remove(path))


def _try_to_remove(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def eventually(ask: Callable[[], T], seconds: float = 20) -> T:
    """Return the first answer that is true; fail after a time."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return answer


EAT = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
open("/proc/self/comm", "w").write(sys.argv[2])
hunger = [bytearray(1 << 20) for _ in range(200)]
"""
BURN = """
import os, sys, time
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    pass
"""


def starve(cgroup: Path, comm: str = "hungry") -> int:
    """Let a process take 200 MiB in a memory cgroup, and be killed for it; return its pid."""
    process = subprocess.Popen([sys.executable, "-c", EAT, str(cgroup), comm])
    assert process.wait(30) == -9
    return process.pid


def burn(cgroup: Path, seconds: float) -> None:
    """Let a process keep a CPU busy in a cpu cgroup for some time."""
    subprocess.run([sys.executable, "-c", BURN, str(cgroup), str(seconds)], check=True, timeout=60)


def limit_memory(cgroup: Path, limit: int) -> None:
    """Limit a v1 memory cgroup, swap included."""
    (cgroup / "memory.limit_in_bytes").write_text(str(limit))
    with contextlib.suppress(OSError):
        (cgroup / "memory.memsw.limit_in_bytes").write_text(str(limit))


def open_descriptors() -> set[str]:
    """Return what this process has open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that the directory is read by
            found.add(f"{link.name} {link.readlink()}")
    return found
