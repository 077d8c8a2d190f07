"""The yardstick: read every field of every entry with systemd-python's low-level reader, and do nothing else."""

from __future__ import annotations

import sys

from systemd import _reader


def read_all(directory: str) -> int:
    """Return how many entries the journal in `directory` has, after reading them all."""
    reader = _reader._Reader(flags=0, path=directory)
    following, everything = reader._next, reader._get_all
    count = 0
    while following():
        everything()
        count += 1
    reader.close()
    return count


if __name__ == "__main__":
    print(read_all(sys.argv[1]))
