"""What can still be read of a damaged entry.

journald keeps each field value once for all entries that have it, so one damaged value is met in many entries whose other
fields are whole. libsystemd gives up on all fields of such an entry when they are read in one go, but finds them by name.
"""

from __future__ import annotations

from typing import Any, Final

from tapio_otel.receivers.journald.fields import IDENTITY, INVOCATION_FIELDS, LINEAGE, TRACE_FIELDS
from tapio_otel.receivers.journald.standing import Journal

DAMAGED: Final[dict[str, Any]] = {}
"""Stands for the fields of an entry that cannot be read."""
MARK: Final = "TAPIO_DAMAGED"
"""Field that an entry is given of which some fields could not be read."""
_OTHERS: Final = ("MESSAGE", "PRIORITY", "MESSAGE_ID", "CODE_FILE", "CODE_LINE", "CODE_FUNC", "SYSLOG_FACILITY", "_GID")
_NAMES: Final = sorted({*IDENTITY, *LINEAGE, *TRACE_FIELDS, *INVOCATION_FIELDS, *_OTHERS})


def salvaged(journal: Journal) -> dict[str, Any]:
    """Return the well-known fields of the current entry that are whole, marked; `DAMAGED` if its message is not among them."""
    found: dict[str, Any] = {}
    for name in _NAMES:
        try:
            found[name] = journal._get(name)
        except (KeyError, OSError, ValueError):  # not there, or damaged
            continue
    return {**found, MARK: b"1"} if "MESSAGE" in found else DAMAGED
