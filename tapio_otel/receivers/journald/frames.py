"""The form in which the reading process and the agent talk: the length of a message, then the message.

Messages are plain values in Python's own binary form: both ends are the same program, run by the same Python, and it costs
half of what pickle does. From the agent comes one `Begin`; to it come one `Opened`, then chunks, and before the end maybe one
failure.
"""

from __future__ import annotations

import marshal
import os
import struct
from typing import Any, Final

LENGTH: Final = struct.Struct("=I")
OPENED: Final = "opened"
"""Kind of the message that tells how opening went: problem, files passed over, estimate, checkpoint."""
TRYING: Final = "trying"
"""Kind of the message that the next entry is about to be read, sent where that has been fatal."""
CHUNK: Final = "chunk"
"""Kind of the message that holds a dumped `Chunk`."""
FAILED: Final = "failed"
"""Kind of the last message: why reading failed."""


def pack(message: Any) -> bytes:
    """Return a message as it is sent."""
    body = marshal.dumps(message, 2)  # later forms look for objects that occur twice, which costs more than it saves
    return LENGTH.pack(len(body)) + body


def unpack(body: bytes | memoryview) -> Any:
    """Return the message whose form, without the length, is given."""
    return marshal.loads(body)  # noqa: S302 - only the agent and its own child speak here


def write(descriptor: int, message: Any) -> None:
    """Send a message, however long the other end takes; raises BrokenPipeError when that is gone."""
    left = memoryview(pack(message))
    while left:
        left = left[os.write(descriptor, left) :]


def read(descriptor: int) -> Any:
    """Wait for a message and return it; raises EOFError when the other end is gone."""
    (length,) = LENGTH.unpack(_read(descriptor, LENGTH.size))
    return unpack(_read(descriptor, length))


def _read(descriptor: int, length: int) -> bytes:
    found = b""
    while len(found) < length:
        more = os.read(descriptor, length - len(found))
        if not more:
            raise EOFError
        found += more
    return found
