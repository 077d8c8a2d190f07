"""Who wrote a text, as far as its event tells; cached for each origin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.event import UnifiedEvent

_CACHED: Final = "patterns.writer"
_KERNEL: Final = "kernel"
_WORKLOADS: Final = frozenset((EntityType.CONTAINER, EntityType.POD))


class Writer(NamedTuple):
    """Describe a writer by journal fields; empty is what is not known, `user_unit` that it belongs to a user's manager."""

    identifier: str = ""
    unit: str = ""
    transport: str = ""
    pid: str = ""
    uid: str = ""
    boot: str = ""
    user_unit: bool = False
    contained: bool = False
    """Whether it wrote from inside a container or pod, where pids and units are others."""

    @property
    def known(self) -> bool:
        """Tell whether anything is known that conditions on fields can be compared with."""
        return bool(self.identifier or self.unit or self.transport)

    @property
    def trusted(self) -> bool:
        """Tell whether it is the kernel, or root on the node itself: whoever may speak of what is not its own."""
        if self.transport == _KERNEL:
            return True
        return not self.contained and not self.user_unit and (self.uid == "0" or self.pid == "1")


def writer_of(event: UnifiedEvent) -> Writer:
    """Return who wrote the text of an event."""
    origin = event.shared
    if origin is None:
        seen = event.view()
        return _writer(seen.attributes, seen.record, seen.labels, seen.entity)
    found: Writer | None = origin.cache.get(_CACHED)
    if found is None:
        found = origin.cache[_CACHED] = _writer(origin.attributes, origin.record, origin.labels, origin.entity)
    return found


def _writer(
    attributes: Mapping[str, Any], record: Mapping[str, Any], labels: Mapping[str, str], entity: EntityReference
) -> Writer:
    def told(key: str, field: str) -> str:
        value = record.get(field)
        return _text(attributes.get(key) if value is None else value)

    user_unit = told("_SYSTEMD_USER_UNIT", "_SYSTEMD_USER_UNIT")
    return Writer(
        identifier=told("SYSLOG_IDENTIFIER", "SYSLOG_IDENTIFIER") or told("comm", "_COMM"),
        unit=user_unit or told("_SYSTEMD_UNIT", "_SYSTEMD_UNIT") or labels.get("unit", ""),
        transport=told("_TRANSPORT", "_TRANSPORT"),
        pid=told("pid", "_PID"),
        uid=told("_UID", "_UID") or told("uid", "_UID"),
        boot=told("_BOOT_ID", "_BOOT_ID"),
        user_unit=bool(user_unit),
        contained=any(one.type in _WORKLOADS for one in entity.lineage()),
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
