"""Deterministic event ids: the same occurrence, read twice, has the same id.

Ids are UUIDs of version 8 (RFC 9562, section 5.8). A backend that sees `log.record.uid` again may drop the repeat.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b


def event_id(*parts: str | int) -> str:
    """Return the id of the occurrence that `parts` identify at its source (for example boot id, ktime, cpu, pid)."""
    digest = blake2b("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{'89ab'[int(digest[16], 16) & 3]}{digest[17:20]}-{digest[20:]}"


@lru_cache(maxsize=256)
def sequence_prefix(namespace: str) -> str:
    """Return the first 60 bits of the ids of a numbered sequence, such as a journal's; see `sequence_id`."""
    digest = blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-8"


def sequence_id(prefix: str, number: int) -> str:
    """Return the id of element `number` (below 2**60) of the sequence that made `prefix`; cheaper than hashing."""
    digits = f"{number:015x}"
    return f"{prefix}{digits[:3]}-{digits[3:]}"
