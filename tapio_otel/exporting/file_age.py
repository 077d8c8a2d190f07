"""When a file was begun, as the file system knows it, so that its age does not begin anew with every start of the agent.

Python does not offer the birth time on Linux; the C library's `statx` does.
"""

from __future__ import annotations

import os
import struct
from typing import Final

# From <linux/stat.h> and <fcntl.h>: the same on every architecture.
_EMPTY_PATH: Final = 0x1000
_WANTED: Final = 0x800
_SIZE: Final = 256
_BIRTH: Final = struct.Struct("=qI")
_BIRTH_OFFSET: Final = 80


def birth_time(descriptor: int) -> float | None:
    """Return when an open file was made, in seconds since the epoch; None where nobody knows."""
    import ctypes

    statx = getattr(ctypes.CDLL(None), "statx", None)
    answer = ctypes.create_string_buffer(_SIZE)
    if statx is None or statx(descriptor, b"", _EMPTY_PATH, _WANTED, answer):
        return None
    (known,) = struct.unpack_from("=I", answer)
    seconds, nanoseconds = _BIRTH.unpack_from(answer, _BIRTH_OFFSET)
    return seconds + nanoseconds / 1e9 if known & _WANTED else None


def begun(descriptor: int) -> float:
    """Return when an open file that has content was begun, as early as is known: it is at least as old as its last change."""
    changed = os.fstat(descriptor).st_mtime
    born = birth_time(descriptor)
    return changed if born is None else min(born, changed)
