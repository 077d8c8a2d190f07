"""The event model: what every source's facts are turned into.

A `UnifiedEvent` is created once for each occurrence and travels through the pipeline in batches, so it is a slotted class and
not a validated model. What one process or unit says over and over (its entity, labels and the attributes that do not
change) sits in an `Origin` that all of its events share; processors and encoders cache their work per origin.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, TypeAlias

from tapio_otel.entity import UNKNOWN_ENTITY as UNKNOWN_ENTITY
from tapio_otel.entity import EntityReference as EntityReference
from tapio_otel.entity import EntityType as EntityType
from tapio_otel.entity import this_node as this_node

AttributeValue: TypeAlias = "str | bool | int | float | bytes | None | list[AttributeValue] | dict[str, AttributeValue]"


class Severity(IntEnum):
    """Rank an event with syslog's keywords; the value is OpenTelemetry's severity number (log data model, appendix B)."""

    DEBUG = 5
    INFO = 9
    NOTICE = 10
    WARNING = 13
    ERROR = 17
    CRITICAL = 18
    ALERT = 19
    EMERGENCY = 21

    @property
    def keyword(self) -> str:
        """Return syslog's keyword in lower case, as the JSON form writes it."""
        return self.name.lower()

    @classmethod
    def from_keyword(cls, keyword: str) -> Severity:
        """Return the severity a keyword names; raises ValueError naming the accepted ones."""
        try:
            return cls[keyword.upper()]
        except KeyError:
            known = ", ".join(member.keyword for member in cls)
            raise ValueError(f"unknown severity {keyword!r}: expected one of {known}") from None


class Source:
    """Name the built-in sources; a plugin uses a name of its own."""

    EBPF: Final = "ebpf"
    SYSTEMD: Final = "systemd"
    JOURNALD: Final = "journald"
    KUBERNETES: Final = "kubernetes"
    CORRELATION: Final = "correlation"


class EventType:
    """Name the core event types; patterns and plugins add lower_snake_case ones of their own."""

    LOG: Final = "log"
    OOM_KILL: Final = "oom_kill"
    CONTAINER_OOM: Final = "container_oom"
    CPU_THROTTLE: Final = "cpu_throttle"
    NETWORK_DROP: Final = "network_drop"
    TCP_RETRANSMIT: Final = "tcp_retransmit"
    TCP_RESET: Final = "tcp_reset"
    SERVICE_STATE: Final = "service_state"
    SERVICE_RESTART: Final = "service_restart"
    SERVICE_CRASHED: Final = "service_crashed"
    RESTART_LIMIT_HIT: Final = "restart_limit_hit"
    CONNECTION_FAILED: Final = "connection_failed"
    DNS_RESOLUTION_FAILED: Final = "dns_resolution_failed"
    K8S_EVENT: Final = "k8s_event"
    POD_STATE: Final = "pod_state"
    CONTAINER_RESTART: Final = "container_restart"
    NODE_CONDITION: Final = "node_condition"
    CORRELATION: Final = "correlation"


