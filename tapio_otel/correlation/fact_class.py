"""What a class of facts is: which events belong to it, and by what two of them tell one occurrence.

- `ranks`: the ranks of lineage by which two events can be about the same thing;
- `window_ns`: how far apart two tellings of one occurrence lie at most, `slow_window_ns` where one of them is Kubernetes';
- `differs`: what tells occurrences apart: where two events have different values of one of these, they are two facts;
- `repeats`: whether one source may tell one occurrence several times (several lines about one kill), by events of different
  types or with an equal value of one of `differs`, or tells another one each time;
- `follows`: whether it always comes of something else: an event that tells of a restart may tell of the end before it too, and
  is then a witness of the cause and a consequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tapio_otel.correlation.class_tests import Test
from tapio_otel.correlation.keys import ranks_of
from tapio_otel.event import UnifiedEvent

_SECOND: Final = 1_000_000_000
_markings: dict[tuple[tuple[str, ...], bool], int] = {}
WORKLOAD: Final = ("process", "invocation", "cgroup", "container", "unit", "pod", "pod_name")


@dataclass(frozen=True, slots=True)
class FactClass:
    """Describe one class: `types` has every type of event that belongs to it, with a test where the type is not enough."""

    name: str
    meaning: str
    types: Mapping[str, Test | None]
    ranks: tuple[str, ...] = WORKLOAD
    window_ns: int = 5 * _SECOND
    slow_window_ns: int = 60 * _SECOND
    differs: tuple[str, ...] = ("pid", "container", "invocation", "restarts")
    repeats: bool = True
    follows: bool = False
    key_ranks: frozenset[str] = field(init=False, compare=False)
    marking: int = field(init=False, compare=False)
    """Equal for classes whose occurrences are told apart by the same."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_ranks", ranks_of(self.ranks))
        object.__setattr__(self, "marking", _markings.setdefault((self.differs, self.follows), len(_markings)))

    def has(self, event: UnifiedEvent) -> bool:
        """Tell whether an event tells a fact of this class."""
        if event.type not in self.types:
            return False
        test = self.types[event.type]
        return test is None or test(event)


def plain(type: str) -> FactClass:
    """Return the class of events of one type that are facts of their own, each by itself."""
    return FactClass(type, "", {})
