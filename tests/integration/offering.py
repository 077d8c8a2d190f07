"""A plugin whose receivers offer more than anybody takes, for a while: `steady` can wait and resume, `hasty` cannot wait.

Each numbers its events without a gap, and writes how many it has emitted into a file when it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tapio_otel.component import ComponentConfig, Output, Receiver
from tapio_otel.event import EntityReference, EntityType, Origin, Severity, UnifiedEvent
from tapio_otel.hookspecs import hookimpl
from tapio_otel.identity import event_id

SEVERITIES = (Severity.DEBUG, Severity.INFO, Severity.INFO, Severity.WARNING, Severity.ERROR)
"""Of the events, in turn."""


class OfferConfig(ComponentConfig):
    """Be the options of both."""

    rate: int = Field(50_000, description="Events offered each second.")
    batch: int = Field(1000, description="Events in one batch.")
    seconds: float = Field(10.0, description="Seconds for which events are offered.")
    told: str = Field("", description="Where the number of events is written at the end.")


class SteadyReceiver(Receiver[OfferConfig]):
    """Offer events at a rate; what is not taken in time is offered later."""

    type = "steady"
    Config = OfferConfig

    @property
    def finite(self) -> bool:
        """Tell that it ends."""
        return True

    async def run(self, output: Output) -> None:
        """Emit for so many seconds."""
        origin = Origin(EntityReference(EntityType.SERVICE, self.type), {"host": "here", "kind": self.type})
        begun, number = time.monotonic(), int(output.checkpoint or 0)
        while (elapsed := time.monotonic() - begun) < self.config.seconds:
            if number > elapsed * self.config.rate:
                await asyncio.sleep(0.005)
                continue
            await output.emit([self._event(origin, number + one) for one in range(self.config.batch)], self._checkpoint(number))
            number += self.config.batch
            await asyncio.sleep(0)
        Path(self.config.told).write_text(str(number))

    def _checkpoint(self, number: int) -> Any:
        return number + self.config.batch

    def _event(self, origin: Origin, number: int) -> UnifiedEvent:
        title = f"{self.type} {number}"
        text = f"{title} {'order 4711 of customer 42 was taken and is on its way ' * 3}"
        now, severity = time.time_ns(), SEVERITIES[number % len(SEVERITIES)]
        return UnifiedEvent.of_origin(
            origin, event_id(self.type, title), now, now, self.type, "offered", severity, title, text, {"number": number}
        )


class HastyReceiver(SteadyReceiver):
    """Do the same as a source that keeps nothing."""

    type = "hasty"
    can_wait: ClassVar[bool] = False

    def _checkpoint(self, number: int) -> Any:
        return None


@hookimpl
def tapio_receivers() -> Sequence[type[Receiver[Any]]]:
    """Return the receivers."""
    return [SteadyReceiver, HastyReceiver]
