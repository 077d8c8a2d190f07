"""Read and write BPF maps, many entries a system call where the kernel can."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from ctypes import c_uint32
from typing import Any, Final, NoReturn

from tapio_otel.receivers.ebpf.libbpf.library import libbpf, possible_cpus

PER_CPU_TYPES: Final = frozenset({5, 6, 10, 21})  # enum bpf_map_type: PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH, …
Value = bytes | list[bytes]

_BATCH_BYTES = 64 << 10  # of values read with one system call, at first
_ENOTSUPP = 524  # the kernel's own number for what a kind of map cannot do
_CANNOT = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, _ENOTSUPP)


class BpfMap:
    """Hold a map of a loaded object; OSError with EBADF once that is closed. Not for use from several threads at once."""

    def __init__(self, name: str, pointer: int) -> None:
        library = libbpf()
        self.name = name
        self.key_size: int = library.bpf_map__key_size(pointer)
        self.value_size: int = library.bpf_map__value_size(pointer)
        self.max_entries: int = library.bpf_map__max_entries(pointer)
        self.is_per_cpu = library.bpf_map__type(pointer) in PER_CPU_TYPES
        self._descriptor: int = library.bpf_map__fd(pointer)
        self._stride = -(-self.value_size // 8) * 8 if self.is_per_cpu else self.value_size
        self._size = self._stride * (possible_cpus() if self.is_per_cpu else 1)
        self._room = ctypes.create_string_buffer(self._size)
        if self._descriptor < 0:
            raise RuntimeError(f"map {name!r} does not exist yet: load the object first")

    def fileno(self) -> int:
        """Return the map's descriptor; -1 once the object is closed."""
        return self._descriptor

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value at `key`, None if there is none; of per-CPU maps all values behind each other, padded to 8 bytes."""
        return self._get(libbpf().bpf_map_lookup_elem, self._key(key), "read")

    def lookup_per_cpu(self, key: bytes) -> list[bytes]:
        """Return the value of each possible CPU at `key`; empty if there is none."""
        found = self.lookup(key)
        return [] if found is None else self._per_cpu(found)

    def update(self, key: bytes, value: bytes) -> None:
        """Put `value` at `key`; of per-CPU maps as `lookup` returns it. Raises ValueError for a wrong size."""
        if len(value) != self._size:
            raise ValueError(f"map {self.name!r} takes values of {self._size} bytes, not {len(value)}")
        self._check(libbpf().bpf_map_update_elem(self._descriptor, self._key(key), value, 0), "written")

    def delete(self, key: bytes) -> bool:
        """Remove the entry at `key` and tell whether there was one."""
        result = libbpf().bpf_map_delete_elem(self._descriptor, self._key(key))
        if result == -errno.ENOENT:
            return False
        self._check(result, "deleted from")
        return True

    def items(self) -> list[tuple[bytes, Value]]:
        """Return all keys and values, in no order; of per-CPU maps one value for each possible CPU.

        An entry that is put or removed meanwhile may be there or not.
        """
        library = libbpf()
        found = self._in_batches(library.bpf_map_lookup_batch)
        if found is None:
            found = list(self._one_by_one(self._keys(), library.bpf_map_lookup_elem))
        return self._split(found)

    def take(self) -> list[tuple[bytes, Value]]:
        """Return what `items` does and remove it from the map; OSError for arrays, of which nothing can be removed.

        Reading and removing are one step where the kernel has it (5.6 in batches, 5.14 singly). Before, what a program adds
        between the two is lost; and so, on every kernel, is what a program adds to an entry that it found just before.
        """
        library = libbpf()
        found = self._in_batches(library.bpf_map_lookup_and_delete_batch)
        if found is None:
            found = list(self._one_by_one(self._keys(), self._take_one))
        return self._split(found)

    def close(self) -> None:
        """Forget the descriptor, which the object owns; whoever still holds the map gets errors, never another's map."""
        self._descriptor = -1

    def _get(self, read: Callable[[int, bytes, Any], int], key: bytes, what: str) -> bytes | None:
        result = read(self._descriptor, key, self._room)
        if result == -errno.ENOENT:
            return None
        self._check(result, what)
        return self._room.raw

    def _key(self, key: bytes) -> bytes:
        if len(key) != self.key_size:  # the kernel would read beyond it
            raise ValueError(f"map {self.name!r} has keys of {self.key_size} bytes, not {len(key)}: {key!r}")
        return key

    def _keys(self) -> list[bytes]:
        """Return the keys, each once; bounded, because a removed key makes the kernel begin again at the first."""
        keys: dict[bytes, None] = {}
        room, key = ctypes.create_string_buffer(self.key_size), None
        for _ in range(2 * self.max_entries + 1):
            result = libbpf().bpf_map_get_next_key(self._descriptor, key, room)
            if result == -errno.ENOENT:
                break
            self._check(result, "read")
            keys[key := room.raw] = None
        return list(keys)

    def _one_by_one(self, keys: list[bytes], read: Callable[[int, bytes, Any], int]) -> Iterator[tuple[bytes, bytes]]:
        for key in keys:
            value = self._get(read, key, "read")
            if value is not None:
                yield key, value

    def _take_one(self, descriptor: int, key: bytes, room: Any) -> int:
        library = libbpf()
        result: int = library.bpf_map_lookup_and_delete_elem(descriptor, key, room)
        if -result not in _CANNOT:
            return result
        result = library.bpf_map_lookup_elem(descriptor, key, room)
        return result or int(library.bpf_map_delete_elem(descriptor, key))

    def _in_batches(self, read: Callable[..., int]) -> list[tuple[bytes, bytes]] | None:
        """Return all entries, None where the kernel cannot read this kind of map in batches."""
        found: list[tuple[bytes, bytes]] = []
        place: Any = None
        following = ctypes.create_string_buffer(max(4, self.key_size))
        batch = _Batch(self, max(1, min(self.max_entries, _BATCH_BYTES // self._size)))
        while True:
            count = c_uint32(batch.length)
            result = read(self._descriptor, place, following, batch.keys, batch.values, ctypes.byref(count), None)
            if result == -errno.ENOSPC:  # one hash bucket alone holds more
                batch = _Batch(self, batch.length * 2)
                continue
            if -result in _CANNOT and not found:
                return None
            if result != -errno.ENOENT:  # which is the end, with the last entries
                self._check(result, "read")
            found.extend(batch.entries(count.value))
            if result:
                return found
            place = ctypes.create_string_buffer(following.raw, len(following))

    def _split(self, found: list[tuple[bytes, bytes]]) -> list[tuple[bytes, Value]]:
        if not self.is_per_cpu:
            return list(found)
        return [(key, self._per_cpu(value)) for key, value in found]

    def _per_cpu(self, value: bytes) -> list[bytes]:
        return [value[start : start + self.value_size] for start in range(0, self._size, self._stride)]

    def _check(self, result: int, what: str) -> None:
        if result < 0:
            self._fail(-result, what)

    def _fail(self, number: int, what: str) -> NoReturn:
        text = os.strerror(number) if number != _ENOTSUPP else "not supported by this kind of map"
        raise OSError(number, f"map {self.name!r} cannot be {what}: {text}")


class _Batch:
    """Room for the keys and values that one system call reads."""

    def __init__(self, of: BpfMap, length: int) -> None:
        self.length = length
        self._key_size, self._size = of.key_size, of._size
        self.keys = ctypes.create_string_buffer(length * self._key_size)
        self.values = ctypes.create_string_buffer(length * self._size)

    def entries(self, count: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the first `count` keys and values."""
        keys = ctypes.string_at(self.keys, count * self._key_size)
        values = ctypes.string_at(self.values, count * self._size)
        for index in range(count):
            key, value = index * self._key_size, index * self._size
            yield keys[key : key + self._key_size], values[value : value + self._size]
