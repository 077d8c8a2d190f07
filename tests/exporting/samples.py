"""Events of every kind, and what tells whether a component left them and their deliveries as it should."""

from __future__ import annotations

import copy
import itertools
from typing import Any

from tapio_otel.component import Delivery
from tapio_otel.event import EntityReference, EntityType, EventType, Origin, Severity, UnifiedEvent
from tapio_otel.identity import event_id


def samples() -> list[UnifiedEvent]:
    """Return events of every type and entity, each sharing an origin and detached, with bodies of their own."""
    types = [value for name, value in vars(EventType).items() if name.isupper()] + ["plugin_type"]
    found: list[UnifiedEvent] = []
    for number, (kind, entity) in enumerate(itertools.product(types, EntityType)):
        origin = Origin(EntityReference(entity, f"one-{number}"), {"pid": number, "comm": "x"}, {"unit": "u"}, {"note": "n"})
        for own in ({"exit_code": 1, "SYSLOG_IDENTIFIER": "x"}, {"raw": b"\xff", "list": [1, {"a": None}]}):
            body = f"body-{len(found)}"
            made = (event_id("samples", body), 1_700_000_000_000_000_000 + number, 1, "samples", kind, Severity.ERROR)
            found.append(UnifiedEvent.of_origin(origin, *made, body, "", copy.deepcopy(own)))
        found[-1].detach()
    return found


def content(event: UnifiedEvent) -> dict[str, Any]:
    """Return a deep copy of everything an event holds, but for what exporters may cache with its origin."""
    slots = {name: getattr(event, name) for name in UnifiedEvent.__slots__ if name != "shared" and hasattr(event, name)}
    origin = event.shared
    shared = {name: getattr(origin, name) for name in Origin.__slots__ if name != "cache"} if origin else {}
    return copy.deepcopy({**slots, "origin": id(origin), **{f"origin.{name}": value for name, value in shared.items()}})


class CountedDelivery(Delivery):
    """Count how often a batch is held and released."""

    __slots__ = ("held", "released")

    def __init__(self) -> None:
        super().__init__()
        self.held, self.released = 1, 0

    def hold(self, count: int = 1) -> None:
        self.held += count
        super().hold(count)

    def done(self) -> None:
        self.released += 1
        super().done()
