"""Run one program to its end and say what it cost, its children included."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_EVERY = 0.02  # seconds
KB = 1024


@dataclass(frozen=True)
class Cost:
    """What one run took: CPU (user + system) and wall time in seconds, memory in MB.

    `rss` is the kernel's peak of the resident set, which includes the pages of mapped journal files; `anonymous` is the
    largest sample of the process's own memory alone.
    """

    cpu: float
    wall: float
    rss: float
    anonymous: float


def run(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run `command` with its output in `log`; raises RuntimeError with its end if the exit status is not 0.

    The kernel counts a child that is still the parent's image as large as the parent, so the caller must stay small.
    """
    started = time.perf_counter()
    with log.open("wb") as output:
        given = clean_environment() | dict(environment or {})
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=given)
    status, usage, anonymous = watch(process.pid)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        said = log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{said}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(cpu, time.perf_counter() - started, usage.ru_maxrss / KB, anonymous / KB)


def watch(pid: int) -> tuple[int, resource.struct_rusage, int]:
    """Wait for a process; return its status, what it used, and the largest sample of its anonymous memory in kB."""
    largest = 0
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return status, usage, largest
        largest = max(largest, anonymous_memory(pid))
        time.sleep(SAMPLE_EVERY)


def anonymous_memory(pid: int) -> int:
    """Return the process's resident anonymous memory in kB, 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)


def clean_environment() -> dict[str, str]:
    """Return the environment without what would change the pipeline measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
