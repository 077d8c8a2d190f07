"""Slots: which counter of the programs belongs to which drop reason, as `bpf/net_drop.bpf.c` has it."""

from __future__ import annotations

from typing import Final

DROP_SLOTS: Final = 1024
RETRANSMIT_SLOTS: Final = 1
RESET_SLOTS: Final = 2
OTHER: Final = DROP_SLOTS - 1
"""The slot of what the kernel tells no reason for, and of reasons that have no slot."""

_SUBSYSTEMS: Final = 4
_REASONS: Final = DROP_SLOTS // _SUBSYSTEMS


def slot_of(reason: int | None) -> int:
    """Return the slot in which a drop reason is counted."""
    subsystem, number = divmod(reason, 1 << 16) if reason is not None else (_SUBSYSTEMS, 0)
    return subsystem * _REASONS + number if subsystem < _SUBSYSTEMS and number < _REASONS else OTHER


def reason_of(slot: int) -> int | None:
    """Return the drop reason that a slot counts, None for that of unknown ones."""
    return None if slot == OTHER else (slot // _REASONS << 16) + slot % _REASONS
