"""Names of block devices: which disk a partition is of, as far as the kernel's names tell it.

An error is told of a disk (`sdb`), what comes of it of the file system on a partition (`sdb1`): only so can one be joined with
the other, and neither with what happens to another disk (`sr0`) of the machine.
"""

from __future__ import annotations

from typing import Final

_LETTERED: Final = ("sd", "hd", "vd", "xvd")
_NUMBERED: Final = ("nvme", "mmcblk", "md", "nbd", "loop")
"""Disks whose names end with a number, so that their partitions have a p between."""


def with_disk(name: str) -> tuple[str, ...]:
    """Return the name of a block device, and those of what it is a part of: `sdb1` of `sdb`, `nvme0n1p2` of `nvme0n1`.

    What lies below a device mapper's (`dm-0`) its name does not tell.
    """
    stem = name.rstrip("0123456789")
    if stem == name:
        return (name,)
    if stem.startswith(_LETTERED) and stem.isalpha():
        return name, stem
    if stem.startswith(_NUMBERED) and stem.endswith("p") and stem[-2:-1].isdecimal():
        return name, stem[:-1]
    return (name,)
