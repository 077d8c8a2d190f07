"""Choices: what the configuration names, turned into the numbers that the running kernel knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from tapio_otel.receivers.ebpf.config import IGNORED_REASONS, NetDropConfig
from tapio_otel.receivers.ebpf.libbpf import kernel_enum
from tapio_otel.receivers.ebpf.libbpf_feeds.slots import DROP_SLOTS, slot_of

IGNORED: Final = 0xFFFFFFFF
"""The limit of what is not even counted."""

MOST_NAMESPACES: Final = 64
_HOST: Final = Path("/proc/1/ns/net")
_OWN: Final = Path("/proc/self/ns/net")
_MOST: Final = IGNORED - 1


def reason_names(enum: str, prefix: str) -> dict[int, str]:
    """Return the running kernel's names of an enum without their prefix, by number; empty where it has no such enum."""
    return {number: name.removeprefix(prefix) for number, name in kernel_enum(enum).items()}


def drop_limits(options: NetDropConfig, reasons: Mapping[int, str]) -> tuple[list[int], list[str]]:
    """Return the samples a second for each slot, `IGNORED` for none, and a line for each reason that this kernel lacks."""
    numbers = {name: number for number, name in reasons.items()}
    limits = [min(options.samples_per_second, _MOST)] * DROP_SLOTS
    chosen = dict(options.samples_per_reason) | dict.fromkeys(options.ignored_reasons, IGNORED)
    for name in chosen.keys() & numbers.keys():
        limits[slot_of(numbers[name])] = min(chosen[name], IGNORED)
    # The reasons that are ignored unless told otherwise are of several kernel versions.
    missing = sorted(chosen.keys() - numbers.keys() - set(IGNORED_REASONS))
    return limits, [_unknown(name, numbers) for name in missing]


def namespace_inodes(names: Iterable[str], host: Path = _HOST) -> tuple[list[int], list[str]]:
    """Return the inode numbers of network namespaces, and a line for each that is not there.

    The numbers are empty only if there are no names: where none is found, a number that no namespace has stands for them.
    """
    found: list[int] = []
    notes: list[str] = []
    for name in names:
        try:
            found.append(_host_inode(host, notes) if name == "host" else _inode(name))
        except OSError as error:
            notes.append(f"network namespace {name!r} is not there ({error.strerror}): nothing of it will be seen")
    if len(found) > MOST_NAMESPACES:
        notes.append(f"of {len(found)} network namespaces only the first {MOST_NAMESPACES} are looked at")
    return found[:MOST_NAMESPACES] or ([IGNORED] if notes else []), notes


def _host_inode(host: Path, notes: list[str]) -> int:
    """Return the inode number of the first process's namespace; without the right to trace it, that of the agent's own."""
    try:
        return host.stat().st_ino
    except OSError as error:
        notes.append(f"the host's network namespace cannot be seen ({error.strerror}): the agent's own is taken for it")
        return _OWN.stat().st_ino


def _inode(name: str) -> int:
    return int(name) & IGNORED if name.isascii() and name.isdigit() else Path(name).stat().st_ino


def _unknown(name: str, numbers: Iterable[str]) -> str:
    close = get_close_matches(name, list(numbers), 1)
    guess = f": did you mean {close[0]}?" if close else ""
    return f"this kernel knows no drop reason {name!r}{guess}"
