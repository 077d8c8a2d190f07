"""The reading process with a libsystemd that dies at certain entries, as a real one does when its files are cut off."""

from __future__ import annotations

import os
import sys
from typing import Any

from systemd import _reader

from tapio_otel.receivers.journald import child

DEATHS = "TEST_READER_DEATHS"
"""Environment variable: the method that dies, then what the messages contain at which it does."""
COMMAND = (sys.executable, "-P", "-c", "from tests.receivers.dying_reader import main; main()")


class DyingReader(_reader._Reader):
    """Abort in the method named first, or in any before it: `_get_all`, `_get`, `_next`."""

    def _next(self, *arguments: Any) -> Any:
        found = super()._next(*arguments)
        if found and deadly() == "_next":
            self._die()
        return found

    def _get_all(self) -> Any:
        self._die()
        return super()._get_all()

    def _get(self, name: str) -> Any:
        if deadly() in {"_get", "_next"}:
            self._die()
        return super()._get(name)

    def _die(self) -> None:
        if os.environ[DEATHS].partition(" ")[2].encode() in super()._get("MESSAGE"):
            sys.stderr.write("Assertion 'o' failed. Aborting.\n")
            sys.stderr.flush()
            os.abort()


def deadly() -> str:
    """Return the method up to which all die."""
    return os.environ[DEATHS].partition(" ")[0]


def main() -> None:
    """Be the reading process."""
    _reader._Reader = DyingReader
    child.main()
