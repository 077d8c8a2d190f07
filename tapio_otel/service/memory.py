"""Memory settings of the process: fewer garbage collections, and a heap that is not given back after every batch."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
TRIM_THRESHOLD: Final = 64 * 1024 * 1024
"""Free bytes at the heap's end that are kept: a request of some megabytes is built and freed for every few thousand events."""
MMAP_THRESHOLD: Final = 16 * 1024 * 1024
"""Allocations up to this many bytes come from the heap, so that their pages need not be cleared by the kernel each time."""


def settle() -> None:
    """Prepare for the hot path, once everything is loaded.

    What exists by now lives for ever and is not looked at by the garbage collector any more; batches are freed by reference
    counting, so collecting rarely costs nothing but the few cycles that tasks leave.
    """
    gc.unfreeze()  # after a reload: what left may have been frozen
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return
    mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD)
    mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)
