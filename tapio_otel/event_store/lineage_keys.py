"""Lineage keys as integers: what an event is found by, small enough to be stored for every subject and event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from tapio_otel.correlation.lineage import Key
from tapio_otel.timeline.focus import Focus

_ON_MACHINE: Final = frozenset(("unit", "device", "mount", "process", "cgroup", "interface"))
"""Ranks of what exists on every machine and may be asked for without the machine's name."""
_WIDE: Final = frozenset(("namespace", "node", "service", "owner"))
_ANY: Final = "*"
Form = tuple[Any, ...]


def digest(content: object) -> int:
    """Return 64 bits that stand for an object, as a signed integer; the same in every process."""
    text = content if isinstance(content, bytes) else repr(content).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


@lru_cache(maxsize=8192)
def _of_key(key: Key) -> tuple[int, ...]:
    forms = (key, (_ANY, key[0], key[1])) if key[0] in _ON_MACHINE else (key,)
    return tuple(map(digest, forms))


@lru_cache(maxsize=8192)
def _of_target(target: Key) -> tuple[int, ...]:
    forms = (target, (_ANY, target[0], target[1])) if target[0] in _ON_MACHINE else (target,)
    return tuple(digest(("to", form)) for form in forms)


def subject_keys(keys: tuple[Key, ...]) -> list[int]:
    """Return the integers under which all events of a subject are found; `keys` nearest first."""
    return list(dict.fromkeys([*(one for key in keys for one in _of_key(key)), *_about(keys)]))


def further_keys(keys: tuple[Key, ...], known: tuple[Key, ...], targets: Iterable[Key]) -> tuple[int, ...]:
    """Return the integers under which one event is found besides those of its subject, which has the keys that are known."""
    found = [one for key in keys if key not in known for one in _of_key(key)]
    if keys is not known:
        about = _about(keys)
        found += about if about != _about(known) else ()
    for target in targets:
        found += _of_target(target)
    return tuple(dict.fromkeys(found)) if len(found) > 1 else tuple(found)


def _about(keys: tuple[Key, ...]) -> list[int]:
    """Return under which key is found what is about an owner, service or node itself."""
    own = next((key for key in keys if key[0] != "namespace"), None)
    return [digest(("about", own))] if own is not None and own[0] in _WIDE else []


def focus_forms(focus: Focus) -> Iterator[Form]:
    """Yield the forms of the keys that name a focus."""
    if focus.any_host:
        yield (_ANY, focus.keys[0][0], focus.keys[0][1])
    else:
        yield from focus.keys
