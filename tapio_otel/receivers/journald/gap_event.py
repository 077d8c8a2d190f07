"""The event that tells of entries which were lost before they were read."""

from __future__ import annotations

from typing import Final

from tapio_otel.event import EntityReference, Origin, Severity, Source, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.receivers.journald.gaps import Gap
from tapio_otel.receivers.journald.shape import Fields

GAP_TYPE: Final = "journal_gap"


def gap_event(gap: Gap, fields: Fields, observed: int) -> UnifiedEvent:
    """Return the event that tells of the gap; `fields` are those of the entry after it, `observed` is in nanoseconds."""
    host, machine = (_text(fields.get(name)) for name in ("_HOSTNAME", "_MACHINE_ID"))
    origin = Origin(
        EntityReference("node", host or machine or "unknown", uid=machine),
        {"_HOSTNAME": host, "_MACHINE_ID": machine},
        {"hostname": host} if host else {},
    )
    own: dict[str, str | int | None] = {"sequence": gap.after.sequence, "to_sequence_number": gap.after.number - 1}
    if gap.missing is not None:
        own |= {"from_sequence_number": gap.after.number - gap.missing, "missing": gap.missing}
    return UnifiedEvent.of_origin(
        origin,
        event_id(GAP_TYPE, gap.before, gap.after.text),
        gap.after.realtime * 1000,
        observed,
        Source.JOURNALD,
        GAP_TYPE,
        Severity.WARNING,
        "Journal entries lost" if gap.missing is None else f"Journal entries lost: {gap.missing}",
        gap.describe(),
        dict(own),
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
