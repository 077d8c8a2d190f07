"""How the changes of pods and nodes become events: what all of them have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tapio_otel.event import AttributeValue, EntityReference, Severity, Source, UnifiedEvent
from tapio_otel.identity import event_id

RECONCILED: Final = "reconciled"
INITIAL: Final = "initial"


@dataclass(slots=True)
class Circumstances:
    """Say how a change was found, `observed` in nanoseconds; `mark` is `reconciled`, `initial` or, for one watched, empty.

    `since` (nanoseconds) is set where no earlier state is known: only what an object says happened since then is told.
    """

    observed: int
    mark: str = ""
    since: int = 0

    def make(
        self,
        type: str,
        identity: tuple[str | int, ...],
        when: int,
        severity: Severity,
        entity: EntityReference,
        attributes: dict[str, AttributeValue],
    ) -> UnifiedEvent:
        """Return an event; attributes that are None or empty are left out, `when` 0 stands for now."""
        told: dict[str, AttributeValue] = {key: value for key, value in attributes.items() if value not in (None, "", [])}
        if self.mark:
            told[self.mark] = True
        event = UnifiedEvent(
            id=event_id("kubernetes", type, *identity),
            timestamp=when or self.observed,
            observed=self.observed,
            source=Source.KUBERNETES,
            type=type,
            severity=severity,
            entity=entity,
            attributes=told,
        )
        event.raw = type
        return event
