"""Tracepoints: which arguments one has on the running kernel, by its format file in tracefs.

Arguments come and go between kernel versions, and their offsets move; the format file is the kernel's own word for them. A C
struct made of it reads them rightly whatever headers, or none, are installed. See Documentation/trace/events.rst, section 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TRACEFS: Final = (Path("/sys/kernel/debug/tracing"), Path("/sys/kernel/tracing"))
"""Where tracefs may be mounted, in the order in which BCC looks."""

_FIELD = re.compile(r"field:([^;]+);\s*offset:(\d+);\s*size:(\d+);\s*signed:([01]);")
_NAME = re.compile(r"(\w+)\s*(\[\d*\])?$")
_SYMBOLS = re.compile(r"__print_symbolic\(REC->(\w+),((?:\s*\{[^{}]*\},?)+)")
_SYMBOL = re.compile(r"\{\s*(0x[0-9a-fA-F]+|\d+),\s*\"([^\"]*)\"\s*\}")
_INTEGERS: Final = {1: "8", 2: "16", 4: "32", 8: "64"}


@dataclass(frozen=True, slots=True)
class Argument:
    """Describe one argument: where it stands and how long it is, in bytes; `is_text` where it only points to a text."""

    offset: int
    size: int
    is_signed: bool = False
    is_array: bool = False
    is_text: bool = False

    def declaration(self, name: str) -> str:
        """Return the argument as a member of a C struct of BCC's types."""
        if self.is_array or self.size not in _INTEGERS:
            return f"u8 {name}[{self.size}];"
        return f"{'s' if self.is_signed else 'u'}{_INTEGERS[self.size]} {name};"


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """Describe a tracepoint: its arguments, and the names of the numbers that some of them hold."""

    arguments: Mapping[str, Argument]
    symbols: Mapping[str, Mapping[int, str]]

    def struct(self, name: str, used: Sequence[str]) -> str:
        """Return a C struct that reads the arguments in `used`, with padding for all others."""
        members, end = list[str](), 0
        for argument in sorted(used, key=lambda one: self.arguments[one].offset):
            found = self.arguments[argument]
            if found.offset > end:
                members.append(f"u8 before_{argument}[{found.offset - end}];")
            members.append(found.declaration(argument))
            end = found.offset + found.size
        return f"struct {name} {{ {' '.join(members)} }};"


def parse_format(text: str) -> Tracepoint:
    """Return what a format file says; arguments common to all tracepoints are left out."""
    arguments: dict[str, Argument] = {}
    for declared, offset, size, signed in _FIELD.findall(text):
        found = _NAME.search(declared.strip())
        if found is None or found[1].startswith("common_"):
            continue
        is_text = declared.startswith("__data_loc")
        is_array = found[2] is not None and not is_text
        arguments[found[1]] = Argument(int(offset), int(size), signed == "1", is_array, is_text)
    symbols = {
        name: {int(number, 0): word for number, word in _SYMBOL.findall(pairs)} for name, pairs in _SYMBOLS.findall(text)
    }
    return Tracepoint(arguments, symbols)


def mounted_tracefs() -> Path | None:
    """Return where tracefs is mounted, or None; raises PermissionError where that may not be seen."""
    for directory in TRACEFS:
        if directory.exists():
            return directory if any(directory.iterdir()) else None
    return None


def read_tracepoint(tracefs: Path, category: str, name: str) -> Tracepoint | None:
    """Return a tracepoint of the running kernel, or None where it has no such one."""
    try:
        return parse_format((tracefs / "events" / category / name / "format").read_text("utf-8", "replace"))
    except FileNotFoundError:
        return None
