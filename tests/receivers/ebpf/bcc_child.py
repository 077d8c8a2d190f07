"""BCC in a process and a mount namespace of its own: a compiler is no guest for pytest, and tracefs is mounted for it alone.

Run as a program, it opens a probe and then does what its standard input says, one command a line (`read`, `lost`, `wait`,
`close`, `open`), and answers each with a line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tapio_otel.receivers.ebpf.bcc_feeds import open_bcc
from tapio_otel.receivers.ebpf.bcc_library import DIST_PACKAGES
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.receiver import readable
from tests.receivers.ebpf import bcc_headers
from tests.requirements import require

IN_NAMESPACE = ("unshare", "--mount", "sh", "-ec", 'mount -t tracefs tracefs /sys/kernel/tracing; exec "$@"', "sh")
PROJECT = Path(__file__).parents[3]


def require_bcc() -> None:
    """Skip the test with the exact reason where BCC cannot be used; fail it where that is required."""
    reason = _obstacle()
    require("bcc", reason is None, reason or "")


def _obstacle() -> str | None:
    if os.geteuid() != 0:
        return "loading BPF programs takes root"
    if not (DIST_PACKAGES / "bcc").is_dir():
        return f"no BCC in {DIST_PACKAGES} (apt package python3-bpfcc)"
    if not bcc_headers.of_running_kernel() and bcc_headers.installed() is None:
        return "no kernel headers (apt package linux-headers-amd64 or the like)"
    return None


class BccChild:
    """Drive a child that has a probe open."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.stderr = ""
        """What it wrote to standard error, once it has ended."""
        self.opened = self.answer()

    def ask(self, command: str) -> Any:
        """Have a command done and return the answer."""
        self.tell(command)
        return self.answer()

    def tell(self, command: str) -> None:
        """Have a command done while the test does something else."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Return the answer to the command told."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 60)
        line = self._process.stdout.readline() if ready else ""
        assert line, "the child gave no answer"
        return json.loads(line)

    @property
    def pid(self) -> int:
        """Return the child's pid."""
        return self._process.pid


@contextlib.contextmanager
def bcc_child(
    probe: ProbeName, directory: Path, options: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[BccChild]:
    """Run a child with a probe open; its answer to that is `opened` (an empty text, or why not)."""
    own = dict(environment or {})
    if not bcc_headers.of_running_kernel() and (trees := bcc_headers.installed()) and environment is None:
        own["BCC_KERNEL_SOURCE"] = str(bcc_headers.merge(trees, directory / "kernel"))
    process = subprocess.Popen(
        [*IN_NAMESPACE, sys.executable, "-m", __name__, probe.value, json.dumps(options or {})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env={**os.environ, **own},
    )
    child = None
    try:
        child = BccChild(process)
        yield child
    finally:
        _, said = process.communicate(timeout=30)
        if child is not None:
            child.stderr = said


def serve(probe: ProbeName, config: EbpfConfig) -> None:
    """Do what standard input says."""
    child = Served(probe, config)
    for line in itertools.chain(["open"], sys.stdin):
        answer = getattr(child, line.strip())()
        print(json.dumps(answer), flush=True)  # noqa: T201 - its protocol


class Served:
    """Do one command a method, in the child."""

    def __init__(self, probe: ProbeName, config: EbpfConfig) -> None:
        self._probe, self._config = probe, config
        self._feed: Any = None

    def open(self) -> str:
        try:
            self._feed = open_bcc(self._probe, self._config)
        except ProbeUnavailable as error:
            return str(error)
        return ""

    def notes(self) -> list[str]:
        return list(self._feed.notes)

    def read(self) -> list[dict[str, Any]]:
        return [{"kind": type(one).__name__, **asdict(one)} for one in self._feed.read()]

    def lost(self) -> dict[str, int]:
        return dict(self._feed.lost())

    def await_one(self) -> list[dict[str, Any]]:
        """Read as soon as there is something."""
        asyncio.run(readable([self._feed.fileno()], 20))
        return self.read()

    def close(self) -> None:
        self._feed.close()
        self._feed.close()

    def after_close(self) -> str:
        """Read what is closed."""
        try:
            self.read()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def reopen(self) -> str:
        self.close()
        return self.open()

    def held(self) -> list[str]:
        """Return what the process has open, the standard streams and what lists them aside."""
        found = []
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(str(descriptor.readlink()))
        return sorted(one for one in found if not one.startswith(("pipe:", "/dev/null", "/proc/")))

    def memory(self) -> int:
        """Return the resident memory in MiB."""
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) // 1024


if __name__ == "__main__":
    serve(ProbeName(sys.argv[1]), EbpfConfig.model_validate_json(sys.argv[2]))
