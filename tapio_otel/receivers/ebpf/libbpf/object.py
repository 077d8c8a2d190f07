"""One BPF object file, from opening to release."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from tapio_otel.receivers.ebpf.libbpf.btf import Variable, section_variables
from tapio_otel.receivers.ebpf.libbpf.causes import load_failure, open_failure, program_failure, raise_memlock
from tapio_otel.receivers.ebpf.libbpf.library import give_memory_back, libbpf, listening
from tapio_otel.receivers.ebpf.libbpf.maps import BpfMap
from tapio_otel.receivers.ebpf.libbpf.ring import Ring

RODATA: Final = ".rodata"


class BpfObject:
    """Hold an object file's programs and maps; `close` releases all of it, safe twice and after a failure at any point."""

    def __init__(self, path: Path, pointer: int) -> None:
        self.path = path
        self._pointer: int | None = pointer
        self._programs = dict(_programs(pointer))
        self._links: list[int] = []
        self._maps: dict[str, BpfMap] = {}
        self._rings: list[Ring] = []

    @classmethod
    def open(cls, path: Path) -> BpfObject:
        """Read an object file; nothing is in the kernel yet. Raises ProbeUnavailable where it or libbpf cannot be used."""
        library = libbpf()
        with listening() as log:
            pointer = library.bpf_object__open_file(os.fsencode(path), None)
            number = ctypes.get_errno()
        if not pointer:
            raise open_failure(path, number, log.lines)
        return cls(path, pointer)

    @property
    def programs(self) -> list[str]:
        """Return the names of the programs, skipped ones included."""
        return list(self._programs)

    def configure(self, variable: str, value: int | bytes) -> None:
        """Set a `const volatile` variable before loading; shorter bytes are filled up with zeros.

        Raises KeyError where there is no such variable, ValueError for a value that does not fit.
        """
        btf = libbpf().bpf_object__btf(self._alive())
        variables = section_variables(btf, RODATA) if btf else {}
        if variable not in variables:
            raise KeyError(f"{self.path.name} has no variable {variable!r} in {RODATA}{_similar(variable, variables)}")
        found = variables[variable]
        ctypes.memmove(self._rodata() + found.offset, _encode(variable, found, value), found.size)

    def skip(self, program: str) -> None:
        """Leave a program out of loading and attaching; raises KeyError where there is no such program."""
        libbpf().bpf_program__set_autoload(self._program(program), False)

    def load(self) -> None:
        """Put maps and programs into the kernel; raises ProbeUnavailable, ProgramRefused where it is one program's fault.

        After a failure the object is of no more use: close it, and open it anew to try without the program refused.
        """
        raise_memlock()
        with listening() as log:
            result = libbpf().bpf_object__load(self._alive())
        give_memory_back()
        if result < 0:
            raise load_failure(-result, log.lines)

    def attach(self, program: str | None = None) -> None:
        """Attach one program, or all that are loaded, until `close`; raises ProgramRefused, KeyError for an unknown name."""
        if program is not None:
            self._attach(program, self._program(program))
            return
        for name, pointer in self._programs.items():
            if libbpf().bpf_program__autoload(pointer):
                self._attach(name, pointer)

    def map(self, name: str) -> BpfMap:
        """Return a map of the loaded object; raises KeyError where there is no such map, RuntimeError before loading."""
        if name not in self._maps:
            pointer = libbpf().bpf_object__find_map_by_name(self._alive(), name.encode())
            if not pointer:
                raise KeyError(f"{self.path.name} has no map {name!r}")
            self._maps[name] = BpfMap(name, pointer)
        return self._maps[name]

    def ring(self, name: str) -> Ring:
        """Open a ring buffer of the loaded object for reading; raises as `map`, and OSError for a map of another kind."""
        ring = Ring(name, self.map(name).fileno())
        self._rings.append(ring)
        return ring

    def close(self) -> None:
        """Detach the programs and release them, the maps and the rings."""
        pointer, self._pointer = self._pointer, None
        if pointer is None:
            return
        library = libbpf()
        for link in self._links:
            library.bpf_link__destroy(link)
        for ring in self._rings:
            ring.close()
        for each in self._maps.values():
            each.close()
        library.bpf_object__close(pointer)
        self._programs, self._links, self._maps, self._rings = {}, [], {}, []

    def _attach(self, name: str, pointer: int) -> None:
        with listening() as log:
            link = libbpf().bpf_program__attach(pointer)
            number = ctypes.get_errno()
        if not link:
            raise program_failure(name, "attached", number, log.lines)
        self._links.append(link)

    def _alive(self) -> int:
        if self._pointer is None:
            raise RuntimeError(f"{self.path.name} is closed")
        return self._pointer

    def _program(self, name: str) -> int:
        self._alive()
        if name not in self._programs:
            raise KeyError(f"{self.path.name} has no program {name!r}{_similar(name, self._programs)}")
        return self._programs[name]

    def _rodata(self) -> int:
        """Return where the initial values of the read-only variables lie in memory."""
        library, size = libbpf(), ctypes.c_size_t()
        pointer = library.bpf_object__find_map_by_name(self._alive(), RODATA.encode())
        if library.bpf_map__fd(pointer) >= 0:
            raise RuntimeError(f"{self.path.name} is loaded: its variables can no longer be set")
        address: int = library.bpf_map__initial_value(pointer, ctypes.byref(size))
        return address


def _programs(pointer: int) -> Iterator[tuple[str, int]]:
    library = libbpf()
    program = None
    while program := library.bpf_object__next_program(pointer, program):
        yield library.bpf_program__name(program).decode(), program


def _encode(name: str, variable: Variable, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        if len(value) > variable.size:
            raise ValueError(f"{name!r} has room for {variable.size} bytes, not for {len(value)}: {value!r}")
        return value.ljust(variable.size, b"\0")
    if not variable.is_integer:
        raise ValueError(f"{name!r} is no integer: give its {variable.size} bytes instead of {value!r}")
    try:
        return value.to_bytes(variable.size, sys.byteorder, signed=variable.is_signed)
    except OverflowError:
        kind = "signed" if variable.is_signed else "unsigned"
        raise ValueError(f"{name!r} holds {kind} integers of {8 * variable.size} bits, not {value!r}") from None


def _similar(name: str, names: object) -> str:
    close = get_close_matches(name, [str(each) for each in names], 1) if isinstance(names, dict) else []
    return f": did you mean {close[0]!r}?" if close else ""
