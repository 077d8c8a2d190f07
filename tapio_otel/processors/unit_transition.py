"""The identity `unit_transition` for dedup: one transition of a unit, whether D-Bus or the journal tells of it.

systemd says much twice: as a change of properties on D-Bus (source `systemd`) and as a message of PID 1 in the journal, known
by its MESSAGE_ID (systemd's sd-messages.h). Both name the unit's invocation, so that unit, invocation and the state it came to
are the same in both. Whichever comes first passes, the other is its repeat.

An invocation enters some states several times (`active` after each reload, `activating` while it waits to be restarted). Only
the transition that the journal tells of as well has an identity, and that one happens once; others are equal to none, and so
are all other events of these sources. All further sources have the default identity.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from tapio_otel.event import EventType, Source, UnifiedEvent
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
_ENDED: Final = frozenset(("inactive", "failed"))
_UP: Final = frozenset(("active", "activating", "deactivating", "reloading", "refreshing"))
_FROM: Final = {
    "activating": _ENDED,
    "active": _ENDED | {"activating"},
    "deactivating": frozenset(("active", "activating", "reloading", "refreshing")),
    "inactive": _UP,
    "failed": _UP,
}
"""The states before, for each state that the journal tells of: from others it is entered again by the same invocation."""
_RESTARTING: Final = ("auto-restart", "auto-restart-queued")
_UNTOLD_TYPES: Final = frozenset((EventType.SERVICE_RESTART, EventType.RESTART_LIMIT_HIT))
_STAYING: Final = (".mount", ".swap")
"""Units that are active again where stopping them fails, and may then be stopped once more."""


def unit_transition(event: UnifiedEvent) -> Hashable:
    """Return unit, invocation and new state; None for what is nobody's repeat."""
    if event.source == Source.SYSTEMD:
        return _key(event, event.get("invocation_id"), _told_state(event))
    if event.source == Source.JOURNALD:
        invocation = event.get("INVOCATION_ID") or event.get("USER_INVOCATION_ID")
        return _key(event, invocation, _reported_state(event)) if invocation and _is_managers(event) else None
    return default_hash(event)


def _is_managers(event: UnifiedEvent) -> bool:
    """Tell whether a message is a service manager's: what any process may write must not make a transition a repeat."""
    return event.get("pid", 1) == 1 or bool(event.get("USER_INVOCATION_ID"))


def _told_state(event: UnifiedEvent) -> str | None:
    """Return the state that a D-Bus event says was entered, if the journal tells of that too."""
    if event.type in _UNTOLD_TYPES or event.get("initial"):
        return None
    state: str = event.get("current_state", "")
    if event.get("previous_state") not in _FROM.get(state, ()):
        return None
    if event.get("sub_state") in _RESTARTING or (state in _ENDED and event.get("previous_sub_state") in _RESTARTING):
        return None
    return state


def _reported_state(event: UnifiedEvent) -> str | None:
    """Return the state that a message says was entered: not by a job that came to nothing, or a refused start."""
    if event.get("JOB_RESULT", "done") != "done" or str(event.get("UNIT_RESULT", "")).endswith("limit-hit"):
        return None
    return STATES.get(str(event.get("MESSAGE_ID", "")))


def _key(event: UnifiedEvent, invocation: object, state: str | None) -> Hashable:
    if not invocation or not state or (state == "deactivating" and event.entity.name.endswith(_STAYING)):
        return None
    return ("unit_transition", event.entity.uid, str(invocation), state)
