"""Types as BTF tells them: the enums of the running kernel, the variables of an object's sections.

The layout of the records is the kernel's ABI: include/uapi/linux/btf.h.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tapio_otel.receivers.ebpf.libbpf.causes import missing_btf
from tapio_otel.receivers.ebpf.libbpf.library import give_memory_back, libbpf, listening

KIND_INT: Final = 1
KIND_ENUM: Final = 6
KIND_DATASEC: Final = 15
KIND_ENUM64: Final = 19

_HEADER = struct.Struct("=III")  # struct btf_type: name_off, info, size or type
_VARIABLE = struct.Struct("=III")  # struct btf_var_secinfo: type, offset, size
_ENUM = {KIND_ENUM: struct.Struct("=II"), KIND_ENUM64: struct.Struct("=III")}  # name_off, value (low half, high half)


@dataclass(frozen=True, slots=True)
class Variable:
    """Say where in its section a variable lies, in bytes, and which integers it can hold."""

    offset: int
    size: int
    is_integer: bool
    is_signed: bool


def kernel_enum(name: str) -> dict[int, str]:
    """Return the names of an enum of the running kernel by value, as in `skb_drop_reason`; empty where it has no such enum.

    Raises ProbeUnavailable where the kernel tells no BTF.
    """
    library = libbpf()
    with listening():
        btf = library.btf__load_vmlinux_btf()
    if not btf:
        raise missing_btf()
    try:
        return _enum(btf, name)
    finally:
        library.btf__free(btf)
        give_memory_back()


def _enum(btf: int, name: str) -> dict[int, str]:
    for kind in _ENUM:
        number = libbpf().btf__find_by_name_kind(btf, name.encode(), kind)
        if number > 0:
            return dict(_enumerators(btf, number, kind))
    return {}


def _enumerators(btf: int, number: int, kind: int) -> Iterator[tuple[int, str]]:
    address, info, _ = _type(btf, number)
    layout = _ENUM[kind]
    bits = 8 * (layout.size - 4)
    for name, low, *high in layout.iter_unpack(ctypes.string_at(address, _members(info) * layout.size)):
        value = low | (high[0] << 32 if high else 0)
        is_negative = info >> 31 and value >> (bits - 1)
        yield value - (1 << bits) if is_negative else value, _name(btf, name)


def section_variables(btf: int, section: str) -> dict[str, Variable]:
    """Return the variables of a section of the object that `btf` describes, by name; empty where it has no such section."""
    number = libbpf().btf__find_by_name_kind(btf, section.encode(), KIND_DATASEC)
    if number <= 0:
        return {}
    address, info, _ = _type(btf, number)
    entries = _VARIABLE.iter_unpack(ctypes.string_at(address, _members(info) * _VARIABLE.size))
    return dict(_variable(btf, *entry) for entry in entries)


def _variable(btf: int, number: int, offset: int, size: int) -> tuple[str, Variable]:
    name = _HEADER.unpack(ctypes.string_at(libbpf().btf__type_by_id(btf, number), _HEADER.size))[0]
    address, info, _ = _type(btf, libbpf().btf__resolve_type(btf, number))
    kind = _kind(info)
    is_signed = kind == KIND_INT and bool(ctypes.c_uint32.from_address(address).value >> 24 & 1)  # BTF_INT_SIGNED
    return _name(btf, name), Variable(offset, size, kind == KIND_INT or kind in _ENUM, is_signed)


def _type(btf: int, number: int) -> tuple[int, int, int]:
    """Return the address behind a type's header, its info and its size or type."""
    address = libbpf().btf__type_by_id(btf, number)
    _, info, size = _HEADER.unpack(ctypes.string_at(address, _HEADER.size))
    return address + _HEADER.size, info, size


def _kind(info: int) -> int:
    return info >> 24 & 0x1F


def _members(info: int) -> int:
    return info & 0xFFFF


def _name(btf: int, offset: int) -> str:
    name: bytes = libbpf().btf__name_by_offset(btf, offset) or b""
    return name.decode()
