"""A live journald that a program inside its machine writes to without pause."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Final

from tests.lab import BootedSystemd

_WRITER: Final = r"""
import select, socket, sys, time
rate, size = map(int, sys.argv[1:])
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect("/run/systemd/journal/socket")
begun, number = time.monotonic(), 0
while not select.select([sys.stdin], [], [], 0.005)[0]:
    while number < (time.monotonic() - begun) * rate:
        journal.send(f"MESSAGE=sent {number} {'x' * size}\nPRIORITY=5\nSYSLOG_IDENTIFIER=writer\n".encode())
        number += 1
print(number)
"""


class LiveJournal:
    """Write numbered entries to the journald of a lab at a rate, from `write` to `stop`."""

    def __init__(self, lab: BootedSystemd) -> None:
        self.lab = lab
        self._writer: subprocess.Popen[str] | None = None

    def write(self, rate: int = 300, size: int = 200) -> None:
        """Begin to write so many entries a second, of so many bytes each."""
        self._writer = subprocess.Popen(
            self.lab.inside([sys.executable, "-c", _WRITER, str(rate), str(size)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> int:
        """Stop writing; returns how many entries were written. All of them are in the journal's files then."""
        writer, self._writer = self._writer, None
        assert writer is not None
        written, _ = writer.communicate("\n", timeout=30)
        self.lab.run("journalctl", "--sync")
        return int(written)

    def __enter__(self) -> LiveJournal:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.kill()
            self._writer.communicate()
