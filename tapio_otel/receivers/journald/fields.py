"""Which journal fields become attributes, under which key, and which of them belong to the origin of an entry.

Fields of the process, unit or host that wrote an entry are the same for all it writes: they go to the event's origin, once.
The others are the event's own. See systemd.journal-fields(7).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SHORT_NAMES: Final = {
    "_PID": "pid",
    "_UID": "uid",
    "_COMM": "comm",
    "_EXE": "exe",
    "_CMDLINE": "cmdline",
}
"""The attribute keys that the event model has for journal fields; every other field keeps its own name."""

NUMERIC: Final = frozenset(
    (
        *("_PID", "_UID", "_GID", "_AUDIT_SESSION", "_AUDIT_LOGINUID", "_SYSTEMD_OWNER_UID", "CODE_LINE", "ERRNO", "TID"),
        *("PRIORITY", "SYSLOG_FACILITY", "SYSLOG_PID", "EXIT_STATUS", "OBJECT_PID", "OBJECT_UID", "OBJECT_GID"),
        *("COREDUMP_PID", "COREDUMP_UID", "COREDUMP_GID", "COREDUMP_SIGNAL"),
    )
)
"""Fields whose decimal values become integers; a value that is no decimal number stays text."""

IDENTITY: Final = frozenset(("_PID", "_COMM", "_EXE", "_CMDLINE", "_HOSTNAME", "_MACHINE_ID", "SYSLOG_IDENTIFIER"))
"""Attributes that are always there: the resource is made from them."""

TRACE_FIELDS: Final = frozenset(("TRACEPARENT", "TRACESTATE", "TRACE_ID", "SPAN_ID", "TRACE_FLAGS", "UBER_TRACE_ID"))
"""Attributes that are always there: the trace context is read from them."""

INVOCATION_FIELDS: Final = frozenset(("INVOCATION_ID", "USER_INVOCATION_ID"))
"""Attributes that are always there: which run of a unit its manager speaks of, as D-Bus names it too. They are the event's own:
nearly every entry of a service manager has another one."""

LINEAGE: Final = frozenset(
    (
        *("_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT", "_SYSTEMD_CGROUP", "_SYSTEMD_SLICE", "_SYSTEMD_USER_SLICE"),
        *("_SYSTEMD_INVOCATION_ID", "_SYSTEMD_OWNER_UID", "_TRANSPORT", "_BOOT_ID", "_UID"),
        *("UNIT", "USER_UNIT", "OBJECT_SYSTEMD_UNIT", "OBJECT_SYSTEMD_USER_UNIT"),
        *("COREDUMP_UNIT", "COREDUMP_USER_UNIT", "CONTAINER_ID", "CONTAINER_ID_FULL", "CONTAINER_NAME", "IMAGE_NAME"),
    )
)
"""Fields that the origin's record always has: the entity and its lineage are made from them."""

_DEFAULT_TRUSTED: Final = frozenset(
    (
        *("_UID", "_GID", "_TRANSPORT", "_BOOT_ID", "_NAMESPACE", "_KERNEL_DEVICE", "_KERNEL_SUBSYSTEM", "_AUDIT_ID"),
        "_AUDIT_TYPE_NAME",
    )
)
_NOISE: Final = frozenset(
    (
        *("SYSLOG_TIMESTAMP", "SYSLOG_RAW", "SYSLOG_FACILITY", "SYSLOG_PID", "PRIORITY", "COREDUMP", "COREDUMP_ENVIRON"),
        *("COREDUMP_OPEN_FDS", "CONTAINER_LOG_EPOCH", "CONTAINER_LOG_ORDINAL", "TIMESTAMP_MONOTONIC", "TIMESTAMP_BOOTTIME"),
    )
)
_NOISE_PREFIX: Final = "COREDUMP_PROC_"

_ORIGIN_FIELDS: Final = frozenset(
    (
        *("_GID", "_CAP_EFFECTIVE", "_SELINUX_CONTEXT", "_AUDIT_SESSION", "_AUDIT_LOGINUID", "_STREAM_ID", "_NAMESPACE"),
        *("_RUNTIME_SCOPE", "_SYSTEMD_SESSION", "SYSLOG_FACILITY", "CONTAINER_TAG"),
    )
)


class FieldSelection:
    """Answer, for one setting of the `fields` option, what becomes of a field name.

    `asked` are further fields that the origin's record shall have, because something is decided by them.
    """

    def __init__(self, fields: str | Iterable[str] = "default", asked: frozenset[str] = frozenset()) -> None:
        self._asked = asked
        self._every = fields == "all"
        self._listed = None if isinstance(fields, str) else frozenset(fields)

    def selects(self, name: str) -> bool:
        """Tell whether the field becomes an attribute. MESSAGE never does: it is the description."""
        if name == "MESSAGE":
            return False
        if self._every or name in IDENTITY or name in TRACE_FIELDS or name in INVOCATION_FIELDS:
            return True
        if self._listed is not None:
            return name in self._listed
        if name.startswith("_"):
            return name in _DEFAULT_TRUSTED
        return name not in _NOISE and not name.startswith(_NOISE_PREFIX)

    def of_origin(self, name: str) -> bool:
        """Tell whether the field belongs to the origin, because it is needed there and is the same for all it writes."""
        if name in LINEAGE or name in IDENTITY or name in self._asked:
            return True
        return name in _ORIGIN_FIELDS and self.selects(name)


def attribute_key(name: str) -> str:
    """Return the attribute key of a journal field."""
    return SHORT_NAMES.get(name, name)