class Origin:
    """Hold what many events have in common: entity, unchanging attributes, labels, annotations. Immutable once shared.

    `record` is the source's raw form of it (for the journal: field name to bytes), for normalizers. `cache` belongs to
    whoever computes something once per origin (encoders, enrichers): use a key of your own.
    """

    __slots__ = ("annotations", "attributes", "cache", "entity", "labels", "record")

    def __init__(
        self,
        entity: EntityReference = UNKNOWN_ENTITY,
        attributes: Mapping[str, AttributeValue] | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        self.entity = entity
        self.attributes: Mapping[str, AttributeValue] = attributes or {}
        self.labels: Mapping[str, str] = labels or {}
        self.annotations: Mapping[str, str] = annotations or {}
        self.record: Mapping[str, Any] = record or {}
        self.cache: dict[Any, Any] = {}


class UnifiedEvent:
    """Say what happened, to which entity, when, and how bad it is.

    `timestamp` (the origin's clock) and `observed` are integer nanoseconds since the Unix epoch. `trace_id` is 32, `span_id`
    16 lower-case hex digits, or empty. `attributes`, `labels` and `annotations` behave as the event's own dicts: the first
    access makes a copy of what the origin shares. Code that runs for every event uses `get` and `set`, which do not copy.

    `shared` is the origin whose content this event still has unchanged, or None after a copy was made; `own` holds the
    attributes that are this event's alone.
    """

    __slots__ = (
        "_annotations",
        "_attributes",
        "_entity",
        "_labels",
        "description",
        "id",
        "observed",
        "own",
        "parent_id",
        "raw",
        "severity",
        "shared",
        "source",
        "span_id",
        "timestamp",
        "title",
        "trace_id",
        "type",
    )

    _attributes: dict[str, AttributeValue]
    _labels: dict[str, str]
    _annotations: dict[str, str]
    _entity: EntityReference

    def __init__(
        self,
        id: str,
        timestamp: int,
        source: str,
        type: str = EventType.LOG,
        severity: Severity = Severity.INFO,
        entity: EntityReference | None = None,
        title: str = "",
        description: str = "",
        attributes: dict[str, AttributeValue] | None = None,
        trace_id: str = "",
        span_id: str = "",
        parent_id: str = "",
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        observed: int = 0,
    ) -> None:
        self.id = id
        self.timestamp = timestamp
        self.observed = observed or time.time_ns()
        self.source = source
        self.type = type
        self.severity = severity
        self.title = title
        self.description = description
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.raw: Any = None
        self.shared: Origin | None = None
        self.own: dict[str, AttributeValue] = {}
        self._entity = this_node() if entity is None else entity
        self._attributes = {} if attributes is None else attributes
        self._labels = {} if labels is None else labels
        self._annotations = {} if annotations is None else annotations

    @classmethod
    def of_origin(
        cls,
        origin: Origin,
        id: str,
        timestamp: int,
        observed: int,
        source: str,
        type: str,
        severity: Severity,
        title: str,
        description: str,
        own: dict[str, AttributeValue],
        raw: Any = None,
    ) -> UnifiedEvent:
        """Create an event that shares `origin`; `own` are the attributes that only this event has. The fast path."""
        event = cls.__new__(cls)
        event.shared = origin
        event.own = own
        event.id = id
        event.timestamp = timestamp
        event.observed = observed
        event.source = source
        event.type = type
        event.severity = severity
        event.title = title
        event.description = description
        event.raw = raw
        event.trace_id = event.span_id = event.parent_id = ""
        return event

    def detach(self) -> None:
        """Give this event copies of its own of everything its origin shares."""
        origin = self.shared
        if origin is not None:
            self._entity = origin.entity
            self._attributes = {**origin.attributes, **self.own}
            self._labels = dict(origin.labels)
            self._annotations = dict(origin.annotations)
            self.own = {}
            self.shared = None

    def get(self, key: str, default: Any = None) -> Any:
        """Return an attribute's value without copying anything."""
        if self.shared is None:
            return self._attributes.get(key, default)
        own = self.own
        return own[key] if key in own else self.shared.attributes.get(key, default)

    def set(self, key: str, value: AttributeValue) -> None:
        """Set one attribute of this event without copying anything."""
        if self.shared is None:
            self._attributes[key] = value
        else:
            self.own[key] = value

    @property
    def entity(self) -> EntityReference:
        """Return what the event is about; setting it detaches the event from its origin."""
        return self._entity if self.shared is None else self.shared.entity

    @entity.setter
    def entity(self, entity: EntityReference) -> None:
        self.detach()
        self._entity = entity

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """Return the event's own attributes; a copy of what the origin shares is made first."""
        self.detach()
        return self._attributes

    @attributes.setter
    def attributes(self, attributes: dict[str, AttributeValue]) -> None:
        self.detach()
        self._attributes = attributes

    @property
    def labels(self) -> dict[str, str]:
        """Return the event's own labels; a copy of what the origin shares is made first."""
        self.detach()
        return self._labels

    @labels.setter
    def labels(self, labels: dict[str, str]) -> None:
        self.detach()
        self._labels = labels

    @property
    def annotations(self) -> dict[str, str]:
        """Return the event's own annotations; a copy of what the origin shares is made first."""
        self.detach()
        return self._annotations

    @annotations.setter
    def annotations(self, annotations: dict[str, str]) -> None:
        self.detach()
        self._annotations = annotations

    def view(self) -> Origin:
        """Return entity, attributes, labels and annotations for reading, merged, without detaching the event."""
        origin = self.shared
        if origin is None:
            return Origin(self._entity, self._attributes, self._labels, self._annotations)
        if not self.own:
            return origin
        return Origin(origin.entity, {**origin.attributes, **self.own}, origin.labels, origin.annotations)

    def copy(self) -> UnifiedEvent:
        """Return an independent event with the same content; values inside attributes are shared, not copied."""
        twin = UnifiedEvent.__new__(UnifiedEvent)
        twin.id = self.id
        twin.timestamp = self.timestamp
        twin.observed = self.observed
        twin.source = self.source
        twin.type = self.type
        twin.severity = self.severity
        twin.title = self.title
        twin.description = self.description
        twin.raw = self.raw
        twin.trace_id = self.trace_id
        twin.span_id = self.span_id
        twin.parent_id = self.parent_id
        twin.shared = self.shared
        twin.own = self.own.copy()
        if self.shared is None:
            twin._entity = self._entity
            twin._attributes = dict(self._attributes)
            twin._labels = dict(self._labels)
            twin._annotations = dict(self._annotations)
        return twin

    def _key(self) -> tuple[Any, ...]:
        seen = self.view()
        return (
            *(self.id, self.timestamp, self.observed, self.source, self.type, self.severity, self.title),
            *(self.description, self.trace_id, self.span_id, self.parent_id, seen.entity),
            *(dict(seen.attributes), dict(seen.labels), dict(seen.annotations)),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnifiedEvent) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"UnifiedEvent({self.id} {self.source}/{self.type} {self.severity.keyword} {self.entity!r} {self.title!r})"
