"""The identity `unit_transition` for dedup: one transition of a unit, whether D-Bus or the journal tells of it.

systemd says everything twice: as a change of properties on D-Bus (source `systemd`) and as a message of PID 1 in the journal,
known by its MESSAGE_ID (systemd's sd-messages.h). Both name the unit's invocation, so that unit, invocation and the state it
came to are the same in both. Whichever comes first passes, the other is its repeat. Other events of these sources are equal to
none; all further sources have the default identity.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from tapio_otel.event import Source, UnifiedEvent
from tapio_otel.processors.dedup import default_hash

STATES: Final = {
    "7d4958e842da4a758f6c1cdc7b36dcc5": "activating",  # SD_MESSAGE_UNIT_STARTING
    "39f53479d3a045ac8e11786248231fbf": "active",  # SD_MESSAGE_UNIT_STARTED
    "de5b426a63be47a7b6ac3eaac82e2f6f": "deactivating",  # SD_MESSAGE_UNIT_STOPPING
    "9d1aaa27d60140bd96365438aad20286": "inactive",  # SD_MESSAGE_UNIT_STOPPED
    "7ad2d189f7e94e70a38c781354912448": "inactive",  # SD_MESSAGE_UNIT_SUCCESS
    "d9b373ed55a64feb8242e02dbe79a49c": "failed",  # SD_MESSAGE_UNIT_FAILURE_RESULT
}
"""The active state that a message of the service manager reports, by its MESSAGE_ID."""


def unit_transition(event: UnifiedEvent) -> Hashable:
    """Return unit, invocation and new state; None for what is nobody's repeat."""
    if event.source == Source.SYSTEMD:
        return _key(event, event.get("invocation_id"), event.get("current_state"))
    if event.source == Source.JOURNALD:
        invocation = event.get("INVOCATION_ID") or event.get("USER_INVOCATION_ID")
        return _key(event, invocation, STATES.get(str(event.get("MESSAGE_ID", "")))) if invocation else None
    return default_hash(event)


def _key(event: UnifiedEvent, invocation: object, state: object) -> Hashable:
    return ("unit_transition", event.entity.uid, str(invocation), state) if invocation and state else None
