"""Block devices: which disk a partition is of."""

from __future__ import annotations

import pytest

from tapio_otel.correlation.block_device import with_disk


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("sdb1", ("sdb1", "sdb")),
        ("sdb", ("sdb",)),
        ("sdaa12", ("sdaa12", "sdaa")),
        ("xvda1", ("xvda1", "xvda")),
        ("nvme0n1p2", ("nvme0n1p2", "nvme0n1")),
        ("nvme0n1", ("nvme0n1",)),
        ("mmcblk0p1", ("mmcblk0p1", "mmcblk0")),
        ("md127p1", ("md127p1", "md127")),
        ("md0", ("md0",)),
        ("dm-3", ("dm-3",)),
        ("sr0", ("sr0",)),
        ("loop7", ("loop7",)),
        ("", ("",)),
    ],
)
def test_a_partition_is_its_disk_s_as_well(name, names):
    """And nothing is guessed of what a name does not tell."""
    assert with_disk(name) == names
