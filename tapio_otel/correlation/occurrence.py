"""What tells one occurrence of a class of facts from another one: marks, and the moment that an event tells of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from tapio_otel.correlation.fact_class import FactClass
from tapio_otel.correlation.keys import Key
from tapio_otel.event import EventType, UnifiedEvent

Marks: TypeAlias = Mapping[str, Any]

_NOTHING: Final[Marks] = MappingProxyType({})
_BY_KEY: Final = frozenset(("invocation", "device", "interface"))
_ATTRIBUTES: Final = {"container_name": "k8s.container.name"}


def marks_of(kind: FactClass, event: UnifiedEvent, keys: tuple[Key, ...], targets: tuple[Key, ...]) -> Marks:
    """Return what tells this occurrence from others of its class, as far as the event says it."""
    marks: dict[str, Any] = {}
    for name in kind.differs:
        if name in _BY_KEY:
            value = _of_rank(name, keys)
        elif name == "container":  # of one that was restarted, the one that had ended
            value = event.get("terminated_container_id") or _of_rank(name, keys)
        elif name == "target":
            value = targets[0] if targets else None
        elif name == "restarts":  # each source counts from its own beginning
            if event.type == EventType.CONTAINER_RESTART and not kind.follows:
                continue  # it tells of the end before, by another number
            value = event.get("restart_count", event.get("n_restarts"))
        else:
            value = event.get(_ATTRIBUTES.get(name, name))
            if name == "pid" and value == 1:
                continue
        if value is not None:
            marks[f"{name} {event.source}" if name == "restarts" else name] = value
    return marks or _NOTHING


def _of_rank(rank: str, keys: tuple[Key, ...]) -> Any:
    for key in keys:
        if key[0] == rank:
            return key[1]
    return None


def moment_of(kind: FactClass, event: UnifiedEvent) -> int:
    """Return when it happened what an event tells of a class: a restart also tells of the end before it, with its time."""
    if event.type != EventType.CONTAINER_RESTART or kind.follows:
        return event.timestamp
    finished = event.get("finished_at")
    if not isinstance(finished, str) or not finished:
        return event.timestamp
    try:
        return int(datetime.fromisoformat(finished).timestamp()) * 1_000_000_000
    except ValueError:
        return event.timestamp
