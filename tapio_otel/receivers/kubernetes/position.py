"""Positions: up to where each resource has been told. Checkpoints hold them, and a leader hands its own to its successor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import orjson

from tapio_otel.receivers.kubernetes.throttle import Trimmed

VERSION: Final = 1
EVENTS: Final = "events"
MOST_HANDED: Final = 32_768
"""Bytes of held back events that go to a successor: the API takes 256 KiB of annotations."""


class BadPosition(ValueError):
    """Report a checkpoint that this receiver cannot have written."""


class Reached(NamedTuple):
    """Hold a resourceVersion, and when it was reached in nanoseconds by the agent's clock."""

    version: str
    time: int

    @property
    def number(self) -> int:
        """Return the version as a number, by which versions are ordered; 0 where it is none."""
        return int(self.version) if self.version.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Position:
    """Hold what was reached by resource and namespace (empty for all), and events held back. Never changed in place."""

    reached: Mapping[str, Mapping[str, Reached]] = field(default_factory=dict)
    held: tuple[Trimmed, ...] = ()

    def of(self, resource: str, namespace: str) -> Reached | None:
        """Return what was reached; None for what was not listed yet."""
        return self.reached.get(resource, {}).get(namespace)

    def at(self, resource: str, namespace: str, reached: Reached) -> Position:
        """Return the position after one more step."""
        return replace(self, reached={**self.reached, resource: {**self.reached.get(resource, {}), namespace: reached}})

    def only(self, resources: frozenset[str]) -> Position:
        """Return the part about some resources."""
        reached = {name: found for name, found in self.reached.items() if name in resources}
        return Position(reached, self.held if EVENTS in resources else ())

    def later(self, other: Position) -> Position:
        """Return, for each resource, what is further of this and another; for equal ones what the other holds back."""
        reached = {name: dict(found) for name, found in self.reached.items()}
        held = self.held
        for name, found in other.reached.items():
            mine = reached.setdefault(name, {})
            before = sum(one.number for one in mine.values())
            for namespace, step in found.items():
                mine[namespace] = max(mine.get(namespace, step), step, key=lambda one: one.number)
            if name == EVENTS and before <= sum(one.number for one in found.values()):
                held = other.held
        return Position(reached, held)

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        reached = {
            name: {namespace: {"version": step.version, "time": step.time} for namespace, step in found.items()}
            for name, found in self.reached.items()
        }
        return {"version": VERSION, "reached": reached, "held": list(self.held)}

    def annotation(self) -> str:
        """Return the form that a Lease carries: the latest of what is held back, as much as there is room for."""
        held: list[Trimmed] = []
        room = MOST_HANDED
        for one in reversed(self.held):
            room -= len(orjson.dumps(one))
            if room < 0:
                break
            held.append(one)
        return orjson.dumps(replace(self, held=tuple(reversed(held))).dump()).decode()

    @classmethod
    def load(cls, saved: Any) -> Position:
        """Read the JSON form, or nothing from None; raises `BadPosition` saying what is wrong."""
        if saved is None:
            return cls()
        try:
            if saved["version"] != VERSION:
                raise BadPosition(f"expected a checkpoint of version {VERSION}, found {saved['version']!r:.200}")
            reached = {
                str(name): {str(namespace): _reached(step) for namespace, step in found.items()}
                for name, found in saved["reached"].items()
            }
            held = tuple([one for one in saved["held"] if one["uid"] and one["version"] and one["name"] and one["count"]])
        except (KeyError, TypeError, AttributeError) as error:
            raise BadPosition(f"expected a checkpoint of this receiver, found {saved!r:.200}") from error
        return cls(reached, held)

    @classmethod
    def of_annotation(cls, text: str) -> Position:
        """Read what a Lease carries; raises `BadPosition`."""
        try:
            return cls.load(orjson.loads(text)) if text else cls()
        except orjson.JSONDecodeError as error:
            raise BadPosition(f"expected JSON, found {text!r:.200}") from error


def _reached(step: Any) -> Reached:
    version, time = step["version"], step["time"]
    if not isinstance(version, str) or type(time) is not int:
        raise TypeError
    return Reached(version, time)
