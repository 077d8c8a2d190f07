"""Read a BPF ring buffer from an event loop: no thread, no waiting."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from typing import Final

from tapio_otel.receivers.ebpf.libbpf.library import Sample, libbpf

MOST_RECORDS: Final = 4096
"""Most records that one reading gives, so that a flood cannot hold the loop; the descriptor stays readable for the rest."""


class Ring:
    """Hold a ring buffer of a loaded object. Close it, or the object, when done."""

    def __init__(self, name: str, descriptor: int) -> None:
        self._records: list[bytes] = []
        self._sample = Sample(_appender(self._records))  # libbpf keeps only its address
        self._ring: int | None = libbpf().ring_buffer__new(descriptor, self._sample, None, None)
        if not self._ring:
            number = ctypes.get_errno()
            raise OSError(number, f"ring buffer {name!r} cannot be opened: {errno.errorcode.get(number, number)}")

    def fileno(self) -> int:
        """Return a descriptor that is readable while there are records; -1 when closed."""
        descriptor: int = libbpf().ring_buffer__epoll_fd(self._ring) if self._ring else -1
        return descriptor

    def read(self) -> list[bytes]:
        """Return copies of the records there are, oldest first, at most MOST_RECORDS, without waiting; none when closed."""
        if not self._ring:
            return []
        result = libbpf().ring_buffer__consume(self._ring)
        records = self._records[:]
        self._records.clear()
        if result < 0 and result != -errno.ECANCELED:
            raise OSError(-result, "the ring buffer cannot be read")
        return records

    def close(self) -> None:
        """Release the ring's memory and descriptors, not the map; safe to call twice."""
        if self._ring:
            libbpf().ring_buffer__free(self._ring)
            self._ring = None


def _appender(records: list[bytes]) -> Callable[[int | None, int, int], int]:
    """Return the function that libbpf calls for each record; it knows the list alone, so no cycle outlives the ring."""
    append, copy, stop = records.append, ctypes.string_at, -errno.ECANCELED

    def keep(_context: int | None, address: int, size: int) -> int:
        append(copy(address, size))
        return stop if len(records) >= MOST_RECORDS else 0  # libbpf counts the record as consumed before it stops

    return keep
