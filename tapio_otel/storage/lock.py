"""Keep a directory for one agent: a lock that ends with the process, however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from tapio_otel.component import ComponentError

FILE: Final = "lock"
_AGAIN_SECONDS: Final = 0.05
# What a file system without locks says: NFS without a lock service, some FUSE ones.
_NO_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class DirectoryLock:
    """Lock a directory that exists."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    async def acquire(self, patience: float) -> None:
        """Take the lock, waiting up to `patience` seconds; raises OSError, or ComponentError naming who has it."""
        self._descriptor = os.open(self._directory / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while not _locked(self._descriptor):
            if time.monotonic() >= deadline:
                raise self._refusal()
            await asyncio.sleep(_AGAIN_SECONDS)
        with contextlib.suppress(OSError):  # a full disk: the pid only serves a message
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _refusal(self) -> ComponentError:
        assert self._descriptor is not None
        holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        self.release()
        who = "another file_storage extension of this agent" if holder == str(os.getpid()) else f"another agent (pid {holder})"
        return ComponentError(
            f"directory: {who} uses {str(self._directory)!r}. Stop it, or give this extension a directory of its own"
        )

    def release(self) -> None:
        """Let go of the directory; safe to call twice and without `acquire`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
