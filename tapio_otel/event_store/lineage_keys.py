"""Lineage keys as integers: what an event is found by, small enough to be stored for every subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final

from tapio_otel.correlation.lineage import Key
from tapio_otel.timeline.focus import Focus

_ON_MACHINE: Final = frozenset(("unit", "device", "mount", "process", "cgroup", "interface"))
"""Ranks of what exists on every machine and may be asked for without the machine's name."""
_WIDE: Final = frozenset(("namespace", "node", "service", "owner"))
_ANY: Final = "*"


def digest(content: object) -> int:
    """Return 64 bits that stand for an object, as a signed integer; the same in every process."""
    text = content if isinstance(content, bytes) else repr(content).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


def stored_keys(keys: Iterable[Key], targets: Iterable[Key]) -> list[int]:
    """Return the integers under which a subject is found; `keys` nearest first."""
    return list(dict.fromkeys(map(digest, _forms(tuple(keys), targets))))


def _forms(keys: tuple[Key, ...], targets: Iterable[Key]) -> Iterator[tuple[Any, ...]]:
    for key in keys:
        yield key
        if key[0] in _ON_MACHINE:
            yield (_ANY, key[0], key[1])
    for target in targets:
        yield ("to", target)
        if target[0] in _ON_MACHINE:
            yield ("to", (_ANY, target[0], target[1]))
    own = next((key for key in keys if key[0] != "namespace"), None)
    if own is not None and own[0] in _WIDE:
        yield ("about", own)


def focus_keys(focus: Focus) -> list[tuple[Any, ...]]:
    """Return the forms of the keys that name a focus."""
    return [(_ANY, focus.keys[0][0], focus.keys[0][1])] if focus.any_host else list(focus.keys)
